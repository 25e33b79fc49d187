//go:build pkcs11 && cgo

package pkcs11

import (
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

// mechanism is a way of signing.
type mechanism struct {
	kind   uint
	hashed bool // the token is given the SHA-256 of the message
	encode func(raw []byte) ([]byte, error)
}

// mechanismEdDSA is CKM_EDDSA of PKCS#11 v3.0, which the binding lacks.
const mechanismEdDSA = 0x1057

func mechanismOf(k *keys.PublicKey) (mechanism, error) {
	asIs := func(raw []byte) ([]byte, error) { return raw, nil }
	switch k.Scheme() {
	case "ed25519":
		return mechanism{mechanismEdDSA, false, asIs}, nil
	case "ecdsa-sha2-nistp256":
		return mechanism{pkcs11.CKM_ECDSA, true, encodeECDSA}, nil
	case "rsassa-pss-sha256":
		return mechanism{pkcs11.CKM_RSA_PKCS_PSS, true, asIs}, nil
	default:
		return mechanism{}, fmt.Errorf("%w: %s", keys.ErrUnsupported, k.Scheme())
	}
}

// input returns what the token signs for a message, in memory of its own.
func (m mechanism) input(message []byte) []byte {
	if !m.hashed {
		return slices.Clone(message)
	}
	digest := sha256.Sum256(message)
	return digest[:]
}

func (m mechanism) parameters() *pkcs11.Mechanism {
	if m.kind == pkcs11.CKM_RSA_PKCS_PSS {
		return pkcs11.NewMechanism(m.kind, pkcs11.NewPSSParams(pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32))
	}
	return pkcs11.NewMechanism(m.kind, nil)
}

// encodeECDSA turns r and s, 32 bytes each, into the DER of X9.62.
func encodeECDSA(raw []byte) ([]byte, error) {
	if len(raw) != 64 {
		return nil, fmt.Errorf("%w: %d bytes, want 64", keys.ErrSignature, len(raw))
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
}
