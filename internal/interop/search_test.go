package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// searchers have the ways to look for a path, which may skip the test. Each returns the
// roles that the client asked for, in its order.
var searchers = map[string]func(t *testing.T, f *forest) func(lookup) []string{
	"go-tuf":     func(t *testing.T, f *forest) func(lookup) []string { return f.askGoTUF },
	"python-tuf": startPython,
}

// A lookup is a path that a client who knows nothing but root 1 looks for.
type lookup struct {
	Documents map[string]string `json:"documents"` // the targets metadata that isn't empty, by role
	Path      string            `json:"path"`
}

// In random trees, Tree.Search is the order in which clients ask for roles. The paths
// are in no role, so that a client asks for all of them. 10,000 trees take a minute and a half,
// so that by default there are fewer.
func TestSearchOrder(t *testing.T) {
	trees := 1_000
	switch {
	case required():
		trees = 10_000
	case testing.Short():
		trees = 300
	}
	for name, start := range searchers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForest(t, maxRoles)
			f.prefixes = name != "go-tuf" // which can't follow them (2.4.2)
			ask := start(t, f)
			visited, bins := 0, 0
			for range trees {
				grown, at := f.grow(), f.path()
				tree := f.tree(grown)
				want, l := tree.Search(at), lookup{files(grown), at}
				if got := ask(l); !slices.Equal(want, got) {
					require.Equal(t, want, got, "%q in %v", at, l.Documents)
				}
				visited += len(want)
				if role, ok := tree.Role(want[len(want)-1]); ok && role.Set >= 0 {
					bins++
				}
			}
			t.Logf("%d trees, %d roles asked, %d searches ended in a bin", trees, visited, bins)
			require.Greater(t, visited, 3*trees, "the trees are too small to show anything")
			require.Greater(t, bins, trees/5)
		})
	}
}

// Clients give up after 33 roles, and so does Tree.Search, but all clients get to the
// end of the longest way that NewTree lets through.
func TestSearchEnds(t *testing.T) {
	for name, start := range searchers {
		t.Run(name, func(t *testing.T) {
			f := newForest(t, 40)
			ask := start(t, f)
			var wide []delegation.Delegation
			for i := range 40 {
				wide = append(wide, f.to(i, false, "*"))
			}
			deep := documents{"targets": f.role(f.to(0, false, "*"))}
			for i := range 31 {
				deep[roleName(i)] = f.role(f.to(i+1, false, "*"))
			}
			for _, grown := range []documents{{"targets": f.role(wide...)}, deep} {
				want := f.tree(grown).Search("x")
				require.Len(t, want, 33)
				require.Equal(t, want, ask(lookup{files(grown), "x"}))
			}
		})
	}
}

type documents = map[string]*roles.Document[metadata.TargetsType]

// forest makes repositories all of whose roles one key signs, so that they differ in
// the few documents that delegate.
type forest struct {
	t        *testing.T
	random   *rand.Rand
	prefixes bool // delegate by hash prefixes too
	signer   keys.Signer
	keys     roles.Authority
	expires  time.Time
	root     *roles.Document[metadata.RootType]
	fixed    map[string]string // all files but the documents of the tree
	leaf     string            // the document of a role without targets or delegations
}

const (
	maxRoles = 10 // below targets
	maxSets  = 2
)

func roleName(i int) string  { return fmt.Sprintf("r%d", i) }
func setPrefix(i int) string { return fmt.Sprintf("s%d", i) }

