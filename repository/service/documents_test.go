package service

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// requireRoot requires which root is in force.
func requireRoot(t *testing.T, s *Service, version int64) {
	t.Helper()
	status, err := s.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, status.Err)
	require.Equal(t, version, status.Roles["root"].Version)
}

// A root that comes too early is in force once the time has come. Nobody reloads a second time.
func TestDocumentsThatComeTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.cfg.CacheAge, m.cfg.ClientRun = time.Hour, time.Hour
		s := started(t, m.config())
		publish(t, s, file("a/a.whl", "1"))
		next := m.ceremony.NewEd25519()
		both, only := []*keys.PublicKey{m.ceremony.Online.Public(), next.Public()}, []*keys.PublicKey{next.Public()}
		m.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot.Keys, r.Timestamp.Keys = both, both })
		m.cfg.Bins, m.cfg.Snapshot, m.cfg.Timestamp = m.ceremony.Bins, next, next
		require.NoError(t, s.Reload(t.Context()))
		publish(t, s, file("b/b.whl", "1"))
		m.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot.Keys, r.Timestamp.Keys = only, only })
		require.ErrorIs(t, s.Reload(t.Context()), repository.ErrLocksOut)
		requireProblem(t, s, "warning: newer documents are not in force: ", "it is tried again each minute")
		requireRoot(t, s, 2)
		publish(t, s, file("c/c.whl", "1"))
		time.Sleep(2*time.Hour + 2*documentsAgain)
		requireRoot(t, s, 3)
		status, err := s.Status(t.Context())
		require.NoError(t, err)
		require.Empty(t, status.Problems)
		publish(t, s, file("d/d.whl", "1"))
		require.NoError(t, s.Close())
	})
}

// Documents come around a fail-over, and nobody tells the publisher that takes over.
func TestDocumentsAroundAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		cfg := m.config()
		cfg.Standby = true
		first := started(t, cfg)
		second := started(t, cfg)
		require.NoError(t, first.Close())
		until(t, second, isOpen)
		first = started(t, cfg)
		require.NoError(t, second.Close())
		until(t, first, isOpen)
		requireRoot(t, first, 1)

		// First leads, loses the lead, and comes back. Its documents were read before.
		broken := errors.New("broken")
		m.failWith(broken)
		repo, _ := first.now()
		first.lose(repo, failure{broken})
		until(t, first, because(broken))
		m.failWith(nil)
		second = nil
		for second == nil { // whoever is first
			var err error
			if second, err = Start(t.Context(), m.config()); err != nil {
				require.ErrorIs(t, err, repository.ErrLocked)
				time.Sleep(time.Millisecond)
			}
			if repo, _ := first.now(); repo != nil {
				first.lose(repo, failure{broken})
			}
		}
		until(t, first, because(repository.ErrLocked))
		publish(t, second, file("a/a.whl", "1"))
		m.ceremony.NextRoot(nil)
		require.NoError(t, second.Close())
		until(t, first, isOpen)
		time.Sleep(time.Second)
		requireRoot(t, first, 2)
		publish(t, first, file("b/b.whl", "1"))
		require.NoError(t, first.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// Reload fails because the database, or the folder of documents, can't be reached. The documents are in force once it can.
func TestDocumentsAfterReloadFailed(t *testing.T) {
	for name, broken := range map[string]struct{ open, documents error }{
		"open":      {open: errors.New("broken")},
		"documents": {documents: errors.New("broken")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				cfg := m.config()
				var mu sync.Mutex
				var failing error
				cfg.Documents = func(ctx context.Context) (repository.Documents, error) {
					mu.Lock()
					defer mu.Unlock()
					d, err := m.documents(ctx)
					return d, errors.Join(failing, err)
				}
				s := started(t, cfg)
				m.ceremony.NextRoot(nil)
				fail := func(open, documents error) {
					m.failWith(open)
					mu.Lock()
					defer mu.Unlock()
					failing = documents
				}
				fail(broken.open, broken.documents)
				require.ErrorContains(t, s.Reload(t.Context()), "broken")
				publish(t, s, file("a/a.whl", "1"))
				requireRoot(t, s, 1)
				fail(nil, nil)
				time.Sleep(documentsAgain + time.Second)
				requireRoot(t, s, 2)
				require.NoError(t, s.Close())
				m.check(t, []roles.Target{file("a/a.whl", "1")})
			})
		})
	}
}

// paced notes when the timestamp is swapped.
type paced struct {
	repository.Store
	swaps *[]time.Time
	mu    *sync.Mutex
}

func (p paced) Swap(ctx context.Context, name string, old, new []byte) error {
	p.mu.Lock()
	*p.swaps = append(*p.swaps, time.Now())
	p.mu.Unlock()
	return p.Store.Swap(ctx, name, old, new)
}

// Reload tries the store by a swap. It keeps the distance that the store demands, to the swap before and to the next.
func TestReloadKeepsMinInterval(t *testing.T) {
	const interval = time.Second
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.cfg.MinInterval = interval
		var mu sync.Mutex
		var swaps []time.Time
		cfg := m.config()
		cfg.Open = func(ctx context.Context) (repository.Config, error) {
			c, err := m.open(ctx)
			c.Store = paced{c.Store, &swaps, &mu}
			return c, err
		}
		s := started(t, cfg)
		publish(t, s, file("a/a.whl", "1"))
		before := len(swaps)
		var want []roles.Target
		for n := range 3 {
			target := file("p/"+time.Duration(n).String(), "1")
			want = append(want, target)
			r, err := s.Add(t.Context(), target)
			require.NoError(t, err)
			require.NoError(t, s.Reload(t.Context())) // while a generation is under way
			_, err = r.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Reload(t.Context())) // just after a commit
		}
		require.NoError(t, s.Close())
		require.Greater(t, len(swaps), before+9)
		for n := range swaps[1:] {
			require.GreaterOrEqual(t, swaps[n+1].Sub(swaps[n]), interval, n)
		}
		m.check(t, append(want, file("a/a.whl", "1")))
	})
}
