package service

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Two services share a journal. The one whose lease ended becomes a standby: it reads, accepts, and tells outcomes
// without the lead, and takes over again.
func TestStandbyOfASharedJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		cfg := m.config()
		cfg.Standby = true
		shared := m.journal.Handle()
		cfg.Queue = func(context.Context) (repository.Queue, error) { return shared, nil }
		cfg.Read = func(context.Context) (repository.Store, repository.Reader, error) { return m.store, shared, nil }
		first := started(t, cfg)
		publish(t, first, file("a/a.whl", "1"))
		second := started(t, cfg)
		publish(t, second, file("b/b.whl", "1")) // by the first one

		// The first one is paused, as it were, and the second one takes over.
		m.journal.Expire()
		until(t, second, isOpen)
		publish(t, second, file("c/c.whl", "1"))
		until(t, first, because(repository.ErrLocked))

		// A standby now: it reads, accepts and waits.
		status, err := first.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 4, status.Generation)
		require.False(t, status.Leads)
		v, err := first.View(t.Context())
		require.NoError(t, err)
		_, err = v.Lookup(t.Context(), "c/c.whl")
		require.NoError(t, err)
		item := repository.Item{ID: "d", Add: []roles.Target{file("d/d.whl", "1")}}
		r, err := first.Submit(t.Context(), item)
		require.NoError(t, err)
		require.False(t, r.Repeated())
		again, err := first.Submit(t.Context(), item)
		require.NoError(t, err)
		require.True(t, again.Repeated())
		o, err := r.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		known, err := first.Outcome(t.Context(), "d")
		require.NoError(t, err)
		require.Equal(t, o, known)
		_, err = first.Outcome(t.Context(), "never")
		require.ErrorIs(t, err, repository.ErrUnknownItem)
		_, err = first.Add(t.Context(), roles.Target{Path: "../x"})
		require.ErrorIs(t, err, repository.ErrInvalid)
		item.Add[0].Length++
		_, err = first.Submit(t.Context(), item)
		require.ErrorIs(t, err, repository.ErrIDReused)
		require.ErrorIs(t, first.Drain(t.Context()), repository.ErrLocked)

		// An item that waits in a standby is published by whoever leads then.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, second.Close())
		late, err := first.Add(t.Context(), file("e/e.whl", "1"))
		require.NoError(t, err)
		o, err = late.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		until(t, first, isOpen)
		require.NoError(t, first.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1"), file("d/d.whl", "1"), file("e/e.whl", "1")})
	})
}

// A standby refuses what the queue has no room for, and Close ends a call that waits in it.
func TestStandbyQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.cfg.MaxPending = 2
		cfg := m.config()
		cfg.Standby = true
		require.NoError(t, started(t, cfg).Close())
		lead, _, err := m.journal.Lead(t.Context()) // by a process that publishes nothing
		require.NoError(t, err)
		shared := m.journal.Handle()
		cfg.Queue = func(context.Context) (repository.Queue, error) { return shared, nil }
		s := started(t, cfg)
		r, err := s.Submit(t.Context(), repository.Item{ID: "1", Add: []roles.Target{file("a/a.whl", "1")}})
		require.NoError(t, err)
		_, err = s.Add(t.Context(), file("b/b.whl", "1"))
		require.NoError(t, err)
		_, err = s.Add(t.Context(), file("c/c.whl", "1"))
		require.ErrorIs(t, err, repository.ErrBusy)
		_, err = s.Submit(t.Context(), repository.Item{ID: "1", Add: []roles.Target{file("a/a.whl", "1")}})
		require.NoError(t, err, "it is there already")
		waited := make(chan error, 1)
		go func() {
			_, err := r.Wait(t.Context())
			waited <- err
		}()
		synctest.Wait()
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-waited, repository.ErrClosed)
		require.NoError(t, lead.Release(t.Context()))
	})
}

