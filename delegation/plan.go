package delegation

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// PlanSpec says what a repository holds and how it is used. Targets and Bins are required.
// The zero value of every other field is a good default. NewPlan refuses a negative number in
// any field.
type PlanSpec struct {
	// Targets is how many target files there are, at most 2,000,000,000. Bins is how many bins, as
	// for New. Form is how the role "bins" describes them.
	Targets int  `json:"targets"`
	Bins    int  `json:"bins"`
	Form    Form `json:"-"`

	// Uploads is how many targets are added, replaced or removed a day, at most 100 million.
	// Zero: none.
	Uploads int `json:"uploads"`
	// Generations is how many generations a day publish uploads, at most one for each. Zero: one
	// for each upload, but no two in the same second, which is the default of
	// repository.Config.MaxDelay. Generations that only renew come in addition.
	Generations int `json:"generations"`
	// Generation is the number of the generation that is described. Versions have as many digits
	// as it. Zero: the one that is published a year after the first.
	Generation int64 `json:"generation"`
	// Lookups is how many targets a client asks for in one visit, each in a bin of its own.
	// Zero: 1. PEP 458 counts 2, a file and its project's page.
	Lookups int `json:"lookups"`

	// PathBytes is how long the path of a target is on average, in bytes. PathHashDigits is how
	// many of them are digits of a hash, which can't be compressed. If both are zero, they are
	// those of PyPI: 113 and 64.
	PathBytes      int `json:"path_bytes"`
	PathHashDigits int `json:"path_hash_digits"`
	// Hashes are the algorithms of a target's hashes, as in roles.Target. "sha256" must be one
	// of them. Nil: no other.
	Hashes []string `json:"hashes"`
	// CustomBytes is how many bytes of custom data a target has on average, as canonical JSON.
	// They are taken to compress as little as the names of files. Zero: no custom data.
	CustomBytes int `json:"custom_bytes"`

	// BinRenewal and SnapshotRenewal are the ages at which a bin, and the snapshot with the
	// timestamp, are signed again. They are at least a second. Zero: half of the lifetimes in
	// repository.Config, which are 84 hours and 12 hours.
	BinRenewal      time.Duration `json:"bin_renewal_ns"`
	SnapshotRenewal time.Duration `json:"snapshot_renewal_ns"`

	// RootKeys, TargetsKeys and BinsKeys sign root, targets and the role "bins". Zero: any 2 of
	// 3 Ed25519 keys for root, and 2 of 2 for each of the other two.
	RootKeys    PlanKeys `json:"root_keys"`
	TargetsKeys PlanKeys `json:"targets_keys"`
	BinsKeys    PlanKeys `json:"bins_keys"`
	// BinScheme and SnapshotScheme are the schemes of the online keys. There is one key for all
	// bins, and one for snapshot and timestamp. Zero: "ed25519" and "ecdsa-sha2-nistp256".
	BinScheme      string `json:"bin_scheme"`
	SnapshotScheme string `json:"snapshot_scheme"`
}

// PlanKeys are the keys of a role. All have one scheme, as TUF names it: "ed25519",
// "ecdsa-sha2-nistp256" or "rsassa-pss-sha256". RSA keys count as 3,072 bits.
type PlanKeys struct {
	Scheme    string `json:"scheme"`
	Keys      int    `json:"keys"`
	Threshold int    `json:"threshold"` // how many sign
}

// Size is how many bytes a client receives: as published, and with gzip.
type Size struct {
	Raw  int64 `json:"raw"`
	Gzip int64 `json:"gzip"`
}

func (s Size) plus(t Size) Size { return Size{s.Raw + t.Raw, s.Gzip + t.Gzip} }

func (s Size) times(f float64) Size {
	return Size{int64(math.Round(f * float64(s.Raw))), int64(math.Round(f * float64(s.Gzip)))}
}

