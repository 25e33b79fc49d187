package repository_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// A publisher that has nothing to do notices within a minute that its timestamp was replaced, stops, and
// says what can be done. So does Open after that.
func TestForeignTimestamp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replace func(e *env, now []byte)
		words   string
	}{
		"another's": {func(e *env, now []byte) {
			require.NoError(e.t, e.store.Swap(e.t.Context(), "timestamp.json", now, []byte("{}")))
		}, "in the store there is one that is not valid metadata"},
		"newer, by our key": {func(e *env, now []byte) {
			doc, err := roles.NewTimestamp(99, time.Now().Add(time.Hour), 99, []byte("another"))
			require.NoError(e.t, err)
			doc, err = doc.Sign(e.t.Context(), e.ceremony.Online)
			require.NoError(e.t, err)
			require.NoError(e.t, e.store.Swap(e.t.Context(), "timestamp.json", now, doc.Bytes()))
		}, "in the store there is version 99"},
		"older": {func(e *env, now []byte) {
			require.NoError(e.t, e.store.Swap(e.t.Context(), "timestamp.json", now, e.store.History("timestamp.json")[0]))
		}, "the store was restored from a backup"},
		"gone": {func(e *env, now []byte) {
			require.NoError(e.t, e.store.Delete(e.t.Context(), "timestamp.json"))
		}, "in the store there is none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				e.publish(files("x", 5)...)
				ran := make(chan error, 1)
				go func() { ran <- e.repo.Run(t.Context()) }()
				time.Sleep(10 * time.Minute)
				e.requireProblems()
				now, err := e.store.Get(t.Context(), "timestamp.json")
				require.NoError(t, err)
				began := time.Now()
				c.replace(e, now)
				err = <-ran
				require.LessOrEqual(t, time.Since(began), time.Minute)
				require.ErrorIs(t, err, repository.ErrDiverged)
				require.ErrorContains(t, err, "while this publisher ran, somebody else changed it: stop what else writes into the store; by the journal the timestamp is version 2")
				require.ErrorContains(t, err, c.words)
				e.requireProblems("error: nothing is published: ")
				_, err = e.repo.Add(t.Context(), file("y", "1"))
				require.ErrorIs(t, err, repository.ErrClosed)
				require.NoError(t, e.repo.Close())
				_, err = repository.Open(t.Context(), e.config())
				require.ErrorIs(t, err, repository.ErrDiverged)
				require.ErrorContains(t, err, c.words)
			})
		})
	}
}

// A publisher that was paused finds the timestamp of its successor: it is fenced, and nothing is wrong.
func TestTakeoverIsNotForeign(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 5)...)
		paused, handle := e.repo, e.journal
		handle.Expire()
		e.open()
		e.publish(file("y", "1"))
		err := paused.Run(t.Context())
		require.ErrorIs(t, err, repository.ErrFenced)
		require.NotErrorIs(t, err, repository.ErrDiverged)
		require.NoError(t, paused.Close())
		e.check()
	})
}

// overtaken is a store of which an answer comes late: meanwhile another publisher takes over, and publishes.
type overtaken struct {
	repository.Store
	after int // so many reads of the timestamp
	then  func()
}

func (o *overtaken) Get(ctx context.Context, name string) ([]byte, error) {
	if name == "timestamp.json" {
		if o.after--; o.after == 0 {
			o.then()
		}
	}
	return o.Store.Get(ctx, name)
}

// Open that is overtaken is fenced: store and journal don't disagree.
func TestOvertakenOpenIsNotForeign(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 5)...)
		require.NoError(t, e.repo.Close())
		cfg := e.config()
		handle := e.journal
		cfg.Store = &overtaken{cfg.Store, 2, func() { // the first read comes before the lead is taken
			handle.Expire()
			e.open()
			e.publish(file("y", "1"))
		}}
		_, err := repository.Open(t.Context(), cfg)
		require.ErrorIs(t, err, repository.ErrFenced)
		require.NotErrorIs(t, err, repository.ErrDiverged)
		e.check()
	})
}

// A publisher that sealed, was paused, and commits late is fenced too.
func TestLateCommitIsNotForeign(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 5)...)
		e.add(file("sealed", "1"))
		e.withoutSwaps()
		paused, handle := e.repo, e.journal
		handle.Expire()
		e.open()
		e.publish(file("y", "1"))
		err := paused.Run(t.Context())
		require.ErrorIs(t, err, repository.ErrFenced)
		require.NoError(t, paused.Close())
		e.check()
	})
}

// stale is a store that a cache answers for.
type stale struct {
	repository.Store
	old atomic.Pointer[[]byte]
}

func (s *stale) Get(ctx context.Context, name string) ([]byte, error) {
	if old := s.old.Load(); old != nil && name == "timestamp.json" {
		return *old, nil
	}
	return s.Store.Get(ctx, name)
}

// A timestamp that can't be read, or that a cache answers for, stops nothing. Looking costs one call a minute.
func TestTimestampThatIsNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		s := &stale{Store: e.cfg.Store}
		e.cfg.Store = s
		e.create()
		e.publish(files("x", 5)...)
		e.run(func() {
			e.inject.Plan(nil)
			time.Sleep(time.Hour)
			require.LessOrEqual(t, e.storeCalls(), 60)
			require.GreaterOrEqual(t, e.storeCalls(), 59)
			e.requireProblems()
			e.inject.Plan(faulty.On(faulty.Before, "store.Get"))
			time.Sleep(2 * time.Minute)
			e.requireProblems("warning: the public timestamp can't be read: injected fault")
			e.inject.Plan(nil)
			time.Sleep(2 * time.Minute)
			e.requireProblems()
			old := e.store.History("timestamp.json")[0]
			s.old.Store(&old)
			time.Sleep(2 * time.Minute)
			e.requireProblems("warning: the public timestamp can't be read: the store answered with another one")
			s.old.Store(nil)
			time.Sleep(2 * time.Minute)
			e.requireProblems()
		})
		e.check()
		e.close()
	})
}
