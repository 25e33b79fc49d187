package repository_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// A refused Create leaves a store and a journal. Each error after that says how to go on, and none of them
// speaks of a loss.
func TestCreateAgainAfterARefusal(t *testing.T) {
	e := newEnv(t, 2, delegation.Succinct)
	dir := t.TempDir()
	metadata, queue := filepath.Join(dir, "metadata"), filepath.Join(dir, "journal")
	begin := func() repository.Config {
		t.Helper()
		cfg := e.cfg
		var err error
		cfg.Store, err = dirstore.OpenOrCreate(metadata)
		require.NoError(t, err)
		cfg.Journal, err = dirjournal.OpenOrCreate(queue)
		require.NoError(t, err)
		return cfg
	}
	cfg := begin()
	cfg.Bins = cfg.Timestamp
	_, err := repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.ErrorIs(t, err, repository.ErrWrongKey)
	require.ErrorContains(t, err, "and 1.bins.json names key ", "a document is named by its file")
	require.NoError(t, cfg.Journal.Close())

	_, err = dirstore.Create(metadata)
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorContains(t, err, "it is a store already: open it, or call OpenOrCreate in place of Create")
	_, err = dirjournal.Create(queue)
	require.ErrorIs(t, err, os.ErrExist)
	require.ErrorContains(t, err, "it is a journal already: open it, or call OpenOrCreate in place of Create")

	cfg = begin()
	_, err = repository.Open(t.Context(), cfg)
	require.ErrorIs(t, err, repository.ErrNotRepository)
	require.ErrorContains(t, err, "call Create, also again if it was refused")
	require.NotContains(t, err.Error(), "RestoreJournal")
	repo, err := repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())

	// The journal of a published repository is lost.
	cfg = begin()
	require.NoError(t, cfg.Journal.Close())
	cfg.Journal, err = dirjournal.Create(filepath.Join(dir, "other"))
	require.NoError(t, err)
	_, err = repository.Open(t.Context(), cfg)
	require.ErrorIs(t, err, repository.ErrNotRepository)
	require.ErrorContains(t, err, "RestoreJournal makes a new one agree with what the store publishes")
	require.NoError(t, cfg.Journal.Close())
}

func TestOpenWhatIsNoRepository(t *testing.T) {
	e := newEnv(t, 2, delegation.Succinct)
	_, err := repository.Open(t.Context(), e.config())
	require.ErrorIs(t, err, repository.ErrNotRepository)
	require.ErrorContains(t, err, "nothing was created here yet: call Create, also again if it was refused")
	require.NotContains(t, err.Error(), "RestoreJournal")
	require.Empty(t, e.store.Names())

	for name, spoil := range map[string]func(*repository.Config){
		"Store": func(c *repository.Config) { c.Store = nil }, "Journal": func(c *repository.Config) { c.Journal = nil },
		"Bins": func(c *repository.Config) { c.Bins = nil }, "Snapshot": func(c *repository.Config) { c.Snapshot = nil },
		"Timestamp": func(c *repository.Config) { c.Timestamp = nil }, "MaxBatch": func(c *repository.Config) { c.MaxBatch = -1 },
		"BinLifetime": func(c *repository.Config) { c.BinLifetime = time.Second / 2 },
	} {
		cfg := e.config()
		spoil(&cfg)
		_, err := repository.Open(t.Context(), cfg)
		require.ErrorContains(t, err, name)
	}
}

func TestCreateRefuses(t *testing.T) {
	e := newEnv(t, 2, delegation.Succinct)
	docs := e.ceremony.Documents()
	for name, d := range map[string]repository.Documents{
		"root is missing: there is no VERSION.root.json":       {Roles: docs.Roles},
		"targets is missing: there is no VERSION.targets.json": {Roots: docs.Roots, Roles: map[string][]byte{"bins": docs.Roles["bins"]}},
		"bins: targets delegates to it, and it has neither a document (VERSION.bins.json) nor a configured signer": {
			Roots: docs.Roots, Roles: map[string][]byte{"targets": docs.Roles["targets"]},
		},
	} {
		_, err := repository.Create(t.Context(), e.config(), d)
		require.ErrorContains(t, err, name)
		require.Empty(t, e.store.Names())
	}
	cfg := e.config()
	cfg.Bins = e.ceremony.Online
	_, err := repository.Create(t.Context(), cfg, docs)
	require.ErrorIs(t, err, repository.ErrWrongKey)
	require.Empty(t, e.store.Names())

	e.create()
	_, err = repository.Create(t.Context(), e.config(), docs)
	require.ErrorIs(t, err, repository.ErrLocked)
	e.close()
	_, err = repository.Create(t.Context(), e.config(), docs)
	require.ErrorIs(t, err, repository.ErrExists)
	e.check()
}

// A store whose timestamp is neither the committed nor the sealed one: nothing is
// changed, and the error says what was found.
func TestOpenDiverged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.create()
		e.publish(file("a", "1"))
		e.publish(file("b", "1"))
		e.close()
		history := e.store.History("timestamp.json")
		current := history[len(history)-1]
		names := e.store.Names()
		for found, timestamp := range map[string][]byte{
			"in the store there is version 2":                      history[1],
			"in the store there is one that is not valid metadata": []byte("{}"),
		} {
			require.NoError(t, e.store.Swap(t.Context(), "timestamp.json", current, timestamp))
			_, err := repository.Open(t.Context(), e.config())
			require.ErrorIs(t, err, repository.ErrDiverged)
			require.ErrorContains(t, err, "by the journal the timestamp is version 3")
			require.ErrorContains(t, err, found)
			require.Equal(t, names, e.store.Names())
			require.NoError(t, e.store.Swap(t.Context(), "timestamp.json", timestamp, current))
		}
		require.NoError(t, e.store.Delete(t.Context(), "timestamp.json"))
		_, err := repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "in the store there is none")
		require.NoError(t, e.store.Swap(t.Context(), "timestamp.json", nil, current))
		repotest.CheckRepository(t, repotest.Published{
			Store: e.store, Timestamps: history, Now: time.Now(), Want: slices.Collect(maps.Values(e.want)),
		})
	})
}

