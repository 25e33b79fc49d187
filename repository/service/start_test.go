package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// From an empty disk: the repository is created, publishes, and is the same one at the next start.
func TestStart(t *testing.T) {
	site := newSite(t, t.TempDir())
	s := started(t, site.config())
	publish(t, s, file("a/a.whl", "1"))
	require.NoError(t, s.Drain(t.Context()))
	status, err := s.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, status.Err)
	require.EqualValues(t, 2, status.Generation)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())

	s = started(t, site.config())
	v, err := s.View(t.Context())
	require.NoError(t, err)
	found, err := v.Lookup(t.Context(), "a/a.whl")
	require.NoError(t, err)
	require.Equal(t, file("a/a.whl", "1"), found)
	r, err := s.Remove(t.Context(), "a/a.whl")
	require.NoError(t, err)
	o, err := r.Wait(t.Context())
	require.NoError(t, err)
	again, err := s.Outcome(t.Context(), r.ID())
	require.NoError(t, err)
	require.Equal(t, o, again)
	later := s.Receipt(r.ID(), "a/a.whl")
	require.True(t, later.Repeated())
	again, err = later.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, o, again)
	_, err = s.Receipt("nobody's").Wait(t.Context())
	require.ErrorIs(t, err, repository.ErrUnknownItem)
	require.NoError(t, s.Close())
	site.check(t, nil, "a/a.whl")

	// After Close all calls say so.
	_, err = s.Add(t.Context(), file("b/b.whl", "1"))
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = r.Wait(t.Context())
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = s.Status(t.Context())
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = s.View(t.Context())
	require.ErrorIs(t, err, repository.ErrClosed)
	require.ErrorIs(t, s.Reload(t.Context()), repository.ErrClosed)
	require.ErrorIs(t, s.Drain(t.Context()), repository.ErrClosed)
	require.ErrorIs(t, s.Install(t.Context(), repository.Documents{}), repository.ErrClosed)
}

// What can't work is an error at once. The journal is closed, so that another process can open it.
func TestStartRefuses(t *testing.T) {
	site := newSite(t, t.TempDir())
	broken := errors.New("no such folder")
	without := func(change func(*Config)) Config {
		cfg := site.config()
		change(&cfg)
		return cfg
	}
	refused := func(name string, cfg Config, target error, text string) {
		t.Helper()
		_, err := Start(t.Context(), cfg)
		require.Error(t, err, name)
		if target != nil {
			require.ErrorIs(t, err, target, name)
		}
		require.ErrorContains(t, err, "start: "+text, name)
		if cfg.Open == nil {
			return
		}
		journal, err := dirjournal.OpenOrCreate(site.journal())
		require.NoError(t, err, name)
		require.NoError(t, journal.Close())
	}
	noDocuments := without(func(c *Config) { c.Documents = nil })
	brokenDocuments := without(func(c *Config) {
		c.Documents = func(context.Context) (repository.Documents, error) { return repository.Documents{}, broken }
	})
	refused("no Open", Config{}, nil, "config: Open is missing")
	refused("patience", without(func(c *Config) { c.Patience = -1 }), nil, "config: Patience is -1ns")
	refused("no repository", noDocuments, repository.ErrNotRepository, "open repository: ")
	refused("no documents", brokenDocuments, broken, "documents: no such folder")
	refused("empty documents", without(func(c *Config) {
		c.Documents = func(context.Context) (repository.Documents, error) { return repository.Documents{}, nil }
	}), nil, "open or create repository: root is missing")
	refused("no keys", without(func(c *Config) {
		c.Open = func(context.Context) (repository.Config, error) { return repository.Config{}, broken }
	}), broken, "no such folder")

	right := site.online
	wrong, err := keys.NewSigner(mustKey(9))
	require.NoError(t, err)
	site.use(wrong)
	refused("wrong key, new", site.config(), repository.ErrWrongKey, "open or create repository: ")
	site.use(right)
	require.NoError(t, started(t, site.config()).Close())
	site.use(wrong)
	refused("wrong key", site.config(), repository.ErrWrongKey, "")
	refused("wrong key, no documents", noDocuments, repository.ErrWrongKey, "")
	site.use(right)
	refused("no documents any more", brokenDocuments, broken, "documents: no such folder")

	// A document that is newer and not valid.
	newer := site.ceremony.NextRoot(nil)
	refused("bad document", without(func(c *Config) {
		c.Documents = func(context.Context) (repository.Documents, error) {
			return repository.Documents{Roots: [][]byte{append([]byte(" "), newer[:len(newer)-1]...)}}, nil
		}
	}), nil, "install: ")

	s := started(t, site.config())
	_, err = Start(t.Context(), site.config())
	require.ErrorIs(t, err, repository.ErrLocked)
	require.ErrorContains(t, err, "locked by another publisher: process ")
	publish(t, s, file("a/a.whl", "1"))
	status, err := s.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, status.Roles["root"].Version, "the newer root was installed")
	require.NoError(t, s.Close())
	site.check(t, []roles.Target{file("a/a.whl", "1")})
}

