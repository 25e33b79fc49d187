package repository_test

import (
	"context"
	"fmt"
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
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// denied is a key of a service that signs so many messages and then no more.
type denied struct {
	keys.Signer
	left *atomic.Int64
	hang bool
}

var errDenied = fmt.Errorf("%w: access denied", keys.ErrDenied)

func (s denied) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if s.left.Add(-1) >= 0 {
		return s.Signer.Sign(ctx, message)
	}
	if s.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, errDenied
}

func deny(s keys.Signer, after int64) denied {
	left := &atomic.Int64{}
	left.Store(after)
	return denied{Signer: s, left: left}
}

// A new key that doesn't sign, or not enough, is refused before anything is accepted.
func TestInstallProbesNewKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		c := e.ceremony
		bad, narrow, good := c.NewEd25519(), c.NewEd25519(), c.NewEd25519()
		probe := deny(bad, 0)
		e.cfg.Signers = map[string][]keys.Signer{
			"bins-*":    {probe, limited{narrow, 20_000}, good},
			"timestamp": {probe},
		}
		e.create()
		e.publish(files("x", 500)...)
		refused := func(err error, d repository.Documents) {
			t.Helper()
			before := e.store.Names()
			require.ErrorIs(t, e.install(d), err)
			require.ErrorIs(t, e.repo.InstallAfterCompromise(t.Context(), d), err)
			require.Equal(t, before, e.store.Names())
			s, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
			require.NoError(t, err)
			require.EqualValues(t, 1, s.Roles["bins"].Version, "nothing was accepted")
			require.EqualValues(t, 1, s.Roles["root"].Version)
		}
		bins := func(k keys.Signer) repository.Documents {
			return repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, k) })}}
		}
		refused(errDenied, bins(bad))
		require.EqualValues(t, -2, probe.left.Load(), "one probe for each call")
		refused(errDenied, repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Timestamp = repotest.Of(1, bad) })}})
		refused(repository.ErrWrongKey, bins(narrow))
		require.NoError(t, e.install(bins(good)))
		e.publish(file("a", "1"))
		e.check()
		e.close()

		// So is one that was exchanged in the configuration alone.
		e.cfg.Signers["bins-*"], e.cfg.UncheckedKeys = []keys.Signer{limited{good, 20_000}}, true
		e.open()
		err := e.repo.Run(t.Context())
		require.ErrorIs(t, err, repository.ErrWrongKey)
		require.ErrorContains(t, err, "signs at most 20000 bytes, and its published file has ")
		e.close()
	})
}

// Documents were accepted whose key signs nothing but the probe. The next ones get through.
func TestInstallAfterAStuckOne(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, 4, delegation.Succinct)
			c := e.ceremony
			stuck, good := deny(c.NewEd25519(), 1), c.NewEd25519()
			stuck.hang = hang
			e.cfg.Signers = map[string][]keys.Signer{"bins-*": {stuck, good}}
			e.create()
			e.publish(files("x", 10)...)
			bins := func(k keys.Signer) map[string][]byte {
				return map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, k) })}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := e.repo.Install(ctx, repository.Documents{Roles: bins(stuck)})
			require.ErrorContains(t, err, "accepted, and not yet published")
			e.submit(repository.Item{ID: "waits", Add: []roles.Target{file("waits", "1")}})
			e.close()
			e.open() // and after Open as well

			same := repository.Documents{Roles: map[string][]byte{"bins": append(c.Documents().Roles["bins"], ' ')}}
			require.ErrorContains(t, e.install(same), "version 2 is published already, with other contents", "never under the same name")
			require.NoError(t, e.install(repository.Documents{Roles: bins(good), Roots: [][]byte{c.NextRoot(nil)}}))
			e.run(func() {
				e.wait(e.submit(repository.Item{ID: "waits", Add: []roles.Target{file("waits", "1")}}), repository.Published)
			})
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 3, s.Roles["bins"].Version)
			require.EqualValues(t, 2, s.Roles["root"].Version)
			e.checkNewest()
			e.close()
			e.open()
			e.publish(file("later", "1"))
			e.close()
		})
	}
}

