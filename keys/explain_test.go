package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

// A signer that is set up otherwise made a good signature in a form that clients refuse: that is no
// forgery, and the error says what to set.
func TestVerifyNamesTheFormOfASignature(t *testing.T) {
	message := []byte("message")
	digest := sha256.Sum256(message)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := keys.NewPublicKey(private.Public())
	require.NoError(t, err)
	refused := func(sig []byte, err error, why string) {
		t.Helper()
		require.NoError(t, err)
		err = public.Verify(message, sig)
		require.ErrorIs(t, err, keys.ErrSignature)
		require.EqualError(t, err, "key "+public.ID()+": invalid signature"+why)
	}
	for _, salt := range []int{rsa.PSSSaltLengthAuto, 0, 20} { // the first is the longest
		sig, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		refused(sig, err, ": it is RSA-PSS with a salt that isn't 32 bytes long, which some clients refuse: set the signer's salt length to that of the digest")
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	refused(sig, err, ": it is RSA with PKCS #1 v1.5 padding, and clients want PSS: set the signer to RSA-PSS with SHA-256")
	refused([]byte("no signature"), nil, "")

	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err = keys.NewPublicKey(curve.Public())
	require.NoError(t, err)
	r, s, err := ecdsa.Sign(rand.Reader, curve, digest[:])
	raw := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	refused(raw, err, ": it is two numbers in 64 bytes, and clients want them in ASN.1 (DER): set the signer to that")
	raw[0] ^= 1
	refused(raw, nil, "")
}

// A key that others listed in a form of their own is named for what it is.
func TestParsePublicKeyNamesOtherForms(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := curve.PublicKey.Bytes()
	require.NoError(t, err)
	const hexPoint = "keyval.public: it is a point in hexadecimal, as go-tuf wrote ECDSA keys before version 2: clients want PEM: list the same key in PEM, under its new ID"
	short := append([]byte{2 + point[64]&1}, point[1:33]...)
	for _, keytype := range []string{"ecdsa", "ecdsa-sha2-nistp256"} {
		for _, value := range [][]byte{point, short} {
			_, err = keys.ParsePublicKey("id", keytype, "ecdsa-sha2-nistp256", hex.EncodeToString(value))
			require.EqualError(t, err, `public key "id": `+hexPoint)
		}
		_, err = keys.ParsePublicKey("id", keytype, "ecdsa-sha2-nistp256", "00ff")
		require.EqualError(t, err, `public key "id": keyval.public: it does not begin with a PEM block`)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("any")}))
	_, err = keys.ParsePublicKey("id", "ed25519", "ed25519", text)
	require.EqualError(t, err, `public key "id": keyval.public: it is PEM, and an Ed25519 key is 64 hexadecimal digits: list the key like that, under its new ID`)
}