// Plan is what a repository will cost. Sizes don't include HTTP's headers.
type Plan struct {
	Spec PlanSpec `json:"spec"` // as given, with the defaults filled in

	// The documents. Succinct and Explicit are the role "bins" in either form. Bin has the average
	// number of targets, rounded up. Fullest is the largest bin to expect: hashes don't spread
	// targets evenly.
	Root      Size `json:"root"`
	Timestamp Size `json:"timestamp"`
	Snapshot  Size `json:"snapshot"`
	Targets   Size `json:"targets"`
	Succinct  Size `json:"succinct"`
	Explicit  Size `json:"explicit"`
	Bin       Size `json:"bin"`
	Fullest   Size `json:"fullest"`

	// New is what a client downloads that has only the newest root.
	New Size `json:"new"`
	// Visits are what a client downloads that was here an hour, a day and a week ago.
	Visits []Visit `json:"visits"`

	// Generations is how many there are a day, of which each signs a snapshot and a timestamp.
	// BinSignatures is how many bins are signed a day.
	Generations   int64 `json:"generations"`
	BinSignatures int64 `json:"bin_signatures"`
	// Stored is how many bytes of metadata a day are written into the store. Collection deletes
	// about as many, a grace period later. Target files and the journal aren't included.
	Stored int64 `json:"stored"`

	// BestRaw and BestGzip are the numbers of bins at which a returning client pays least, if
	// the snapshot changed and it has none of the bins: without and with compression.
	BestRaw  int `json:"best_raw"`
	BestGzip int `json:"best_gzip"`
	// GrowsTo is the greatest number of bins to which these can be resized without leaving a name
	// behind. With that many bins, names still have the same number of hexadecimal digits.
	// LeastToGrow is the smallest number of bins that can be resized to 65,536 in this way.
	GrowsTo     int `json:"grows_to"`
	LeastToGrow int `json:"least_to_grow"`

	// Warnings are limits of clients that are exceeded or near, in sentences.
	Warnings []string `json:"warnings"`
}

// Visit is what a client downloads on average that returns. It has the newest root and the role
// "bins", which change at ceremonies only.
type Visit struct {
	After time.Duration `json:"after_ns"` // since its last visit
	Again Size          `json:"again"`    // it asks for the targets for which it asked last time
	Other Size          `json:"other"`    // it asks for others, in bins that it doesn't have
}

// NewPlan computes what a repository will cost its clients and its publisher (PEP 458, Metadata
// Scalability). Raw sizes are exact but for the digits of versions and lengths. The ones with
// gzip, at its default level, are measured on made-up documents of the same form, and exact within
// some 5 %. Equal specs give equal plans. The error names the field that can't be. Cost: some 100 ms.
func NewPlan(spec PlanSpec) (Plan, error) {
	s, err := spec.withDefaults()
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Spec: s}
	rates := s.rates()
	p.Generations = int64(math.Ceil(rates.generations))
	p.BinSignatures = int64(math.Ceil(rates.binSignatures))
	if s.Generation == 0 {
		s.Generation = 1 + int64(365*rates.generations)
		p.Spec.Generation = s.Generation
	}

	m := newMockup(s, rates)
	p.Root, p.Targets = sizeOf(m.root()), sizeOf(m.targets())
	p.Succinct = sizeOf(m.succinct())
	p.Explicit = m.explicit().size(s.Bins)
	bins := m.bin()
	p.Bin, p.Fullest = bins.size(perBin(s.Targets, s.Bins)), bins.size(fullest(s.Targets, s.Bins))
	delegating := p.Succinct
	if s.Form == Explicit {
		delegating = p.Explicit
	}
	if p.Fullest.Raw > roles.MaxTargets {
		m.lengths = p.Bin.Raw
	}
	p.Snapshot = m.snapshot(s.Bins).size(s.Bins)
	p.Timestamp = sizeOf(m.timestamp(p.Snapshot.Raw))
	p.Stored = int64(rates.generations*float64(p.Snapshot.Raw) + rates.binSignatures*float64(p.Bin.Raw))

	read := p.Bin.times(float64(s.Lookups))
	p.New = p.Timestamp.plus(p.Snapshot).plus(p.Targets).plus(delegating).plus(read)
	for _, after := range []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		top := p.Timestamp.plus(p.Snapshot.times(rates.snapshotChanges(after)))
		p.Visits = append(p.Visits, Visit{
			After: after,
			Again: top.plus(read.times(rates.binChanges(after))),
			Other: top.plus(read),
		})
	}

	p.BestRaw, p.BestGzip = m.best(bins)
	p.GrowsTo, p.LeastToGrow = 1<<(4*digitsOf(s.Bins)), maxBins
	for digitsOf(p.LeastToGrow/2) == digitsOf(maxBins) {
		p.LeastToGrow /= 2
	}
	p.Warnings = p.warn(delegating)
	return p, nil
}

// perBin is how many targets a bin has on average, rounded up.
func perBin(targets, bins int) int { return (targets + bins - 1) / bins }

// fullest is how many targets the fullest bin has: the numbers are distributed like Poisson's,
// and the largest of n such is seldom more than this.
func fullest(targets, bins int) int {
	mean, n := float64(targets)/float64(bins), math.Log(float64(bins))
	return min(targets, int(math.Ceil(mean+math.Sqrt(2*mean*n)+n/3)))
}

// digitsOf is how many hexadecimal digits the names of n bins have.
func digitsOf(n int) int { return Bins{n: n}.digits() }

