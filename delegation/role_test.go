package delegation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

var expiry = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

func signer(t testing.TB) keys.Signer {
	t.Helper()
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	return s
}

func authority(threshold int, signers ...keys.Signer) roles.Authority {
	a := roles.Authority{Threshold: threshold}
	for _, s := range signers {
		a.Keys = append(a.Keys, s.Public())
	}
	return a
}

// edited is the document that other software might have made of d.
func edited(t *testing.T, d *roles.Document[metadata.TargetsType], edit func(*metadata.TargetsType)) *roles.Document[metadata.TargetsType] {
	t.Helper()
	m, err := metadata.Targets().FromBytes(d.Bytes())
	require.NoError(t, err)
	edit(&m.Signed)
	d, err = roles.New(m.Signed)
	require.NoError(t, err)
	return d
}

func TestEveryFormParses(t *testing.T) {
	online := authority(1, signer(t))
	for n := range powers {
		for _, form := range []delegation.Form{delegation.Succinct, delegation.Explicit} {
			if n > 4096 && form == delegation.Explicit && !thorough.Long() {
				continue // seconds each
			}
			b := newBins(t, n, form)
			d, err := b.NewRole(3, expiry, online)
			require.NoError(t, err, "%d bins", n)
			require.Equal(t, int64(3), d.Version())
			parsed, err := delegation.Parse(d)
			require.NoError(t, err, "%d bins", n)
			require.Equal(t, b, parsed)

			for _, i := range []int{0, 1, n - 1} {
				a, err := roles.DelegatedAuthority(d, b.Name(i))
				require.NoError(t, err)
				require.Equal(t, 1, a.Threshold)
				require.Len(t, a.Keys, 1)
				require.Equal(t, online.Keys[0].ID(), a.Keys[0].ID())
			}
			_, err = roles.DelegatedAuthority(d, fmt.Sprintf("bins-%x", n))
			require.Error(t, err)
		}
	}
}

// Python's client asks whether the hexadecimal hash starts with a prefix.
func TestExplicitPrefixesPartitionTheHashes(t *testing.T) {
	online := authority(1, signer(t))
	most := 4096
	if thorough.Long() {
		most = 65536
	}
	for n := 2; n <= most; n *= 2 {
		b := newBins(t, n, delegation.Explicit)
		d, err := b.NewRole(1, expiry, online)
		require.NoError(t, err)
		bin := make(map[string]int)
		listed := d.Signed().Delegations.Roles
		require.Len(t, listed, n)
		width := len(listed[0].PathHashPrefixes[0])
		for i, role := range listed {
			require.True(t, role.Terminating)
			for _, p := range role.PathHashPrefixes {
				require.Len(t, p, width)
				_, taken := bin[p] // NotContains would compare with each
				require.False(t, taken, "%s", p)
				bin[p] = i
			}
		}
		require.Len(t, bin, 1<<(4*width), "prefixes of equal length that cover all hashes")
		for i := range 500 {
			path := fmt.Sprintf("%d/a b", i)
			require.Equal(t, bin[hash(path)[:width]], b.Find(path))
		}
	}
}

func TestGoTUFFindsTheBinBySuccinctRole(t *testing.T) {
	b := newBins(t, 16384, delegation.Succinct)
	d, err := b.NewRole(1, expiry, authority(1, signer(t)))
	require.NoError(t, err)
	m, err := metadata.Targets().FromBytes(d.Bytes())
	require.NoError(t, err)
	require.Equal(t, []metadata.RoleResult{{Name: b.Name(b.Find("a/b")), Terminating: true}},
		m.Signed.Delegations.GetRolesForTarget("a/b"))
}

func TestParseRefuses(t *testing.T) {
	online := authority(1, signer(t))
	succinct, err := newBins(t, 16, delegation.Succinct).NewRole(2, expiry, online)
	require.NoError(t, err)
	explicit, err := newBins(t, 4, delegation.Explicit).NewRole(2, expiry, online)
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		of   *roles.Document[metadata.TargetsType]
		edit func(*metadata.TargetsType)
		want string
	}{
		{"own targets", succinct, func(s *metadata.TargetsType) {
			s.Targets["a"] = &metadata.TargetFiles{Hashes: metadata.Hashes{"sha256": {1}}}
		}, "it has 1 targets of its own"},
		{"no delegation", succinct, func(s *metadata.TargetsType) { s.Delegations = nil }, "it delegates nothing"},
		{"too many bits", succinct, func(s *metadata.TargetsType) { s.Delegations.SuccinctRoles.BitLength = 32 }, "a bit_length of 32, at most 16"},
		{"bad prefix", succinct, func(s *metadata.TargetsType) { s.Delegations.SuccinctRoles.NamePrefix = ".x" }, `bins named ".x": it begins with a dot`},
		{"no roles", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles = []metadata.DelegatedRole{} }, "it delegates nothing"},
		{"a bin missing", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles = s.Delegations.Roles[:3] }, "3 bins: not a power of two from 2 to 65536"},
		{"half the bins", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles = s.Delegations.Roles[:2] },
			`delegations.roles[0] ("bins-0"): path_hash_prefixes ["0" "1" "2" "3"] instead of ["0" "1" "2" "3" "4" "5" "6" "7"]`},
		{"order", explicit, func(s *metadata.TargetsType) {
			r := s.Delegations.Roles
			r[1], r[2] = r[2], r[1]
		}, `delegations.roles[1] ("bins-2"): it should be "bins-1"`},
		{"odd first name", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles[0].Name = "x" }, `bins named "": an empty prefix`},
		{"other first name", explicit, func(s *metadata.TargetsType) {
			s.Delegations.Roles[0].Name = "bins-1"
			s.Delegations.Roles[1].Name = "y"
		},
			`delegations.roles[0] ("bins-1"): it should be "bins-0"`},
		{"prefixes", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles[3].PathHashPrefixes[3] = "F" },
			`delegations.roles[3] ("bins-3"): path_hash_prefixes ["c" "d" "e" "F"] instead of ["c" "d" "e" "f"]`},
		{"paths", explicit, func(s *metadata.TargetsType) {
			s.Delegations.Roles[3].PathHashPrefixes, s.Delegations.Roles[3].Paths = nil, []string{"*"}
		}, `delegations.roles[3] ("bins-3"): path_hash_prefixes [] instead of ["c" "d" "e" "f"]`},
		{"not terminating", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles[2].Terminating = false },
			`delegations.roles[2] ("bins-2"): it is not terminating`},
		{"threshold", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles[2].Threshold = 2 },
			`delegations.roles[2] ("bins-2"): others sign it than the first bin`},
		{"keys", explicit, func(s *metadata.TargetsType) { s.Delegations.Roles[2].KeyIDs = []string{"other"} },
			`delegations.roles[2] ("bins-2"): others sign it than the first bin`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := delegation.Parse(edited(t, c.of, c.edit))
			require.EqualError(t, err, "bins version 2: "+c.want)
		})
	}
}

