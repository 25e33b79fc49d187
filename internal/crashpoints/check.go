package crashpoints

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// check holds what is on the disk in the end against the ledger.
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

// published requires of each generation that it holds what the outcomes of the
// items say, and nothing else, and returns the content of the last.
func (l *ledger) published(store frozen) (map[string]roles.Target, error) {
	decided := map[int64][]*entry{}
	for _, e := range l.items {
		if !e.accepted {
			continue
		}
		if e.told == nil {
			return nil, fmt.Errorf("item %s was accepted, and no receipt resolved", e.item.ID)
		}
		decided[e.told.Generation] = append(decided[e.told.Generation], e)
	}
	content := map[string]roles.Target{}
	for _, timestamp := range l.timestamps {
		generation, err := timestampVersion(timestamp)
		if err != nil {
			return nil, err
		}
		last := map[string]*entry{}
		for _, e := range decided[generation] {
			if strings.HasSuffix(e.item.ID, asideSuffix) {
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
		for _, e := range decided[generation] {
			want := repository.Superseded
			if strings.HasSuffix(e.item.ID, asideSuffix) {
				want = repository.SetAside
			}
			for _, winner := range last {
				if winner == e {
					want = repository.Published
				}
			}
			if e.told.State != want {
				return nil, fmt.Errorf("item %s is %s in generation %d, and should be %s", e.item.ID, e.told.State, generation, want)
			}
		}
		delete(decided, generation)
		found, err := store.generation(generation)
		if err != nil {
			return nil, fmt.Errorf("generation %d: %w", generation, err)
		}
		if len(found) != len(content) {
			return nil, fmt.Errorf("generation %d has %d targets, and should have %d", generation, len(found), len(content))
		}
		for path, t := range content {
			if found[path] != t.Hashes["sha256"] {
				return nil, fmt.Errorf("generation %d: %s has another content than what was accepted last", generation, path)
			}
		}
	}
	for generation, entries := range decided {
		return nil, fmt.Errorf("item %s was told generation %d, which nobody could ever see", entries[0].item.ID, generation)
	}
	return content, nil
}

// frozen is a store that nothing changes any more.
type frozen map[string][]byte

func (f frozen) get(name string) ([]byte, error) {
	if data, ok := f[name]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("%s: %w", name, repository.ErrNotExist)
}

// parsed keeps what was read of a bin, since most are the same at each point.
var parsed sync.Map // of map[string]string by content

// generation returns path and hash of all targets of a generation.
func (f frozen) generation(n int64) (map[string]string, error) {
	data, err := f.get(fmt.Sprintf("%d.snapshot.json", n))
	if err != nil {
		return nil, err
	}
	snapshot, err := roles.ParseSnapshot(data)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for meta, err := range snapshot.Meta() {
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%d.%s.json", meta.Version, meta.Role)
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
		maps.Copy(all, targets.(map[string]string))
	}
	return all, nil
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

// roots keeps the newest root that go-tuf came to, by all roots.
var roots sync.Map // of *metadata.Metadata[metadata.RootType] by content

// newestRoot has go-tuf follow the roots from the first one.
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

// client has go-tuf verify all that is published now, from root 1 on.
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
	role := func(name, delegator string) error {
		_, err := trusted.UpdateDelegatedTargets(store[fmt.Sprintf("%d.%s.json", trusted.Snapshot.Signed.Meta[name+".json"].Version, name)], name, delegator)
		return err
	}
	if err := role(metadata.TARGETS, metadata.ROOT); err != nil {
		return err
	}
	if err := role("bins", metadata.TARGETS); err != nil {
		return err
	}
	for name := range trusted.Snapshot.Signed.Meta {
		if name, ok := strings.CutSuffix(name, ".json"); ok && strings.HasPrefix(name, "bins-") {
			if err := role(name, "bins"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (f frozen) Get(_ context.Context, name string) ([]byte, error) { return f.get(name) }