// Run tries to publish what is stuck, and its key service doesn't answer. Install ends that.
func TestInstallInterruptsAStuckRun(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		c := e.ceremony
		stuck, good := deny(c.NewEd25519(), 1), c.NewEd25519()
		stuck.hang = true
		e.close()
		e.cfg.Signers = map[string][]keys.Signer{"bins-*": {stuck, good}}
		e.open()
		bins := func(k keys.Signer) repository.Documents {
			return repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, k) })}}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.Error(t, e.repo.Install(ctx, bins(stuck)))
		e.run(func() {
			time.Sleep(time.Minute) // it hangs
			require.NoError(t, e.install(bins(good)))
		})
		e.publish(file("a", "1"))
		e.checkNewest()
	})
}

// Documents are stuck, and the store hangs wherever it may: Install gets its turn, though nobody
// else's context ends.
func TestInstallInterruptsAStoreThatHangs(t *testing.T) {
	for _, hangs := range []struct {
		op, name string
		signs    int64 // how often the key does
	}{
		{"store.Get", "bins-", 99}, {"store.Create", "bins-", 99}, {"store.Create", "snapshot", 99}, {"store.Create", "2.bins.json", 99},
		{"store.Delete", "", 3}, // the probe, and two bins of four
	} {
		t.Run(hangs.op+" "+hangs.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				c := e.ceremony
				stuck, good := deny(c.NewEd25519(), hangs.signs), c.NewEd25519()
				e.cfg.Signers = map[string][]keys.Signer{"bins-*": {stuck, good}}
				e.cfg.CacheBytes = -1
				e.create()
				e.publish(files("x", 10)...)
				bins := func(k keys.Signer) repository.Documents {
					return repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, k) })}}
				}
				hung := false
				e.inject.Plan(func(call faulty.Call) faulty.Fault {
					if !hung && call.Op == hangs.op && strings.Contains(call.Name, hangs.name) {
						hung = true
						return faulty.Hang
					}
					return faulty.None
				})
				first := make(chan error, 1)
				go func() { first <- e.install(bins(stuck)) }()
				time.Sleep(time.Minute)
				e.run(func() {
					time.Sleep(time.Minute)
					require.NoError(t, e.install(bins(good)))
				})
				require.ErrorContains(t, <-first, "accepted, and not yet published")
				require.True(t, hung)
				e.publish(file("a", "1"))
				e.checkNewest()
				e.close()
			})
		})
	}
}

// A key that never answers its probe doesn't keep the publisher for longer than a minute, and
// a root that is held back for a key that never answers can be withdrawn.
func TestKeyThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		c := e.ceremony
		silent, later := deny(c.NewP256(), 0), deny(c.NewP256(), 1)
		silent.hang, later.hang = true, true
		e.cfg.Signers = map[string][]keys.Signer{"timestamp": {silent, later}}
		e.create()
		root := func(k keys.Signer) repository.Documents {
			return repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Version, r.Timestamp = 2, repotest.Of(1, k) })}}
		}
		start := time.Now()
		require.ErrorContains(t, e.repo.InstallAfterCompromise(t.Context(), root(silent)), "nothing was accepted")
		require.Equal(t, time.Minute, time.Since(start))
		go func() { _ = e.repo.InstallAfterCompromise(t.Context(), root(later)) }()
		time.Sleep(time.Minute)
		require.NoError(t, e.repo.WithdrawRoot(t.Context()))
		e.publish(file("a", "1"))
		e.close()
	})
}