func newForest(t *testing.T, roleCount int) *forest {
	signer, err := keys.GenerateEd25519()
	require.NoError(t, err)
	f := &forest{
		t: t, random: rand.New(rand.NewPCG(11, 2)), signer: signer,
		keys:    roles.Authority{Keys: []*keys.PublicKey{signer.Public()}, Threshold: 1},
		expires: time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0),
	}
	f.root, err = roles.NewRoot(roles.RootSpec{Version: 1, Expires: f.expires, Root: f.keys, Targets: f.keys, Snapshot: f.keys, Timestamp: f.keys})
	require.NoError(t, err)
	f.root = signed(f, f.root)

	// One snapshot lists the roles of every tree, at version 1.
	meta := map[string]*metadata.MetaFiles{"targets.json": {Version: 1}}
	for i := range roleCount {
		meta[roleName(i)+".json"] = &metadata.MetaFiles{Version: 1}
	}
	for i := range maxSets {
		bins, err := delegation.New(setPrefix(i), 16, delegation.Succinct)
		require.NoError(t, err)
		for k := range bins.Len() {
			meta[bins.Name(k)+".json"] = &metadata.MetaFiles{Version: 1}
		}
	}
	snapshot := newDocument(f, metadata.SnapshotType{Type: metadata.SNAPSHOT, SpecVersion: roles.SpecVersion, Version: 1, Expires: f.expires, Meta: meta})
	timestamp := newDocument(f, metadata.TimestampType{Type: metadata.TIMESTAMP, SpecVersion: roles.SpecVersion, Version: 1, Expires: f.expires,
		Meta: map[string]*metadata.MetaFiles{"snapshot.json": {Version: 1}}})
	f.fixed = map[string]string{
		"1.root.json":     string(f.root.Bytes()),
		"timestamp.json":  string(timestamp.Bytes()),
		"1.snapshot.json": string(snapshot.Bytes()),
	}
	f.leaf = string(newDocument(f, metadata.TargetsType{Type: metadata.TARGETS, SpecVersion: roles.SpecVersion, Version: 1, Expires: f.expires,
		Targets: map[string]*metadata.TargetFiles{}}).Bytes())
	return f
}

func newDocument[T roles.Type](f *forest, of T) *roles.Document[T] {
	d, err := roles.New(of)
	require.NoError(f.t, err)
	return signed(f, d)
}

func signed[T roles.Type](f *forest, d *roles.Document[T]) *roles.Document[T] {
	d, err := d.Sign(f.t.Context(), f.signer)
	require.NoError(f.t, err)
	return d
}

func (f *forest) role(delegations ...delegation.Delegation) *roles.Document[metadata.TargetsType] {
	d, err := delegation.NewRole("a role", 1, f.expires, delegations)
	require.NoError(f.t, err)
	return signed(f, d)
}

func (f *forest) to(i int, terminating bool, paths ...string) delegation.Delegation {
	return delegation.Delegation{Name: roleName(i), Keys: f.keys, Paths: paths, Terminating: terminating}
}

func (f *forest) tree(grown documents) *delegation.Tree {
	tree, err := delegation.NewTree(f.root, grown)
	require.NoError(f.t, err)
	return tree
}

func files(grown documents) map[string]string {
	all := make(map[string]string)
	for name, d := range grown {
		all[name] = string(d.Bytes())
	}
	return all
}

// grow makes the documents of a random tree: targets delegates to roles, each of these
// to roles of a higher number, and some to bins.
func (f *forest) grow() documents {
	grown := make(documents)
	n, sets := maxRoles-f.random.IntN(maxRoles+1)*f.random.IntN(2), 0
	var add func(name string, after int)
	add = func(name string, after int) {
		var set delegation.Bins
		if sets < maxSets && f.random.IntN(4) == 0 {
			form := delegation.Succinct
			if f.prefixes && f.random.IntN(2) == 0 {
				form = delegation.Explicit
			}
			var err error
			set, err = delegation.New(setPrefix(sets), 2<<f.random.IntN(4), form)
			require.NoError(f.t, err)
			sets++
			if form == delegation.Succinct {
				d, err := set.NewRole(1, f.expires, f.keys)
				require.NoError(f.t, err)
				grown[name] = signed(f, d)
				return
			}
		}
		var all []delegation.Delegation
		ended := false
		for i := after; i < n && !ended; i++ {
			if f.random.IntN(3) == 0 {
				continue
			}
			d := f.to(i, f.random.IntN(12) == 0)
			d.Paths, d.HashPrefixes = f.scope()
			ended = d.Terminating && len(d.HashPrefixes) > 0 && d.HashPrefixes[0] == ""
			all = append(all, d)
		}
		if !ended {
			f.random.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
			if set.Len() > 0 {
				all = append(all, set.Delegations(f.keys)...)
			}
		}
		if len(all) == 0 && name != "targets" {
			return
		}
		grown[name] = f.role(all...)
		for _, d := range all {
			var i int
			if _, err := fmt.Sscanf(d.Name, "r%d", &i); err == nil && grown[d.Name] == nil && f.random.IntN(3) > 0 {
				add(d.Name, i+1)
			}
		}
	}
	add("targets", 0)
	return grown
}

