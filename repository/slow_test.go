package repository_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// far is a store each of whose calls takes a while.
type far struct{ repository.Store }

const roundTrip = 50 * time.Millisecond

func (s far) Get(ctx context.Context, name string) ([]byte, error) {
	time.Sleep(roundTrip)
	return s.Store.Get(ctx, name)
}

func (s far) Create(ctx context.Context, name string, data []byte) error {
	time.Sleep(roundTrip)
	return s.Store.Create(ctx, name, data)
}

func (s far) Swap(ctx context.Context, name string, old, new []byte) error {
	time.Sleep(roundTrip)
	return s.Store.Swap(ctx, name, old, new)
}

func (s far) Delete(ctx context.Context, name string) error {
	time.Sleep(roundTrip)
	return s.Store.Delete(ctx, name)
}

func (s far) List(ctx context.Context) iter.Seq2[repository.Info, error] { return s.Store.List(ctx) }

// Nothing is read, written or deleted one file after the other. 256 bins take 8 round trips of 32
// workers, 0.4 seconds, and 12.8 seconds one by one. So do 64 roots: 0.1 and 3.2 seconds.
func TestSlowStore(t *testing.T) {
	t.Parallel()
	const bins, roots = 256, 64
	type site struct {
		*env
		far     far
		targets []string // one in each bin
	}
	for name, c := range map[string]struct {
		roots int
		most  int                      // round trips, of which the bins take 8 each time that all are read or written
		work  func(s *site) (f func()) // prepares, and returns what is measured
	}{
		"Open after a kill in Create": {0, 32, func(s *site) func() {
			e := newEnv(s.t, bins, delegation.Succinct)
			e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
			_, err := repository.Create(s.t.Context(), e.config(), e.ceremony.Documents())
			require.ErrorIs(s.t, err, faulty.ErrInjected)
			e.inject.Plan(nil)
			e.cfg.Store = far{e.store}
			s.close()
			s.env = e
			return e.open
		}},
		"Create": {roots, 40, func(s *site) func() {
			s.close()
			s.env.store, s.env.journal = storetest.NewStore(), storetest.NewJournal()
			s.cfg.Store = far{s.env.store}
			return s.create
		}},
		"Install": {roots, 40, func(s *site) func() { // all roots again, as from a folder of documents
			d := s.ceremony.Documents()
			return func() { require.NoError(s.t, s.repo.Install(s.t.Context(), d)) }
		}},
		"RestoreStore": {roots, 60, func(s *site) func() {
			s.close()
			s.env.store = storetest.NewStore()
			s.cfg.Store = far{s.env.store}
			return func() {
				var err error
				s.repo, err = repository.RestoreStore(s.t.Context(), s.config(), repository.Restoration{})
				require.NoError(s.t, err)
			}
		}},
		"RestoreJournal": {0, 60, func(s *site) func() {
			old := s.journal.Clone()
			for n := range bins { // what an old journal has pending
				entry, err := repository.Item{ID: fmt.Sprint("old-", n), Remove: []string{s.targets[n]}}.Entry()
				require.NoError(s.t, err)
				_, err = old.Enqueue(s.t.Context(), entry)
				require.NoError(s.t, err)
			}
			s.publish(file("later", "1"))
			s.close()
			s.env.journal = old
			s.cfg.CacheBytes = -1
			return func() {
				var err error
				s.repo, err = repository.RestoreJournal(s.t.Context(), s.config(), repository.Restoration{})
				require.NoError(s.t, err)
			}
		}},
		"a new journal": {roots, 60, func(s *site) func() { // it looks for the newest root
			s.close()
			s.env.journal = storetest.NewJournal()
			last := s.ceremony.Documents().Roots[0]
			return func() {
				var err error
				s.repo, err = repository.RestoreJournal(s.t.Context(), s.config(), repository.Restoration{Root: last})
				require.NoError(s.t, err)
			}
		}},
		"quarantine": {0, 90, func(s *site) func() {
			s.reopen()
			all := map[string][]byte{}
			for _, name := range s.names() {
				if strings.Contains(name, ".bins-") {
					all[name] = s.store.History(name)[0]
					require.NoError(s.t, s.store.Delete(s.t.Context(), name))
				}
			}
			receipts := s.addEverywhere(s.targets, "changed")
			s.run(func() {
				time.Sleep(time.Minute)
				status, err := s.repo.Status(s.t.Context())
				require.NoError(s.t, err)
				require.Len(s.t, status.Quarantined, bins)
			})
			for name, data := range all {
				require.NoError(s.t, s.store.Create(s.t.Context(), name, data))
			}
			time.Sleep(time.Minute) // until they are looked at again
			return func() {
				s.run(func() {
					for _, r := range receipts {
						s.wait(r, repository.Published)
					}
				})
			}
		}},
		"Sweep": {0, 20, func(s *site) func() {
			time.Sleep(3 * time.Hour)
			return func() {
				n := 0
				for f, err := range s.repo.Sweep(s.t.Context(), false) {
					require.NoError(s.t, err)
					if f.Delete {
						n++
					}
				}
				require.Equal(s.t, bins+1, n)
			}
		}},
		"an audit": {roots, 40, func(s *site) func() {
			return func() {
				for f, err := range audit.Run(s.t.Context(), s.far, audit.Config{}) {
					require.NoError(s.t, err)
					require.Equal(s.t, audit.Note, f.Severity, f)
				}
			}
		}},
		"View.Targets": {0, 20, func(s *site) func() {
			return func() {
				v, err := s.repo.View(s.t.Context())
				require.NoError(s.t, err)
				n := 0
				for _, err := range v.Targets(s.t.Context()) {
					require.NoError(s.t, err)
					n++
				}
				require.Equal(s.t, bins, n)
			}
		}},
		"Open with a witness of an early root": {0, 20, func(s *site) func() {
			s.close()
			s.cfg.Witness = s.store.History("timestamp.json")[0]
			s.env.store, s.env.journal = storetest.NewStore(), storetest.NewJournal()
			s.cfg.Store = s.env.store
			next := s.ceremony.NewP256()
			s.useOnline(next)
			s.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, next), repotest.Of(1, next) })
			for range roots {
				s.ceremony.NextRoot(nil)
			}
			witness := s.cfg.Witness
			s.cfg.Witness = nil
			s.create()
			s.publish(file("a", "1"))
			s.close()
			s.cfg.Store, s.cfg.Witness = far{s.env.store}, witness
			return s.open
		}},
		"Compare": {roots, 40, func(s *site) func() {
			root := s.ceremony.Documents().Roots[0]
			return func() {
				published, err := repository.ClientView(s.t.Context(), s.far, root)
				require.NoError(s.t, err)
				known, err := repository.LedgerView(s.t.Context(), s.far, s.journal)
				require.NoError(s.t, err)
				for d, err := range repository.Compare(s.t.Context(), published, known) {
					require.NoError(s.t, err)
					require.Fail(s.t, d.String())
				}
			}
		}},
		"InstallAfterCompromise": {0, 40, func(s *site) func() {
			s.reopen()
			bins := s.ceremony.NewEd25519()
			s.close()
			s.cfg.Signers = map[string][]keys.Signer{"bins-*": {bins}}
			s.open()
			d := repository.Documents{Roles: map[string][]byte{"bins": s.ceremony.NextBins(func(a *roles.Authority) { a.Keys = []*keys.PublicKey{bins.Public()} })}}
			return func() { require.NoError(s.t, s.repo.InstallAfterCompromise(s.t.Context(), d)) }
		}},
		"a burnt generation": {0, 60, func(s *site) func() { // its files are deleted, and the next one is made
			s.inject.Plan(func(c faulty.Call) faulty.Fault {
				if c.Op == "store.Create" && c.Name == "3.snapshot.json" {
					return faulty.Before
				}
				return faulty.None
			})
			receipts := s.addEverywhere(s.targets, "changed")
			return func() {
				s.run(func() {
					for _, r := range receipts {
						require.EqualValues(s.t, 4, s.wait(r, repository.Published))
					}
				})
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &site{env: newEnv(t, bins, delegation.Succinct)}
				s.cfg.Workers = 32
				for range c.roots {
					s.ceremony.NextRoot(nil)
				}
				s.create()
				all := onePerBin(t, bins)
				for _, target := range all {
					s.targets = append(s.targets, target.Path)
				}
				s.publish(all...)
				s.far = far{s.store}
				s.cfg.Store = faulty.Store{Injector: s.inject, Inner: s.far}
				s.reopen()
				f := c.work(s)
				began := time.Now()
				f()
				took := time.Since(began)
				t.Log("round trips:", int(took/roundTrip))
				require.LessOrEqual(t, took, time.Duration(c.most)*roundTrip)
				s.close()
			})
		})
	}
}

