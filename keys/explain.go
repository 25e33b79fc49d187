package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"math/big"
)

// whyInvalid says, after a colon, what is wrong with a signature that would be valid in another form: the signer must be
// set up otherwise, and nobody forged anything. It is "" for one that isn't valid in any. Input is what
// verify takes.
func (k *PublicKey) whyInvalid(input, signature []byte) string {
	switch pub := k.key.(type) {
	case *rsa.PublicKey:
		if rsa.VerifyPSS(pub, crypto.SHA256, input, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}) == nil {
			return fmt.Sprintf(": it is RSA-PSS with a salt that isn't %d bytes long, which some clients refuse: set the signer's salt length to that of the digest", crypto.SHA256.Size())
		}
		if rsa.VerifyPKCS1v15(pub, crypto.SHA256, input, signature) == nil {
			return ": it is RSA with PKCS #1 v1.5 padding, and clients want PSS: set the signer to RSA-PSS with SHA-256"
		}
	case *ecdsa.PublicKey:
		if n := len(signature) / 2; n == 32 && len(signature) == 64 &&
			ecdsa.Verify(pub, input, new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:])) {
			return ": it is two numbers in 64 bytes, and clients want them in ASN.1 (DER): set the signer to that"
		}
	}
	return ""
}

// otherForm names what a keyval.public holds that isn't in the form which its kind has in metadata, and says what to
// do. It is "" if it doesn't know.
func otherForm(keytype, value string) string {
	raw, err := hex.DecodeString(value)
	isHex := err == nil && len(raw) > 0
	switch keytype {
	case typeECDSA, typeOldECDSA:
		if isHex && (len(raw) == 65 && raw[0] == 4 || len(raw) == 33 && (raw[0] == 2 || raw[0] == 3)) {
			return "it is a point in hexadecimal, as go-tuf wrote ECDSA keys before version 2: clients want PEM: list the same key in PEM, under its new ID"
		}
	case typeEd25519:
		if bytes.HasPrefix([]byte(value), []byte("-----BEGIN ")) {
			return fmt.Sprintf("it is PEM, and an Ed25519 key is %d hexadecimal digits: list the key like that, under its new ID", 2*ed25519.PublicKeySize)
		}
	}
	return ""
}
