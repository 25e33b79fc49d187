package delegation_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// FuzzParse demands of each role "bins" that Parse accepts: a client that goes by
// the document alone looks for a path in the one bin that Find names.
func FuzzParse(f *testing.F) {
	online := authority(1, signer(f))
	for _, n := range []int{2, 4, 16} {
		for _, form := range []delegation.Form{delegation.Succinct, delegation.Explicit} {
			d, err := newBins(f, n, form).NewRole(1, expiry, online)
			require.NoError(f, err)
			f.Add(d.Bytes(), "packages/a b/ü.whl")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		d, err := roles.Parse[metadata.TargetsType](data)
		if err != nil {
			return
		}
		b, err := delegation.Parse(d)
		if err != nil {
			return
		}
		require.Equal(t, []string{b.Name(b.Find(path))}, binsOf(d.Signed().Delegations, path))
		i, ok := b.Index(b.Name(b.Find(path)))
		require.True(t, ok)
		require.Equal(t, b.Find(path), i)
		again, err := delegation.New(b.Prefix(), b.Len(), b.Form())
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

// binsOf are the roles that a client asks for path, as python-tuf finds them.
func binsOf(d *metadata.Delegations, path string) (names []string) {
	if d.SuccinctRoles != nil {
		return []string{d.SuccinctRoles.GetRolesForTarget(path)[0].Name}
	}
	for _, role := range d.Roles {
		for _, prefix := range role.PathHashPrefixes {
			if strings.HasPrefix(hash(path), prefix) {
				names = append(names, role.Name)
			}
		}
	}
	return names
}
