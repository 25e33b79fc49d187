// Package repotest judges a repository as its clients do: with go-tuf's
// updater, code that this project did not write.
package repotest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Published is what a test knows of a repository.
type Published struct {
	Store repository.Store
	// Then is what the clients of earlier generations fetched from. Nil: Store.
	Then repository.Store
	// Timestamps are all that were ever committed, oldest first. The last one
	// must be what the store holds.
	Timestamps [][]byte
	// Want are the targets that must be found, and Gone paths that must not.
	Want []roles.Target
	Gone []string
	// Undelegated are roles to which nobody delegates any more. The snapshot keeps their names.
	Undelegated []string
	// Now is the clients' time.
	Now time.Time
}

// few is of how many earlier generations, at least, the clients are tried.
const few = 8

// CheckRepository fails the test unless every client is content:
//
//   - one that knows only root 1 fetches every bin and finds every wanted target;
//   - one that stopped at each earlier generation, with all its bins, updates to
//     the newest, fetches every bin and finds every wanted target;
//   - one that had fetched the timestamp of an earlier generation and then paused
//     still finds the snapshot and every bin of that generation, if the store was not lost since.
//
// Of 16 earlier generations or more it tries some, and all with BINDERY_LONG=1: see package thorough.
func CheckRepository(t testing.TB, p Published) {
	t.Helper()
	require.NotEmpty(t, p.Timestamps, "no generation was ever committed")
	current, err := p.Store.Get(context.Background(), "timestamp.json")
	require.NoError(t, err)
	require.Equal(t, string(p.Timestamps[len(p.Timestamps)-1]), string(current), "the last timestamp is not the current one")

	checkClient(t, p, "", "client from root 1")
	if p.Then == nil {
		p.Then = p.Store
	}
	earlier := p.Timestamps[:len(p.Timestamps)-1]
	first, step := thorough.OneIn(max(1, len(earlier)/few))
	for i := first; i < len(earlier); i += step {
		timestamp := earlier[i]
		who := fmt.Sprintf("client of generation %d of %d", i+1, len(p.Timestamps))
		dir := t.TempDir()
		checkPaused(t, p, timestamp, dir, who)
		checkClient(t, p, dir, who)
	}
}

// checkClient updates the client whose metadata is in dir to the current state. Without a dir it is a new client,
// which is not visited again.
func checkClient(t testing.TB, p Published, dir, who string) {
	t.Helper()
	client := newClient(t, fetcher{store: p.Store}, dir)
	client.UnsafeSetRefTime(p.Now)
	require.NoErrorf(t, client.Refresh(), "%s: refresh", who)
	documents := fetchRoles(t, p.Store, client, p.Undelegated, who)
	if explicit(documents) {
		// go-tuf 2.4.2 can't find a target's bin by path_hash_prefixes.
		checkExplicit(t, p, client, documents, who)
		return
	}
	for _, want := range p.Want {
		got, err := client.GetTargetInfo(want.Path)
		require.NoErrorf(t, err, "%s: target %q", who, want.Path)
		requireTarget(t, want, got, who)
	}
	for _, gone := range p.Gone {
		_, err := client.GetTargetInfo(gone)
		require.ErrorContainsf(t, err, "not found", "%s: target %q must be gone", who, gone)
	}
}

// CheckGeneration fails the test unless a client that had fetched this timestamp still finds all that it
// names.
func CheckGeneration(t testing.TB, store repository.Store, timestamp []byte) {
	t.Helper()
	ts, err := metadata.Timestamp().FromBytes(timestamp)
	require.NoError(t, err)
	checkPaused(t, Published{Store: store, Then: store}, timestamp, t.TempDir(), fmt.Sprintf("client of generation %d", ts.Signed.Version))
}

