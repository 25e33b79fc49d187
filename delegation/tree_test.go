package delegation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

type (
	rootDocument = *roles.Document[metadata.RootType]
	document     = *roles.Document[metadata.TargetsType]
	documents    = map[string]document
)

// everything are the hash prefixes of each path.
var everything = []string{""}

// staff makes the documents of a test. Everybody has one key of their own.
type staff struct {
	t       testing.TB
	signers map[string]keys.Signer
}

func newStaff(t testing.TB) *staff { return &staff{t, make(map[string]keys.Signer)} }

func (s *staff) signer(who string) keys.Signer {
	if s.signers[who] == nil {
		s.signers[who] = signer(s.t)
	}
	return s.signers[who]
}

// of is the authority of these people, all of whom must sign.
func (s *staff) of(who ...string) roles.Authority {
	var signers []keys.Signer
	for _, name := range who {
		signers = append(signers, s.signer(name))
	}
	return authority(len(who), signers...)
}

// root says that "targets" signs targets.
func (s *staff) root() rootDocument {
	one := s.of("root")
	d, err := roles.NewRoot(roles.RootSpec{Version: 1, Expires: expiry, Root: one, Targets: s.of("targets"), Snapshot: one, Timestamp: one})
	require.NoError(s.t, err)
	return d
}

// role is signed by who has its name.
func (s *staff) role(name string, delegations ...delegation.Delegation) document {
	d, err := delegation.NewRole(name, 1, expiry, delegations)
	require.NoError(s.t, err)
	return s.sign(d, name)
}

func (s *staff) bins(name string, b delegation.Bins) document {
	d, err := b.NewRole(1, expiry, s.of("online"))
	require.NoError(s.t, err)
	return s.sign(d, name)
}

func (s *staff) sign(d document, who ...string) document {
	for _, name := range who {
		var err error
		d, err = d.Sign(context.Background(), s.signer(name))
		require.NoError(s.t, err)
	}
	return d
}

// to delegates to a role that who has its name signs.
func (s *staff) to(name string, terminating bool, paths ...string) delegation.Delegation {
	return delegation.Delegation{Name: name, Keys: s.of(name), Paths: paths, Terminating: terminating}
}

func (s *staff) toAll(name string) delegation.Delegation {
	return delegation.Delegation{Name: name, Keys: s.of(name), HashPrefixes: everything, Terminating: true}
}

func bins(t testing.TB, prefix string, n int, form delegation.Form) delegation.Bins {
	b, err := delegation.New(prefix, n, form)
	require.NoError(t, err)
	return b
}

// The shapes of PEP 458, RSTUF and PEP 480. SHA-256("a/b/1") is b51d…, and so on: a
// bin is named by Find.
func TestTreeShapes(t *testing.T) {
	s := newStaff(t)
	succinct, explicit := bins(t, "bins", 16, delegation.Succinct), bins(t, "bins", 16, delegation.Explicit)
	other := bins(t, "other", 4, delegation.Succinct)
	bin := func(b delegation.Bins, path string) string { return b.Name(b.Find(path)) }
	pep480 := documents{
		"targets": s.role("targets",
			s.to("claimed", false, "0ab/*/*", "1ab/*/*"), s.to("recently-claimed", false, "*/*/*"), s.toAll("bins")),
		"claimed":          s.role("claimed", s.to("shard-0ab", false, "0ab/*/*")),
		"shard-0ab":        s.role("shard-0ab", s.to("project", true, "0ab/project/*"), s.to("open", false, "0ab/*/*")),
		"recently-claimed": s.role("recently-claimed"),
		"bins":             s.bins("bins", succinct),
	}
	for _, c := range []struct {
		name   string
		of     documents
		path   string
		search []string
		owner  string
	}{
		{"PEP 458", documents{"targets": s.role("targets", s.toAll("bins")), "bins": s.bins("bins", succinct)},
			"a/b/1", []string{"targets", "bins", bin(succinct, "a/b/1")}, bin(succinct, "a/b/1")},
		{"PEP 458, explicit", documents{"targets": s.role("targets", s.toAll("bins")), "bins": s.bins("bins", explicit)},
			"a/b/1", []string{"targets", "bins", bin(succinct, "a/b/1")}, bin(succinct, "a/b/1")},
		{"RSTUF", documents{"targets": s.bins("targets", succinct)}, "x", []string{"targets", bin(succinct, "x")}, bin(succinct, "x")},
		{"RSTUF, explicit", documents{"targets": s.bins("targets", explicit)}, "x", []string{"targets", bin(succinct, "x")}, bin(succinct, "x")},
		{"one role", documents{"targets": s.sign(withTarget(t, nil), "targets")}, "x", []string{"targets"}, "targets"},
		{"nobody", documents{"targets": s.role("targets")}, "x", []string{"targets"}, ""},
		{"a leaf elsewhere", documents{"targets": s.role("targets", s.to("a", true, "a/*"))}, "b/1", []string{"targets"}, ""},
		{"PEP 480, a project's", pep480, "0ab/project/x.whl",
			[]string{"targets", "claimed", "shard-0ab", "project"}, "project"},
		{"PEP 480, a shard's", pep480, "0ab/another/x.whl",
			[]string{"targets", "claimed", "shard-0ab", "open", "recently-claimed", "bins", bin(succinct, "0ab/another/x.whl")}, "open"},
		{"PEP 480, claimed by nobody", pep480, "1ab/p/x.whl",
			[]string{"targets", "claimed", "recently-claimed", "bins", bin(succinct, "1ab/p/x.whl")}, bin(succinct, "1ab/p/x.whl")},
		{"PEP 480, unclaimed", pep480, "x.whl", []string{"targets", "bins", bin(succinct, "x.whl")}, bin(succinct, "x.whl")},
		{"roles in front of explicit bins", documents{
			"targets": s.role("targets", append([]delegation.Delegation{s.to("a", false, "a/*")}, explicit.Delegations(s.of("online"))...)...)},
			"a/1", []string{"targets", "a", bin(explicit, "a/1")}, "a"},
		{"two sets of bins", documents{
			"targets": s.role("targets", s.to("a", false, "a/*"), s.toAll("bins")),
			"a":       s.bins("a", other), "bins": s.bins("bins", succinct)},
			"a/1", []string{"targets", "a", bin(other, "a/1")}, bin(other, "a/1")},
		{"a role of two delegators", documents{
			"targets": s.role("targets", s.to("a", false, "*"), s.to("b", false, "*"), s.toAll("bins")),
			"a":       s.role("a", s.to("shared", false, "*")), "b": s.role("b", s.to("shared", true, "*")), "bins": s.bins("bins", succinct)},
			"x", []string{"targets", "a", "shared", "b"}, "shared"},
		{"terminating further down ends all", documents{
			"targets": s.role("targets", s.to("a", false, "*"), s.to("b", false, "*")),
			"a":       s.role("a", s.to("c", true, "*"), s.to("d", false, "*"))},
			"x", []string{"targets", "a", "c"}, "c"},
		{"hash prefixes", documents{
			"targets": s.role("targets",
				delegation.Delegation{Name: "first", Keys: s.of("first"), HashPrefixes: []string{"0", hash("x")[:5]}},
				delegation.Delegation{Name: "second", Keys: s.of("second"), HashPrefixes: []string{hash("x")[:4], hash("y")}})},
			"x", []string{"targets", "first", "second"}, "first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, err := delegation.NewTree(s.root(), c.of)
			require.NoError(t, err)
			require.Equal(t, c.search, tree.Search(c.path))
			owner, ok := tree.Owner(c.path)
			require.Equal(t, c.owner != "", ok)
			require.Equal(t, c.owner, owner.Name)
			if ok {
				role, found := tree.Role(owner.Name)
				require.True(t, found)
				require.Equal(t, role, owner)
			}
		})
	}
}