// What time or people must mend keeps no index from starting.
func TestStartWithWhatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.cfg.CacheAge = 0 // the default
		require.NoError(t, started(t, m.config()).Close())

		// A root that drops a key too early.
		next := m.ceremony.NewP256()
		m.cfg.Bins, m.cfg.Snapshot, m.cfg.Timestamp = m.ceremony.Bins, m.ceremony.Online, m.ceremony.Online
		m.cfg.Signers = map[string][]keys.Signer{"snapshot": {next}, "timestamp": {next}}
		m.ceremony.NextRoot(func(r *roles.RootSpec) {
			r.Snapshot.Keys, r.Timestamp.Keys = []*keys.PublicKey{next.Public()}, []*keys.PublicKey{next.Public()}
		})
		s := started(t, m.config())
		requireProblem(t, s, "warning: newer documents are not in force: ", repository.ErrLocksOut.Error(), "it is tried again each minute")
		publish(t, s, file("a/a.whl", "1"))
		require.ErrorIs(t, s.Reload(t.Context()), repository.ErrLocksOut)
		publish(t, s, file("b/b.whl", "1"))
		require.NoError(t, s.Close())

		// The clock.
		m.cfg.Now = func() time.Time { return time.Now().AddDate(20, 0, 0) }
		s = started(t, m.config())
		requireProblem(t, s, "warning: newer documents are not in force: ", repository.ErrClock.Error(), "AcceptClock")
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// Documents that can't be read, a key that can't be loaded: Reload says so, and all goes on.
func TestReloadRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		broken := errors.New("broken")
		var documentsErr error
		cfg := m.config()
		cfg.Documents = func(ctx context.Context) (repository.Documents, error) {
			d, err := m.documents(ctx)
			return d, errors.Join(err, documentsErr)
		}
		s := started(t, cfg)
		repo, _ := s.now()
		documentsErr = broken
		require.ErrorIs(t, s.Reload(t.Context()), broken)
		documentsErr = nil
		m.failWith(broken)
		require.ErrorIs(t, s.Reload(t.Context()), broken)
		m.failWith(nil)
		same, _ := s.now()
		require.Same(t, repo, same)
		publish(t, s, file("a/a.whl", "1"))
		require.NoError(t, s.Reload(t.Context()))
		other, _ := s.now()
		require.NotSame(t, repo, other)
		publish(t, s, file("b/b.whl", "1"))
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// Keys and documents are changed, while uploads come in: all are published. Then a key that
// may not sign ends publishing until the right one is there.
func TestReloadKeys(t *testing.T) {
	for name, dir := range map[string]bool{"directory": true, "shared journal": false} {
		t.Run(name, func(t *testing.T) {
			site := newSite(t, t.TempDir())
			m := newMemory(t)
			m.cfg.MaxDelay, site.delay = 30*time.Millisecond, 30*time.Millisecond
			use := func(k keys.Signer) {
				m.cfg.Bins, m.cfg.Snapshot, m.cfg.Timestamp = m.ceremony.Bins, k, k
			}
			c := m.ceremony
			cfg := m.config()
			if dir {
				cfg, c, use = site.config(), site.ceremony, site.use
			}
			s := started(t, cfg)
			var want []roles.Target
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					target := file("p/"+time.Duration(n).String(), name)
					r, err := s.Add(t.Context(), target)
					if err == nil {
						_, err = r.Wait(t.Context())
					}
					if err != nil {
						t.Error(err)
						return
					}
					want = append(want, target)
				}
			}()
			last := c.Online
			for range 3 {
				next := c.NewEd25519()
				both := []*keys.PublicKey{last.Public(), next.Public()}
				c.NextRoot(func(r *roles.RootSpec) { r.Snapshot.Keys, r.Timestamp.Keys = both, both })
				use(next)
				require.NoError(t, s.Reload(t.Context()))
				publish(t, s, file("sentinel", next.Public().ID()))
				only := []*keys.PublicKey{next.Public()}
				c.NextRoot(func(r *roles.RootSpec) { r.Snapshot.Keys, r.Timestamp.Keys = only, only })
				require.NoError(t, s.Reload(t.Context()))
				last = next
			}
			close(stop)
			<-done
			status, err := s.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, status.Err)
			require.EqualValues(t, 7, status.Roles["root"].Version)

			use(c.NewEd25519())
			require.ErrorIs(t, s.Reload(t.Context()), repository.ErrWrongKey)
			status, err = s.Status(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, status.Err, repository.ErrWrongKey)
			require.ErrorIs(t, status.Err, ErrUnavailable)
			require.False(t, status.Leads)
			requireProblem(t, s, "error: nothing is accepted or published: ", repository.ErrWrongKey.Error(), "configure the key")
			use(last)
			require.NoError(t, s.Reload(t.Context()))
			publish(t, s, file("sentinel", "end"))
			require.NoError(t, s.Close())
			want = append(want, file("sentinel", "end"))
			if dir {
				site.check(t, want)
			} else {
				m.check(t, want)
			}
		})
	}
}

