package service

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

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