// addEverywhere adds a target of the same path for each that is there.
func (e *env) addEverywhere(paths []string, content string) (all []*repository.Receipt) {
	for _, path := range paths {
		all = append(all, e.add(file(path, content)))
	}
	return all
}

// A store that is out of order is asked ever more rarely, whichever of its calls fail: in a minute at most
// as often as there are workers, and a few times more. Then all is published.
func TestOutageIsNoStorm(t *testing.T) {
	t.Parallel()
	const bins, workers = 128, 8
	down := func(c faulty.Call) bool { return strings.HasPrefix(c.Op, "store.") }
	for name, fails := range map[string]func(c faulty.Call) bool{
		"unreachable": down,
		"read-only":   func(c faulty.Call) bool { return down(c) && c.Op != "store.Get" },
		"throttled":   func(c faulty.Call) bool { return down(c) && c.N%3 != 0 },
		"Create":      func(c faulty.Call) bool { return c.Op == "store.Create" },
		"Swap":        func(c faulty.Call) bool { return c.Op == "store.Swap" },
		"Get":         func(c faulty.Call) bool { return c.Op == "store.Get" },
		"Delete":      func(c faulty.Call) bool { return c.Op == "store.Delete" },
		"half-way":    func(c faulty.Call) bool { return down(c) && c.N > 70 },
	} {
		for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
			t.Run(fmt.Sprint(name, " ", fault), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					e := newEnv(t, bins, delegation.Succinct)
					e.cfg.Workers = workers
					if fails(faulty.Call{Op: "store.Get"}) { // else bins are read again and again, which succeeds
						e.cfg.CacheBytes = -1
					}
					e.cfg.CollectPerMinute, e.cfg.CacheAge, e.cfg.ClientRun = 0, time.Minute, time.Minute
					e.create()
					e.publish(onePerBin(t, bins)...)
					var paths []string
					for _, target := range onePerBin(t, bins) {
						paths = append(paths, target.Path)
					}
					time.Sleep(10 * time.Minute) // there is enough to collect
					e.inject.Plan(func(c faulty.Call) faulty.Fault {
						if fails(c) {
							return fault
						}
						return faulty.None
					})
					receipts := e.addEverywhere(paths, "changed")
					e.run(func() {
						time.Sleep(10 * time.Minute) // pauses have grown
						before := e.storeCalls()
						const minutes = 30
						time.Sleep(minutes * time.Minute)
						calls := e.storeCalls() - before
						t.Log("calls a minute:", calls/minutes)
						if name != "throttled" { // what one call in three does is published, little by little
							require.LessOrEqual(t, calls, minutes*(4*workers))
						}
						e.inject.Plan(nil)
						for _, r := range receipts {
							e.wait(r, repository.Published)
						}
						time.Sleep(5 * time.Minute)
						synctest.Wait()
					})
					e.altered = "timestamp.json" // files of earlier generations are collected
					e.close()
				})
			})
		}
	}
}

// storeCalls counts the calls of the store since Plan.
func (e *env) storeCalls() (n int) {
	for _, c := range e.inject.Calls() {
		if strings.HasPrefix(c.Op, "store.") {
			n++
		}
	}
	return n
}
