package delegation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
)

func TestNewTreeRefuses(t *testing.T) {
	s := newStaff(t)
	id := func(who string) string { return s.signer(who).Public().ID() }
	succinct := s.bins("bins", bins(t, "bins", 4, delegation.Succinct))
	// list is targets that delegates to "a", as edited.
	list := func(edit func(*metadata.DelegatedRole)) documents {
		return documents{"targets": s.sign(edited(t, s.role("targets", s.to("a", false, "*")), func(signed *metadata.TargetsType) {
			edit(&signed.Delegations.Roles[0])
		}), "targets")}
	}
	named := func(name string) documents { return list(func(r *metadata.DelegatedRole) { r.Name = name }) }
	explicit := func(b delegation.Bins, edit func(*metadata.TargetsType)) documents {
		return documents{"targets": s.sign(edited(t, s.bins("targets", b), edit), "targets")}
	}
	four := bins(t, "bins", 4, delegation.Explicit)
	chain := documents{"targets": s.role("targets", s.to("r1", false, "*"))}
	for i := 1; i <= 32; i++ {
		name := fmt.Sprintf("r%d", i)
		chain[name] = s.role(name, s.to(fmt.Sprintf("r%d", i+1), false, "*"))
	}
	binsTooDeep := documents{}
	for name, d := range chain {
		binsTooDeep[name] = d
	}
	binsTooDeep["r32"] = s.bins("r32", four)
	// "r1" is one delegation deep when it is read, and two when "late" is.
	late := documents{"targets": s.role("targets", s.to("r1", false, "*"), s.to("late", false, "*")), "late": s.role("late", s.to("r1", false, "*"))}
	for i := 1; i <= 31; i++ {
		late[fmt.Sprintf("r%d", i)] = chain[fmt.Sprintf("r%d", i)]
	}

	for _, c := range []struct {
		name, want string
		of         documents
	}{
		{"no targets", `no document for the role "targets"`, documents{"bins": succinct}},
		{"targets by others", `root version 1: role "targets": 0 of 1 signatures: key ` + id("targets") + `: no signature`,
			documents{"targets": s.sign(s.role("other"), "other")}},
		{"bins by others", `targets version 1: role "bins": 0 of 1 signatures: key ` + id("bins") + `: no signature`,
			documents{"targets": s.role("targets", s.toAll("bins")), "bins": s.bins("other", four)}},
		{"nobody delegates", `role "b": no role delegates to it, but it has a document`,
			documents{"targets": s.role("targets", s.to("a", false, "*")), "b": s.role("b"), "c": s.role("c")}},
		{"a bin's document", `role "bins-2": a document for a hashed bin of "targets"`,
			documents{"targets": s.bins("targets", four), "bins-2": s.role("bins-2")}},
		{"own targets", `targets version 1: it has 1 targets of its own`,
			documents{"targets": s.sign(withTarget(t, s.role("targets", s.to("a", false, "*"))), "targets")}},
		{"own targets further down", `a version 1: it has 1 targets of its own`,
			documents{"targets": s.role("targets", s.to("a", false, "*")), "a": s.sign(withTarget(t, s.role("a", s.to("b", false, "*"))), "a")}},

		{"two delegators, other keys", `b version 1: role "c": other keys or another threshold than "a" has for it`, documents{
			"targets": s.role("targets", s.to("a", false, "*"), s.to("b", false, "*")),
			"a":       s.role("a", s.to("c", false, "*")),
			"b":       s.role("b", delegation.Delegation{Name: "c", Keys: s.of("d"), Paths: []string{"*"}})}},
		{"two delegators, another threshold", `b version 1: role "c": other keys or another threshold than "a" has for it`, documents{
			"targets": s.role("targets", s.to("a", false, "*"), s.to("b", false, "*")),
			"a":       s.role("a", delegation.Delegation{Name: "c", Keys: s.of("c", "d"), Paths: []string{"*"}}),
			"b":       s.role("b", delegation.Delegation{Name: "c", Keys: authority(1, s.signer("c"), s.signer("d")), Paths: []string{"*"}})}},
		{"to itself", `a version 1: role "a": it delegates to itself: a → a`,
			documents{"targets": s.role("targets", s.to("a", false, "*")), "a": s.role("a", s.to("a", false, "*"))}},
		{"a cycle", `c version 1: role "a": it delegates to itself: a → b → c → a`, documents{
			"targets": s.role("targets", s.to("a", false, "*")), "a": s.role("a", s.to("b", false, "*")),
			"b": s.role("b", s.to("c", false, "*")), "c": s.role("c", s.to("a", false, "*"))}},
		{"33 delegations", `r32 version 1: role "r33": more than 32 delegations deep`, chain},
		{"33 delegations to bins", `r32 version 1: bins named "bins": more than 32 delegations deep`, binsTooDeep},
		{"33 delegations on a second way", `role "r32": more than 32 delegations deep`, late},
		{"after the end", `targets version 1: role "late": no client asks for it: the delegation to "bins", which stands before it, ends every search`,
			documents{"targets": s.sign(edited(t, s.role("targets", s.toAll("bins")), func(signed *metadata.TargetsType) {
				role := signed.Delegations.Roles[0]
				role.Name = "late"
				signed.Delegations.Roles = append(signed.Delegations.Roles, role)
			}), "targets")}},
		{"bins after the end", `targets version 1: role "bins-0": no client asks for it: the delegation to "all", which stands before it, ends every search`,
			explicit(four, func(signed *metadata.TargetsType) {
				role := signed.Delegations.Roles[0]
				role.Name, role.PathHashPrefixes = "all", everything
				signed.Delegations.Roles = append([]metadata.DelegatedRole{role}, signed.Delegations.Roles...)
			})},
		{"after explicit bins", `targets version 1: role "late": no client asks for it: the delegation to "bins-3", which stands before it, ends every search`,
			explicit(four, func(signed *metadata.TargetsType) {
				role := signed.Delegations.Roles[0]
				role.Name = "late"
				signed.Delegations.Roles = append(signed.Delegations.Roles, role)
			})},

		{"ö", `targets version 1: role "ö": a character other than letters, digits, "_", "." and "-"`, named("ö")},
		{"a dot", `targets version 1: role ".": it begins with a dot`, named(".")},
		{"a slash", `targets version 1: role "a/b": a character other than letters, digits, "_", "." and "-"`, named("a/b")},
		{"long", `targets version 1: role "` + strings.Repeat("x", 201) + `": a name of 201 bytes, at most 200`, named(strings.Repeat("x", 201))},
		{"Root", `targets version 1: role "Root": the name of the top-level role "root"`, named("Root")},
		{"case", `targets version 1: role "A": it differs from "a" in case only`,
			documents{"targets": s.role("targets", s.to("a", false, "*"), s.to("A", false, "*"))}},
		{"a bin's name", `role "bins-3": "bins" delegates to a bin of that name`,
			documents{"targets": s.role("targets", s.to("bins-3", false, "*"), s.toAll("bins")), "bins": succinct}},
		{"a bin's name in capitals", `role "BINS-3": "bins" delegates to a bin of that name`,
			documents{"targets": s.role("targets", s.to("BINS-3", false, "*"), s.toAll("bins")), "bins": succinct}},
		{"two sets of one name", `b version 1: bins named "Bins": "a" delegates to bins named "bins"`, documents{
			"targets": s.role("targets", s.to("a", false, "*"), s.to("b", false, "*")),
			"a":       s.bins("a", bins(t, "bins", 4, delegation.Succinct)), "b": s.bins("b", bins(t, "Bins", 16, delegation.Succinct))}},

		{"an unknown key", `targets version 1: role "a": key other: it is not among the keys of this document`,
			list(func(r *metadata.DelegatedRole) { r.KeyIDs = append(r.KeyIDs, "other") })},
		{"a key that some clients don't know", `targets version 1: role "a": not every client knows it: public key "larger": unsupported kind of key: keytype "ecdsa", scheme "ecdsa-sha2-nistp384": clients agree on ed25519, ecdsa-sha2-nistp256 and rsassa-pss-sha256`,
			documents{"targets": s.sign(edited(t, s.role("targets", s.to("a", false, "*")), func(signed *metadata.TargetsType) {
				signed.Delegations.Keys["larger"] = &metadata.Key{Type: "ecdsa", Scheme: "ecdsa-sha2-nistp384"}
				signed.Delegations.Roles[0].KeyIDs = append(signed.Delegations.Roles[0].KeyIDs, "larger")
			}), "targets")}},
		{"threshold", `targets version 1: role "a": a threshold of 2 with 1 keys: it must be from 1 to the number of keys`, list(func(r *metadata.DelegatedRole) { r.Threshold = 2 })},
		{"threshold of bins", `targets version 1: bins named "bins": a threshold of 2 with 1 keys: it must be from 1 to the number of keys`,
			explicit(bins(t, "bins", 4, delegation.Succinct), func(signed *metadata.TargetsType) { signed.Delegations.SuccinctRoles.Threshold = 2 })},
		{"no paths", `targets version 1: role "a": it is delegated no paths`, list(func(r *metadata.DelegatedRole) { r.Paths = []string{} })},
		{"hash prefix", `targets version 1: role "a": hash prefix "0A": not the beginning of a SHA-256 in lower-case hexadecimal`,
			list(func(r *metadata.DelegatedRole) { r.Paths, r.PathHashPrefixes = nil, []string{"0", "0A"} })},
		{"long hash prefix", `targets version 1: role "a": hash prefix "` + strings.Repeat("0", 65) + `": not the beginning of a SHA-256 in lower-case hexadecimal`,
			list(func(r *metadata.DelegatedRole) { r.Paths, r.PathHashPrefixes = nil, []string{strings.Repeat("0", 65)} })},

		{"succinct, 32 bits", `targets version 1: bins named "bins": a bit_length of 32, at most 16`,
			explicit(bins(t, "bins", 4, delegation.Succinct), func(signed *metadata.TargetsType) { signed.Delegations.SuccinctRoles.BitLength = 32 })},
		{"a bin missing", `targets version 1: roles "bins-0" to "bins-2": 3 bins: not a power of two from 2 to 65536`,
			explicit(four, func(signed *metadata.TargetsType) { signed.Delegations.Roles = signed.Delegations.Roles[:3] })},
		{"a bin that doesn't terminate", `targets version 1: roles "bins-0" to "bins-3": delegations.roles[2] ("bins-2"): it is not terminating`,
			explicit(four, func(signed *metadata.TargetsType) { signed.Delegations.Roles[2].Terminating = false })},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := delegation.NewTree(s.root(), c.of)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestPatterns(t *testing.T) {
	s := newStaff(t)
	try := func(pattern string) error {
		d, err := delegation.NewRole("targets", 1, expiry, []delegation.Delegation{s.to("a", false, pattern)})
		if err != nil {
			return err
		}
		tree, err := delegation.NewTree(s.root(), documents{"targets": s.sign(d, "targets")})
		require.NoError(t, err)
		require.Equal(t, []string{"targets", "a"}, tree.Search(strings.ReplaceAll(pattern, "*", "")))
		return nil
	}
	for _, pattern := range []string{"a", "a*", "0ab/a-b_c.d+e~f@g=h,i/x*", ".a", "a..b", "...", "a*b*c/d*"} {
		require.NoError(t, try(pattern), pattern)
	}
	for pattern, want := range map[string]string{
		"":         "an empty segment",
		"/a":       "an empty segment",
		"a/":       "an empty segment",
		"a//b":     "an empty segment",
		"./a":      `a segment "."`,
		"a/../b":   `a segment ".."`,
		"**":       `"**", which clients read differently`,
		"a/**/b":   `"**", which clients read differently`,
		"a**":      `"**", which clients read differently`,
		"a/?":      `'?', which clients may read differently`,
		"[a-z]/*":  `'[', which clients may read differently`,
		`a\*`:      `'\\', which clients may read differently`,
		"{a,b}/*":  `'{', which clients may read differently`,
		"!a":       `'!', which clients may read differently`,
		"#a":       `'#', which clients may read differently`,
		"@(a|b)":   `'(', which clients may read differently`,
		"größe/*":  `'ö', which clients may read differently`,
		"a b/*":    `' ', which clients may read differently`,
		"Django/*": `'D', which some clients take for the small letter on some systems`,
	} {
		require.EqualError(t, try(pattern), fmt.Sprintf("targets version 1: role \"a\": pattern %q: %s", pattern, want))
	}
}

func TestNewRoleRefuses(t *testing.T) {
	s := newStaff(t)
	for want, all := range map[string][]delegation.Delegation{
		`role "a": a threshold of 2 with 1 keys: it must be from 1 to the number of keys`: {{Name: "a", Keys: authority(2, s.signer("a")), Paths: []string{"*"}}},
		`role "a": it is delegated no paths`:                                              {{Name: "a", Keys: s.of("a")}},
		`role "a": both paths and hash prefixes`:                                          {{Name: "a", Keys: s.of("a"), Paths: []string{"*"}, HashPrefixes: everything}},
		`role "a b": a character other than letters, digits, "_", "." and "-"`:            {s.to("a b", false, "*")},
		`role "": an empty name`:                                                          {s.to("", false, "*")},
	} {
		_, err := delegation.NewRole("claimed", 7, expiry, all)
		require.EqualError(t, err, "claimed version 7: "+want)
	}
	_, err := delegation.NewRole("claimed", 7, expiry, []delegation.Delegation{s.to("a", false, "*"), s.to("a", false, "*")})
	require.EqualError(t, err, `targets: signed.delegations.roles[1]: "a" a second time`)
}

func TestRolesAndSets(t *testing.T) {
	s := newStaff(t)
	first, second := bins(t, "first", 2, delegation.Succinct), bins(t, "second", 256, delegation.Explicit)
	tree, err := delegation.NewTree(s.root(), documents{
		"targets": s.role("targets", append([]delegation.Delegation{s.to("a", false, "a/*"), s.to("b", false, "b/*"), s.to("c", false, "*")},
			second.Delegations(s.of("online"))...)...),
		"b": s.role("b", s.to("c", false, "*"), s.to("d", false, "*")),
		"d": s.bins("d", first),
		"c": s.sign(withTarget(t, nil), "c"),
	})
	require.NoError(t, err)
	role := func(name, delegator string, leaf bool) delegation.Role {
		return delegation.Role{Name: name, Set: -1, Leaf: leaf, Delegator: delegator, Keys: s.of(name)}
	}
	all := []delegation.Role{
		role("targets", "root", false), role("a", "targets", true), role("b", "targets", false), role("c", "b", true), role("d", "b", false),
	}
	requireSame := func(want, got delegation.Role) {
		t.Helper()
		require.Len(t, got.Keys.Keys, len(want.Keys.Keys))
		require.True(t, want.Keys.Keys[0].Same(got.Keys.Keys[0]))
		want.Keys.Keys, got.Keys.Keys = nil, nil
		require.Equal(t, want, got)
	}
	require.Len(t, tree.Roles(), len(all))
	for i, got := range tree.Roles() {
		requireSame(all[i], got)
		found, ok := tree.Role(got.Name)
		require.True(t, ok)
		requireSame(all[i], found)
	}
	sets := tree.Sets()
	require.Len(t, sets, 2)
	require.Equal(t, first, sets[0].Bins)
	require.Equal(t, "d", sets[0].Delegator)
	require.Equal(t, second, sets[1].Bins)
	require.Equal(t, "targets", sets[1].Delegator)
	for i, set := range sets {
		for k := range set.Len() {
			got, ok := tree.Role(set.Name(k))
			require.True(t, ok)
			requireSame(delegation.Role{Name: set.Name(k), Set: i, Bin: k, Leaf: true, Delegator: set.Delegator, Keys: s.of("online")}, got)
		}
	}
	for _, name := range []string{"", "root", "bins-0", "first-2", "second-0", "first", "D"} {
		_, ok := tree.Role(name)
		require.False(t, ok, name)
	}

	tree.Roles()[0].Name, tree.Sets()[0].Delegator = "x", "x" // copies
	require.Equal(t, "targets", tree.Roles()[0].Name)
	require.Equal(t, "d", tree.Sets()[0].Delegator)
}
