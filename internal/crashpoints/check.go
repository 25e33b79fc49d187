package crashpoints

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	records "github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// check compares the disk at the end with the ledger.
func check(h *History, d *crashfs.Disk, l *ledger, full bool) error {
	if l.broken != nil {
		return l.broken
	}
	store := frozen{}
	for file, data := range d.Files() {
		if name, ok := published(file); ok {
			store[name] = data
		}
	}
	if n := len(l.timestamps); n == 0 || !bytes.Equal(store[timestampName], l.timestamps[n-1]) {
		return fmt.Errorf("the timestamp is not the newest that could be read")
	}
	if err := client(store, l); err != nil {
		return fmt.Errorf("a client from root 1: %w", err)
	}
	if h.collects {
		if err := l.onlyNeeded(store); err != nil {
			return err
		}
		for name, data := range l.seen { // clients of older generations had it
			if store[name] == nil {
				store[name] = data
			}
		}
	}
	for name, data := range l.lost { // clients of older generations have it
		if store[name] == nil {
			store[name] = data
		}
	}
	content, err := l.published(store)
	if err != nil {
		return err
	}
	if !full {
		return nil
	}
	want := repotest.Published{Store: store, Timestamps: l.timestamps, Now: l.now, Gone: []string{"packages/refused"}}
	want.Want = slices.Collect(maps.Values(content))
	return recovered(func(t testing.TB) { repotest.CheckRepository(t, want) })
}

// published checks each generation: it holds what its items ask for, and nothing else; their
// outcomes say so; the journal names the files that it superseded. It returns the content of the
// last one.
func (l *ledger) published(store frozen) (map[string]roles.Target, error) {
	decided := map[int64][]*entry{}
	newest := map[string]int64{} // the generation in which a path was last decided about
	for _, e := range l.items {
		if !e.accepted {
			continue
		}
		if e.told == nil {
			return nil, fmt.Errorf("item %s was accepted, and no receipt resolved", e.item.ID)
		}
		for path := range e.item.Paths {
			if e.told.Generation < newest[path] {
				return nil, fmt.Errorf("item %s was decided in generation %d, and a later one for %s in %d", e.item.ID, e.told.Generation, path, newest[path])
			}
			newest[path] = e.told.Generation
		}
		decided[e.told.Generation] = append(decided[e.told.Generation], e)
	}
	content := map[string]roles.Target{}
	var before *generation
	for _, timestamp := range l.timestamps {
		number, err := timestampVersion(timestamp)
		if err != nil {
			return nil, err
		}
		if err := decide(content, number, decided[number]); err != nil {
			return nil, err
		}
		delete(decided, number)
		found, err := store.generation(number)
		if err != nil {
			return nil, fmt.Errorf("generation %d: %w", number, err)
		}
		if len(found.targets) != len(content) {
			return nil, fmt.Errorf("generation %d has %d targets, and should have %d", number, len(found.targets), len(content))
		}
		for path, t := range content {
			if found.targets[path] != t.Hashes["sha256"] {
				return nil, fmt.Errorf("generation %d: %s has another content than what was accepted last", number, path)
			}
		}
		if before != nil {
			if err := l.superseded(before, found); err != nil {
				return nil, fmt.Errorf("generation %d: %w", number, err)
			}
		}
		before = found
	}
	for generation, entries := range decided {
		return nil, fmt.Errorf("item %s was told generation %d, which nobody could ever see", entries[0].item.ID, generation)
	}
	return content, nil
}

// decide applies to content the items that a generation decided, in their order, and requires
// that each was told its outcome. For one path that is the order of decision; items of different
// paths don't affect each other.
func decide(content map[string]roles.Target, generation int64, items []*entry) error {
	last := map[string]*entry{}
	want := make([]repository.State, len(items))
	for n, e := range items {
		want[n] = becomes(e.item, content)
		if want[n] != repository.Published {
			continue
		}
		for _, t := range e.item.Add {
			content[t.Path], last[t.Path] = t, e
		}
		for _, path := range e.item.Remove {
			delete(content, path)
			last[path] = e
		}
	}
	winners := slices.Collect(maps.Values(last))
	for n, e := range items {
		if want[n] == repository.Published && !slices.Contains(winners, e) {
			want[n] = repository.Superseded
		}
		if e.told.State != want[n] {
			return fmt.Errorf("item %s is %s in generation %d, and should be %s", e.item.ID, e.told.State, generation, want[n])
		}
	}
	return nil
}

// becomes returns what must become of an item, given the published content.
func becomes(it repository.Item, content map[string]roles.Target) repository.State {
	if strings.HasSuffix(it.ID, asideSuffix) {
		return repository.SetAside
	}
	unchanged := true
	for _, t := range it.Add {
		unchanged = unchanged && reflect.DeepEqual(content[t.Path], t)
	}
	for _, path := range it.Remove {
		_, there := content[path]
		unchanged = unchanged && !there
	}
	if unchanged {
		return repository.Unchanged
	}
	for _, c := range it.If {
		if t, there := content[c.Path]; there == c.Absent || c.SHA256 != "" && t.Hashes["sha256"] != c.SHA256 {
			return repository.Refused
		}
	}
	return repository.Published
}