func (s PlanSpec) withDefaults() (PlanSpec, error) {
	if _, err := New(BinsRole, s.Bins, s.Form); err != nil {
		return s, fmt.Errorf("plan: Bins or Form: %w", err)
	}
	if s.PathBytes == 0 && s.PathHashDigits == 0 {
		s.PathBytes, s.PathHashDigits = 113, 64
	}
	for _, f := range []struct {
		name     string
		v        int
		min, max int
	}{
		{"Targets", s.Targets, 1, 2_000_000_000},
		{"Uploads", s.Uploads, 0, 100_000_000},
		{"Generations", s.Generations, 0, s.Uploads},
		{"Lookups", s.Lookups, 0, 1_000_000},
		{"PathBytes", s.PathBytes, 1, 4096},
		{"PathHashDigits", s.PathHashDigits, 0, s.PathBytes},
		{"CustomBytes", s.CustomBytes, 0, 64 << 10},
	} {
		if f.v >= f.min && f.v <= f.max {
			continue
		}
		limit := thousands(int64(f.max))
		switch f.name {
		case "Generations":
			limit += ", the number of Uploads"
		case "PathHashDigits":
			limit += ", the number of PathBytes"
		}
		return s, fmt.Errorf("plan: %s is %d: not from %d to %s", f.name, f.v, f.min, limit)
	}
	if s.Generation < 0 || s.Generation > maxGeneration {
		return s, fmt.Errorf("plan: Generation is %d: not from 1 to 2^53-1", s.Generation)
	}
	s.Lookups = max(s.Lookups, 1)

	s.Hashes = slices.Sorted(slices.Values(s.Hashes))
	if len(s.Hashes) == 0 {
		s.Hashes = []string{"sha256"}
	}
	for i, name := range s.Hashes {
		if roles.NewHash(name) == nil || i > 0 && s.Hashes[i-1] == name {
			return s, fmt.Errorf("plan: Hashes: %q is unknown or named twice", name)
		}
	}
	if !slices.Contains(s.Hashes, "sha256") {
		return s, fmt.Errorf("plan: Hashes: %q: every target must have sha256", s.Hashes)
	}

	for _, f := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"BinRenewal", &s.BinRenewal, 84 * time.Hour},
		{"SnapshotRenewal", &s.SnapshotRenewal, 12 * time.Hour},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < time.Second {
			return s, fmt.Errorf("plan: %s is %v: want at least a second", f.name, *f.v)
		}
	}
	for _, f := range []struct {
		name string
		v    *PlanKeys
		def  PlanKeys
	}{
		{"RootKeys", &s.RootKeys, PlanKeys{metadata.KeySchemeEd25519, 3, 2}},
		{"TargetsKeys", &s.TargetsKeys, PlanKeys{metadata.KeySchemeEd25519, 2, 2}},
		{"BinsKeys", &s.BinsKeys, PlanKeys{metadata.KeySchemeEd25519, 2, 2}},
	} {
		if *f.v == (PlanKeys{}) {
			*f.v = f.def
		}
		if err := checkScheme(f.v.Scheme); err != nil {
			return s, fmt.Errorf("plan: %s.Scheme: %w", f.name, err)
		}
		if f.v.Threshold < 1 || f.v.Threshold > f.v.Keys || f.v.Keys > 1000 {
			return s, fmt.Errorf("plan: %s: a threshold of %d with %d keys: want at least 1, no more than there are keys, and at most 1,000 keys", f.name, f.v.Threshold, f.v.Keys)
		}
	}
	for _, f := range []struct {
		name string
		v    *string
		def  string
	}{
		{"BinScheme", &s.BinScheme, metadata.KeySchemeEd25519},
		{"SnapshotScheme", &s.SnapshotScheme, metadata.KeySchemeECDSA_SHA2_P256},
	} {
		if *f.v == "" {
			*f.v = f.def
		}
		if err := checkScheme(*f.v); err != nil {
			return s, fmt.Errorf("plan: %s: %w", f.name, err)
		}
	}
	return s, nil
}

// maxGeneration is the greatest version that every client reads.
const maxGeneration = 1<<53 - 1

// renewGroups is in how many groups the publisher renews bins. Package repository has the same
// number, and a test there compares the two.
const renewGroups = 256

// rates are what happens a day.
type rates struct {
	bins                        float64
	uploads                     float64 // generations that publish uploads
	generations                 float64 // all
	touched                     float64 // bins signed because of uploads
	binSignatures               float64 // all
	binRenewal, snapshotRenewal float64 // in days
}

