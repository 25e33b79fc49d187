package delegation_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

func plan(t testing.TB, spec delegation.PlanSpec) delegation.Plan {
	t.Helper()
	p, err := delegation.NewPlan(spec)
	require.NoError(t, err)
	return p
}

// requireSize compares a planned size with a real file. Both tolerances are parts of the file's size.
func requireSize(t *testing.T, what string, planned delegation.Size, file []byte, raw, compressed float64) {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(file)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.InEpsilon(t, len(file), planned.Raw, raw, "%s", what)
	require.InEpsilon(t, z.Len(), planned.Gzip, compressed, "%s, with gzip", what)
}

func signers(t *testing.T, scheme string, n int) (all []keys.Signer) {
	t.Helper()
	for range n {
		generate := map[string]func() (*keys.MemorySigner, error){
			"ed25519": keys.GenerateEd25519, "ecdsa-sha2-nistp256": keys.GenerateP256, "rsassa-pss-sha256": keys.GenerateRSA,
		}[scheme]
		s, err := generate()
		require.NoError(t, err)
		all = append(all, s)
	}
	return all
}

func signed[T roles.Type](t *testing.T, d *roles.Document[T], by ...keys.Signer) []byte {
	t.Helper()
	for _, s := range by {
		var err error
		d, err = d.Sign(context.Background(), s)
		require.NoError(t, err)
	}
	return d.Bytes()
}

// What people sign is as long as planned.
func TestPlanDocuments(t *testing.T) {
	for _, spec := range []delegation.PlanSpec{
		{Targets: 1, Bins: 2},
		{Targets: 1000, Bins: 256, Form: delegation.Explicit},
		{Targets: 1000, Bins: 512},
		{Targets: 2_273_539, Bins: 16384},
		{
			Targets: 1, Bins: 4096, SnapshotScheme: "rsassa-pss-sha256", BinScheme: "ecdsa-sha2-nistp256",
			RootKeys: delegation.PlanKeys{Scheme: "ecdsa-sha2-nistp256", Keys: 5, Threshold: 3}, TargetsKeys: delegation.PlanKeys{Scheme: "rsassa-pss-sha256", Keys: 1, Threshold: 1},
			BinsKeys: delegation.PlanKeys{Scheme: "ecdsa-sha2-nistp256", Keys: 1, Threshold: 1},
		},
	} {
		p := plan(t, spec)
		s := p.Spec
		t.Run(fmt.Sprint(s.Bins, s.RootKeys.Scheme), func(t *testing.T) {
			root, targets, bins := signers(t, s.RootKeys.Scheme, s.RootKeys.Keys), signers(t, s.TargetsKeys.Scheme, s.TargetsKeys.Keys), signers(t, s.BinsKeys.Scheme, s.BinsKeys.Keys)
			top, online := signers(t, s.SnapshotScheme, 1), signers(t, s.BinScheme, 1)
			r, err := roles.NewRoot(roles.RootSpec{
				Version: 1, Expires: expiry, Root: authority(s.RootKeys.Threshold, root...), Targets: authority(s.TargetsKeys.Threshold, targets...),
				Snapshot: authority(1, top...), Timestamp: authority(1, top...),
			})
			require.NoError(t, err)
			requireSize(t, "root", p.Root, signed(t, r, root[:s.RootKeys.Threshold]...), 0.01, 0.03)

			d, err := delegation.NewTargets(1, expiry, authority(s.BinsKeys.Threshold, bins...))
			require.NoError(t, err)
			requireSize(t, "targets", p.Targets, signed(t, d, targets...), 0.01, 0.03)
			for form, planned := range map[delegation.Form]delegation.Size{delegation.Succinct: p.Succinct, delegation.Explicit: p.Explicit} {
				d, err := newBins(t, s.Bins, form).NewRole(1, expiry, authority(1, online...))
				require.NoError(t, err)
				requireSize(t, form.String(), planned, signed(t, d, bins...), 0.01, 0.03)
			}
			ts, err := roles.NewTimestamp(s.Generation, expiry, s.Generation, make([]byte, p.Snapshot.Raw))
			require.NoError(t, err)
			requireSize(t, "timestamp", p.Timestamp, signed(t, ts, top...), 0.01, 0.03)
		})
	}
}

