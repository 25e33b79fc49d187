package repository_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// rationed is a store that limits how often a name is swapped, and notes when it was.
type rationed struct {
	repository.Store
	interval time.Duration

	mu      sync.Mutex
	swaps   []time.Time
	created map[string]time.Time
}

func (s *rationed) MinInterval() time.Duration { return s.interval }

func (s *rationed) Create(ctx context.Context, name string, data []byte) error {
	s.mu.Lock()
	s.created[name] = time.Now()
	s.mu.Unlock()
	return s.Store.Create(ctx, name, data)
}

func (s *rationed) Swap(ctx context.Context, name string, old, new []byte) error {
	s.mu.Lock()
	s.swaps = append(s.swaps, time.Now())
	s.mu.Unlock()
	return s.Store.Swap(ctx, name, old, new)
}

// Whatever swaps the timestamp keeps the interval: uploads one after the other, swaps that fail,
// renewals, a rotation, documents, and processes that follow one another.
func TestMinInterval(t *testing.T) {
	const interval = time.Second
	for name, c := range map[string]struct{ demanded, configured time.Duration }{
		"demanded by the store": {interval, 0},
		"configured":            {0, interval},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				s := &rationed{Store: e.cfg.Store, interval: c.demanded, created: map[string]time.Time{}}
				e.cfg.Store, e.cfg.MinInterval = s, c.configured
				e.create()
				e.run(func() {
					for n := range 10 {
						e.wait(e.add(file("x", string(rune('a'+n)))), repository.Published)
					}
				})
				require.GreaterOrEqual(t, len(s.swaps), 11)
				e.inject.Plan(faulty.On(faulty.After, "store.Swap"))
				late := e.add(file("late", "1"))
				e.run(func() {
					time.Sleep(10 * time.Second)
					e.inject.Plan(nil)
					e.wait(late, repository.Published)
				})
				e.reopen()
				e.reopen()
				e.publish(file("y", "1"))

				online := e.ceremony.NewEd25519()
				root := e.ceremony.NextRoot(func(spec *roles.RootSpec) {
					spec.Snapshot.Keys, spec.Timestamp.Keys = []*keys.PublicKey{online.Public()}, []*keys.PublicKey{online.Public()}
				})
				e.close()
				e.cfg.Signers = map[string][]keys.Signer{"snapshot": {online}, "timestamp": {online}}
				e.open()
				e.publish(file("z", "1"))
				require.NoError(t, e.repo.InstallAfterCompromise(t.Context(), repository.Documents{Roots: [][]byte{root}}))
				require.Equal(t, s.created["2.root.json"], s.swaps[len(s.swaps)-1], "clients fail between the two")
				e.run(func() { time.Sleep(5 * 24 * time.Hour) })

				for n := range s.swaps[1:] {
					require.GreaterOrEqual(t, s.swaps[n+1].Sub(s.swaps[n]), interval, n)
				}
				require.Greater(t, len(s.swaps), 25)
				require.True(t, slices.IsSortedFunc(s.swaps, time.Time.Compare))
				e.check()
				e.close()
			})
		})
	}
}

func TestMinIntervalRefused(t *testing.T) {
	e := newEnv(t, 4, delegation.Succinct)
	e.cfg.Store = &rationed{Store: e.cfg.Store, interval: time.Second}
	for interval, words := range map[time.Duration]string{
		time.Second / 2: "MinInterval is 500ms, and the store (*repository_test.rationed) demands 1s",
		-time.Second:    "MinInterval is -1s, and the store",
		time.Minute:     "MinInterval is 1m0s: from 0 to 5s",
	} {
		e.cfg.MinInterval = interval
		_, err := repository.Open(t.Context(), e.config())
		require.ErrorContains(t, err, words)
	}
}

// sharedJournal says that several machines can use it.
type sharedJournal struct{ repository.Journal }

func (sharedJournal) Shared() bool { return true }

// A directory is no store for publishers on several machines.
func TestLocalStoreOfASharedJournal(t *testing.T) {
	e := newEnv(t, 4, delegation.Succinct)
	store, err := dirstore.Create(t.TempDir())
	require.NoError(t, err)
	e.cfg.Store = store
	cfg := e.config()
	cfg.Journal = sharedJournal{storetest.NewJournal()}
	_, err = repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.ErrorContains(t, err, "the store (*dirstore.Store) is this machine's, and the journal (repository_test.sharedJournal) can be shared")
	require.ErrorContains(t, err, "set OneMachine if every process that uses the journal runs on this machine")

	cfg.OneMachine = true
	repo, err := repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())

	cfg = e.config() // a journal of this machine
	cfg.Store, err = dirstore.Create(t.TempDir())
	require.NoError(t, err)
	repo, err = repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())
}
