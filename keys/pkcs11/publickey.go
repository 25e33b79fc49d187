//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

// keyEdwards is CKK_EC_EDWARDS of PKCS#11 v3.0, which the binding lacks.
const keyEdwards = 0x40

// The values of CKA_EC_PARAMS for the curves that fit: their OID, or for Ed25519
// also its name (PKCS#11 v3.0, 6.3.3).
var (
	oidP256     = []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
	oidEd25519  = []byte{6, 3, 0x2b, 0x65, 0x70}
	nameEd25519 = append([]byte{0x13, 12}, "edwards25519"...)
)

// publicKey returns the key's public half, or nil if the token does not show it.
func (s *session) publicKey(cfg Config) (*keys.PublicKey, error) {
	label, id := "", cfg.ID
	if len(id) == 0 {
		// The ID, if there is one, says better than a label which two belong together.
		own, err := s.attribute(s.key, pkcs11.CKA_ID)
		if err == nil {
			id = own
		}
	}
	if len(id) == 0 {
		label = cfg.Object
	}
	handles, err := s.objects(pkcs11.CKO_PUBLIC_KEY, label, id)
	switch {
	case err != nil:
		return nil, err
	case len(handles) == 0:
		return nil, nil
	case len(handles) > 1:
		return nil, fmt.Errorf("%w: several public keys on the token match: delete those that don't belong to the private key", keys.ErrUnusable)
	}
	public, err := s.parsePublic(handles[0])
	if err != nil {
		return nil, fmt.Errorf("public key on the token: %w", err)
	}
	return keys.NewPublicKey(public)
}

func (s *session) parsePublic(o pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	value, err := s.attribute(o, pkcs11.CKA_KEY_TYPE)
	if err != nil {
		return nil, err
	}
	switch kind := ulong(value); kind {
	case pkcs11.CKK_RSA:
		modulus, err := s.attribute(o, pkcs11.CKA_MODULUS)
		if err != nil {
			return nil, err
		}
		exponent, err := s.attribute(o, pkcs11.CKA_PUBLIC_EXPONENT)
		if err != nil {
			return nil, err
		}
		return rsaKey(modulus, exponent)
	case pkcs11.CKK_EC, keyEdwards:
		parameters, err := s.attribute(o, pkcs11.CKA_EC_PARAMS)
		if err != nil {
			return nil, err
		}
		point, err := s.attribute(o, pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		return curveKey(kind, parameters, point)
	default:
		return nil, fmt.Errorf("%w: key type %#x (CKA_KEY_TYPE): clients agree on Ed25519, ECDSA on P-256 and RSA", keys.ErrUnsupported, kind)
	}
}

// ulong returns the CK_ULONG that a module of this process has written.
func ulong(value []byte) uint64 {
	switch len(value) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(value))
	case 8:
		return binary.NativeEndian.Uint64(value)
	default:
		return 1<<64 - 1 // no type
	}
}

func rsaKey(modulus, exponent []byte) (crypto.PublicKey, error) {
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() > 1<<31-1 {
		return nil, fmt.Errorf("%w: RSA with an exponent of %d bits: make another key, with the exponent 65537", keys.ErrUnsupported, e.BitLen())
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}, nil
}

func curveKey(kind uint64, parameters, point []byte) (crypto.PublicKey, error) {
	point = unwrap(point)
	switch {
	case kind == pkcs11.CKK_EC && bytes.Equal(parameters, oidP256):
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	case kind == keyEdwards && (bytes.Equal(parameters, oidEd25519) || bytes.Equal(parameters, nameEd25519)):
		if len(point) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("an Ed25519 key of %d bytes, it must have %d", len(point), ed25519.PublicKeySize)
		}
		return ed25519.PublicKey(point), nil
	default:
		return nil, fmt.Errorf("%w: a curve other than P-256 and Ed25519 (CKA_EC_PARAMS %x)", keys.ErrUnsupported, parameters)
	}
}

// unwrap returns the bytes of a point. The specification has them in an OCTET
// STRING; some modules give them bare or in a BIT STRING.
func unwrap(point []byte) []byte {
	var octets []byte
	if rest, err := asn1.Unmarshal(point, &octets); err == nil && len(rest) == 0 {
		return octets
	}
	var bits asn1.BitString
	if rest, err := asn1.Unmarshal(point, &bits); err == nil && len(rest) == 0 && bits.BitLength%8 == 0 {
		return bits.Bytes
	}
	return point
}