func TestNewRoleRefusesAnAuthorityThatNobodyMeets(t *testing.T) {
	s := signer(t)
	_, err := newBins(t, 2, delegation.Succinct).NewRole(9, expiry, authority(2, s))
	require.EqualError(t, err, "bins version 9: a threshold of 2 with 1 keys: it must be from 1 to the number of keys")
	_, err = newBins(t, 2, delegation.Succinct).NewRole(9, expiry, authority(2, s, s))
	require.EqualError(t, err, "bins version 9: key "+s.Public().ID()+": named twice: list it once")
}

func TestTargets(t *testing.T) {
	a, b := signer(t), signer(t)
	targets, err := delegation.NewTargets(4, expiry, authority(2, a, b))
	require.NoError(t, err)
	require.NoError(t, delegation.CheckTargets(targets))
	require.Contains(t, string(targets.Bytes()), `"name":"bins","path_hash_prefixes":[""],"terminating":true,"threshold":2}]},"expires"`)
	require.Contains(t, string(targets.Bytes()), `"targets":{},`)

	role, err := newBins(t, 16, delegation.Succinct).NewRole(1, expiry, authority(1, a))
	require.NoError(t, err)
	who, err := roles.DelegatedAuthority(targets, delegation.BinsRole)
	require.NoError(t, err)
	require.Equal(t, 2, who.Threshold)
	role, err = role.Sign(t.Context(), a)
	require.NoError(t, err)
	require.EqualError(t, who.Verify(role), fmt.Sprintf("1 of 2 signatures: key %s: no signature", b.Public().ID()))
	role, err = role.Sign(t.Context(), b)
	require.NoError(t, err)
	require.NoError(t, who.Verify(role))

	m, err := metadata.Targets().FromBytes(targets.Bytes())
	require.NoError(t, err)
	signed, err := metadata.Targets().FromBytes(role.Bytes())
	require.NoError(t, err)
	require.NoError(t, m.VerifyDelegate(delegation.BinsRole, signed))
	for _, path := range []string{"a", "a/b/c", strings.Repeat("ü", 300)} {
		require.Equal(t, []metadata.RoleResult{{Name: "bins", Terminating: true}}, m.Signed.Delegations.GetRolesForTarget(path))
	}
}

func TestCheckTargetsRefuses(t *testing.T) {
	targets, err := delegation.NewTargets(4, expiry, authority(1, signer(t)))
	require.NoError(t, err)
	for want, edit := range map[string]func(*metadata.TargetsType){
		"it has 1 targets of its own": func(s *metadata.TargetsType) {
			s.Targets["a"] = &metadata.TargetFiles{Hashes: metadata.Hashes{"sha256": {1}}}
		},
		"it delegates nothing":                             func(s *metadata.TargetsType) { s.Delegations = nil },
		`it must delegate to the role "bins" and no other`: func(s *metadata.TargetsType) { s.Delegations.Roles[0].Name = "bin" },
		`it must delegate to the role "bins" and no other `: func(s *metadata.TargetsType) {
			other := s.Delegations.Roles[0]
			other.Name = "other"
			s.Delegations.Roles = append(s.Delegations.Roles, other)
		},
		`it must delegate every path to "bins" by the hash prefix ""`: func(s *metadata.TargetsType) {
			s.Delegations.Roles[0].PathHashPrefixes = []string{"0"}
		},
		`it delegates to bins itself, not to the role "bins"`: func(s *metadata.TargetsType) {
			s.Delegations.Roles = nil
			s.Delegations.SuccinctRoles = &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: 2, NamePrefix: "bins"}
		},
	} {
		require.EqualError(t, delegation.CheckTargets(edited(t, targets, edit)), "targets version 4: "+strings.TrimSpace(want))
	}
}
