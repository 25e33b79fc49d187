package keys_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
	"github.com/stretchr/testify/require"
)

// rsaKey is made once, for that takes a while.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// memorySigners are one of each kind.
func memorySigners(t testing.TB) map[string]*keys.MemorySigner {
	t.Helper()
	signers := make(map[string]*keys.MemorySigner)
	var err error
	signers["Ed25519"], err = keys.GenerateEd25519()
	require.NoError(t, err)
	signers["P-256"], err = keys.GenerateP256()
	require.NoError(t, err)
	private, err := rsaKey()
	require.NoError(t, err)
	signers["RSA"], err = keys.NewSigner(private)
	require.NoError(t, err)
	return signers
}

func TestMemorySigner(t *testing.T) {
	for kind, s := range memorySigners(t) {
		t.Run(kind, func(t *testing.T) {
			keystest.TestSigner(t, func(*testing.T) keys.Signer { return s })
		})
	}
}

// limited is a signer as a KMS is one.
type limited struct{ *keys.MemorySigner }

func (limited) MaxMessage() int { return 4096 }

func (s limited) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if len(message) > s.MaxMessage() {
		return nil, fmt.Errorf("sign with key %s: %d bytes: %w", s.Public().ID(), len(message), keys.ErrTooLarge)
	}
	return s.MemorySigner.Sign(ctx, message)
}

func TestSuiteFitsASignerWithALimit(t *testing.T) {
	keystest.TestSigner(t, func(t *testing.T) keys.Signer {
		s, err := keys.GenerateEd25519()
		require.NoError(t, err)
		return limited{s}
	})
}

func TestGenerateRSA(t *testing.T) {
	s, err := keys.GenerateRSA()
	require.NoError(t, err)
	sig, err := s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	require.Len(t, sig, 3072/8)
}

func TestNewSignerRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, err = keys.NewSigner(p384)
	require.ErrorIs(t, err, keys.ErrUnsupported)
	require.ErrorContains(t, err, "P-384")

	_, err = keys.NewSigner(nil)
	require.ErrorIs(t, err, keys.ErrUnsupported)

	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	_, err = keys.NewPublicKey(x25519.PublicKey())
	require.ErrorIs(t, err, keys.ErrUnsupported)

	_, err = keys.NewSigner(make(ed25519.PrivateKey, 10))
	require.ErrorContains(t, err, "10 bytes")
}

func TestPrintingASignerShowsNoPrivateKey(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s, err := keys.NewSigner(private)
	require.NoError(t, err)
	want := "private key (ed25519, ID " + s.Public().ID() + ")"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		require.Equal(t, want, fmt.Sprintf(verb, s), verb)
		require.Equal(t, want, fmt.Sprintf(verb, *s), verb)
	}
	require.NotContains(t, want, hex.EncodeToString(private.Seed()))
}

// The hot path: a signature of a bin must not copy the bin.
func TestSigningCopiesNothing(t *testing.T) {
	const size, rounds = 131_000, 50
	message := make([]byte, size)
	for kind, s := range memorySigners(t) {
		if kind == "RSA" {
			continue // it allocates for its own arithmetic
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			_, err := s.Sign(t.Context(), message)
			require.NoError(t, err)
		}
		runtime.ReadMemStats(&after)
		require.Less(t, (after.TotalAlloc-before.TotalAlloc)/rounds, uint64(size/8), kind)
	}
}
