package repository_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
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
