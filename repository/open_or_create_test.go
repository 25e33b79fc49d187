package repository_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// openOrCreate is what a new process does, on an empty disk and on any that a crash left.
func openOrCreate(t *testing.T, fsys disk.FS, cfg repository.Config, d repository.Documents) (*repository.Repository, error) {
	store, err := ondisk.Store.OpenOrCreate(fsys, "/srv/index/store")
	if err != nil {
		return nil, err
	}
	journal, err := ondisk.Journal.OpenOrCreate(fsys, "/srv/index/journal")
	if err != nil {
		return nil, err
	}
	cfg.Store, cfg.Journal = store, journal
	repo, err := repository.OpenOrCreate(t.Context(), cfg, d)
	if err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	return repo, nil
}

// Whatever happens at any operation of the call, and whatever is left of it by a loss of power,
// the same call completes it; and then all of it is durable.
func TestOpenOrCreateAfterCrash(t *testing.T) {
	t.Parallel()
	layout, err := delegation.New("bins", 2, delegation.Succinct)
	require.NoError(t, err)
	c := repotest.NewSeededCeremony(t, layout, time.Now(), [32]byte{1})
	c.NextRoot(nil)
	cfg := repository.Config{Bins: c.Bins, Snapshot: c.Online, Timestamp: c.Online, Workers: 1, MaxDelay: -1}
	first, step := thorough.OneIn(4)
	seeds := uint64(2)
	if thorough.Long() {
		seeds = 8
	}
	// To be killed before an operation is to be killed after the last one.
	for _, fault := range []crashfs.Fault{crashfs.KillAfter, crashfs.Fail, crashfs.FailAfter} {
		for seed := range seeds {
			if seed%2 == 1 && seed > 1 && fault != crashfs.Fail {
				continue // where no power is lost, nothing but a failing write is left to chance
			}
			for at := 1 + first; ; at += step {
				where := fmt.Sprintf("fault %d at operation %d, seed %d", fault, at, seed)
				d := crashfs.New(seed)
				fsys := d.Start()
				d.InjectNext(at, fault)
				_, err := openOrCreate(t, fsys, cfg, c.Documents())
				if err == nil && d.Ops() < at {
					require.Greater(t, at, 50, "the call has more operations")
					break
				}
				if d.Kill(); seed%2 == 0 { // readable, and lost later
					d.PowerCut(d.AnyCut())
				}
				repo, err := openOrCreate(t, d.Start(), cfg, c.Documents())
				require.NoError(t, err, where)
				made, err := repo.View(t.Context())
				require.NoError(t, err, where)
				require.Positive(t, made.Generation(), where)
				require.NoError(t, repo.Close(), where)

				d.End()
				d.PowerCut(crashfs.Cut{})
				repo, err = openOrCreate(t, d.Start(), cfg, repository.Documents{})
				require.NoError(t, err, where)
				again, err := repo.View(t.Context())
				require.NoError(t, err, where)
				require.Equal(t, made.Generation(), again.Generation(), where)
				for range again.Targets(t.Context()) {
					require.Fail(t, "a target", where)
				}
				require.NoError(t, repo.Close(), where)
				d.End()
			}
		}
	}
}

// No new repository is made next to an old one, nothing is changed, and the error says what
// can be done.
func TestOpenOrCreateNextToAnother(t *testing.T) {
	e := newEnv(t, 2, delegation.Succinct)
	open := func(store repository.Store, journal repository.Journal, witness []byte) error {
		cfg := e.cfg
		cfg.Store, cfg.Journal, cfg.Witness = store, journal, witness
		repo, err := repository.OpenOrCreate(t.Context(), cfg, e.ceremony.Documents())
		if err == nil {
			require.NoError(t, repo.Close())
		}
		return err
	}
	require.NoError(t, open(e.store, e.journal.Handle(), nil))
	require.NoError(t, open(e.store, e.journal.Handle(), nil), "it is there")
	timestamp := e.store.History("timestamp.json")[0]

	refused := func(err error, advice string) {
		t.Helper()
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, advice)
	}
	requireEmpty := func(j *storetest.MemJournal) {
		t.Helper()
		_, err := repository.ReadStatus(t.Context(), e.store, j.Handle())
		require.ErrorIs(t, err, repository.ErrNotRepository)
	}
	lost, before := storetest.NewJournal(), e.store.Names()
	refused(open(e.store, lost, nil), "RestoreJournal")
	require.NoError(t, e.store.Delete(t.Context(), "timestamp.json"))
	refused(open(e.store, lost.Handle(), nil), "the store has 1.root.json")
	require.NoError(t, e.store.Create(t.Context(), "timestamp.json", timestamp))
	require.ElementsMatch(t, before, e.store.Names())
	requireEmpty(lost)

	empty := storetest.NewStore()
	refused(open(empty, e.journal.Handle(), nil), "RestoreStore")
	require.Empty(t, empty.Names())
	refused(open(empty, lost.Handle(), timestamp), "restore a backup")
	require.Empty(t, empty.Names())
	requireEmpty(lost)

	// While another process has it, nobody else opens it or makes it.
	e.open()
	require.ErrorIs(t, open(e.store, e.journal.Handle(), nil), repository.ErrLocked)
	e.close()
	require.NoError(t, open(empty, lost.Handle(), nil))
}

