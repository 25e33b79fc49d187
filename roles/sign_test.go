package roles_test

import (
	"context"
	"errors"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/stretchr/testify/require"
)

// fakeSigner signs with a function, in the name of another signer's key.
type fakeSigner struct {
	keys.Signer
	limit int
	sign  func(message []byte) ([]byte, error)
	calls int
}

func (f *fakeSigner) MaxMessage() int { return f.limit }

func (f *fakeSigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	f.calls++
	return f.sign(message)
}

func TestSign(t *testing.T) {
	signer := ed25519Signer(t)
	id := signer.Public().ID()
	message := []byte("a message")

	s, err := roles.Sign(t.Context(), signer, message)
	require.NoError(t, err)
	require.Equal(t, id, s.KeyID)
	require.NoError(t, signer.Public().Verify(message, s.Sig))

	t.Run("largest message", func(t *testing.T) {
		f := &fakeSigner{Signer: signer, limit: len(message), sign: func(m []byte) ([]byte, error) { return signer.Sign(t.Context(), m) }}
		_, err := roles.Sign(t.Context(), f, message)
		require.NoError(t, err)
		require.Equal(t, 1, f.calls)
	})
	t.Run("too large a message never reaches the signer", func(t *testing.T) {
		f := &fakeSigner{Signer: signer, limit: len(message) - 1}
		_, err := roles.Sign(t.Context(), f, message)
		require.EqualError(t, err, "key "+id+": message too large to sign: 9 bytes, it signs at most 8")
		require.ErrorIs(t, err, keys.ErrTooLarge)
		require.Zero(t, f.calls)
	})
	t.Run("the signer's error is wrapped", func(t *testing.T) {
		throttled := errors.New("kms: throttled")
		f := &fakeSigner{Signer: signer, limit: 100, sign: func([]byte) ([]byte, error) { return nil, throttled }}
		_, err := roles.Sign(t.Context(), f, message)
		require.ErrorIs(t, err, throttled)
		require.EqualError(t, err, "key "+id+": sign: kms: throttled")
	})
	t.Run("a signature by another key is not returned", func(t *testing.T) {
		other := ed25519Signer(t)
		f := &fakeSigner{Signer: signer, limit: 100, sign: func(m []byte) ([]byte, error) { return other.Sign(t.Context(), m) }}
		s, err := roles.Sign(t.Context(), f, message)
		require.ErrorContains(t, err, "key "+id+": sign: the signature it made does not verify")
		require.Empty(t, s)
	})
}
