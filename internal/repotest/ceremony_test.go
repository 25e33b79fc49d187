package repotest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/roles"
)

// go-tuf follows the roots of a ceremony, also where keys change.
func TestCeremonyRoots(t *testing.T) {
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	c := repotest.NewCeremony(t, layout, time.Now())
	online := c.NewP256()
	c.NextRoot(func(root *roles.RootSpec) { // one more holder, other online keys
		root.Root = repotest.Of(2, c.NewEd25519(), c.NewEd25519())
		root.Timestamp = repotest.Of(1, online)
	})
	last := c.NextRoot(nil)

	d := c.Documents()
	require.Len(t, d.Roots, 3)
	require.Equal(t, string(last), string(d.Roots[2]))
	trusted, err := trustedmetadata.New(d.Roots[0])
	require.NoError(t, err)
	for _, root := range d.Roots[1:] {
		_, err = trusted.UpdateRoot(root)
		require.NoError(t, err)
	}
	require.Equal(t, []string{online.Public().ID()}, trusted.Root.Signed.Roles[metadata.TIMESTAMP].KeyIDs)
	require.Equal(t, []string{c.Online.Public().ID()}, trusted.Root.Signed.Roles[metadata.SNAPSHOT].KeyIDs)
}

// go-tuf accepts the targets and bins of a ceremony, in both forms and also
// where keys change.
func TestCeremonyDelegations(t *testing.T) {
	for _, form := range []delegation.Form{delegation.Succinct, delegation.Explicit} {
		layout, err := delegation.New("bins", 4, form)
		require.NoError(t, err)
		c := repotest.NewCeremony(t, layout, time.Now())
		c.NextTargets(func(a *roles.Authority) { *a = repotest.Of(2, c.NewEd25519(), c.NewP256()) })
		second := c.NewEd25519()
		c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, c.Bins, second) })

		d := c.Documents()
		root, err := metadata.Root().FromBytes(d.Roots[0])
		require.NoError(t, err)
		targets, err := metadata.Targets().FromBytes(d.Roles[metadata.TARGETS])
		require.NoError(t, err)
		bins, err := metadata.Targets().FromBytes(d.Roles[delegation.BinsRole])
		require.NoError(t, err)
		require.NoError(t, root.VerifyDelegate(metadata.TARGETS, targets))
		require.NoError(t, targets.VerifyDelegate(delegation.BinsRole, bins))
		require.Equal(t, int64(2), targets.Signed.Version)
		require.Equal(t, int64(2), bins.Signed.Version)
		require.Len(t, bins.Signed.Delegations.Keys, 2)
	}
}