// A standby that has Vacant opens nothing while another publishes, and takes over once that has ended.
func TestVacant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		cfg := m.config()
		first := started(t, cfg)
		publish(t, first, file("a/a.whl", "1"))
		var opens, asked atomic.Int64
		var free atomic.Bool
		open := cfg.Open
		cfg.Open = func(ctx context.Context) (repository.Config, error) {
			opens.Add(1)
			return open(ctx)
		}
		cfg.Standby, cfg.Vacant = true, func(context.Context) error {
			if asked.Add(1); !free.Load() {
				return repository.ErrLocked
			}
			return nil
		}
		standby := started(t, cfg)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 1, opens.Load())
		require.EqualValues(t, 30, asked.Load())
		require.NoError(t, first.Close())
		free.Store(true)
		until(t, standby, isOpen)
		require.EqualValues(t, 2, opens.Load())
		publish(t, standby, file("b/b.whl", "1"))
		require.NoError(t, standby.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// begin creates a repository with keys of its own.
func (m *memory) begin(t *testing.T, seed byte) {
	t.Helper()
	layout, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	m.ceremony = repotest.NewSeededCeremony(t, layout, time.Now(), [32]byte{seed})
	require.NoError(t, started(t, m.config()).Close())
}

// withOther is a standby of m's configuration that has the store of another repository while it is told so.
func withOther(m, other *memory) (cfg Config, mixed *atomic.Bool) {
	mixed = new(atomic.Bool)
	cfg = m.config()
	open, shared := cfg.Open, m.journal.Handle()
	cfg.Open = func(ctx context.Context) (repository.Config, error) {
		c, err := open(ctx)
		if mixed.Load() {
			c.Store = other.store
		}
		return c, err
	}
	cfg.Standby = true
	cfg.Queue = func(context.Context) (repository.Queue, error) { return shared, nil }
	cfg.Vacant = func(ctx context.Context) error { // as pgjournal's
		lead, _, err := shared.Lead(ctx)
		if err == nil {
			err = lead.Release(ctx)
		}
		return err
	}
	return cfg, mixed
}

// A standby that has the store of one repository and the journal of another accepts nothing, and says so: when it starts, after
// Reload, and if the publisher changes to another process.
func TestStandbyOfAnotherRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, other := newMemory(t), newMemory(t)
		other.begin(t, 7)
		first := started(t, m.config())
		publish(t, first, file("a/a.whl", "1"))

		cfg, mixed := withOther(m, other)
		mixed.Store(true)
		_, err := Start(t.Context(), cfg)
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.NotErrorIs(t, err, repository.ErrLocked)
		require.ErrorContains(t, err, "store and journal belong to different repositories: the store's 1.root.json is a valid root, and not the journal's")

		mixed.Store(false)
		standby := started(t, cfg)
		publish(t, standby, file("b/b.whl", "1"))
		mixed.Store(true)
		require.ErrorIs(t, standby.Reload(t.Context()), repository.ErrDiverged)
		refused := func() {
			t.Helper()
			_, err = standby.Submit(t.Context(), repository.Item{ID: "mixed", Add: []roles.Target{file("mixed", "1")}})
			require.ErrorIs(t, err, ErrUnavailable)
			require.ErrorIs(t, err, repository.ErrDiverged)
			requireProblem(t, standby, "error: nothing is accepted or published: ", "store and journal belong to different repositories", "check where the configuration says")
		}
		refused()
		require.NoError(t, first.Close())
		time.Sleep(2 * lastPause)
		refused() // nor does it publish
		first = started(t, m.config())
		publish(t, first, file("c/c.whl", "1"))
		mixed.Store(false)
		require.NoError(t, standby.Reload(t.Context()))
		_, err = standby.Outcome(t.Context(), "mixed")
		require.ErrorIs(t, err, repository.ErrUnknownItem)
		publish(t, standby, file("d/d.whl", "1"))
		require.NoError(t, standby.Close())
		require.NoError(t, first.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1"), file("d/d.whl", "1")})
		other.check(t, nil)
	})
}

// A standby that can't ask at first whether store and journal belong together accepts nothing until it could.
func TestStandbyThatCouldNotCompare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		first := started(t, m.config())
		publish(t, first, file("a/a.whl", "1"))
		cfg, _ := withOther(m, nil)
		unreadable := func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Get" && c.Name == "1.root.json" {
				return faulty.Before
			}
			return faulty.None
		}
		m.inject.Plan(unreadable)
		_, err := Start(t.Context(), cfg)
		require.ErrorIs(t, err, faulty.ErrInjected)
		m.inject.Plan(nil)
		standby := started(t, cfg)
		publish(t, standby, file("b/b.whl", "1"))
		m.inject.Plan(unreadable)
		require.ErrorIs(t, standby.Reload(t.Context()), faulty.ErrInjected)
		_, err = standby.Add(t.Context(), file("never", "1"))
		require.ErrorIs(t, err, ErrUnavailable)
		m.inject.Plan(nil)
		until(t, standby, because(repository.ErrLocked))
		publish(t, standby, file("c/c.whl", "1"))
		require.NoError(t, standby.Close())
		require.NoError(t, first.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1")})
	})
}

// A standby that starts before the repository exists accepts nothing until it knows which one that is.
func TestStandbyBeforeTheRepository(t *testing.T) {
	for _, mixed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m, other := newMemory(t), newMemory(t)
			other.begin(t, 7)
			creating, _, err := m.journal.Lead(t.Context())
			require.NoError(t, err)
			cfg, isMixed := withOther(m, other)
			isMixed.Store(mixed)
			standby := started(t, cfg)
			for range 3 {
				_, err = standby.Add(t.Context(), file("never", "1"))
				require.ErrorIs(t, err, repository.ErrLocked)
				require.ErrorContains(t, err, "nothing is accepted until it is known which repository that is")
				time.Sleep(10 * pauseOfLock)
			}
			require.NoError(t, creating.Release(t.Context()))
			first := started(t, m.config()) // before the standby looks again
			if mixed {
				until(t, standby, because(repository.ErrDiverged))
				_, err = standby.Add(t.Context(), file("never", "1"))
				require.ErrorIs(t, err, repository.ErrDiverged)
			} else {
				time.Sleep(2 * pauseOfLock)
				publish(t, standby, file("a/a.whl", "1"))
			}
			require.NoError(t, standby.Close())
			require.NoError(t, first.Close())
			other.check(t, nil)
		})
	}
}

// Nothing is compared with a queue that nobody can read: such a standby doesn't start.
func TestStandbyWithAQueueThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		first := started(t, m.config())
		publish(t, first, file("a/a.whl", "1"))
		cfg, _ := withOther(m, nil)
		queue := cfg.Queue
		cfg.Queue = func(ctx context.Context) (repository.Queue, error) {
			q, err := queue(ctx)
			return struct{ repository.Queue }{q}, err
		}
		_, err := Start(t.Context(), cfg)
		require.ErrorContains(t, err, "config: Queue: whether the store is that of this journal can't be known")
		cfg.Read = func(context.Context) (repository.Store, repository.Reader, error) {
			return m.store, m.journal.Handle(), nil
		}
		publish(t, started(t, cfg), file("b/b.whl", "1"))
	})
}