// The keys and the documents that name them are replaced while no index runs.
func TestStartWithNewKeys(t *testing.T) {
	m := newMemory(t)
	s := started(t, m.config())
	publish(t, s, file("a/a.whl", "1"))
	require.NoError(t, s.Close())
	next := m.ceremony.NewEd25519()
	both := []*keys.PublicKey{m.ceremony.Online.Public(), next.Public()}
	m.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot.Keys, r.Timestamp.Keys = both, both })
	m.cfg.Bins, m.cfg.Snapshot, m.cfg.Timestamp = m.ceremony.Bins, next, next
	s = started(t, m.config())
	publish(t, s, file("b/b.whl", "1"))
	require.NoError(t, s.Close())
	m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
}

// Close ends at once, whatever the service is doing, and so do the calls that wait.
func TestCloseWhileReopening(t *testing.T) {
	for name, c := range map[string]func(m *memory){
		"between two attempts": func(m *memory) { m.failWith(errors.New("the disk is gone")) },
		"in Open":              func(m *memory) { m.inject.Plan(faulty.On(faulty.Hang, "leader.Read")) },
		"in a read of the store": func(m *memory) {
			m.inject.Plan(faulty.On(faulty.Hang, "store.Get"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				cfg := m.config()
				cfg.Patience = time.Hour
				s := started(t, cfg)
				publish(t, s, file("a/a.whl", "1"))
				repo, _ := s.now()
				c(m)
				s.lose(repo, failure{errors.New("a test says so")})
				waiting := make(chan error, 1)
				go func() {
					_, err := s.Add(t.Context(), file("b/b.whl", "1"))
					waiting <- err
				}()
				synctest.Wait()
				began := time.Now()
				require.NoError(t, s.Close())
				require.Zero(t, time.Since(began))
				require.ErrorIs(t, <-waiting, repository.ErrClosed)
				m.inject.Plan(nil)
				m.check(t, []roles.Target{file("a/a.whl", "1")}, "b/b.whl")
			})
		})
	}
}

