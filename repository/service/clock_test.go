package service

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// machine is one of several that share a store and a journal. Its clock may differ from the others'.
type machine struct {
	*memory
	off atomic.Int64 // by how much its clock is wrong
	log logs
}

type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (m *memory) machine() *machine { return &machine{memory: m} }

func (m *machine) set(off time.Duration) { m.off.Store(int64(off)) }

func (m *machine) config() Config {
	cfg := m.memory.config()
	open := cfg.Open
	cfg.Open = func(ctx context.Context) (repository.Config, error) {
		cfg, err := open(ctx)
		cfg.Now = func() time.Time { return time.Now().Add(time.Duration(m.off.Load())) }
		return cfg, err
	}
	cfg.Standby = true
	shared := m.journal.Handle()
	cfg.Queue = func(context.Context) (repository.Queue, error) { return shared, nil }
	cfg.Read = func(context.Context) (repository.Store, repository.Reader, error) { return m.store, shared, nil }
	cfg.Logger = slog.New(slog.NewTextHandler(&m.log, nil))
	return cfg
}

func isLocked(repo *repository.Repository, reason error) bool {
	return because(repository.ErrLocked)(repo, reason) && !because(repository.ErrClock)(repo, reason)
}

// A standby whose clock is wrong takes the lead, signs nothing, and gives the lead up: another one publishes.
func TestStandbyWithAWrongClock(t *testing.T) {
	for name, off := range map[string]time.Duration{"an hour behind": -time.Hour, "two years ahead": 2 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				right, wrong := m.machine(), m.machine()
				first := started(t, right.config())
				publish(t, first, file("a/a.whl", "1"))
				wrong.set(off)
				second := started(t, wrong.config())

				require.NoError(t, first.Close()) // it is restarted
				until(t, second, because(repository.ErrClock))
				synctest.Wait()
				require.Contains(t, wrong.log.String(), "the lead is given up")
				requireProblem(t, second, "error: the lead was given up, and is tried for again 1m0s later: ", "implausible clock", "set this machine's clock", "AcceptClock")
				require.ErrorIs(t, second.Drain(t.Context()), repository.ErrLocked)
				require.ErrorIs(t, second.Drain(t.Context()), repository.ErrClock)
				queued, err := second.Add(t.Context(), file("b/b.whl", "1")) // it is a standby like any other
				require.NoError(t, err)

				first = started(t, right.config())
				until(t, first, isOpen)
				o, err := queued.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, repository.Published, o.State)
				until(t, second, isLocked)
				require.ErrorIs(t, second.AcceptClock(t.Context()), repository.ErrLocked, "another one publishes")

				// Its clock is set, and then it takes over.
				wrong.set(0)
				require.NoError(t, first.Close())
				until(t, second, isOpen)
				publish(t, second, file("c/c.whl", "1"))
				require.NoError(t, second.Close())
				m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1")})
			})
		})
	}
}

// The clock is set while a service publishes. Nobody else is there, so it takes the lead again and again, and doesn't
// forget what it saw: nothing is signed until the clock is right, or an operator says that it is.
func TestClockIsSetWhilePublishing(t *testing.T) {
	for name, c := range map[string]struct {
		off    time.Duration
		accept bool
	}{
		"back":               {-time.Hour, false},
		"back, accepted":     {-time.Hour, true},
		"far ahead":          {50 * 24 * time.Hour, false},
		"far ahead accepted": {50 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				alone := m.machine()
				s := started(t, alone.config())
				publish(t, s, file("a/a.whl", "1"))
				alone.set(c.off)
				before := m.opened()
				until(t, s, because(repository.ErrClock))
				queued, err := s.Add(t.Context(), file("b/b.whl", "1"))
				require.NoError(t, err)
				time.Sleep(10 * time.Minute)
				require.ErrorIs(t, s.Reload(t.Context()), repository.ErrClock, "it opens the repository at once, and installs nothing")
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				require.Equal(t, 21, m.opened()-before, "once a minute, and for Reload")
				require.Len(t, m.store.History("timestamp.json"), 2)

				if c.accept {
					require.NoError(t, s.AcceptClock(t.Context()))
				} else {
					alone.set(0)
				}
				o, err := queued.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, repository.Published, o.State)
				until(t, s, isOpen)
				status, err := s.Status(t.Context())
				require.NoError(t, err)
				require.True(t, status.Leads)
				require.NoError(t, status.Err)
				require.NoError(t, s.Close())
				if !c.accept || c.off < 0 {
					m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
				}
			})
		})
	}
}

// Both clocks are wrong: each gives the lead up in its turn, and what is accepted waits.
func TestBothClocksAreWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		one, other := m.machine(), m.machine()
		first := started(t, one.config())
		publish(t, first, file("a/a.whl", "1"))
		one.set(-time.Hour)
		other.set(-time.Hour)
		second := started(t, other.config())
		until(t, first, because(repository.ErrClock))
		until(t, second, because(repository.ErrClock))
		queued, err := first.Add(t.Context(), file("b/b.whl", "1"))
		require.NoError(t, err)
		time.Sleep(time.Hour/2 + time.Second/2) // neither has the lead for a moment just now
		require.Len(t, m.store.History("timestamp.json"), 2)
		require.NoError(t, second.AcceptClock(t.Context()))
		o, err := queued.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		require.NoError(t, first.Close())
		require.NoError(t, second.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// A service without Standby keeps the lead, and waits for people.
func TestWrongClockWithoutStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		alone := m.machine()
		cfg := alone.config()
		cfg.Standby = false
		s := started(t, cfg)
		publish(t, s, file("a/a.whl", "1"))
		alone.set(-time.Hour)
		_, err := s.Add(t.Context(), file("b/b.whl", "1"))
		require.NoError(t, err)
		time.Sleep(time.Hour / 2)
		require.Equal(t, 1, m.opened())
		requireProblem(t, s, "error: publishing fails: ", "implausible clock", "AcceptClock")
		require.NoError(t, s.AcceptClock(t.Context()))
		require.NoError(t, s.Drain(t.Context()))
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}