// A caller that gives up while a record is being written ends nothing: no journal can say what
// became of the record then.
func TestRunEndsWhileARecordIsWritten(t *testing.T) {
	for _, kind := range []ledger.Kind{ledger.KindIntent, ledger.KindSeal, ledger.KindCommit, ledger.KindCheckpoint} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, 2, delegation.Succinct)
			e.create()
			e.close()
			slow := &slowLead{kind: kind, release: make(chan struct{})}
			cfg := e.config()
			cfg.Journal = slowJournal{cfg.Journal, slow}
			var err error
			e.repo, err = repository.Open(t.Context(), cfg)
			require.NoError(t, err)
			r := e.add(file("a", "1"))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- e.repo.Run(ctx) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			close(slow.release)
			require.NoError(t, <-done, kind)
			e.run(func() { e.wait(r, repository.Published) })
			e.check()
			e.close()
		})
	}
}

// slowJournal is a journal on the other side of a network.
type slowJournal struct {
	repository.Journal
	lead *slowLead
}

func (j slowJournal) Lead(ctx context.Context) (repository.Lead, int64, error) {
	l, epoch, err := j.Journal.Lead(ctx)
	j.lead.Lead = l
	return j.lead, epoch, err
}

type slowLead struct {
	repository.Lead
	kind    ledger.Kind   // of the records that take long
	release chan struct{} // once closed they don't
}

func (l *slowLead) Append(ctx context.Context, records ...ledger.Record) error {
	if records[0].Kind() == l.kind {
		select {
		case <-l.release:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", repository.ErrUnknown, ctx.Err())
		}
	}
	return l.Lead.Append(ctx, records...)
}

// By a new document clients refuse the bins that the old key signed. None of them is left out of
// the generation that publishes it, though others could be signed or read; nor one that was left
// out before.
func TestBinsBelongToTheirDocument(t *testing.T) {
	for _, fault := range []string{"sign", "read", "read, no bin", "read, nothing", "left out before"} {
		t.Run(fault, func(t *testing.T) {
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				c := e.ceremony
				next := deny(c.NewEd25519(), 99)
				e.close()
				e.cfg.Signers, e.cfg.CacheBytes = map[string][]keys.Signer{"bins-*": {next}}, -1
				e.open()
				e.publish(onePerBin(t, 4)...)
				fails, also := "."+mustBins(t, 4).Name(2)+".", ""
				op := "store.Get"
				switch fault {
				case "sign":
					next.left.Store(3)
				case "read, no bin":
					fails = "bins-"
				case "read, nothing":
					fails, also = "bins-", "timestamp.json"
				case "left out before":
					op = "store.Create"
				}
				if fault != "sign" {
					e.inject.Plan(func(call faulty.Call) faulty.Fault {
						if call.Op == op && (strings.Contains(call.Name, fails) || call.Name == also) {
							return faulty.Before
						}
						return faulty.None
					})
				}
				install := func() error {
					return e.install(repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, next) })}})
				}
				if fault == "left out before" {
					targets := onePerBin(t, 4)
					_, err := e.repo.Remove(t.Context(), targets[2].Path) // nothing that is waited for
					require.NoError(t, err)
					other := e.add(file(targets[0].Path, "other"))
					e.run(func() {
						e.wait(other, repository.Published)
						require.Error(t, install())
					})
				} else {
					require.ErrorContains(t, install(), "accepted, and not yet published")
				}
				next.left.Store(99)
				e.inject.Plan(nil)
				e.checkNewest() // as it was
				require.NoError(t, e.install(c.Documents()))
				e.publish(append(onePerBin(t, 4), file("a", "1"))...)
				e.checkNewest()
			})
		})
	}
}

// In an emergency a root was accepted under which nobody can sign. It is followed by the next
// one, and both are written when the first generation of the second is committed.
func TestEmergencyAfterAStuckOne(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, 4, delegation.Succinct)
			c := e.ceremony
			stuck, good := deny(c.NewP256(), 1), c.NewP256()
			stuck.hang = hang
			e.cfg.Signers = map[string][]keys.Signer{"snapshot": {stuck, good}, "timestamp": {stuck, good}}
			e.create()
			e.publish(files("x", 10)...)
			root := func(k keys.Signer) repository.Documents {
				return repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, k), repotest.Of(1, k) })}}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.ErrorContains(t, e.repo.InstallAfterCompromise(ctx, root(stuck)), "accepted, and not yet published")
			require.NotContains(t, e.store.Names(), "2.root.json")
			e.checkNewest()
			e.close()
			e.open()
			root(good)
			// All roots so far, as an operator has them; and Install knows that they are held.
			require.NoError(t, e.install(repository.Documents{Roots: c.Documents().Roots}))
			require.Subset(t, e.store.Names(), []string{"2.root.json", "3.root.json"})
			e.publish(file("a", "1"))
			e.check()
			e.close()
		})
	}
}

