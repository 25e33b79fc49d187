package repository_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// copyDir copies a folder as cp and rsync do: files one after the other, while
// others write there. One that vanishes meanwhile was a temporary one.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		require.NoError(t, err)
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		require.NoError(t, err)
		return os.WriteFile(target, data, 0o600)
	}))
}

// folders is a repository in two folders.
type folders struct{ store, journal string }

func (f folders) config(t *testing.T, cfg repository.Config) repository.Config {
	t.Helper()
	var err error
	cfg.Store, err = dirstore.Open(f.store)
	require.NoError(t, err)
	cfg.Journal, err = dirjournal.Open(f.journal)
	require.NoError(t, err)
	return cfg
}

func newFolders(t *testing.T, e *env) (folders, *repository.Repository) {
	t.Helper()
	dir := t.TempDir()
	f := folders{filepath.Join(dir, "metadata"), filepath.Join(dir, "journal")}
	cfg := e.cfg
	var err error
	cfg.Store, err = dirstore.Create(f.store)
	require.NoError(t, err)
	cfg.Journal, err = dirjournal.Create(f.journal)
	require.NoError(t, err)
	repo, err := repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.NoError(t, err)
	return f, repo
}

// The procedure of the package comment: the store is copied first and then the
// journal, while uploads are accepted and published. The copies hold all that was
// accepted before the journal was copied.
func TestBackupOfARunningRepository(t *testing.T) {
	t.Parallel()
	e := newEnv(t, 8, delegation.Succinct)
	live, repo := newFolders(t, e)
	running := make(chan error)
	go func() { running <- repo.Run(t.Context()) }()

	var mu sync.Mutex
	var accepted []roles.Target
	stop := make(chan struct{})
	var adding sync.WaitGroup
	for n := range 4 {
		adding.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				target := file(fmt.Sprintf("packages/%d-%d", n, i), "1")
				r, err := repo.Add(t.Context(), target)
				if err != nil {
					return
				}
				mu.Lock()
				accepted = append(accepted, target)
				mu.Unlock()
				if i%10 == 9 { // let it be published, now and then
					if _, err := r.Wait(t.Context()); err != nil {
						return
					}
				}
			}
		})
	}
	type backup struct {
		folders
		want []roles.Target
	}
	var backups []backup
	for n := range 5 {
		dir := t.TempDir()
		b := backup{folders: folders{filepath.Join(dir, "metadata"), filepath.Join(dir, "journal")}}
		for more := true; more; { // something happens between two backups
			s, err := repo.Status(t.Context())
			require.NoError(t, err)
			more = s.Generation < int64(3*n)
		}
		copyDir(t, b.store, live.store)
		mu.Lock()
		b.want = slices.Clone(accepted)
		mu.Unlock()
		copyDir(t, b.journal, live.journal)
		backups = append(backups, b)
	}
	close(stop)
	adding.Wait()
	require.NoError(t, repo.Close())
	require.NoError(t, <-running)
	witness, err := os.ReadFile(filepath.Join(live.store, "timestamp.json"))
	require.NoError(t, err)

	for _, b := range backups {
		cfg := b.config(t, e.cfg)
		cfg.Witness = witness
		repo, err := repository.RestoreStore(t.Context(), cfg, repository.Restoration{})
		require.NoError(t, err)
		r, err := repo.Add(t.Context(), file("after", "1"))
		require.NoError(t, err)
		running := make(chan error)
		go func() { running <- repo.Run(t.Context()) }()
		_, err = r.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, repo.Close())
		require.NoError(t, <-running)

		current, err := cfg.Store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		liveStore, err := dirstore.Open(live.store)
		require.NoError(t, err)
		repotest.CheckRepository(t, repotest.Published{
			Store: cfg.Store, Then: liveStore, Timestamps: [][]byte{witness, current}, Now: time.Now(), Want: append(b.want, file("after", "1")),
		})
	}
}

// A journal that was cut, or of which a bit flipped, and what the operator is told.
func TestDamagedJournal(t *testing.T) {
	damage := map[string]struct {
		damage func(t *testing.T, dir string)
		words  string // of dirjournal.Open; "" if it can't know
	}{
		"a flipped bit": {func(t *testing.T, dir string) {
			name := newestSegment(t, dir)
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			data[100] ^= 1
			require.NoError(t, os.WriteFile(name, data, 0o600))
		}, "damaged"},
		"a segment lost": {func(t *testing.T, dir string) {
			all, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			require.NoError(t, err)
			require.NoError(t, os.Remove(all[len(all)-2]))
		}, "is missing"},
		"cut": {func(t *testing.T, dir string) {
			// Back to what it was when the first half was published.
			all, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			require.NoError(t, err)
			for _, name := range all[len(all)/2:] {
				require.NoError(t, os.Remove(name))
			}
		}, ""},
	}
	for name, c := range damage {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4, delegation.Succinct)
			f, repo := newFolders(t, e)
			var want []roles.Target
			for i := range 6 {
				target := file(fmt.Sprint("packages/", i), "1")
				r, err := repo.Add(t.Context(), target)
				require.NoError(t, err)
				running := make(chan error)
				go func() { running <- repo.Run(t.Context()) }()
				_, err = r.Wait(t.Context())
				require.NoError(t, err)
				require.NoError(t, repo.AcceptClock(t.Context())) // once the checkpoint is written
				require.NoError(t, repo.Close())
				require.NoError(t, <-running)
				want = append(want, target)
				repo, err = repository.Open(t.Context(), f.config(t, e.cfg))
				require.NoError(t, err)
			}
			require.NoError(t, repo.Close())
			before, err := os.ReadFile(filepath.Join(f.store, "timestamp.json"))
			require.NoError(t, err)
			c.damage(t, f.journal)

			cfg := e.cfg
			cfg.Store, err = dirstore.Open(f.store)
			require.NoError(t, err)
			if c.words != "" {
				_, err = dirjournal.Open(f.journal)
				require.ErrorContains(t, err, c.words)
				f.journal = filepath.Join(t.TempDir(), "new")
				cfg.Journal, err = dirjournal.Create(f.journal)
				require.NoError(t, err)
			} else {
				cfg = f.config(t, e.cfg)
				_, err = repository.Open(t.Context(), cfg)
				require.ErrorIs(t, err, repository.ErrDiverged)
				require.ErrorContains(t, err, "the journal was restored from a backup, or cut")
			}
			repo, err = repository.RestoreJournal(t.Context(), cfg, repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
			require.NoError(t, err)
			require.NoError(t, repo.Close())
			repo, err = repository.Open(t.Context(), f.config(t, e.cfg))
			require.NoError(t, err)
			require.NoError(t, repo.Close())
			current, err := cfg.Store.Get(t.Context(), "timestamp.json")
			require.NoError(t, err)
			repotest.CheckRepository(t, repotest.Published{
				Store: cfg.Store, Timestamps: [][]byte{before, current}, Now: time.Now(), Want: want,
			})
		})
	}
}

func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	for _, name := range slices.Backward(all) {
		if info, err := os.Stat(name); err == nil && info.Size() > 200 {
			return name
		}
	}
	require.Fail(t, "no segment has a frame")
	return ""
}
