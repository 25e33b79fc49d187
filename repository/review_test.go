package repository_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// A bin that can't be read for ten days waits, with its items; all else goes on,
// and looking at it costs no generations.
func TestUnreadableBin(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		layout := mustBins(t, 4)
		all := files("x", 20)
		victim := layout.Find(all[0].Path)
		e.close()
		e.cfg.CacheBytes = -1
		e.open()
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Get" && strings.Contains(c.Name, "."+layout.Name(victim)+".") {
				return faulty.Before
			}
			return faulty.None
		})
		stuck := e.add(all[0])
		e.run(func() {
			for _, f := range all[1:] {
				if layout.Find(f.Path) != victim {
					e.wait(e.add(f), repository.Published)
				}
			}
			time.Sleep(time.Hour)
			before, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Empty(t, before.Quarantined, "nothing is known of its file")
			time.Sleep(48 * time.Hour)
			after, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.ErrorContains(t, after.Err, layout.Name(victim))
			require.LessOrEqual(t, after.Generation-before.Generation, int64(10), "renewals only")
			require.Greater(t, time.Until(after.Roles["timestamp"].Expires), 11*time.Hour)
			e.inject.Plan(nil)
			e.wait(stuck, repository.Published)
			synctest.Wait()
			after, err = e.repo.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, after.Err)
		})
		e.check()
	})
}

// While the key service is down nothing is written in vain.
func TestSignerOutageWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 8, delegation.Succinct)
		down := &outage{Signer: e.cfg.Snapshot}
		e.cfg.Snapshot = down
		e.create()
		names := len(e.store.Names())
		throttled := errors.New("key service: throttled")
		down.err.Store(&throttled)
		r := e.add(files("x", 30)...)
		e.run(func() {
			time.Sleep(time.Hour)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, s.Err, throttled)
			require.ErrorContains(t, s.Err, down.Public().ID())
			require.Len(t, e.store.Names(), names)
			down.err.Store(nil)
			e.wait(r, repository.Published)
		})
		e.check()
		e.close()
	})
}

type outage struct {
	keys.Signer
	err atomic.Pointer[error]
}

func (o *outage) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := o.err.Load(); err != nil {
		return nil, *err
	}
	return o.Signer.Sign(ctx, message)
}

// An Install that failed after it was accepted is completed by the next call, and
// by a Run that sleeps.
func TestInstallIsCompleted(t *testing.T) {
	for _, op := range []string{"store.Create 2.root.json", "store.Create 2.snapshot.json", "store.Swap timestamp.json"} {
		for _, compromise := range []bool{false, true} {
			for _, running := range []bool{false, true} {
				t.Run(op, func(t *testing.T) {
					inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
						failed := false
						e.inject.Plan(func(c faulty.Call) faulty.Fault {
							if !failed && c.Op+" "+c.Name == op {
								failed = true
								return faulty.Before
							}
							return faulty.None
						})
						e.ceremony.NextRoot(nil)
						e.ceremony.NextTargets(nil)
						install := func() error {
							if compromise {
								return e.repo.InstallAfterCompromise(t.Context(), e.ceremony.Documents())
							}
							return e.install(e.ceremony.Documents())
						}
						if running {
							e.run(func() {
								synctest.Wait() // it sleeps
								require.ErrorContains(t, install(), "accepted, and not yet published")
								time.Sleep(time.Minute)
							})
						} else {
							require.ErrorIs(t, install(), faulty.ErrInjected)
							require.NoError(t, install())
						}
						s, err := e.repo.Status(t.Context())
						require.NoError(t, err)
						require.NoError(t, s.Err)
						require.GreaterOrEqual(t, s.Generation, int64(2))
						_, err = e.store.Get(t.Context(), "2.root.json")
						require.NoError(t, err)
						e.check()
					})
				})
			}
		}
	}
}

// A bins document that lists another key under the same ID.
func TestInstallWithAReusedKeyID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		c := e.ceremony
		named := func(s keys.Signer) func(*roles.Authority) {
			return func(a *roles.Authority) {
				k := s.Public()
				k, err := keys.ParsePublicKey("online-bins", k.Type(), k.Scheme(), k.Value())
				require.NoError(t, err)
				*a = roles.Authority{Keys: []*keys.PublicKey{k}, Threshold: 1}
			}
		}
		c.NextBins(named(c.Bins))
		e.create()
		e.publish(files("x", 10)...)
		e.close()
		next := c.NewEd25519()
		e.cfg.Bins, e.cfg.UncheckedKeys = next, true
		e.open()
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(named(next))}}))
		e.check()
		e.close()
	})
}

