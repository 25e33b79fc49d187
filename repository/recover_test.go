package repository_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// history is what the tests of faults do: two generations with additions, a
// replacement and a removal.
func (e *env) history() (err error) { return history(e.t.Context(), e.repo) }

func history(ctx context.Context, repo *repository.Repository) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- repo.Run(ctx) }()
	for i, it := range []repository.Item{
		{ID: "first", Add: files("x", 6)},
		{ID: "second", Add: []roles.Target{file("packages/x/x-1.tar.gz", "again")}, Remove: []string{"packages/x/x-2.tar.gz"}},
	} {
		err := func() error {
			wait, cancel := context.WithTimeout(ctx, 10*time.Minute)
			defer cancel()
			r, err := repo.Submit(wait, it)
			if err == nil {
				_, err = r.Wait(wait)
			}
			return err
		}()
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	cancel()
	return <-done
}

// finishHistory submits all again, as a caller does that was told nothing, and
// requires that every item is published exactly once.
func (e *env) finishHistory() {
	e.t.Helper()
	require.NoError(e.t, e.history())
	e.note(repository.Item{Add: files("x", 6)})
	e.note(repository.Item{Add: []roles.Target{file("packages/x/x-1.tar.gz", "again")}, Remove: []string{"packages/x/x-2.tar.gz"}})
	first, err := e.repo.Outcome(e.t.Context(), "first")
	require.NoError(e.t, err)
	second, err := e.repo.Outcome(e.t.Context(), "second")
	require.NoError(e.t, err)
	require.Equal(e.t, repository.Published, first.State)
	require.Equal(e.t, repository.Published, second.State)
	require.LessOrEqual(e.t, first.Generation, second.Generation)
	e.check()
}

// The process dies at every call, before or after it did its work; the next one
// opens the repository and completes everything.
func TestDeathAtEveryCall(t *testing.T) {
	t.Parallel()
	first, step := thorough.OneIn(3)
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
		for n := 1 + first; ; n += step {
			alive := false
			t.Run(fmt.Sprintf("fault %d call %d", fault, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEnv(t, 2, delegation.Succinct)
					e.inject.Plan(func(c faulty.Call) faulty.Fault {
						switch {
						case c.N < n:
							return faulty.None
						case c.N == n:
							return fault
						default:
							return faulty.Before
						}
					})
					repo, err := repository.Create(t.Context(), e.config(), e.ceremony.Documents())
					if err == nil {
						e.repo = repo
						alive = e.history() == nil
						e.repo.Close()
					} else {
						e.journal.Close()
					}
					e.inject.Plan(nil)
					repo, err = repository.Open(t.Context(), e.config())
					if err != nil { // Create died before it decided anything
						require.ErrorIs(t, err, repository.ErrNotRepository)
						e.journal.Close()
						e.create()
					} else {
						e.repo = repo
					}
					e.finishHistory()
					e.close()
				})
			})
			if alive {
				require.Greater(t, n, 20)
				break
			}
		}
	}
}

// A store that lost what a sealed generation names: it is not committed.
func TestSealedBinIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.create()
		e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
		r, err := e.repo.Add(t.Context(), file("a", "1"))
		require.NoError(t, err)
		e.run(func() { time.Sleep(time.Second) })
		e.close()
		e.inject.Plan(nil)
		name := "2." + mustBins(t, 2).Name(mustBins(t, 2).Find("a")) + ".json"
		data, err := e.store.Get(t.Context(), name)
		require.NoError(t, err)
		require.NoError(t, e.store.Delete(t.Context(), name))
		_, err = repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, name)
		require.Len(t, e.store.History("timestamp.json"), 1)

		require.NoError(t, e.store.Create(t.Context(), name, data))
		e.open()
		o, err := e.repo.Outcome(t.Context(), r.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Outcome{State: repository.Published, Generation: 2}, o)
		e.altered = name
		e.check()
		e.close()
	})
}

// A publisher that was paused past its successor's take-over, at every call of a
// generation, changes nothing when it goes on.
func TestTwoPublishers(t *testing.T) {
	t.Parallel()
	first, step := thorough.OneIn(3)
	for n := 1 + first; ; n += step {
		paused := false
		t.Run(fmt.Sprintf("call %d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 2, delegation.Succinct)
				e.create()
				old := e.repo
				e.inject.Plan(func(c faulty.Call) faulty.Fault {
					if c.N == n {
						paused = true
						return faulty.Hold
					}
					return faulty.None
				})
				done := make(chan error, 1)
				go func() { done <- history(t.Context(), old) }()
				synctest.Wait()
				if !paused {
					require.NoError(t, <-done)
					require.NoError(t, old.Close())
					return
				}
				e.inject.Plan(nil)
				e.journal.Expire()
				e.open()
				e.finishHistory()
				timestamps := len(e.store.History("timestamp.json"))
				e.inject.Release()
				<-done
				old.Close()
				require.Equal(t, timestamps, len(e.store.History("timestamp.json")))
				e.check()
				e.publish(file("after", "1"))
				e.check()
				e.close()
			})
		})
		if !paused {
			require.Greater(t, n, 15)
			break
		}
	}
}
