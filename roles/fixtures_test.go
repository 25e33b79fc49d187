package roles_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// testSigner signs with the standard library alone, under the key ID and in the
// encoding that go-tuf gives the key: it doesn't share the mistakes of package keys.
type testSigner struct {
	private crypto.Signer
	public  *keys.PublicKey
}

func (s *testSigner) Public() *keys.PublicKey { return s.public }
func (s *testSigner) MaxMessage() int         { return math.MaxInt }

func (s *testSigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	switch s.private.Public().(type) {
	case ed25519.PublicKey:
		return s.private.Sign(nil, message, crypto.Hash(0))
	case *rsa.PublicKey:
		return s.private.Sign(rand.Reader, sum[:], &rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256})
	}
	return s.private.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func newSigner(t testing.TB, private crypto.Signer) *testSigner {
	t.Helper()
	key, err := metadata.KeyFromPublicKey(private.Public())
	require.NoError(t, err)
	id, err := key.ID()
	require.NoError(t, err)
	public, err := keys.ParsePublicKey(id, key.Type, key.Scheme, key.Value.PublicKey)
	require.NoError(t, err)
	return &testSigner{private, public}
}

func ed25519Signer(t testing.TB) *testSigner {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return newSigner(t, private)
}

func ecdsaSigner(t testing.TB) *testSigner {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return newSigner(t, private)
}

func rsaSigner(t testing.TB) *testSigner {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return newSigner(t, private)
}

// renamed is the same key under another ID.
func renamed(t testing.TB, s *testSigner, id string) *testSigner {
	p := s.public
	public, err := keys.ParsePublicKey(id, p.Type(), p.Scheme(), p.Value())
	require.NoError(t, err)
	return &testSigner{s.private, public}
}

func authorityOf(threshold int, signers ...*testSigner) roles.Authority {
	a := roles.Authority{Threshold: threshold}
	for _, s := range signers {
		a.Keys = append(a.Keys, s.public)
	}
	return a
}

func signAll[T roles.Type](t testing.TB, d *roles.Document[T], signers ...*testSigner) *roles.Document[T] {
	for _, s := range signers {
		var err error
		d, err = d.Sign(t.Context(), s)
		require.NoError(t, err)
	}
	return d
}