func TestPlanBins(t *testing.T) {
	for _, c := range []struct {
		targets int
		hashes  []string
		custom  string
	}{
		{targets: 1},
		{targets: 139},
		{targets: 610, hashes: []string{"sha512", "sha256"}},
		{targets: 9000},
		{targets: 139, custom: `{"requires-python":">=3.9","yanked":false}`},
	} {
		t.Run(fmt.Sprint(c.targets, c.hashes, c.custom), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var edits []roles.TargetEdit
			paths := 0
			for range c.targets {
				target := upload(rng, c.hashes)
				if c.custom != "" {
					target.Custom = []byte(c.custom)
				}
				require.NoError(t, target.Validate())
				paths += len(target.Path)
				edits = append(edits, roles.TargetEdit{Path: target.Path, Target: &target})
			}
			p := plan(t, delegation.PlanSpec{
				Targets: 2 * c.targets, Bins: 2, Hashes: c.hashes, CustomBytes: len(c.custom),
				PathBytes: int(math.Round(float64(paths) / float64(c.targets))), PathHashDigits: 64, Generation: 123456,
			})
			b, err := roles.NewBin().Edit(123456, expiry, edits)
			require.NoError(t, err)
			file, err := b.Sign(t.Context(), signer(t))
			require.NoError(t, err)
			compressed := 0.03
			if c.custom != "" {
				compressed = 0.4 // the same for each target, here, which is the best case
			}
			requireSize(t, "bin", p.Bin, file, 0.01, compressed)
		})
	}
}

// upload is a target as PyPI has them.
func upload(rng *rand.Rand, hashes []string) roles.Target {
	names := strings.Fields("requests numpy pandas boto3 urllib3 certifi setuptools charset_normalizer python_dateutil typing_extensions " +
		"google_cloud_storage pyyaml aiobotocore protobuf cryptography django flask sqlalchemy scipy pydantic_core zope.interface " +
		"opentelemetry_exporter_otlp jupyter_client tensorflow_io_gcs_filesystem mypy_boto3_dynamodb types_toml pytest_asyncio llama_index")
	digits := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "%x", rng.IntN(16))
		}
		return b.String()
	}
	var letters strings.Builder // most names are unlike those of others
	for range 3 + rng.IntN(12) {
		letters.WriteByte("aeioutnsrlcdmpghykbf_"[rng.IntN(21)])
	}
	h := digits(64)
	t := roles.Target{
		Path: fmt.Sprintf("packages/%s/%s/%s/%s%s-%d.%d.%d%s", h[:2], h[2:4], h[4:], letters.String(), names[rng.IntN(len(names))][:3],
			rng.IntN(5), rng.IntN(20), rng.IntN(10), []string{".tar.gz", "-py3-none-any.whl"}[rng.IntN(2)]),
		Length: int64(math.Exp(9 + 7*rng.Float64())),
		Hashes: map[string]string{"sha256": digits(64)},
	}
	if slices.Contains(hashes, "sha512") {
		t.Hashes["sha512"] = digits(128)
	}
	return t
}

// A snapshot after weeks of uploads and renewals is as long as planned, and compresses as well.
func TestPlanSnapshots(t *testing.T) {
	for _, spec := range []delegation.PlanSpec{
		{Targets: 2_273_539, Bins: 16384, Uploads: 5000},
		{Targets: 2_273_539, Bins: 16384, Uploads: 20_000, Generations: 1440},
		{Targets: 2_273_539, Bins: 16384},
		{Targets: 100_000, Bins: 256, Uploads: 100},
		{Targets: 10_000_000, Bins: 65536, Uploads: 5000, BinRenewal: 24 * time.Hour},
		{Targets: 50_000_000, Bins: 2048, Uploads: 5000}, // it says how long they are
	} {
		p := plan(t, spec)
		s := p.Spec
		t.Run(fmt.Sprintf("%d bins, %d uploads", s.Bins, s.Uploads), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, 4))
			b := newBins(t, s.Bins, delegation.Succinct)
			signed := make([]int64, s.Bins)
			// The last days before the generation, as they might have been, in steps of generations.
			perDay := float64(p.Generations)
			period := int64(perDay * s.BinRenewal.Hours() / 24)
			for age := 2 * period; age >= 0; age-- {
				at := s.Generation - age
				for group := (at - 1) * 256 / period; group < at*256/period; group++ {
					for i := int(group % 256); i < s.Bins; i += 256 {
						signed[i] = at
					}
				}
				for n := rng.ExpFloat64() * float64(s.Uploads) / perDay; rng.Float64() < n; n-- {
					signed[rng.IntN(s.Bins)] = at
				}
			}
			edits := []roles.MetaEdit{{Role: metadata.TARGETS, Version: 1}, {Role: "bins", Version: 1}}
			for i, version := range signed {
				length := int64(0)
				if p.Bin.Raw > roles.MaxTargets {
					length = p.Bin.Raw + int64(rng.NormFloat64()*30_000)
				}
				edits = append(edits, roles.MetaEdit{Role: b.Name(i), Version: max(1, version), Length: length})
			}
			snapshot, err := roles.NewSnapshot().Edit(s.Generation, expiry, edits)
			require.NoError(t, err)
			file, err := snapshot.Sign(t.Context(), signers(t, s.SnapshotScheme, 1)[0])
			require.NoError(t, err)
			requireSize(t, "snapshot", p.Snapshot, file, 0.02, 0.05)
		})
	}
}

