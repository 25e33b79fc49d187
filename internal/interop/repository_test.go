package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/web"
	"github.com/bindery-tuf/bindery/roles"
)

// index is an index with a repository in directories, which it publishes and serves while
// the test runs.
type index struct {
	URL  string
	Root string // the file of root 1

	t        *testing.T
	layout   delegation.Bins // of PEP 458's repository
	ceremony *repotest.Ceremony
	repo     *repository.Repository
	store    *dirstore.Store
	targets  *dirstore.Targets
	served   *lying
	want     map[string]file // by path
	gone     []string
}

// lying is a store that gives other content for some names.
type lying struct {
	repository.Store
	lies map[string][]byte
}

func (l *lying) Get(ctx context.Context, name string) ([]byte, error) {
	if lie, ok := l.lies[name]; ok {
		return lie, nil
	}
	return l.Store.Get(ctx, name)
}

func newIndex(t *testing.T, form delegation.Form) *index {
	layout, err := delegation.New("bins", 16, form)
	require.NoError(t, err)
	x := &index{t: t, layout: layout, ceremony: repotest.NewCeremony(t, layout, time.Now())}
	x.serve(repository.Config{}, x.ceremony.Documents())
	return x
}

// serve creates the repository, publishes and serves. cfg needs no store, journal or keys.
func (x *index) serve(cfg repository.Config, docs repository.Documents) {
	t, dir := x.t, x.t.TempDir()
	var err error
	x.store, err = dirstore.Create(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	x.targets, err = dirstore.CreateTargets(filepath.Join(dir, "targets"))
	require.NoError(t, err)
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	require.NoError(t, err)

	cfg.Store, cfg.Journal = x.store, journal
	cfg.Bins, cfg.Snapshot, cfg.Timestamp = x.ceremony.Bins, x.ceremony.Online, x.ceremony.Online
	cfg.MaxDelay = -1
	repo, err := repository.Create(t.Context(), cfg, docs)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- repo.Run(context.Background()) }()
	t.Cleanup(func() {
		require.NoError(t, repo.Close())
		require.NoError(t, <-ended)
	})

	x.served = &lying{Store: x.store}
	server := httptest.NewServer(web.Handler(web.Config{Store: x.served, Files: web.Dir(os.DirFS(filepath.Join(dir, "targets")))}))
	t.Cleanup(server.Close)
	x.Root = filepath.Join(dir, "1.root.json")
	require.NoError(t, os.WriteFile(x.Root, docs.Roots[0], 0o600))
	x.URL, x.repo, x.want = server.URL, repo, map[string]file{}
}

// put keeps a file, and returns its target. It is not published yet.
func (x *index) put(path, content, custom string, algorithms ...string) roles.Target {
	target, err := x.targets.Put(x.t.Context(), path, strings.NewReader(content), algorithms...)
	require.NoError(x.t, err)
	if custom != "" {
		target.Custom = canonical(x.t, json.RawMessage(custom))
	}
	sum := sha256.Sum256([]byte(content))
	x.want[path] = file{target, hex.EncodeToString(sum[:])}
	return target
}

// publish adds and removes in the next generation, which must be number n.
func (x *index) publish(n int64, add []roles.Target, remove ...string) {
	receipt, err := x.repo.Submit(x.t.Context(), repository.Item{Add: add, Remove: remove})
	require.NoError(x.t, err)
	outcome, err := receipt.Wait(x.t.Context())
	require.NoError(x.t, err)
	require.Equal(x.t, repository.Outcome{State: repository.Published, Generation: n}, outcome)
	for _, path := range remove {
		delete(x.want, path)
	}
	x.gone = append(x.gone, remove...)
}

// visit asks for all that is and was there.
func (x *index) visit(state string) visit {
	return visit{
		URL: x.URL, Root: x.Root, State: state,
		Paths: append(slices.Sorted(maps.Keys(x.want)), x.gone...),
	}
}

// found is all that is there, in the order of a visit.
func (x *index) found() []file {
	files := []file{}
	for _, path := range slices.Sorted(maps.Keys(x.want)) {
		files = append(files, x.want[path])
	}
	return files
}

// get returns metadata under its name in the store.
func (x *index) get(name string) []byte {
	content, err := x.store.Get(x.t.Context(), name)
	require.NoError(x.t, err)
	return content
}

// bin returns the name and the version of the bin that path is in.
func (x *index) bin(path string) (string, int64) {
	name := x.layout.Name(x.layout.Find(path))
	return name, x.versions()[name+".json"].Version
}

// versions is what the newest snapshot lists.
func (x *index) versions() map[string]*metadata.MetaFiles {
	timestamp, err := metadata.Timestamp().FromBytes(x.get("timestamp.json"))
	require.NoError(x.t, err)
	snapshot, err := metadata.Snapshot().FromBytes(x.get(
		fmt.Sprintf("%d.snapshot.json", timestamp.Signed.Meta["snapshot.json"].Version)))
	require.NoError(x.t, err)
	return snapshot.Signed.Meta
}

// canonical makes equal JSON the same bytes.
func canonical(t *testing.T, value json.RawMessage) json.RawMessage {
	if value == nil {
		return nil
	}
	c, err := cjson.Canonicalize(value)
	require.NoError(t, err)
	return c
}