func TestReadDocuments(t *testing.T) {
	layout, err := delegation.New("bins", 2, delegation.Succinct)
	require.NoError(t, err)
	c := repotest.NewCeremony(t, layout, time.Now())
	old := c.Documents()
	for range 10 { // 10 comes after 9
		c.NextRoot(nil)
		c.NextTargets(nil)
	}
	all := c.Documents()
	folder := fstest.MapFS{
		"1.targets.json": {Data: old.Roles["targets"]}, "11.targets.json": {Data: all.Roles["targets"]}, "1.bins.json": {Data: all.Roles["bins"]},
		"9.targets.json": {Data: []byte("older ones are not read")}, "5.snapshot.json": {Data: []byte("{}")}, "timestamp.json": {Data: []byte("{}")},
		"README": {Data: []byte("!")}, "01.root.json": {Data: []byte("!")}, ".1.root.json.swp": {Data: []byte("!")}, "12.root.json/file": {Data: []byte("!")},
		"0.root.json": {Data: []byte("!")}, "1.root.json~": {Data: []byte("!")}, "root.json": {Data: []byte("!")},
	}
	for n, root := range all.Roots {
		folder[fmt.Sprintf("%d.root.json", n+1)] = &fstest.MapFile{Data: root}
	}
	got, err := repository.ReadDocuments(folder)
	require.NoError(t, err)
	require.Equal(t, all, got)

	folder["12.root.json"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	delete(folder, "12.root.json/file")
	_, err = repository.ReadDocuments(folder)
	require.EqualError(t, err, "read documents: 12.root.json: it is not a regular file")
	delete(folder, "12.root.json")

	none, err := repository.ReadDocuments(fstest.MapFS{})
	require.NoError(t, err)
	require.Empty(t, none.Roots)
	require.Empty(t, none.Roles)

	for name, wrong := range map[string]struct {
		data  []byte
		error string
	}{
		"3.root.json":     {all.Roots[1], "3.root.json: it holds version 2"},
		"4.root.json":     {all.Roles["targets"], "4.root.json: root: "},
		"12.targets.json": {all.Roots[10], "12.targets.json: targets: "},
		"2.bins.json":     {all.Roles["bins"], "2.bins.json: it holds version 1"},
		"1.other.json":    {[]byte("{"), "1.other.json: targets: "},
	} {
		bad := fstest.MapFS{}
		for name, file := range folder {
			bad[name] = file
		}
		bad[name] = &fstest.MapFile{Data: wrong.data}
		_, err := repository.ReadDocuments(bad)
		require.ErrorContains(t, err, "read documents: "+wrong.error)
	}
	_, err = repository.ReadDocuments(unreadable{folder})
	require.ErrorIs(t, err, fs.ErrPermission)
	absent := filepath.Join(t.TempDir(), "documents")
	_, err = repository.ReadDocuments(os.DirFS(absent))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, fmt.Sprintf("read documents: folder %q: ", absent))
}

// unreadable is a folder that can't be listed.
type unreadable struct{ fs.FS }

func (unreadable) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// What is wrong with an item itself can be told from all other errors.
func TestErrInvalid(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		good := file("a", "1")
		bad := func(change func(*roles.Target)) repository.Item {
			target := file("a", "1")
			change(&target)
			return repository.Item{Add: []roles.Target{target}}
		}
		for name, it := range map[string]repository.Item{
			"nothing":    {},
			"path":       bad(func(t *roles.Target) { t.Path = "../a" }),
			"removal":    {Remove: []string{"/a"}},
			"no hash":    bad(func(t *roles.Target) { t.Hashes = nil }),
			"hash":       bad(func(t *roles.Target) { t.Hashes["sha256"] = "x" }),
			"length":     bad(func(t *roles.Target) { t.Length = -1 }),
			"custom":     bad(func(t *roles.Target) { t.Custom = []byte(`{"a":1.5}`) }),
			"large":      bad(func(t *roles.Target) { t.Custom = []byte(`{"a":"` + strings.Repeat("x", 9<<10) + `"}`) }),
			"ID":         {ID: "a b", Add: []roles.Target{good}},
			"By":         {By: strings.Repeat("x", 300), Add: []roles.Target{good}},
			"twice":      {Add: []roles.Target{good}, Remove: []string{"a"}},
			"conditions": {Add: []roles.Target{good}, If: absent("b")},
			"import":     {Import: &ledger.Import{}},
		} {
			_, err := e.repo.Submit(t.Context(), it)
			require.ErrorIs(t, err, repository.ErrInvalid, name)
		}
		_, err := e.repo.Submit(t.Context(), repository.Item{ID: "one", Add: []roles.Target{good}})
		require.NoError(t, err)
		_, err = e.repo.Submit(t.Context(), repository.Item{ID: "one", Remove: []string{"a"}})
		require.ErrorIs(t, err, repository.ErrIDReused)
		require.NotErrorIs(t, err, repository.ErrInvalid)
	})
	for _, s := range repotest.Shapes() {
		for path := range s.Owned {
			e := newEnv(t, 4, delegation.Succinct)
			e.createShape(s)
			_, err := e.repo.Add(t.Context(), file(path, "1"))
			require.ErrorIs(t, err, repository.ErrSignedByPeople)
			require.NotErrorIs(t, err, repository.ErrInvalid)
			e.close()
		}
	}
}
