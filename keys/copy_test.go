package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/pem"
	"os"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

// A public key is immutable, whatever becomes of what it was made from.
func TestNewPublicKeyTakesACopy(t *testing.T) {
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	shared, err := rsaKey()
	require.NoError(t, err)
	rsaPublic := &rsa.PublicKey{N: shared.N, E: shared.E}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ecPublic := p256.PublicKey

	for name, c := range map[string]struct {
		private crypto.Signer
		public  crypto.PublicKey
		change  func()
	}{
		"Ed25519": {ed, edPublic, func() { clear(edPublic) }},
		"P-256":   {p256, &ecPublic, func() { ecPublic = other.PublicKey }},
		"RSA":     {shared, rsaPublic, func() { rsaPublic.E = 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := keys.NewPublicKey(c.public)
			require.NoError(t, err)
			s, err := keys.NewSigner(c.private)
			require.NoError(t, err)
			sig, err := s.Sign(t.Context(), []byte("message"))
			require.NoError(t, err)
			c.change()
			require.NoError(t, k.Verify([]byte("message"), sig))
		})
	}
}

// Only a salt as long as the digest: not all clients take another.
func TestVerifyRefusesOtherSalts(t *testing.T) {
	private, err := rsaKey()
	require.NoError(t, err)
	k, err := keys.NewPublicKey(&private.PublicKey)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("message"))
	for salt, want := range map[int]error{
		rsa.PSSSaltLengthAuto: keys.ErrSignature, // all that 2,048 bits leave, 222 bytes
		31:                    keys.ErrSignature,
		32:                    nil,
		33:                    keys.ErrSignature,
	} {
		sig, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		require.NoError(t, err)
		require.ErrorIs(t, k.Verify([]byte("message"), sig), want, "salt of %d bytes", salt)
	}
	pkcs1, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	require.NoError(t, err)
	require.ErrorIs(t, k.Verify([]byte("message"), pkcs1), keys.ErrSignature)
}

// Wherever a key file is damaged, no key is read from it.
func TestDamagedKeyFile(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	good, err := os.ReadFile(keyFile(t, keyPEM, pkcs8(t, p256)))
	require.NoError(t, err)
	block, _ := pem.Decode(good)
	size := len(block.Bytes)
	for _, at := range []int{0, size / 8, size / 2, size - 10} {
		damaged := append([]byte(nil), block.Bytes...)
		damaged[at] ^= 0x01
		s, err := keys.ReadFile(rawFile(t, pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: damaged})), passphrase)
		require.Error(t, err, "byte %d of %d", at, size)
		require.Nil(t, s)
	}
	for _, end := range []int{0, 1, 40, len(good) / 2, len(good) - 20} {
		s, err := keys.ReadFile(rawFile(t, good[:end]), passphrase)
		require.ErrorContains(t, err, "not an encrypted key file", "the first %d of %d bytes", end, len(good))
		require.Nil(t, s)
	}
	s, err := keys.ReadFile(rawFile(t, append([]byte("note\n"), good...)), passphrase)
	require.ErrorContains(t, err, "begin with a PEM block")
	require.Nil(t, s)
}