// PEP 458 estimates sizes from constants (its tables 2 and 3). Those that it means are planned too.
func TestPlanCorrectsPEP458(t *testing.T) {
	const (
		digest, keyID, path, length, version = 128, 64, 256, 7, 6 // C1, C2, C5 to C7
		targets, download, n                 = 2_273_539, 2_184_393, 16384
	)
	perBin := (targets + n - 1) / n
	bin := perBin * (digest + path + length)
	bins := n*keyID + 4*65536
	snapshot := n * version
	same, other := 2*bin, 2*bin+snapshot
	percent := func(bytes int) int { return int(math.Round(float64(bytes) * 100 / download)) }
	require.Equal(t, []int{139, 54_349, 1_310_720, 98_304}, []int{perBin, bin, bins, snapshot})
	require.Equal(t, []int{108_698, 207_002, 1_517_722}, []int{same, other, other + bins})
	require.Equal(t, []int{5, 9, 69}, []int{percent(same), percent(other), percent(other + bins)})

	// The PEP's form, with its paths and its number of lookups. A target of ours has a SHA-256.
	p := plan(t, delegation.PlanSpec{
		Targets: targets, Bins: n, Form: delegation.Explicit, Lookups: 2, PathBytes: path, PathHashDigits: 64, Generation: 999_999, Uploads: 1440,
	})
	require.InEpsilon(t, perBin*(path+4+105), p.Bin.Raw, 0.01)
	require.InEpsilon(t, n*36, p.Snapshot.Raw, 0.01, "names, and not only versions")
	require.Greater(t, p.Snapshot.Raw, int64(5*snapshot))
	require.Greater(t, p.Explicit.Raw, int64(2*bins))
	require.InDelta(t, 32, percent(int(p.Visits[2].Other.Raw)), 1, "instead of 9 %%")
	require.InDelta(t, 169, percent(int(p.New.Raw)), 1, "instead of 69 %%")

	// The same with PyPI's paths, and one lookup.
	p = plan(t, delegation.PlanSpec{Targets: targets, Bins: n, Uploads: 1440})
	require.Equal(t, 28, percent(int(p.Visits[2].Other.Raw)))
	require.InDelta(t, 4, percent(int(p.Visits[2].Other.Gzip)), 1)
}

func TestPlanOfTheBestNumberOfBins(t *testing.T) {
	for _, spec := range []delegation.PlanSpec{
		{Targets: 100_000, Uploads: 300, Lookups: 12},
		{Targets: 1_000_000_000},
	} {
		var raw, compressed int
		var best delegation.Plan
		var least delegation.Size
		for n := range powers {
			spec.Bins = n
			p := plan(t, spec)
			pays := delegation.Size{
				Raw:  p.Snapshot.Raw + int64(p.Spec.Lookups)*p.Bin.Raw,
				Gzip: p.Snapshot.Gzip + int64(p.Spec.Lookups)*p.Bin.Gzip,
			}
			if p.Fullest.Raw > roles.MaxTargetsWithLength && n < 65536 {
				continue
			}
			if raw == 0 || pays.Raw < least.Raw {
				raw, least.Raw = n, pays.Raw
			}
			if compressed == 0 || pays.Gzip < least.Gzip {
				compressed, least.Gzip = n, pays.Gzip
			}
			best = p
		}
		require.Equal(t, []int{raw, compressed}, []int{best.BestRaw, best.BestGzip}, "%d targets", spec.Targets)
	}
	p := plan(t, delegation.PlanSpec{Targets: 2_300_000, Bins: 16384, Uploads: 5000})
	require.Equal(t, 4096, p.BestRaw)
	require.Equal(t, 8192, plan(t, delegation.PlanSpec{Targets: 10_000_000, Bins: 2, Uploads: 5000}).BestRaw)
}