// What the journal's JSON escapes takes more room there than it is published in.
func TestCustomThatJSONEscapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.MaxCustomBytes = 64 << 10
		e.create()
		target := file("a", "1")
		target.Custom = json.RawMessage(`{"a":"` + strings.Repeat("<&>", 20_000) + `"}`)
		e.publish(target)
		e.check()
		e.close()
	})
}

// Every Wait ends when the lead is lost, and Run says why.
func TestWaitEndsWhenFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.MaxDelay = time.Hour // it is still waiting for others
		e.create()
		old := e.repo
		done := make(chan error, 1)
		go func() { done <- old.Run(t.Context()) }()
		e.wait(e.add(file("first", "1")), repository.Published) // at once: the next one waits
		r := e.add(file("a", "1"))
		waited := make(chan error, 1)
		go func() {
			_, err := r.Wait(context.Background())
			waited <- err
		}()
		synctest.Wait()
		e.journal.Expire()
		e.cfg.MaxDelay = -1
		e.open()
		require.ErrorIs(t, <-done, repository.ErrFenced)
		require.ErrorIs(t, <-waited, repository.ErrFenced)
		require.NoError(t, old.Close())
		e.publish(file("b", "1"))
		e.check()
		e.close()
	})
}

// An Install whose journal fails ends Run with an error, too.
func TestRunEndsWithInstall(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		done := make(chan error, 1)
		go func() { done <- e.repo.Run(t.Context()) }()
		synctest.Wait()
		e.inject.Plan(faulty.On(faulty.After, "leader.Append"))
		d := repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.NextTargets(nil)}}
		require.ErrorIs(t, e.install(d), repository.ErrUnknown)
		require.ErrorIs(t, <-done, repository.ErrUnknown)
		require.NoError(t, e.repo.Close())
		e.inject.Plan(nil)
		e.open()
		require.NoError(t, e.install(d))
		e.check()
	})
}

// Close ends an Install whose signer doesn't answer.
func TestCloseEndsInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		hung := &hanging{Signer: e.cfg.Timestamp}
		e.cfg.Timestamp = hung
		e.create()
		hung.hangs = true
		done := make(chan error, 1)
		d := repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.NextTargets(nil)}}
		go func() { done <- e.repo.Install(context.Background(), d) }()
		synctest.Wait()
		start := time.Now()
		require.NoError(t, e.repo.Close())
		require.Zero(t, time.Since(start))
		require.ErrorIs(t, <-done, repository.ErrClosed)
		hung.hangs = false
		e.open()
		require.NoError(t, e.install(d))
		e.check()
		e.close()
	})
}

type hanging struct {
	keys.Signer
	hangs bool
}

func (h *hanging) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if h.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.Signer.Sign(ctx, message)
}

// What was signed by a clock a year ahead is signed again once the clock is right.
func TestExpiryTooFarAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.Now = func() time.Time { return time.Now().AddDate(0, 11, 0) }
		e.create()
		e.close()
		e.cfg.Now = nil
		e.open()
		require.NoError(t, e.repo.AcceptClock(t.Context()))
		e.run(func() { time.Sleep(time.Minute) })
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, s.Generation)
		require.LessOrEqual(t, time.Until(s.Roles["timestamp"].Expires), 24*time.Hour)
		require.LessOrEqual(t, time.Until(s.FirstBinExpires), 7*24*time.Hour)
		e.check()
		e.close()
	})
}

// A store in which somebody else's documents are is refused before the journal
// knows of it.
func TestCreateInAForeignStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		foreign := repotest.NewCeremony(t, mustBins(t, 2), time.Now()).Documents().Roots[0]
		require.NoError(t, e.store.Create(t.Context(), "1.root.json", foreign))
		_, err := repository.Create(t.Context(), e.config(), e.ceremony.Documents())
		require.ErrorIs(t, err, repository.ErrExists)
		require.ErrorContains(t, err, "1.root.json")
		require.Equal(t, []string{"1.root.json"}, e.store.Names())

		e.store = storetest.NewStore()
		e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
		e.create()
		e.check()
		e.close()
	})
}

// Checkpoints count what items take in the journal.
func TestCheckpointsCountItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.CheckpointBytes, e.cfg.MaxCustomBytes = 200_000, 64<<10
		e.create()
		e.inject.Plan(nil)
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			target := file(name, "1")
			target.Custom = json.RawMessage(`{"a":"` + strings.Repeat("x", 60_000) + `"}`)
			r := e.add(target)
			e.run(func() {
				e.wait(r, repository.Published)
				synctest.Wait() // for the checkpoint, which comes after the commit
			})
		}
		checkpoints := 0
		for _, c := range e.inject.Calls() {
			if c.Name == "checkpoint" {
				checkpoints++
			}
		}
		require.Equal(t, 2, checkpoints)
		e.check()
		e.close()
	})
}