// A store that can't be read, or not written, is refused by Open.
func TestOpenReadOnlyStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.create()
		e.close()
		for _, op := range []string{"store.Get", "store.Swap"} {
			e.inject.Plan(faulty.On(faulty.Before, op))
			_, err := repository.Open(t.Context(), e.config())
			require.ErrorIs(t, err, faulty.ErrInjected)
			require.ErrorContains(t, err, "open repository: store: ")
		}
		e.inject.Plan(nil)
		e.open()
		e.check()
		e.close()
	})
}

// The real store and journal, as two processes would open them.
func TestOpenDirectories(t *testing.T) {
	e := newEnv(t, 2, delegation.Succinct)
	dir := t.TempDir()
	metadata, queue := filepath.Join(dir, "metadata"), filepath.Join(dir, "journal")
	_, err := dirstore.Open(metadata)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = dirjournal.Open(queue)
	require.ErrorIs(t, err, os.ErrNotExist)

	store, err := dirstore.Create(metadata)
	require.NoError(t, err)
	journal, err := dirjournal.Create(queue)
	require.NoError(t, err)
	cfg := e.cfg
	cfg.Store, cfg.Journal = store, journal
	repo, err := repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.NoError(t, err)
	_, err = dirjournal.Open(queue)
	require.ErrorIs(t, err, repository.ErrLocked)
	require.NoError(t, repo.Close())

	for range 3 {
		cfg.Journal, err = dirjournal.Open(queue)
		require.NoError(t, err)
		repo, err = repository.Open(t.Context(), cfg)
		require.NoError(t, err)
		_, err = repo.Add(t.Context(), file("a", "1"))
		require.NoError(t, err)
		require.NoError(t, repo.Close())
	}
	cfg.Journal, err = dirjournal.Open(queue)
	require.NoError(t, err)
	repo, err = repository.Open(t.Context(), cfg)
	require.NoError(t, err)
	s, err := repo.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, s.Queue.Pending, "what was accepted is queued still")
	e.repo = repo
	e.want["a"] = file("a", "1")
	first, err := store.Get(t.Context(), "timestamp.json")
	require.NoError(t, err)
	e.publish(file("b", "1"))
	last, err := store.Get(t.Context(), "timestamp.json")
	require.NoError(t, err)
	require.NoError(t, repo.Close())
	repotest.CheckRepository(t, repotest.Published{
		Store: store, Timestamps: [][]byte{first, last}, Now: time.Now(), Want: slices.Collect(maps.Values(e.want)),
	})
}

// Everything at once, for the race detector: adds, waits, looks, an install, a
// close in the midst.
func TestConcurrentUse(t *testing.T) {
	e := newEnv(t, 4, delegation.Succinct)
	e.cfg.MaxDelay = time.Millisecond
	e.create()
	done := make(chan error, 1)
	go func() { done <- e.repo.Run(t.Context()) }()

	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := range 20 {
				target := file(fmt.Sprintf("packages/%d/%d", g, n), fmt.Sprint(n))
				r, err := e.repo.Add(t.Context(), target)
				if errors.Is(err, repository.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("add: %v", err)
					return
				}
				mu.Lock()
				e.want[target.Path] = target
				mu.Unlock()
				if _, err := r.Wait(t.Context()); err != nil && !errors.Is(err, repository.ErrClosed) {
					t.Errorf("wait: %v", err)
				}
			}
		})
	}
	wg.Go(func() {
		if err := e.install(repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.NextTargets(nil)}}); err != nil {
			t.Errorf("install: %v", err)
		}
		for range 100 {
			if _, err := e.repo.Status(t.Context()); err != nil {
				t.Errorf("status: %v", err)
			}
		}
	})
	wg.Wait()
	e.close()
	require.NoError(t, <-done)

	e.open()
	e.publish(file("last", "1"))
	e.check()
	e.close()
}

func TestSecondRun(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.run(func() {
			synctest.Wait()
			require.ErrorContains(t, e.repo.Run(t.Context()), "already running")
		})
		e.check()
	})
}

// Close ends every call that waits, and loses nothing.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.create()
		r := e.add(file("a", "1"))
		waited := make(chan error, 1)
		go func() {
			_, err := r.Wait(t.Context())
			waited <- err
		}()
		synctest.Wait()
		e.close()
		require.ErrorIs(t, <-waited, repository.ErrClosed)
		require.NoError(t, e.repo.Close(), "closing again")
		_, err := e.repo.Add(t.Context(), file("b", "1"))
		require.ErrorIs(t, err, repository.ErrClosed)
		require.ErrorIs(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.NextTargets(nil)}}), repository.ErrClosed)
		e.open()
		e.publish(file("c", "1"))
		e.check()

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = e.add(file("d", "1")).Wait(ctx)
		require.ErrorIs(t, err, context.Canceled)
		e.close()
	})
}

// go-tuf 2.4.2 verifies sha256 and sha512; BLAKE2b is stored for others.
func TestOtherHashes(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		target := file("a", "")
		target.Hashes["sha512"] = "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
		target.Hashes["blake2b-256"] = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
		e.publish(target)
		e.check()
	})
}
