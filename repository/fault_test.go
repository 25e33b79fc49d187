package repository_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
)

// site is a place from which a call is made: the calls there fail alike.
func site(c faulty.Call) string {
	if c.Op == "leader.Append" {
		return c.Op + " " + c.Name
	}
	return c.Op
}

// tries is how often a test does something that faults make fail.
const tries = 10

// attempt lets the history happen, in a repository that is made or opened first if
// there is none open. Each try has a process of its own, and callers with patience
// of some minutes. It tells how many processes it took.
func (e *env) attempt() (processes int) {
	e.t.Helper()
	var err error
	for processes = 1; processes <= tries; processes++ {
		if e.repo == nil {
			e.repo, err = e.makeOrOpen()
		}
		if err == nil {
			if err = e.history(); err == nil {
				return processes
			}
		}
		injected := errors.Is(err, faulty.ErrInjected) || errors.Is(err, context.DeadlineExceeded)
		require.True(e.t, injected, "%v", err)
		if e.repo != nil {
			e.repo.Close()
		}
		e.repo, err = nil, nil
		e.journal.Close() // as the end of a process does
	}
	require.Fail(e.t, "the history never happens")
	return 0
}

func (e *env) makeOrOpen() (*repository.Repository, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Minute)
	defer cancel()
	repo, err := repository.Open(ctx, e.config())
	if !errors.Is(err, repository.ErrNotRepository) {
		return repo, err
	}
	e.journal.Close()
	return repository.Create(ctx, e.config(), e.ceremony.Documents())
}

// Each call of store and journal fails, once or several times in a row: before it
// did anything, after it did its work, or by hanging until its context ends. The
// repository goes on by itself, or after it was opened again.
func TestEveryCallFails(t *testing.T) {
	t.Parallel()
	first, step := thorough.OneIn(5)
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After, faulty.Hang} {
		for _, times := range []int{1, 3} {
			if testing.Short() && times == 1 {
				continue
			}
			sites := map[string]int{}
			n, alone := 1+first, 0
			for ; ; n += step {
				failing := "" // the site of call n
				t.Run(fmt.Sprintf("fault %d, %d times, call %d", fault, times, n), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						e := newEnv(t, 2, delegation.Succinct)
						e.inject.All = true
						left := times
						e.inject.Plan(func(c faulty.Call) faulty.Fault {
							if c.N == n {
								failing = site(c)
							}
							if failing != site(c) || left == 0 {
								return faulty.None
							}
							left--
							return fault
						})
						processes := e.attempt()
						e.inject.Plan(nil)
						e.finishHistory()
						e.close()
						if processes == 1 {
							alone++
						}
					})
				})
				if failing == "" {
					break
				}
				sites[failing]++
			}
			require.Greater(t, n, 40, "the history made too few calls")
			t.Logf("fault %d, %d times: every %d of %d calls, at %d sites, %d without another process: %v", fault, times, step, n-1, len(sites), alone, sites)
		}
	}
}

// What fails on the way to a generation passes by itself: Run tries again, and
// nobody has to open the repository again. Of the journal's writes that isn't true:
// their effect is unknown.
func TestRunGoesOnByItself(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
		for _, op := range []string{"store.Create", "store.Swap", "leader.Pending", "leader.Await"} {
			t.Run(fmt.Sprintf("fault %d, %s", fault, op), func(t *testing.T) {
				inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
					e.inject.All = true
					left := 3
					e.inject.Plan(func(c faulty.Call) faulty.Fault {
						if !strings.HasPrefix(c.Op, op) || left == 0 {
							return faulty.None
						}
						left--
						return fault
					})
					require.NoError(t, e.history())
					require.Zero(t, left)
					e.finishHistory()
				})
			})
		}
	}
}

// A publisher that had nothing to do learns that another took over: whoever waits
// for it is told, and doesn't wait for ever.
func TestFencedWhileIdle(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		old := e.repo
		ran := make(chan error, 1)
		go func() { ran <- old.Run(t.Context()) }()
		synctest.Wait()
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "leader.Pending" {
				return faulty.Before // so that the item stays in the queue
			}
			return faulty.None
		})
		r, err := old.Add(t.Context(), file("a", "1"))
		require.NoError(t, err)
		waited := make(chan error, 1)
		go func() {
			_, err := r.Wait(t.Context())
			waited <- err
		}()
		synctest.Wait()
		e.inject.Plan(nil)
		e.journal.Expire()
		e.open()
		require.ErrorIs(t, <-ran, repository.ErrFenced)
		require.ErrorIs(t, <-waited, repository.ErrFenced)
		_, err = old.Add(t.Context(), file("b", "1"))
		require.ErrorIs(t, err, repository.ErrClosed)
		require.NoError(t, old.Close())
	})
}