// A root that is held back can be withdrawn until a generation is sealed with it. Another one
// may have its name, which never reached the store.
func TestWithdrawRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		c := e.ceremony
		stuck := deny(c.NewP256(), 1)
		e.cfg.Signers = map[string][]keys.Signer{"timestamp": {stuck}}
		e.create()
		e.publish(files("x", 10)...)
		require.ErrorContains(t, e.repo.WithdrawRoot(t.Context()), "no root waits for a generation")
		held := c.NextRoot(func(r *roles.RootSpec) { r.Timestamp = repotest.Of(1, stuck) })
		require.ErrorContains(t, e.repo.InstallAfterCompromise(t.Context(), repository.Documents{Roots: [][]byte{held}}), "access denied")
		e.close()
		e.open()
		require.NoError(t, e.repo.WithdrawRoot(t.Context()))
		e.publish(file("a", "1")) // under root 1
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, s.Roles["root"].Version)
		e.close()

		e.open()
		root2 := c.NextRoot(func(r *roles.RootSpec) { r.Version, r.Timestamp = 2, repotest.Of(1, c.Online) })
		require.NotEqual(t, held, root2)
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root2}}))
		e.publish(file("b", "1"))
		e.check()
		e.close()

		// The store is made again from the journal, without the root that was withdrawn.
		lost := e.store.Clone()
		for _, name := range lost.Names() {
			require.NoError(t, lost.Delete(t.Context(), name))
		}
		e.store, e.cfg.Store = lost, lost
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		published, err := e.store.Get(t.Context(), "2.root.json")
		require.NoError(t, err)
		require.Equal(t, root2, published)
		e.close()
	})
}

// Create accepted documents, and a key that they name signs nothing but the probe. Create with
// newer documents supersedes them; and with the same ones goes on, once the key signs.
func TestCreateAgain(t *testing.T) {
	for _, name := range []string{"denied", "hangs", "signs later"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				c := e.ceremony
				stuck, good := deny(c.NewEd25519(), 1), c.NewEd25519()
				stuck.hang = name == "hangs"
				e.cfg.Signers = map[string][]keys.Signer{"bins-*": {stuck, good}}
				c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, stuck) })
				tries := func(call func(context.Context, repository.Config) error) error {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					err := call(ctx, e.config())
					require.Error(t, err)
					require.NoError(t, e.journal.Close())
					return err
				}
				create := func(ctx context.Context, cfg repository.Config) error {
					_, err := repository.Create(ctx, cfg, c.Documents())
					return err
				}
				tries(create)
				err := tries(func(ctx context.Context, cfg repository.Config) error {
					_, err := repository.Open(ctx, cfg)
					return err
				})
				require.ErrorContains(t, err, "the first generation: ")
				require.ErrorContains(t, err, "Create may be called again")
				tries(create)
				if name == "signs later" {
					stuck.left.Store(99)
				} else {
					c.NextRoot(nil)
					c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, good) })
				}
				e.create()
				require.NoError(t, e.journal.Close())
				require.ErrorIs(t, create(t.Context(), e.config()), repository.ErrExists)
				require.NoError(t, e.journal.Close())
				e.open()
				e.publish(files("x", 10)...)
				e.checkNewest()
				e.close()
			})
		})
	}
}

