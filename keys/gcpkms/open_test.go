package gcpkms_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

// By its URI a key is opened without a call if its public key is known, and else
// with one.
func TestOpenByURI(t *testing.T) {
	fake, c := newClient(t, gcpkms.Config{})
	r := keys.Resolver{"gcpkms": c.Open}
	first, err := r.Open(t.Context(), "gcpkms:"+name, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"GetPublicKey"}, fake.took())

	opened, err := r.Open(t.Context(), "gcpkms:"+name, first.Public())
	require.NoError(t, err)
	require.Empty(t, fake.took())
	_, err = opened.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	require.Equal(t, []string{"AsymmetricSign"}, fake.took())

	for _, public := range []*keys.PublicKey{nil, first.Public()} {
		for _, uri := range []string{"gcpkms:", "gcpkms:" + key, "gcpkms:/" + name, "gcpkms:" + name + "?x=y"} {
			opened, err = r.Open(t.Context(), uri, public)
			require.ErrorContains(t, err, "open key "+uri+": ")
			require.Nil(t, opened)
			require.Empty(t, fake.took())
		}
	}
}
