package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
)

// service is a key that takes messages as they are, up to a size.
func service(t *testing.T) (s *keys.MemorySigner, key Key) {
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	return s, Key{Name: "projects/p/key", Public: s.Public(), MaxRaw: 4096, Sign: s.Sign}
}

func TestSigner(t *testing.T) {
	keystest.TestSigner(t, func(t *testing.T) keys.Signer {
		_, key := service(t)
		return newCaller(t, Limits{PerSecond: 1e9}).Signer(key)
	})
}

func TestTooLargeIsNotSent(t *testing.T) {
	_, key := service(t)
	key.Sign = func(context.Context, []byte) ([]byte, error) { t.Error("called"); return nil, nil }
	_, err := newCaller(t, Limits{PerSecond: 1}).Signer(key).Sign(t.Context(), make([]byte, 4097))
	require.ErrorIs(t, err, keys.ErrTooLarge)
	require.EqualError(t, err, "sign with projects/p/key (key ID "+key.Public.ID()+
		"): message too large to sign: 4097 bytes, and the service signs at most 4096 with a key of this kind")
}

// A key without MaxRaw is given digests.
func TestDigest(t *testing.T) {
	_, key := service(t)
	key.MaxRaw = 0
	var got []byte
	key.Sign = func(_ context.Context, input []byte) ([]byte, error) { got = input; return nil, nil }
	s := newCaller(t, Limits{PerSecond: 1}).Signer(key)
	require.Equal(t, math.MaxInt, s.MaxMessage())
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrSignature)
	want := sha256.Sum256([]byte("message"))
	require.Equal(t, want[:], got)
}

// The signature of another key, or of something else, is not returned, and not
// asked for again.
func TestWrongSignature(t *testing.T) {
	other, err := keys.GenerateEd25519()
	require.NoError(t, err)
	own, key := service(t)
	for name, sign := range map[string]func(context.Context, []byte) ([]byte, error){
		"another key's": other.Sign,
		"of something else": func(ctx context.Context, m []byte) ([]byte, error) {
			return own.Sign(ctx, append([]byte{0}, m...))
		},
		"none": func(context.Context, []byte) ([]byte, error) { return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			key.Sign = func(ctx context.Context, m []byte) ([]byte, error) { calls++; return sign(ctx, m) }
			sig, err := newCaller(t, Limits{PerSecond: 1}).Signer(key).Sign(t.Context(), []byte("message"))
			require.ErrorIs(t, err, keys.ErrSignature)
			require.EqualError(t, err, "sign with projects/p/key (key ID "+key.Public.ID()+"): invalid signature: the service's signature does not verify: is this the name of another key?")
			require.Empty(t, sig)
			require.Equal(t, 1, calls)
		})
	}
}

// What package keys finds out about a wrong signature is said.
func TestSignatureInAnotherForm(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := keys.NewPublicKey(private.Public())
	require.NoError(t, err)
	key := Key{Name: "projects/p/key", Public: public, Sign: func(_ context.Context, digest []byte) ([]byte, error) {
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		require.NoError(t, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
	}}
	_, err = newCaller(t, Limits{PerSecond: 1}).Signer(key).Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrSignature)
	require.EqualError(t, err, "sign with projects/p/key (key ID "+public.ID()+"): invalid signature: the service's signature does not verify: it is two numbers in 64 bytes, and clients want them in ASN.1 (DER): set the signer to that")
}

func TestFormat(t *testing.T) {
	_, key := service(t)
	s := newCaller(t, Limits{PerSecond: 1}).Signer(key)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		require.Equal(t, "projects/p/key (ed25519, ID "+key.Public.ID()+")", fmt.Sprintf(verb, s))
	}
}