// The names of the smaller number are the first names of the greater one.
func TestPlanOfGrowth(t *testing.T) {
	names := func(n int) (all []string) {
		b := newBins(t, n, delegation.Succinct)
		for i := range n {
			all = append(all, b.Name(i))
		}
		return all
	}
	most := names(65536)
	for n := range powers {
		p := plan(t, delegation.PlanSpec{Targets: 10, Bins: n})
		require.Equal(t, names(n), names(p.GrowsTo)[:n])
		require.Equal(t, n >= p.LeastToGrow, slices.Equal(names(n), most[:n]), "%d bins", n)
		require.Equal(t, n >= p.LeastToGrow, p.GrowsTo == 65536)
	}
}

func TestPlanOfVisits(t *testing.T) {
	busy := plan(t, delegation.PlanSpec{Targets: 2_273_539, Bins: 16384, Uploads: 5000})
	require.Len(t, busy.Visits, 3)
	require.Equal(t, []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}, []time.Duration{busy.Visits[0].After, busy.Visits[1].After, busy.Visits[2].After})
	top := busy.Timestamp.Raw + busy.Snapshot.Raw
	for _, v := range busy.Visits {
		require.Equal(t, top+busy.Bin.Raw, v.Other.Raw)
	}
	// Within an hour a bin seldom changes. In a week it is renewed.
	hour := (5000./16384 + 1/3.5) / 24
	require.InEpsilon(t, float64(top)+hour*float64(busy.Bin.Raw), busy.Visits[0].Again.Raw, 0.001)
	require.Equal(t, busy.Visits[2].Other, busy.Visits[2].Again)
	require.Equal(t, busy.New.Raw, top+busy.Targets.Raw+busy.Succinct.Raw+busy.Bin.Raw)

	// Nothing is uploaded: the snapshot changes with the timestamp, every 12 hours.
	quiet := plan(t, delegation.PlanSpec{Targets: 10, Bins: 2})
	require.InDelta(t, quiet.Timestamp.Raw+quiet.Snapshot.Raw/12, quiet.Visits[0].Again.Raw-quiet.Bin.Raw/84, 2)
	require.Equal(t, quiet.Timestamp.Raw+quiet.Snapshot.Raw, quiet.Visits[1].Other.Raw-quiet.Bin.Raw)
	require.EqualValues(t, 2, quiet.Generations)
	require.EqualValues(t, 1, quiet.BinSignatures)
}

