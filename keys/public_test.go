package keys_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Keys of Sigstore's root as it is published; the IDs are not the SHA-256 of
// keytype, keyval and scheme alone.
const (
	sigstoreID  = "0c87432c3bf09fd99189fdc32fa5eaedf4e4a5fac7bab73fa04a2e0fc64af6f5"
	sigstorePEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWRiGr5+j+3J5SsH+Ztr5nE2H2wO7\nBV+nO3s93gLca18qTOzHY1oWyAGDykMSsGTUBSt9D+An0KfKsD2mfSM42Q==\n-----END PUBLIC KEY-----\n"
)

func pemOf(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestKeyIDIsThatOfGoTUF(t *testing.T) {
	private, err := rsaKey()
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ed, err := keys.GenerateEd25519()
	require.NoError(t, err)
	edPublic, err := (&metadata.Key{Type: ed.Public().Type(), Value: metadata.KeyVal{PublicKey: ed.Public().Value()}}).ToPublicKey()
	require.NoError(t, err)

	for _, public := range []crypto.PublicKey{edPublic, &p256.PublicKey, &private.PublicKey} {
		t.Run(fmt.Sprintf("%T", public), func(t *testing.T) {
			reference, err := metadata.KeyFromPublicKey(public)
			require.NoError(t, err)
			id, err := reference.ID()
			require.NoError(t, err)
			k, err := keys.NewPublicKey(public)
			require.NoError(t, err)
			require.Equal(t, id, k.ID())
			require.Equal(t, reference.Type, k.Type())
			require.Equal(t, reference.Scheme, k.Scheme())
			require.Equal(t, reference.Value.PublicKey, k.Value())
		})
	}
}

func TestKeysOfOthersMetadata(t *testing.T) {
	k, err := keys.ParsePublicKey(sigstoreID, "ecdsa", "ecdsa-sha2-nistp256", sigstorePEM)
	require.NoError(t, err)
	require.Equal(t, sigstoreID, k.ID())
	require.Equal(t, sigstorePEM, k.Value())

	// Another ID, the old keytype, no final newline: the same key, kept as written.
	bare := strings.TrimSpace(sigstorePEM)
	old, err := keys.ParsePublicKey("ö", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", bare)
	require.NoError(t, err)
	require.Equal(t, "ö", old.ID())
	require.Equal(t, "ecdsa-sha2-nistp256", old.Type())
	require.Equal(t, bare, old.Value())
	require.True(t, k.Same(old))
	require.Equal(t, k.Fingerprint(), old.Fingerprint())

	ed, err := keys.GenerateEd25519()
	require.NoError(t, err)
	upper, err := keys.ParsePublicKey("upper", "ed25519", "ed25519", strings.ToUpper(ed.Public().Value()))
	require.NoError(t, err)
	require.True(t, upper.Same(ed.Public()))
	require.False(t, upper.Same(k))
	require.NotEqual(t, k.Fingerprint(), upper.Fingerprint())
}

func TestParsePublicKeyRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	private, err := rsaKey()
	require.NoError(t, err)
	short := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2046, 1), E: 65537} // 2047 bits
	large := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537} // 8193 bits
	const p256, pss = "ecdsa-sha2-nistp256", "rsassa-pss-sha256"

	for name, c := range map[string]struct {
		keytype, scheme, value string
		unsupported            bool
		text                   string
	}{
		"unknown keytype":           {"sphincs", "sphincs-sha3", "00", true, "sphincs"},
		"unknown scheme":            {"rsa", "rsa-pkcs1v15-sha256", pemOf(t, &private.PublicKey), true, "rsa-pkcs1v15-sha256"},
		"scheme of another keytype": {"ed25519", p256, sigstorePEM, true, "ed25519"},
		"ECDSA P-384 by scheme":     {"ecdsa", "ecdsa-sha2-nistp384", pemOf(t, &p384.PublicKey), true, "ecdsa-sha2-nistp384"},
		"ECDSA P-384 by curve":      {"ecdsa", p256, pemOf(t, &p384.PublicKey), true, "P-384"},
		"RSA of 2047 bits":          {"rsa", pss, pemOf(t, short), true, "2047 bits"},
		"RSA of 8193 bits":          {"rsa", pss, pemOf(t, large), true, "8193 bits"},
		"RSA under ecdsa":           {"ecdsa", p256, pemOf(t, &private.PublicKey), false, "keyval.public"},
		"ECDSA under rsa":           {"rsa", pss, sigstorePEM, false, "keyval.public"},
		"Ed25519 too short":         {"ed25519", "ed25519", strings.Repeat("00", 31), false, "31 bytes"},
		"Ed25519 that is no hex":    {"ed25519", "ed25519", strings.Repeat("0g", 32), false, "keyval.public"},
		"no PEM":                    {"ecdsa", p256, "MFkw", false, "PEM"},
		"empty":                     {"ecdsa", p256, "", false, "PEM"},
		"something after the PEM":   {"ecdsa", p256, sigstorePEM + "x", false, "PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParsePublicKey("the-id", c.keytype, c.scheme, c.value)
			require.ErrorContains(t, err, "the-id")
			require.ErrorContains(t, err, c.text)
			if c.unsupported {
				require.ErrorIs(t, err, keys.ErrUnsupported)
			} else {
				require.NotErrorIs(t, err, keys.ErrUnsupported)
			}
		})
	}
	_, err = keys.ParsePublicKey("", "ecdsa", p256, sigstorePEM)
	require.Error(t, err)
}

