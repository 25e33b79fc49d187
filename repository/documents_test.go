package repository

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// The configured signer itself signs, so that keys.SignVerified makes one digest of a
// message and not two. Only one that metadata made by others calls otherwise is wrapped.
func TestSignerFor(t *testing.T) {
	signer, err := keys.GenerateP256()
	require.NoError(t, err)
	got, err := signerFor("snapshot", []keys.Signer{signer}, roles.Authority{Keys: []*keys.PublicKey{signer.Public()}, Threshold: 1}, "root version 1")
	require.NoError(t, err)
	require.Same(t, signer, got)

	k := signer.Public()
	renamed, err := keys.ParsePublicKey("other", k.Type(), k.Scheme(), k.Value())
	require.NoError(t, err)
	got, err = signerFor("snapshot", []keys.Signer{signer}, roles.Authority{Keys: []*keys.PublicKey{renamed}, Threshold: 1}, "root version 1")
	require.NoError(t, err)
	require.Equal(t, "other", got.Public().ID())
	signature, err := roles.Sign(t.Context(), got, []byte("message"))
	require.NoError(t, err)
	require.Equal(t, "other", signature.KeyID)
	require.NoError(t, k.Verify([]byte("message"), signature.Sig))
}