func TestPlanWarns(t *testing.T) {
	for _, c := range []struct {
		spec  delegation.PlanSpec
		says  []string
		never []string
	}{
		{delegation.PlanSpec{Targets: 1, Bins: 2048}, []string{"tough can't follow"}, []string{"JavaScript", "snapshot", "go-tuf", "fullest", "Root"}},
		{delegation.PlanSpec{Targets: 1, Bins: 4096}, []string{"JavaScript"}, nil},
		{delegation.PlanSpec{Targets: 2_273_539, Bins: 16384, Form: delegation.Explicit}, []string{"go-tuf up to 2.4.2", "tough reads all 16,384 bins at each refresh: 511,"}, []string{`The role "bins" has`}},
		{delegation.PlanSpec{Targets: 1, Bins: 32768, Form: delegation.Explicit}, []string{`The role "bins" has 5,538,577 bytes`, "only because the snapshot says"}, nil},
		{delegation.PlanSpec{Targets: 1, Bins: 65536, Form: delegation.Explicit}, []string{`The role "bins" has 10,61`, "Choose the succinct form", "The snapshot has 2,"}, nil},
		{delegation.PlanSpec{Targets: 48_000 * 256, Bins: 256}, []string{"The fullest bin has 10,", "Choose more bins"}, nil},
		{delegation.PlanSpec{Targets: 42_000 * 256, Bins: 256}, []string{"The fullest bin has 9,", "The limit of some clients is 10,000,000"}, nil},
		{delegation.PlanSpec{Targets: 25_000 * 256, Bins: 256}, []string{"The fullest bin has 5,", "only because"}, nil},
		{delegation.PlanSpec{Targets: 21_000 * 256, Bins: 256}, []string{"The fullest bin has 4,", "Above 5,000,000"}, nil},
		{delegation.PlanSpec{Targets: 20_000 * 2, Bins: 2, RootKeys: delegation.PlanKeys{Scheme: "rsassa-pss-sha256", Keys: 600, Threshold: 2}}, []string{"Have fewer keys"}, nil},
	} {
		all := strings.Join(plan(t, c.spec).Warnings, "\n")
		for _, s := range c.says {
			require.Contains(t, all, s, "%+v", c.spec)
		}
		for _, s := range c.never {
			require.NotContains(t, all, s)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	good := delegation.PlanSpec{Targets: 1000, Bins: 16, Uploads: 10}
	for says, change := range map[string]func(*delegation.PlanSpec){
		"Targets is 0: not from 1":                                   func(s *delegation.PlanSpec) { s.Targets = 0 },
		"Targets is -5":                                              func(s *delegation.PlanSpec) { s.Targets = -5 },
		"Bins or Form: 0 bins: not a power":                          func(s *delegation.PlanSpec) { s.Bins = 0 },
		"Bins or Form: 1000 bins":                                    func(s *delegation.PlanSpec) { s.Bins = 1000 },
		"Bins or Form: 131072 bins":                                  func(s *delegation.PlanSpec) { s.Bins = 131072 },
		"Bins or Form: unknown form":                                 func(s *delegation.PlanSpec) { s.Form = 7 },
		"Uploads is -1":                                              func(s *delegation.PlanSpec) { s.Uploads = -1 },
		"Uploads is 100000001: not from 0 to":                        func(s *delegation.PlanSpec) { s.Uploads = 100_000_001 },
		"Generations is 11: not from 0 to 10, the number of Uploads": func(s *delegation.PlanSpec) { s.Generations = 11 },
		"Generation is -1":                                           func(s *delegation.PlanSpec) { s.Generation = -1 },
		"Lookups is -1":                                              func(s *delegation.PlanSpec) { s.Lookups = -1 },
		"PathBytes is 0":                                             func(s *delegation.PlanSpec) { s.PathHashDigits = 5 },
		"PathBytes is 5000":                                          func(s *delegation.PlanSpec) { s.PathBytes = 5000 },
		"PathHashDigits is 65: not from 0 to 64, the number of PathBytes": func(s *delegation.PlanSpec) { s.PathBytes, s.PathHashDigits = 64, 65 },
		`Hashes: "md5" is unknown`:                                        func(s *delegation.PlanSpec) { s.Hashes = []string{"sha256", "md5"} },
		`Hashes: "sha256" is unknown or named`:                            func(s *delegation.PlanSpec) { s.Hashes = []string{"sha256", "sha256"} },
		`Hashes: ["sha512"]: every target`:                                func(s *delegation.PlanSpec) { s.Hashes = []string{"sha512"} },
		"CustomBytes is 65537":                                            func(s *delegation.PlanSpec) { s.CustomBytes = 65537 },
		"BinRenewal is -1h0m0s":                                           func(s *delegation.PlanSpec) { s.BinRenewal = -time.Hour },
		"SnapshotRenewal is 1ms":                                          func(s *delegation.PlanSpec) { s.SnapshotRenewal = time.Millisecond },
		`RootKeys.Scheme: "" is not one of`:                               func(s *delegation.PlanSpec) { s.RootKeys.Keys = 3 },
		"TargetsKeys: a threshold of 3 with 2": func(s *delegation.PlanSpec) {
			s.TargetsKeys = delegation.PlanKeys{Scheme: "ed25519", Keys: 2, Threshold: 3}
		},
		"BinsKeys: a threshold of 0":                   func(s *delegation.PlanSpec) { s.BinsKeys = delegation.PlanKeys{Scheme: "ed25519", Keys: 2} },
		`BinScheme: "ecdsa-sha2-nistp384" is not`:      func(s *delegation.PlanSpec) { s.BinScheme = "ecdsa-sha2-nistp384" },
		`SnapshotScheme: "rsa" is not one of ed25519,`: func(s *delegation.PlanSpec) { s.SnapshotScheme = "rsa" },
	} {
		spec := good
		change(&spec)
		p, err := delegation.NewPlan(spec)
		require.ErrorContains(t, err, "plan: "+says)
		require.Zero(t, p)
	}
}

func TestPlanIsTheSameEachTime(t *testing.T) {
	spec := delegation.PlanSpec{Targets: 100_000, Bins: 256, Uploads: 100}
	first := plan(t, spec)
	require.Equal(t, first, plan(t, spec))
	require.Equal(t, first, plan(t, first.Spec), "the spec with its defaults gives the same plan")
}