// checkPaused lets a client refresh while timestamp was the current one, and then
// fetch what it names from the store as it is now (or as Then is). Its metadata stays in dir.
func checkPaused(t testing.TB, p Published, timestamp []byte, dir, who string) {
	t.Helper()
	ts, err := metadata.Timestamp().FromBytes(timestamp)
	require.NoErrorf(t, err, "%s: timestamp", who)
	// It saw the roots there were then: the newest under which the timestamp
	// verifies is as good as any.
	for newest := newestRoot(t, p.Then); newest >= 1; newest-- {
		client := newClient(t, fetcher{store: p.Then, timestamp: timestamp, newestRoot: newest}, dir)
		client.UnsafeSetRefTime(ts.Signed.Expires.Add(-time.Second))
		if err = client.Refresh(); err != nil {
			continue
		}
		client.UnsafeSetRefTime(time.Time{}) // bins of then may have expired by any later time
		fetchRoles(t, p.Then, client, p.Undelegated, who)
		return
	}
	require.NoErrorf(t, err, "%s: refresh", who)
}

// fetchRoles loads every role of the client's snapshot, and returns the documents of those
// that delegate and of those that are no bins.
func fetchRoles(t testing.TB, store repository.Store, client *updater.Updater, undelegated []string, who string) map[string]*roles.Document[metadata.TargetsType] {
	t.Helper()
	trusted := client.GetTrustedMetadataSet()
	documents := map[string]*roles.Document[metadata.TargetsType]{}
	seen := map[string]bool{}
	type step struct{ role, delegator string }
	for next := []step{{metadata.TARGETS, metadata.ROOT}}; len(next) > 0; next = next[1:] {
		role := next[0].role
		if seen[role] {
			continue
		}
		seen[role] = true
		data := fetchRole(t, store, &trusted, role, next[0].delegator, who)
		d := trusted.Targets[role].Signed.Delegations
		if d != nil || !isBin.MatchString(role) {
			doc, err := roles.Parse[metadata.TargetsType](data)
			require.NoErrorf(t, err, "%s: %s", who, role)
			documents[role] = doc
		}
		if d == nil {
			continue
		}
		for _, r := range d.Roles {
			next = append(next, step{r.Name, role})
		}
		if d.SuccinctRoles != nil {
			for _, name := range d.SuccinctRoles.GetRoles() {
				next = append(next, step{name, role})
			}
		}
	}
	// No name but those of roles that clients come to, or came to.
	for _, role := range undelegated {
		if _, named := trusted.Snapshot.Signed.Meta[role+".json"]; named {
			seen[role] = true
		}
	}
	require.Lenf(t, trusted.Snapshot.Signed.Meta, len(seen), "%s: names in the snapshot", who)
	return documents
}

var isBin = regexp.MustCompile(`-[0-9a-f]{1,4}$`)

// explicit reports whether bins are listed by path_hash_prefixes.
func explicit(documents map[string]*roles.Document[metadata.TargetsType]) bool {
	for _, doc := range documents {
		if d := doc.Signed().Delegations; d != nil && slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool { return isBin.MatchString(r.Name) }) {
			return true
		}
	}
	return false
}

func fetchRole(t testing.TB, store repository.Store, trusted *trustedmetadata.TrustedMetadata, role, delegator, who string) []byte {
	t.Helper()
	meta := trusted.Snapshot.Signed.Meta[role+".json"]
	require.NotNilf(t, meta, "%s: %s is not in the snapshot", who, role)
	name := fmt.Sprintf("%d.%s.json", meta.Version, role)
	data, err := store.Get(context.Background(), name)
	require.NoErrorf(t, err, "%s: %s", who, name)
	if meta.Length == 0 {
		require.LessOrEqualf(t, len(data), roles.MaxTargets, "%s: %s", who, name)
	}
	if trusted.Targets[role] == nil {
		_, err = trusted.UpdateDelegatedTargets(data, role, delegator)
		require.NoErrorf(t, err, "%s: %s", who, name)
	}
	return data
}

func checkExplicit(t testing.TB, p Published, client *updater.Updater, documents map[string]*roles.Document[metadata.TargetsType], who string) {
	t.Helper()
	trusted := client.GetTrustedMetadataSet()
	newest, err := trusted.Root.ToBytes(false)
	require.NoErrorf(t, err, "%s", who)
	root, err := roles.Parse[metadata.RootType](newest)
	require.NoErrorf(t, err, "%s", who)
	tree, err := delegation.NewTree(root, documents)
	require.NoErrorf(t, err, "%s", who)
	find := func(path string) *metadata.TargetFiles {
		for _, role := range tree.Search(path) {
			if found := trusted.Targets[role].Signed.Targets[path]; found != nil {
				return found
			}
		}
		return nil
	}
	for _, want := range p.Want {
		got := find(want.Path)
		require.NotNilf(t, got, "%s: target %q", who, want.Path)
		requireTarget(t, want, got, who)
	}
	for _, gone := range p.Gone {
		require.Nilf(t, find(gone), "%s: target %q must be gone", who, gone)
	}
}