// withTarget is d, or a document that delegates nothing, with one target.
func withTarget(t *testing.T, d document) document {
	t.Helper()
	if d == nil {
		var err error
		d, err = roles.New(metadata.TargetsType{Type: metadata.TARGETS, SpecVersion: roles.SpecVersion, Version: 1, Expires: expiry,
			Targets: map[string]*metadata.TargetFiles{}})
		require.NoError(t, err)
	}
	return edited(t, d, func(s *metadata.TargetsType) {
		s.Targets["x"] = &metadata.TargetFiles{Hashes: metadata.Hashes{"sha256": []byte(strings.Repeat("x", 32))}}
	})
}

func TestTreeChecksPaths(t *testing.T) {
	s := newStaff(t)
	tree, err := delegation.NewTree(s.root(), documents{
		"targets": s.role("targets", s.to("a", false, "a/*"), s.to("b", false, "*/b*", ".c/*"), s.to("d", true, "d/.*", "d/*"),
			s.to("f", false, "d/*"), s.toAll("bins")),
		"d":    s.role("d", s.to("e", false, "*/x*", "*/.x")),
		"bins": s.bins("bins", bins(t, "bins", 4, delegation.Succinct)),
	})
	require.NoError(t, err)
	for _, path := range []string{"a/b", "a.b/c.", ".x", ".x/y", "x/.y", "a/b/.c", ".c/b", "d/b", ".d/e", "d/.y", "d/.x"} {
		require.NoError(t, tree.CheckPath(path), path)
	}
	for path, want := range map[string]string{
		"a/.b":  `"targets" delegates "a/*" to "a"`,
		".a/b":  `"targets" delegates "*/b*" to "b"`,
		".c/.b": `"targets" delegates ".c/*" to "b"`,
	} {
		require.EqualError(t, tree.CheckPath(path),
			fmt.Sprintf("target %q: path: a segment that begins with a dot, which clients differ on where %s", path, want))
	}
}

// To go-tuf and python-tuf a "*" stands for a dot that begins a segment, to tuf-js it doesn't.
func TestSearchByAny(t *testing.T) {
	s := newStaff(t)
	tree, err := delegation.NewTree(s.root(), documents{
		"targets": s.role("targets", s.to("a", false, "a/*", "b/.*"), s.to("b", true, "*/*"), s.toAll("bins")),
		"bins":    s.bins("bins", bins(t, "bins", 4, delegation.Succinct)),
	})
	require.NoError(t, err)
	for path, onlyOne := range map[string]bool{"a/x": false, "b/.x": true, "a/.x": true, "c/.x": true, ".x": false} {
		want := tree.Search(path)
		if onlyOne { // whose search "b" doesn't end
			require.Error(t, tree.CheckPath(path))
			set := tree.Sets()[0]
			want = append(want, "bins", set.Name(set.Find(path)))
		}
		require.Equal(t, want, tree.SearchByAny(path), path)
	}
	require.Equal(t, []string{"targets", "a", "b"}, tree.Search("a/.x"))
}