// scope is some patterns or hash prefixes, each of which some paths match.
func (f *forest) scope() (paths, prefixes []string) {
	switch f.random.IntN(6) {
	case 0:
		return nil, []string{""}
	case 1:
		if f.prefixes {
			for range 1 + f.random.IntN(6) {
				prefixes = append(prefixes, fmt.Sprintf("%x", f.random.IntN(32)))
			}
			return nil, prefixes
		}
	}
	patterns := []string{
		"*", "*", "*/*", "*/*", "*/*/*", "*/*/*", "a", "a*", "*a", "*a*", "a/*", "*/a", "a/b*", "a*/b", "*/*.b", "*/a*b*", "a-1/*/*", "*/b/*", "*.a/*~*/+b", "a/b/c",
	}
	for range 1 + f.random.IntN(8) {
		paths = append(paths, patterns[f.random.IntN(len(patterns))])
	}
	return paths, nil
}

// path is one that many patterns of scope match.
func (f *forest) path() string {
	segments := []string{"a", "b", "c", "ab", "a.b", "b.a", "aab", "abab", "a-1", "~", "+b", "B", "größe", "a*b"}
	var all []string
	for range 1 + f.random.IntN(3) {
		all = append(all, segments[f.random.IntN(len(segments))])
	}
	return path.Join(all...)
}

const base = "https://repository.invalid/"

// recorder is a server's log to go-tuf.
type recorder struct {
	*forest
	lookup
	asked []string
}

func (r *recorder) DownloadFile(url string, _ int64, _ time.Duration) ([]byte, error) {
	name := strings.TrimPrefix(url, base)
	if content, ok := r.fixed[name]; ok {
		return []byte(content), nil
	}
	role, versioned := strings.CutPrefix(strings.TrimSuffix(name, ".json"), "1.")
	if !versioned {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: url}
	}
	r.asked = append(r.asked, role)
	if content, ok := r.Documents[role]; ok {
		return []byte(content), nil
	}
	return []byte(r.leaf), nil
}

func (f *forest) askGoTUF(l lookup) []string {
	r := &recorder{forest: f, lookup: l}
	cfg, err := config.New(base, []byte(f.fixed["1.root.json"]))
	require.NoError(f.t, err)
	cfg.DisableLocalCache, cfg.Fetcher = true, r
	client, err := updater.New(cfg)
	require.NoError(f.t, err)
	_, err = client.GetTargetInfo(l.Path)
	require.EqualError(f.t, err, "target "+l.Path+" not found")
	return r.asked
}

// startPython starts a process that does one lookup after the other until the test ends.
func startPython(t *testing.T, f *forest) func(lookup) []string {
	cmd := exec.Command(NeedPython(t, "python"), "-I", Script(t, "python/search.py"), t.TempDir())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, stdin.Close())
		require.NoError(t, cmd.Wait())
	})
	to, from := json.NewEncoder(stdin), json.NewDecoder(bufio.NewReader(stdout))
	require.NoError(t, to.Encode(map[string]any{"fixed": f.fixed, "leaf": f.leaf, "base": base}))
	return func(l lookup) (asked []string) {
		require.NoError(t, to.Encode(l))
		require.NoError(t, from.Decode(&asked))
		return asked
	}
}