// superseded compares what a seal says that it replaced with what clients of the generation
// before find.
func (l *ledger) superseded(before, now *generation) error {
	s := l.seals[now.number]
	if s == nil {
		return errors.New("no seal of it was seen")
	}
	var gone []string
	for name := range before.files {
		if !now.files[name] {
			gone = append(gone, name)
		}
	}
	slices.Sort(gone)
	// A restoration names the files of a seal that it gives up, unless that was lost as well.
	told := slices.DeleteFunc(slices.Sorted(slices.Values(s.Superseded)), func(name string) bool {
		number, role, _ := records.ParseName(name)
		up := l.seals[number]
		if up == nil || number <= before.number || number >= now.number {
			return false
		}
		return role == metadata.SNAPSHOT || slices.ContainsFunc(up.Rows, func(r records.RoleRow) bool { return r.Role == role })
	})
	if !slices.Equal(told, gone) {
		return fmt.Errorf("it says that it superseded %q, and it was %q", told, gone)
	}
	removed := map[string]string{}
	for path, hash := range before.targets {
		if now.targets[path] != hash {
			removed[path] = hash
		}
	}
	named := map[string]string{}
	for _, r := range s.Removed {
		named[r.Path] = r.Hashes["sha256"]
	}
	if !maps.Equal(named, removed) {
		return fmt.Errorf("it says that it removed %q, and it was %q", named, removed)
	}
	return nil
}

// frozen is a store that no longer changes.
type frozen map[string][]byte

func (f frozen) get(name string) ([]byte, error) {
	if data, ok := f[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", name, repository.ErrNotExist)
}

// parsed caches parsed bins, because most are the same at every point.
var parsed sync.Map // of map[string]string by content

// generation is what clients of one generation find.
type generation struct {
	number  int64
	files   map[string]bool   // names in the store, its snapshot's too
	targets map[string]string // the hashes of what the bins list, by path
}

func (f frozen) generation(n int64) (*generation, error) {
	own := fmt.Sprintf("%d.snapshot.json", n)
	data, err := f.get(own)
	if err != nil {
		return nil, err
	}
	snapshot, err := roles.ParseSnapshot(data)
	if err != nil {
		return nil, err
	}
	g := &generation{n, map[string]bool{own: true}, map[string]string{}}
	for meta, err := range snapshot.Meta() {
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%d.%s.json", meta.Version, meta.Role)
		g.files[name] = true
		data, err := f.get(name)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(meta.Role, "bins-") {
			continue
		}
		targets, ok := parsed.Load(string(data))
		if !ok {
			if targets, err = binTargets(data); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			parsed.Store(string(data), targets)
		}
		maps.Copy(g.targets, targets.(map[string]string))
	}
	return g, nil
}

func binTargets(data []byte) (map[string]string, error) {
	bin, err := roles.OpenBin(data)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for t, err := range bin.Targets() {
		if err != nil {
			return nil, err
		}
		all[t.Path] = t.Hashes["sha256"]
	}
	return all, nil
}

// roots caches the newest root that go-tuf reached, by the list of all roots.
var roots sync.Map // of *metadata.Metadata[metadata.RootType] by content

// newestRoot lets go-tuf follow the roots from the first one.
func newestRoot(store frozen) (*metadata.Metadata[metadata.RootType], error) {
	var chain []byte
	n := 1
	for ; store[fmt.Sprintf("%d.root.json", n)] != nil; n++ {
		chain = append(chain, store[fmt.Sprintf("%d.root.json", n)]...)
	}
	if root, ok := roots.Load(string(chain)); ok {
		return root.(*metadata.Metadata[metadata.RootType]), nil
	}
	trusted, err := trustedmetadata.New(store["1.root.json"])
	for i := 2; err == nil && i < n; i++ {
		_, err = trusted.UpdateRoot(store[fmt.Sprintf("%d.root.json", i)])
	}
	if err != nil {
		return nil, err
	}
	roots.Store(string(chain), trusted.Root)
	return trusted.Root, nil
}

// client lets go-tuf verify everything that is published now, from root 1 on.
func client(store frozen, l *ledger) error {
	root, err := newestRoot(store)
	if err != nil {
		return err
	}
	trusted := trustedmetadata.TrustedMetadata{Root: root, Targets: map[string]*metadata.Metadata[metadata.TargetsType]{}}
	trusted.RefTime = l.now
	if _, err := trusted.UpdateTimestamp(store[timestampName]); err != nil {
		return err
	}
	version := trusted.Timestamp.Signed.Meta["snapshot.json"].Version
	if _, err := trusted.UpdateSnapshot(store[fmt.Sprintf("%d.snapshot.json", version)], false); err != nil {
		return err
	}
	type step struct{ role, delegator string }
	roles := 0
	for next := []step{{metadata.TARGETS, metadata.ROOT}}; len(next) > 0; next = next[1:] {
		name := next[0].role
		meta := trusted.Snapshot.Signed.Meta[name+".json"]
		if meta == nil {
			return fmt.Errorf("%s isn't in the snapshot", name)
		}
		if _, err := trusted.UpdateDelegatedTargets(store[fmt.Sprintf("%d.%s.json", meta.Version, name)], name, next[0].delegator); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		roles++
		d := trusted.Targets[name].Signed.Delegations
		if d == nil {
			continue
		}
		for _, r := range d.Roles {
			next = append(next, step{r.Name, name})
		}
		if d.SuccinctRoles != nil {
			for _, bin := range d.SuccinctRoles.GetRoles() {
				next = append(next, step{bin, name})
			}
		}
	}
	if n := len(trusted.Snapshot.Signed.Meta); n != roles {
		return fmt.Errorf("the snapshot names %d roles, and clients come to %d", n, roles)
	}
	return nil
}

func (f frozen) Get(_ context.Context, name string) ([]byte, error) { return f.get(name) }