func requireTarget(t testing.TB, want roles.Target, got *metadata.TargetFiles, who string) {
	t.Helper()
	require.Equalf(t, want.Length, got.Length, "%s: length of %q", who, want.Path)
	hashes := map[string]string{}
	for name, h := range got.Hashes {
		hashes[name] = hex.EncodeToString(h)
	}
	require.Equalf(t, want.Hashes, hashes, "%s: hashes of %q", who, want.Path)
	custom := ""
	if got.Custom != nil {
		custom = string(*got.Custom)
	}
	if len(want.Custom) == 0 {
		require.Emptyf(t, custom, "%s: custom data of %q", who, want.Path)
	} else {
		require.JSONEqf(t, string(want.Custom), custom, "%s: custom data of %q", who, want.Path)
	}
}

func newClient(t testing.TB, f fetcher, dir string) *updater.Updater {
	t.Helper()
	root, err := f.store.Get(context.Background(), "1.root.json")
	require.NoError(t, err)
	// go-tuf keeps what it trusts in its folder, but starts from the root given:
	// it then walks all roots again.
	cfg, err := config.New("https://repository.invalid/metadata", root)
	require.NoError(t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.Fetcher = dir, filepath.Join(dir, "targets"), f
	cfg.DisableLocalCache = dir == ""
	client, err := updater.New(cfg)
	require.NoError(t, err)
	return client
}

func newestRoot(t testing.TB, store repository.Store) int64 {
	t.Helper()
	for n := int64(1); ; n++ {
		_, err := store.Get(context.Background(), fmt.Sprintf("%d.root.json", n))
		if errors.Is(err, repository.ErrNotExist) {
			return n - 1
		}
		require.NoError(t, err)
	}
}

// fetcher gives a client what is in a store, or what was there when timestamp
// was the current one.
type fetcher struct {
	store      repository.Store
	timestamp  []byte // nil: the current one
	newestRoot int64  // 0: all
}

func (f fetcher) DownloadFile(rawURL string, maxLength int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	name := path.Base(u.Path)
	notFound := &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: rawURL}
	if name == "timestamp.json" && f.timestamp != nil {
		return f.timestamp, nil
	}
	if strings.HasSuffix(name, ".root.json") && f.newestRoot > 0 {
		var version int64
		if _, err := fmt.Sscanf(name, "%d.", &version); err != nil || version > f.newestRoot {
			return nil, notFound
		}
	}
	data, err := f.store.Get(context.Background(), name)
	switch {
	case errors.Is(err, repository.ErrNotExist):
		return nil, notFound
	case err != nil:
		return nil, err
	case int64(len(data)) > maxLength:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s: %d bytes, at most %d", name, len(data), maxLength)}
	}
	return data, nil
}

// Visit is one run of a go-tuf client that keeps its metadata in dir between visits and trusts root 1. It
// refreshes and then looks every path up. It returns the targets found, or why the client failed.
func Visit(t testing.TB, store repository.Store, dir string, now time.Time, paths ...string) (map[string]roles.Target, error) {
	t.Helper()
	client := newClient(t, fetcher{store: store}, dir)
	client.UnsafeSetRefTime(now)
	if err := client.Refresh(); err != nil {
		return nil, err
	}
	found := map[string]roles.Target{}
	for _, path := range paths {
		info, err := client.GetTargetInfo(path)
		if err != nil {
			if strings.Contains(err.Error(), "not found") {
				continue
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		target := roles.Target{Path: path, Length: info.Length, Hashes: map[string]string{}}
		for name, h := range info.Hashes {
			target.Hashes[name] = hex.EncodeToString(h)
		}
		found[path] = target
	}
	return found, nil
}