func TestVerifyRefuses(t *testing.T) {
	message := []byte("a message")
	for kind, s := range memorySigners(t) {
		t.Run(kind, func(t *testing.T) {
			sig, err := s.Sign(t.Context(), message)
			require.NoError(t, err)
			require.NoError(t, s.Public().Verify(message, sig))
			changed := append([]byte(nil), sig...)
			changed[len(sig)/2] ^= 1
			for _, bad := range [][]byte{nil, {}, sig[:len(sig)-1], append(append([]byte(nil), sig...), 0), changed} {
				require.ErrorIs(t, s.Public().Verify(message, bad), keys.ErrSignature)
			}
			require.ErrorIs(t, s.Public().Verify(message[1:], sig), keys.ErrSignature)
			for other, o := range memorySigners(t) {
				if other != "RSA" || kind != "RSA" { // the RSA key is always the same
					require.ErrorIs(t, o.Public().Verify(message, sig), keys.ErrSignature)
				}
			}
		})
	}
}

func TestPSSSaltIsThatOfAllClients(t *testing.T) {
	private, err := rsaKey()
	require.NoError(t, err)
	s, err := keys.NewSigner(private)
	require.NoError(t, err)
	sig, err := s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("message"))
	require.NoError(t, rsa.VerifyPSS(&private.PublicKey, crypto.SHA256, digest[:], sig, &rsa.PSSOptions{SaltLength: 32}))
}

// What is accepted here, go-tuf accepts too, as the same key.
func FuzzParsePublicKey(f *testing.F) {
	for _, s := range memorySigners(f) {
		f.Add("id", s.Public().Type(), s.Public().Scheme(), s.Public().Value())
	}
	f.Add(sigstoreID, "ecdsa", "ecdsa-sha2-nistp256", sigstorePEM)
	f.Add("old", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", strings.TrimSpace(sigstorePEM))
	f.Fuzz(func(t *testing.T, id, keytype, scheme, value string) {
		k, err := keys.ParsePublicKey(id, keytype, scheme, value)
		if err != nil {
			return
		}
		require.Equal(t, []string{id, keytype, scheme, value}, []string{k.ID(), k.Type(), k.Scheme(), k.Value()})
		public, err := (&metadata.Key{Type: keytype, Value: metadata.KeyVal{PublicKey: value}}).ToPublicKey()
		require.NoError(t, err)
		made, err := keys.NewPublicKey(public)
		require.NoError(t, err)
		require.True(t, made.Same(k))
		require.ErrorIs(t, k.Verify([]byte("message"), []byte(value)), keys.ErrSignature)
	})
}

// SignVerified returns what Sign does, whatever the key and the size.
func TestSignVerified(t *testing.T) {
	for kind, signer := range memorySigners(t) {
		k := signer.Public()
		for _, size := range []int{0, 1, 131_000} {
			message := make([]byte, size)
			// Another implementation of Signer, and MemorySigner itself.
			for _, s := range []keys.Signer{limitless{signer}, signer} {
				signature, err := keys.SignVerified(t.Context(), s, message)
				require.NoError(t, err)
				require.NoError(t, k.Verify(message, signature), kind)
				require.ErrorIs(t, k.Verify(append(message[:size:size], 1), signature), keys.ErrSignature, kind)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := keys.SignVerified(ctx, signer, nil)
		require.ErrorIs(t, err, context.Canceled, kind)
	}
}

// limitless is a signer that isn't a MemorySigner.
type limitless struct{ keys.Signer }

// A signer that embeds a MemorySigner signs as it says itself, and what it signed is
// not returned.
func TestSignVerifiedCallsTheOuterSign(t *testing.T) {
	for kind, signer := range memorySigners(t) {
		signature, err := keys.SignVerified(t.Context(), twisted{signer}, []byte("message"))
		require.ErrorIs(t, err, keys.ErrSignature, kind)
		require.Nil(t, signature, kind)
	}
}

// twisted signs another message.
type twisted struct{ *keys.MemorySigner }

func (s twisted) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return s.MemorySigner.Sign(ctx, append(message, '!'))
}