func (s PlanSpec) rates() rates {
	const day = float64(24 * time.Hour)
	r := rates{bins: float64(s.Bins), uploads: float64(s.Generations)}
	r.binRenewal, r.snapshotRenewal = float64(s.BinRenewal)/day, float64(s.SnapshotRenewal)/day
	uploads := float64(s.Uploads)
	if s.Generations == 0 {
		r.uploads = uploads / (1 + uploads/86_400) // those that come within a second of another join the next
	}
	renewals := min(r.bins, renewGroups) / r.binRenewal
	r.generations = max(r.uploads+renewals, 1/r.snapshotRenewal)
	if r.uploads > 0 { // how many different bins the uploads of one generation fall into
		r.touched = r.uploads * r.bins * -math.Expm1(uploads/r.uploads*math.Log1p(-1/r.bins))
	}
	r.binSignatures = r.touched + r.bins/r.binRenewal
	r.snapshotRenewal = min(r.snapshotRenewal, 1/renewals)
	return r
}

// snapshotChanges is how likely there is another snapshot after some time, and binChanges the same
// for a bin: uploads come by chance, renewals regularly.
func (r rates) snapshotChanges(after time.Duration) float64 {
	return changes(after, r.uploads, r.snapshotRenewal)
}

func (r rates) binChanges(after time.Duration) float64 {
	return changes(after, r.touched/r.bins, r.binRenewal)
}

func changes(after time.Duration, uploads, renewal float64) float64 {
	days := after.Hours() / 24
	return 1 - math.Exp(-uploads*days)*max(0, 1-days/renewal)
}

// best returns the numbers of bins at which a client pays least for a snapshot and the bins that
// it reads. bin is the same for each number.
func (m *mockup) best(bin *large) (raw, gzip int) {
	var least Size
	for n := minBins; n <= maxBins; n *= 2 {
		s := m.PlanSpec
		s.Bins = n
		full, average := bin.size(fullest(s.Targets, n)).Raw, bin.size(perBin(s.Targets, n))
		if full > roles.MaxTargetsWithLength && n < maxBins {
			continue // nobody could publish it
		}
		at := newMockup(s, s.rates())
		if full > roles.MaxTargets {
			at.lengths = average.Raw
		}
		pays := at.snapshot(n).size(n).plus(average.times(float64(s.Lookups)))
		if raw == 0 || pays.Raw < least.Raw {
			raw, least.Raw = n, pays.Raw
		}
		if gzip == 0 || pays.Gzip < least.Gzip {
			gzip, least.Gzip = n, pays.Gzip
		}
	}
	return raw, gzip
}

func (p Plan) warn(delegating Size) (all []string) {
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	bins, s := thousands(int64(p.Spec.Bins)), p.Spec
	if s.Form == Explicit {
		add("go-tuf up to 2.4.2 can't follow the explicit form.")
		add("tough reads all %s bins at each refresh: %s bytes.", bins, thousands(int64(s.Bins)*p.Bin.Raw))
	} else {
		add("tough can't follow the succinct form.")
	}
	if s.Bins > 2048 {
		add("JavaScript clients need time with the square of the number of bins: minutes with 16,384. With up to 2,048 it is under a second.")
	}
	if p.Root.Raw > roles.MaxRoot/10*9 {
		add("Root has %s bytes, and clients read %s. Have fewer keys.", thousands(p.Root.Raw), thousands(roles.MaxRoot))
	}
	if p.Snapshot.Raw > roles.MaxSnapshot {
		add("The snapshot has %s bytes. Clients read more than %s only because the timestamp says how long it is.", thousands(p.Snapshot.Raw), thousands(roles.MaxSnapshot))
	}
	limits := func(what, remedy string, bytes int64) {
		switch {
		case bytes > roles.MaxTargetsWithLength:
			add("%s has %s bytes. That is over %s, which is all that some clients read. %s", what, thousands(bytes), thousands(roles.MaxTargetsWithLength), remedy)
		case bytes > roles.MaxTargetsWithLength/10*9:
			add("%s has %s bytes. The limit of some clients is %s. %s", what, thousands(bytes), thousands(roles.MaxTargetsWithLength), remedy)
		case bytes > roles.MaxTargets:
			add("%s has %s bytes. Clients read more than %s only because the snapshot says how long it is.", what, thousands(bytes), thousands(roles.MaxTargets))
		case bytes > roles.MaxTargets/10*9:
			add("%s has %s bytes. Above %s the snapshot has to say how long it is.", what, thousands(bytes), thousands(roles.MaxTargets))
		}
	}
	limits(`The role "bins"`, "Choose the succinct form, or fewer bins.", delegating.Raw)
	limits("The fullest bin", "Choose more bins.", p.Fullest.Raw)
	return all
}

// thousands is n with a comma between thousands.
func thousands(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