// An Open that doesn't heed its context keeps nobody for ever, and nothing is left open after it.
func TestCloseWhileOpenHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		held := make(chan struct{})
		holds := false
		cfg := m.config()
		cfg.Open = func(ctx context.Context) (repository.Config, error) {
			if holds {
				<-held
			}
			return m.open(ctx)
		}
		s := started(t, cfg)
		holds = true
		repo, _ := s.now()
		s.lose(repo, failure{errors.New("a test says so")})
		time.Sleep(time.Minute)
		require.ErrorContains(t, s.Close(), "that didn't stop within 15s")
		close(held)
		<-s.ended
		holds = false
		require.NoError(t, started(t, m.config()).Close()) // nobody has the lead
	})
}

// What the repository asks, while it publishes, may ask the service, and holds up no Reload.
func TestReloadWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		var s *Service
		asked := 0
		m.cfg.Observe = func(repository.Event) {
			if s != nil {
				_, err := s.Status(context.Background())
				require.NoError(t, err)
			}
		}
		reload := make(chan struct{}, 1)
		m.cfg.Approve = func(ctx context.Context, e ledger.Entry, _ repository.Item) error {
			if asked++; asked == 1 {
				reload <- struct{}{}
				for ctx.Err() == nil { // until Reload has closed the repository
					_, err := s.View(ctx)
					_, outcomeErr := s.Outcome(ctx, e.ID)
					if ctx.Err() == nil {
						require.NoError(t, errors.Join(err, outcomeErr))
					}
					time.Sleep(time.Millisecond)
				}
			}
			return nil
		}
		s = started(t, m.config())
		r, err := s.Add(t.Context(), file("a/a.whl", "1"))
		require.NoError(t, err)
		<-reload
		began := time.Now()
		require.NoError(t, s.Reload(t.Context()))
		_, err = r.Wait(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), patienceOfReload+time.Second)
		require.Equal(t, 2, asked)
		synctest.Wait() // the last stages are observed after the receipt has its outcome
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1")})
	})
}

// While the store takes no writes Reload fails, and items are accepted all the same. What it accepted
// before the store failed is published once that works, and nobody needs to call Reload again.
func TestReloadWhileStoreFails(t *testing.T) {
	for name, known := range map[string]bool{"for long": true, "just now": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t)
				s := started(t, m.config())
				m.ceremony.NextRoot(nil)
				m.inject.Plan(func(c faulty.Call) faulty.Fault {
					if c.Op == "store.Create" || c.Op == "store.Swap" && known {
						return faulty.Before
					}
					return faulty.None
				})
				require.Error(t, s.Reload(t.Context()))
				if known {
					_, err := s.Add(t.Context(), file("a/a.whl", "1"))
					require.NoError(t, err)
					m.inject.Plan(nil)
					require.NoError(t, s.Reload(t.Context()))
				} else {
					status, err := s.Status(t.Context())
					require.NoError(t, err)
					require.NotEmpty(t, status.Problems)
					m.inject.Plan(nil)
					publish(t, s, file("a/a.whl", "1"))
				}
				require.NoError(t, s.Drain(t.Context()))
				time.Sleep(2 * time.Minute)
				_, err := m.store.Get(t.Context(), "2.root.json")
				require.NoError(t, err)
				status, err := s.Status(t.Context())
				require.NoError(t, err)
				require.Empty(t, status.Problems)
				require.NoError(t, s.Close())
				m.check(t, []roles.Target{file("a/a.whl", "1")})
			})
		})
	}
}

// How long caches may serve a timestamp is given once, for the repository and for the handler.
func TestCachingIsGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.cfg.CacheAge = 0
		cfg := m.config()
		cfg.Caching = repository.Caching{MaxAge: time.Minute}
		s := started(t, cfg)
		require.Equal(t, cfg.Caching, s.Caching())
		publish(t, s, file("a/a.whl", "1"))
		require.NoError(t, s.Close())

		m.cfg.Caching.MaxAge = time.Hour
		_, err := Start(t.Context(), cfg)
		require.ErrorContains(t, err, "config: Caching is {MaxAge:1m0s StaleIfError:0s}, and what Open returns has {MaxAge:1h0m0s StaleIfError:0s}: give it once")
		m.cfg.Caching, m.cfg.CacheAge = repository.Caching{}, time.Second // the repository has it
		_, err = Start(t.Context(), cfg)
		require.ErrorContains(t, err, "CacheAge is 1s, and caches may serve a timestamp for 1m0s")
	})
}
