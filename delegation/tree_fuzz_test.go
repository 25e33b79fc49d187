package delegation_test

import (
	"crypto/ed25519"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// FuzzTree demands of each tree that NewTree makes: its search is that of a client
// that goes by the documents alone, and it finds every role under its name.
func FuzzTree(f *testing.F) {
	one, err := keys.NewSigner(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	require.NoError(f, err)
	who := authority(1, one)
	root, err := roles.NewRoot(roles.RootSpec{Version: 1, Expires: expiry, Root: who, Targets: who, Snapshot: who, Timestamp: who})
	require.NoError(f, err)

	to := func(name string, terminating bool, paths ...string) delegation.Delegation {
		return delegation.Delegation{Name: name, Keys: who, Paths: paths, Terminating: terminating}
	}
	toHashes := func(name string, prefixes ...string) delegation.Delegation {
		return delegation.Delegation{Name: name, Keys: who, HashPrefixes: prefixes}
	}
	file := func(all ...delegation.Delegation) []byte {
		d, err := delegation.NewRole("targets", 1, expiry, all)
		require.NoError(f, err)
		return d.Bytes()
	}
	binsFile := func(b delegation.Bins) []byte {
		d, err := b.NewRole(1, expiry, who)
		require.NoError(f, err)
		return d.Bytes()
	}
	leaf, err := roles.New(metadata.TargetsType{Type: metadata.TARGETS, SpecVersion: roles.SpecVersion, Version: 1, Expires: expiry,
		Targets: map[string]*metadata.TargetFiles{"x": {Hashes: metadata.Hashes{"sha256": make([]byte, 32)}}}})
	require.NoError(f, err)
	succinct, explicit := bins(f, "bins", 2, delegation.Succinct), bins(f, "other", 4, delegation.Explicit)
	f.Add(file(to("a", false, "*", "a/*"), toHashes("b", "")), file(to("c", true, "a*")), binsFile(succinct), "a/b")
	f.Add(file(append([]delegation.Delegation{to("a", false, "*")}, explicit.Delegations(who)...)...), binsFile(succinct), []byte(nil), "a")
	f.Add(file(to("a", false, "*/*"), to("b", true, "*/b*")), file(to("c", false, "*/*")), file(to("c", false, "*/*")), "x/bcd")
	f.Add(binsFile(explicit), []byte(nil), []byte(nil), "ü")
	f.Add(file(toHashes("a", "0", "1a", "ca97"), to("b", false, "a")), leaf.Bytes(), file(), "a")

	f.Fuzz(func(t *testing.T, targets, a, b []byte, at string) {
		documents := make(documents)
		for name, content := range map[string][]byte{"targets": targets, "a": a, "b": b} {
			d, err := roles.Parse[metadata.TargetsType](content)
			if err != nil {
				continue
			}
			if documents[name], err = d.Sign(t.Context(), one); err != nil {
				return
			}
		}
		tree, err := delegation.NewTree(root, documents)
		if err != nil {
			return
		}
		want := client(documents, at)
		require.Equal(t, want, tree.Search(at))
		owner, ok := tree.Owner(at)
		i := slices.IndexFunc(want, func(name string) bool { return isLeaf(documents[name]) })
		require.Equal(t, i >= 0, ok)
		if ok {
			require.Equal(t, want[i], owner.Name)
		}
		for _, name := range want {
			role, ok := tree.Role(name)
			require.True(t, ok)
			require.Equal(t, name, role.Name)
			require.Equal(t, isLeaf(documents[name]), role.Leaf)
		}
	})
}

func isLeaf(d document) bool {
	return d == nil || d.Signed().Delegations == nil || len(d.Signed().Targets) > 0
}

// client is the way of a client through the documents, with a stack as go-tuf and
// python-tuf have it.
func client(documents documents, at string) (visited []string) {
	pending := []string{"targets"}
	for len(pending) > 0 && len(visited) <= 32 {
		name := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if slices.Contains(visited, name) {
			continue
		}
		visited = append(visited, name)
		d := documents[name]
		if d == nil || d.Signed().Delegations == nil {
			continue
		}
		var next []string
		for _, role := range responsible(d.Signed().Delegations, at) {
			next = append(next, role.Name)
			if role.Terminating {
				pending = nil
				break
			}
		}
		slices.Reverse(next)
		pending = append(pending, next...)
	}
	return visited
}

func responsible(d *metadata.Delegations, at string) (all []metadata.RoleResult) {
	if d.SuccinctRoles != nil {
		return d.SuccinctRoles.GetRolesForTarget(at)
	}
	for _, role := range d.Roles {
		if slices.ContainsFunc(role.Paths, func(pattern string) bool { return matches(pattern, at) }) ||
			slices.ContainsFunc(role.PathHashPrefixes, func(prefix string) bool { return strings.HasPrefix(hash(at), prefix) }) {
			all = append(all, metadata.RoleResult{Name: role.Name, Terminating: role.Terminating})
		}
	}
	return all
}

func matches(pattern, at string) bool {
	patterns, segments := strings.Split(pattern, "/"), strings.Split(at, "/")
	if len(patterns) != len(segments) {
		return false
	}
	for i := range patterns {
		if ok, err := path.Match(patterns[i], segments[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