// Somebody puts another file where a document is to be written. Before it is accepted it is
// refused. Afterwards a higher version supersedes it, also after Open; but a root is written
// once the other one was moved away.
func TestPlantedDocument(t *testing.T) {
	for _, role := range []string{"bins", "targets", "root"} {
		t.Run(role, func(t *testing.T) {
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				c := e.ceremony
				e.publish(files("x", 10)...)
				next := func() repository.Documents {
					switch role {
					case "bins":
						return repository.Documents{Roles: map[string][]byte{role: c.NextBins(nil)}}
					case "targets":
						return repository.Documents{Roles: map[string][]byte{role: c.NextTargets(nil)}}
					default:
						return repository.Documents{Roots: [][]byte{c.NextRoot(nil)}}
					}
				}
				second, planted := next(), "2."+role+".json"
				require.NoError(t, e.store.Create(t.Context(), planted, []byte("another")))
				err := e.install(second)
				require.ErrorIs(t, err, repository.ErrConflict)
				require.ErrorContains(t, err, "it has another "+planted+", and nothing was accepted")
				require.NoError(t, e.store.Delete(t.Context(), planted))
				e.publish(file("a", "1"))

				e.inject.Plan(func(call faulty.Call) faulty.Fault {
					if call.Op == "store.Create" && call.Name == planted {
						require.NoError(t, e.store.Create(t.Context(), planted, []byte("another")))
					}
					return faulty.None
				})
				err = e.install(second)
				e.inject.Plan(nil)
				require.ErrorIs(t, err, repository.ErrConflict)
				require.ErrorContains(t, err, "write "+planted)
				if role == "root" {
					require.ErrorIs(t, e.repo.Run(t.Context()), repository.ErrClosed)
					e.close()
					_, err = repository.Open(t.Context(), e.config())
					require.ErrorIs(t, err, repository.ErrConflict)
					require.ErrorContains(t, err, "write "+planted)
					require.ErrorContains(t, err, "move it away")
					require.NoError(t, e.journal.Close())
					require.NoError(t, e.store.Delete(t.Context(), planted))
				} else {
					waits := repository.Item{ID: "waits", Add: []roles.Target{file("b", "1")}}
					e.submit(waits)
					e.run(func() {
						time.Sleep(time.Minute)
						s, err := e.repo.Status(t.Context())
						require.NoError(t, err)
						require.ErrorContains(t, s.Err, "move it away, or install a higher version of "+role)
					})
					e.close()
					e.open()
					require.ErrorIs(t, e.install(second), repository.ErrConflict, "accepted, and not published")
					require.NoError(t, e.install(next()))
					e.run(func() { e.wait(e.submit(waits), repository.Published) })
					require.NoError(t, e.store.Delete(t.Context(), planted))
					e.close()
				}
				e.open()
				e.publish(file("c", "1"))
				e.checkNewest()
			})
		})
	}
}

// A key of documents that a restoration is given is probed before anything is accepted.
func TestRestorationProbesNewKeys(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		c := e.ceremony
		silent := deny(c.NewEd25519(), 0)
		e.publish(files("x", 10)...)
		e.close()
		e.cfg.Signers = map[string][]keys.Signer{"bins-*": {silent}}
		old := c.Documents()
		d := repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, silent) })}}
		names := e.store.Names()

		_, err := repository.RestoreStore(t.Context(), e.config(), repository.Restoration{Documents: d})
		require.ErrorIs(t, err, errDenied)
		require.ErrorContains(t, err, "nothing was accepted")
		s, err := repository.ReadStatus(t.Context(), e.store, e.journal)
		require.NoError(t, err)
		require.EqualValues(t, 1, s.Roles["bins"].Version)
		require.NoError(t, e.journal.Close())
		require.Equal(t, names, e.store.Names())

		journal := e.journal
		e.journal = storetest.NewJournal()
		_, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: old.Roots[0], Documents: d})
		require.ErrorIs(t, err, errDenied)
		require.ErrorContains(t, err, "nothing was accepted")
		require.Equal(t, names, e.store.Names())
		require.NoError(t, e.journal.Close())

		e.journal, e.cfg.Signers = journal, nil
		e.open()
		e.publish(file("a", "1"))
		e.checkNewest()
	})
}
