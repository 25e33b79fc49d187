package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// publicPEM is the type of PEM block around a key in PKIX form.
const publicPEM = "PUBLIC KEY"

// RSA keys outside these sizes are refused: smaller ones are weak, and verifying
// larger ones costs clients too much.
const minRSABits, maxRSABits = 2048, 8192

// pssOptions are what clients expect of RSA-PSS: SHA-256 and a salt as long.
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// PublicKey is a public key under the ID by which metadata refers to it. It is
// immutable.
type PublicKey struct {
	id, keytype, scheme, value string

	key         crypto.PublicKey
	fingerprint string
}

// NewPublicKey returns pub under the ID that the specification defines. pub is an
// ed25519.PublicKey, an *ecdsa.PublicKey on P-256 or an *rsa.PublicKey, of which
// a copy is taken; for all else the error wraps ErrUnsupported.
func NewPublicKey(pub crypto.PublicKey) (*PublicKey, error) {
	k := &PublicKey{key: pub}
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		k.keytype, k.scheme, k.value = typeEd25519, schemeEd25519, hex.EncodeToString(pub)
	case *ecdsa.PublicKey:
		k.keytype, k.scheme = typeECDSA, schemeP256
	case *rsa.PublicKey:
		k.keytype, k.scheme = typeRSA, schemePSS
	}
	der, err := k.check()
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if k.key, err = x509.ParsePKIXPublicKey(der); err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	if k.value == "" {
		k.value = string(pem.EncodeToMemory(&pem.Block{Type: publicPEM, Bytes: der}))
	}
	// The canonical form. It escapes quotes and backslashes only, and here are none.
	canonical := fmt.Sprintf(`{"keytype":"%s","keyval":{"public":"%s"},"scheme":"%s"}`, k.keytype, k.value, k.scheme)
	sum := sha256.Sum256([]byte(canonical))
	k.id = hex.EncodeToString(sum[:])
	return k, nil
}

// ParsePublicKey returns a key as metadata lists it: under any ID that isn't
// empty, with the members keytype, scheme and keyval.public. The error names the
// ID, and wraps ErrUnsupported for a kind of key that isn't in the table above. An
// Ed25519 key for which anyone can sign, or nobody, is refused: see the package comment.
func ParsePublicKey(id, keytype, scheme, value string) (*PublicKey, error) {
	if id == "" {
		return nil, errors.New("public key: it has no ID")
	}
	k := &PublicKey{id: id, keytype: keytype, scheme: scheme, value: value}
	err := k.parse()
	if err == nil {
		_, err = k.check()
	}
	if err != nil {
		return nil, fmt.Errorf("public key %q: %w", id, err)
	}
	return k, nil
}

func (k *PublicKey) parse() error {
	kind := k.keytype + " " + k.scheme
	switch kind {
	case typeEd25519 + " " + schemeEd25519:
		raw, err := hex.DecodeString(k.value)
		if other := otherForm(k.keytype, k.value); err != nil && other != "" {
			return fmt.Errorf("keyval.public: %s", other)
		}
		if err != nil {
			return fmt.Errorf("keyval.public: must be %d hexadecimal digits: %w", 2*ed25519.PublicKeySize, err)
		}
		k.key = ed25519.PublicKey(raw)
		return nil
	case typeECDSA + " " + schemeP256, typeOldECDSA + " " + schemeP256, typeRSA + " " + schemePSS:
	default:
		return fmt.Errorf("%w: keytype %q, scheme %q: clients agree on %s, %s and %s", ErrUnsupported, k.keytype, k.scheme, schemeEd25519, schemeP256, schemePSS)
	}
	der, err := decodePEM([]byte(k.value), publicPEM)
	if other := otherForm(k.keytype, k.value); err != nil && other != "" {
		return fmt.Errorf("keyval.public: %s", other)
	}
	if err != nil {
		return fmt.Errorf("keyval.public: %w", err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return fmt.Errorf("keyval.public: %w", err)
	}
	_, isRSA := key.(*rsa.PublicKey)
	_, isECDSA := key.(*ecdsa.PublicKey)
	if isRSA != (k.keytype == typeRSA) || isRSA == isECDSA {
		return fmt.Errorf("keyval.public: a %T under keytype %q", key, k.keytype)
	}
	k.key = key
	return nil
}

// check refuses keys that not all clients take, sets the fingerprint, and
// returns the key in PKIX form.
func (k *PublicKey) check() ([]byte, error) {
	switch pub := k.key.(type) {
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("an Ed25519 key of %d bytes, it must have %d: is it cut, or a private key?", len(pub), ed25519.PublicKeySize)
		}
		if err := checkPoint(pub); err != nil {
			return nil, err
		}
	case *ecdsa.PublicKey:
		if pub.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%w: ECDSA on %s: clients agree on P-256 only", ErrUnsupported, pub.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("%w: RSA of %d bits, it must have from %d to %d: make another key", ErrUnsupported, n, minRSABits, maxRSABits)
		}
		if pub.E < 3 || pub.E%2 == 0 {
			return nil, fmt.Errorf("%w: RSA with the exponent %d: make another key, with the exponent 65537", ErrUnsupported, pub.E)
		}
	default:
		return nil, fmt.Errorf("%w: of type %T: clients agree on Ed25519, ECDSA on P-256 and RSA", ErrUnsupported, k.key)
	}
	der, err := x509.MarshalPKIXPublicKey(k.key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	k.fingerprint = hex.EncodeToString(sum[:])
	return der, nil
}

// ID is the ID by which metadata refers to the key.
func (k *PublicKey) ID() string { return k.id }

// Type is the key's keytype in metadata.
func (k *PublicKey) Type() string { return k.keytype }

// Scheme is the key's scheme in metadata.
func (k *PublicKey) Scheme() string { return k.scheme }

// Value is the key's keyval.public in metadata.
func (k *PublicKey) Value() string { return k.value }

// Fingerprint is the SHA-256 (hex) of the key in PKIX form. It is equal for two
// keys of the same material, whatever their IDs and encodings: thresholds count
// fingerprints.
func (k *PublicKey) Fingerprint() string { return k.fingerprint }

// Same reports whether the two are the same key, even under different IDs.
func (k *PublicKey) Same(other *PublicKey) bool { return k.fingerprint == other.fingerprint }

// Verify returns nil if signature is the key's over message, and otherwise an
// error that names the key and wraps ErrSignature.
func (k *PublicKey) Verify(message, signature []byte) error {
	if k.signsDigest() {
		digest := sha256.Sum256(message)
		message = digest[:]
	}
	return k.verify(message, signature)
}

// signsDigest reports whether the key's scheme signs the SHA-256 of a message, and
// not the message.
func (k *PublicKey) signsDigest() bool { return k.keytype != typeEd25519 }

// verify is Verify, given the digest instead of the message where that is what the
// scheme signs.
func (k *PublicKey) verify(input, signature []byte) error {
	var ok bool
	switch pub := k.key.(type) {
	case ed25519.PublicKey:
		ok = ed25519.Verify(pub, input, signature)
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(pub, input, signature)
	case *rsa.PublicKey:
		// go-tuf and python-tuf take a salt of any length, tough the digest's only.
		ok = rsa.VerifyPSS(pub, crypto.SHA256, input, signature, pssOptions) == nil
	}
	if !ok {
		return fmt.Errorf("key %s: %w%s", k.id, ErrSignature, k.whyInvalid(input, signature))
	}
	return nil
}
