package repository_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// rotating is a repository in which both keys of the bins, and both of snapshot and timestamp, are
// named by the documents in force, and configured.
type rotating struct {
	*env
	oldBins, newBins, oldOnline, newOnline keys.Signer
	dropOnline, dropBins                   repository.Documents // without the old keys
}

func newRotating(t *testing.T, bins int, configure func(c *repository.Config)) *rotating {
	e := newEnv(t, bins, delegation.Succinct)
	c := e.ceremony
	r := &rotating{env: e, oldBins: c.Bins, newBins: c.NewEd25519(), oldOnline: c.Online, newOnline: c.NewP256()}
	if configure != nil {
		configure(&e.cfg)
	}
	e.create()
	e.publish(files("x", 2*bins)...)
	e.close()
	e.cfg.Bins, e.cfg.Snapshot, e.cfg.Timestamp = nil, nil, nil
	r.configure(r.oldBins, r.oldOnline) // the new keys come last
	e.open()
	require.NoError(t, e.install(repository.Documents{
		Roots: [][]byte{c.NextRoot(func(root *roles.RootSpec) {
			root.Snapshot, root.Timestamp = repotest.Of(1, r.oldOnline, r.newOnline), repotest.Of(1, r.oldOnline, r.newOnline)
		})},
		Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, r.oldBins, r.newBins) })},
	}))
	r.dropOnline = repository.Documents{Roots: [][]byte{c.NextRoot(func(root *roles.RootSpec) {
		root.Snapshot, root.Timestamp = repotest.Of(1, r.newOnline), repotest.Of(1, r.newOnline)
	})}}
	r.dropBins = repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, r.newBins) })}}
	return r
}

// configure makes these keys the first ones, before the others.
func (r *rotating) configure(bins, online keys.Signer) {
	order := func(first keys.Signer, all ...keys.Signer) []keys.Signer {
		return append([]keys.Signer{first}, slices.DeleteFunc(all, func(s keys.Signer) bool { return s == first })...)
	}
	signersOfTop := order(online, r.oldOnline, r.newOnline)
	r.cfg.Signers = map[string][]keys.Signer{
		"bins-*": order(bins, r.oldBins, r.newBins), "snapshot": signersOfTop, "timestamp": signersOfTop,
	}
}

// only configures these keys and no others.
func (r *rotating) only(bins, online keys.Signer) {
	r.cfg.Signers = map[string][]keys.Signer{"bins-*": {bins}, "snapshot": {online}, "timestamp": {online}}
}

func (r *rotating) reconfigure(f func()) {
	r.t.Helper()
	r.close()
	f()
	r.open()
}

func (r *rotating) rotate(names ...string) {
	r.t.Helper()
	for _, name := range names {
		require.NoError(r.t, r.repo.Rotate(r.t.Context(), name))
	}
}

// lines returns the rotations that Status shows, one a line, and requires that the journal says the same.
func (r *rotating) lines() (lines []string) {
	r.t.Helper()
	s, err := r.repo.Status(r.t.Context())
	require.NoError(r.t, err)
	read, err := repository.ReadStatus(r.t.Context(), r.store, r.journal.Handle())
	require.NoError(r.t, err)
	require.Len(r.t, read.Rotations, len(s.Rotations))
	for i, x := range s.Rotations {
		if r.cfg.CacheAge == 0 { // a reader goes by the default
			require.Equal(r.t, x.State, read.Rotations[i].State)
		}
		require.Equal(r.t, x.Left, read.Rotations[i].Left)
		require.NotEmpty(r.t, x.Next)
		require.Len(r.t, x.From, 1)
		at := ""
		if !x.At.IsZero() {
			at = " " + time.Until(x.At).Round(time.Second).String()
		}
		lines = append(lines, fmt.Sprintf("%s %s %d%s", x.Role, x.State, x.Left, at))
	}
	return lines
}

// signedByNew counts the bins that the new key signed.
func (r *rotating) signedByNew(bins int) (n int) {
	layout := mustBins(r.t, bins)
	for i := range bins {
		if r.signedBy(layout.Name(i)) == r.newBins.Public().ID() {
			n++
		}
	}
	return n
}

// The whole way of the bins' key: gradually, within the budget, across restarts, and seen by clients
// that come fresh, that stopped before it, and in the middle of it.
func TestRotateBins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bins = 16
		r := newRotating(t, bins, func(c *repository.Config) { c.RenewalsPerMinute = 3 })
		r.reconfigure(func() { r.configure(r.newBins, r.oldOnline) })
		r.run(func() { time.Sleep(10 * time.Minute) })
		require.Zero(t, r.signedByNew(bins), "the order of the configuration signs nothing again")
		signed := r.countBins()
		r.reopen()
		r.rotate("bins-*")
		require.Equal(t, []string{"bins-* signing 16 6m0s"}, r.lines())
		r.run(func() {
			time.Sleep(90 * time.Second)
			require.Equal(t, []string{"bins-* signing 10 3m31s"}, r.lines())
			r.publishRunning(file("new", "1"))
			r.requireSigned(r.newBins, r.roleOf("new"))
		})
		all, most := signed.take()
		require.Equal(t, 3+1, most, "the upload's bin doesn't count")
		require.Len(t, all, 7)
		r.checkNewest()

		err := r.install(r.dropBins)
		require.ErrorIs(t, err, repository.ErrLocksOut)
		require.ErrorContains(t, err, "of bins-*, 10 are still signed by a key that it drops: the rotation will have signed them again by 2000-01-01T")

		// Whatever the order of the configuration is, the direction is the journal's.
		r.reconfigure(func() { r.configure(r.oldBins, r.oldOnline) })
		r.refusesToRotate("bins-*", "it goes to key "+r.newBins.Public().ID()+" since 2000-01-01T")
		before := r.signedByNew(bins)
		r.run(func() { time.Sleep(70 * time.Second) })
		require.Greater(t, r.signedByNew(bins), before)
		r.run(func() { time.Sleep(5 * time.Minute) })
		require.Equal(t, bins, r.signedByNew(bins))
		_, most = signed.take()
		require.Equal(t, 3, most)
		require.Equal(t, []string{"bins-* ready 0"}, r.lines())
		r.reopen()
		require.Equal(t, []string{"bins-* ready 0"}, r.lines())
		generation := r.generation()
		r.run(func() { time.Sleep(5 * time.Minute) })
		require.Equal(t, generation, r.generation(), "nothing is signed for it any more")

		require.NoError(t, r.install(r.dropBins))
		require.Empty(t, r.lines())
		r.reopen()
		require.Empty(t, r.lines())
		r.publish(file("later", "1"))
		r.only(r.newBins, r.oldOnline)
		r.reopen()
		r.publish(file("later", "2"))
		r.check()
		r.close()
	})
}

// Without a budget the bins are signed again at once, MaxRenew in each generation.
func TestRotateBinsWithoutBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotating(t, 16, func(c *repository.Config) { c.MaxRenew = 6 })
		o := r.observe()
		r.reconfigure(func() { r.configure(r.newBins, r.oldOnline) })
		o.lines()
		r.run(func() {
			r.rotate("bins-*")
			time.Sleep(time.Second)
		})
		require.Equal(t, []string{repository.CauseRotation, repository.CauseRotation, repository.CauseRotation}, o.causes())
		require.Equal(t, []string{"bins-* ready 0"}, r.lines())
		r.check()
		r.close()
	})
}

// The whole way of the key of snapshot and timestamp: at once, and then caches are waited for.
func TestRotateSnapshotAndTimestamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotating(t, 2, func(c *repository.Config) {
			c.Caching = repository.Caching{MaxAge: 10 * time.Minute, StaleIfError: 20 * time.Minute}
			c.CacheAge, c.ClientRun = 30*time.Minute, 5*time.Minute
		})
		cached := r.store.History("timestamp.json")
		r.reconfigure(func() { r.configure(r.oldBins, r.newOnline) })
		r.rotate("timestamp", "snapshot")
		require.Equal(t, []string{"snapshot signing 1 0s", "timestamp signing 1 0s"}, r.lines())
		r.reopen()
		r.run(func() { time.Sleep(time.Second) })
		r.requireSigned(r.newOnline, "snapshot", "timestamp")
		waiting := func(left string) []string {
			return []string{"snapshot waiting 0 " + left, "timestamp waiting 0 " + left}
		}
		require.Equal(t, waiting("34m59s"), r.lines())
		r.rotate("timestamp") // the same again
		r.run(func() { time.Sleep(10 * time.Minute) })
		r.reopen()
		require.Equal(t, waiting("35m0s"), r.lines()) // for all that this process knows, the clock was set

		require.ErrorIs(t, r.install(r.dropOnline), repository.ErrLocksOut)
		time.Sleep(34*time.Minute + 59*time.Second)
		require.ErrorContains(t, r.install(r.dropOnline), "clients behind caches fail for 1s then")
		// A client that gets the oldest timestamp that a cache may still serve, or the one before.
		for _, timestamp := range cached {
			repotest.CheckRepository(t, repotest.Published{Store: r.store, Timestamps: [][]byte{timestamp, r.store.History("timestamp.json")[len(r.store.History("timestamp.json"))-1]}, Now: time.Now()})
		}
		time.Sleep(time.Second)
		require.Equal(t, []string{"snapshot ready 0", "timestamp ready 0"}, r.lines())
		require.NoError(t, r.install(r.dropOnline))
		require.Empty(t, r.lines())
		r.only(r.oldBins, r.newOnline)
		r.reopen()
		r.publish(file("later", "1"))
		r.check()
		r.close()
	})
}

// Two publishers with different keys take turns. The one with the old keys goes on with them, and
// undoes nothing.
func TestRotateWithTwoConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bins = 16
		r := newRotating(t, bins, func(c *repository.Config) { c.RenewalsPerMinute = 2 })
		both := func() { r.configure(r.newBins, r.newOnline) }
		old := func() { r.only(r.oldBins, r.oldOnline) }
		r.reconfigure(both)
		r.rotate("bins-*", "snapshot", "timestamp")
		r.run(func() { time.Sleep(2 * time.Minute) }) // in the first one all bins are counted, as signed just now
		n := r.signedByNew(bins)
		require.Positive(t, n)
		for turn := range 3 {
			r.reconfigure(old)
			r.run(func() {
				time.Sleep(10 * time.Minute)
				r.publishRunning(file("old", fmt.Sprint(turn)))
				r.requireProblems(
					"warning: the rotation of bins-* waits: it goes to key "+r.newBins.Public().ID()+", which isn't configured here",
					"warning: the rotation of snapshot waits:", "warning: the rotation of timestamp waits:")
			})
			r.requireSigned(r.oldOnline, "snapshot", "timestamp")
			require.GreaterOrEqual(t, r.signedByNew(bins), n-1, "it signs again only what it must")
			n = r.signedByNew(bins)
			r.refusesToRotate("bins-*", "it goes to key "+r.newBins.Public().ID())
			r.reconfigure(both)
			r.run(func() {
				time.Sleep(2 * time.Minute)
				r.requireProblems()
			})
			r.requireSigned(r.newOnline, "snapshot", "timestamp")
			require.Greater(t, r.signedByNew(bins), n)
			n = r.signedByNew(bins)
			r.checkNewest()
		}
		r.run(func() { time.Sleep(10 * time.Minute) })
		require.Equal(t, bins, r.signedByNew(bins))
		r.check()
		r.close()
	})
}

// What can't be begun is refused, and changes nothing.
func TestRotateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		c := e.ceremony
		e.create()
		refuses := func(role, want string) {
			t.Helper()
			e.inject.Plan(nil)
			err := e.repo.Rotate(t.Context(), role)
			require.ErrorContains(t, err, want)
			require.Empty(t, e.inject.Calls())
		}
		old, next := c.Bins, c.NewEd25519()
		refuses("bins-*", "rotate bins-*: 1.bins.json names no other key than "+old.Public().ID()+": install documents that name both keys first")
		refuses("bins-0", `rotate bins-0: it is not signed online: want one of ["timestamp" "snapshot" "bins-*"]`)
		refuses("targets", "it is not signed online")
		e.close()
		e.cfg.Signers = map[string][]keys.Signer{"bins-*": {next}} // and then Config.Bins
		e.open()
		refuses("bins-*", "the configured key may not sign it: it is key "+next.Public().ID()+", and 1.bins.json names key "+old.Public().ID()+
			": install documents that name both keys first, and configure the new key as the first one")
		require.ErrorIs(t, e.repo.Rotate(t.Context(), "bins-*"), repository.ErrWrongKey)
		third := c.NewEd25519()
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{
			"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, old, next, third) }),
		}}))
		e.close()
		e.cfg.Signers["bins-*"] = []keys.Signer{deny(third, 0), next}
		e.open()
		refuses("bins-*", "bins-*: its new key doesn't sign a probe, so nothing was accepted")
		e.close()
		e.cfg.Signers["bins-*"] = []keys.Signer{next}
		e.open()
		require.NoError(t, e.repo.Rotate(t.Context(), "bins-*"))
		e.close()
		e.cfg.Signers["bins-*"] = []keys.Signer{third, next}
		e.open()
		refuses("bins-*", "it goes to key "+next.Public().ID()+" since 2000-01-01T00:00:00Z already: let that end (see Status.Rotations), or give it up by documents that don't name this key")

		// It is given up: the bins that were signed by then are signed again by the old key.
		e.run(func() { time.Sleep(time.Second) })
		e.requireSigned(next, "bins-0", "bins-1")
		e.close()
		e.cfg.Signers = nil
		e.cfg.UncheckedKeys = true
		e.open()
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{
			"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, old) }),
		}}))
		e.requireSigned(old, "bins-0", "bins-1")
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Empty(t, s.Rotations)
		e.check()
		e.close()
	})
}

// A compromise doesn't wait for the rotation: all bins are signed at once.
func TestCompromiseDuringARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotating(t, 16, func(c *repository.Config) { c.RenewalsPerMinute = 1 })
		r.reconfigure(func() { r.configure(r.newBins, r.newOnline) })
		r.rotate("bins-*", "snapshot", "timestamp")
		d := repository.Documents{Roots: r.dropOnline.Roots, Roles: r.dropBins.Roles}
		require.ErrorIs(t, r.install(d), repository.ErrLocksOut)
		require.NoError(t, r.repo.InstallAfterCompromise(t.Context(), d))
		require.Equal(t, 16, r.signedByNew(16))
		require.Empty(t, r.lines())
		r.publish(file("a", "1"))
		r.checkNewest()
		r.close()
	})
}

// Other roles that are signed online rotate too, and the journal is enough to go on with it after a
// loss of the store.
func TestRotateOtherRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		c, form := e.ceremony, delegation.Succinct
		next := c.NewEd25519()
		layout, err := delegation.New("bins", 2, form)
		require.NoError(t, err)
		targets := func(version int64, who ...keys.Signer) map[string][]byte {
			doc, err := layout.NewRole(version, c.Now.UTC().AddDate(1, 0, 0), repotest.Of(1, c.Bins))
			require.NoError(t, err)
			return map[string][]byte{"targets": c.SignRole("targets", doc, repotest.Of(1, who...))}
		}
		c.NextRoot(func(r *roles.RootSpec) { r.Targets = repotest.Of(1, c.Online) })
		e.cfg.Signers = map[string][]keys.Signer{"targets": {next, c.Online}}
		e.repo, err = repository.Create(t.Context(), e.config(), repository.Documents{Roots: c.Documents().Roots, Roles: targets(1, c.Online)})
		require.NoError(t, err)
		e.publish(file("a", "1"))
		r := &rotating{env: e}
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Targets = repotest.Of(1, c.Online, next) })}}))
		r.rotate("targets")
		require.Equal(t, []string{"targets signing 1 0s"}, r.lines())
		e.close()
		lost := e.store.Clone()
		for _, name := range lost.Names() {
			require.NoError(t, lost.Delete(t.Context(), name))
		}
		e.store, e.cfg.Store = lost, lost
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.requireSigned(next, "targets")
		require.Equal(t, []string{"targets waiting 0 2h0m0s"}, r.lines())
		e.run(func() { time.Sleep(time.Second) })
		drop := repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Targets = repotest.Of(1, next) })}}
		require.ErrorIs(t, e.install(drop), repository.ErrLocksOut)
		time.Sleep(2 * time.Hour)
		require.Equal(t, []string{"targets ready 0"}, r.lines())
		require.NoError(t, e.install(drop))
		require.Empty(t, r.lines())
		e.publish(file("a", "2"))
		e.checkNewest()
		e.close()

		// The journal alone makes all of it again, though the first document has the dropped key's signature.
		for reopened := range 2 {
			for _, name := range e.store.Names() {
				require.NoError(t, e.store.Delete(t.Context(), name))
				e.store.Forget(name)
			}
			e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
			require.NoError(t, err)
			e.publish(file("a", fmt.Sprint("again", reopened)))
			e.checkNewest()
			e.close()
			e.open()
			e.close()
		}
	})
}

// Every call of Rotate fails once: the rotation has begun, or it hasn't, and Rotate can be repeated.
func TestRotateFaults(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
		for n := 1; n <= 2; n++ {
			synctest.Test(t, func(t *testing.T) {
				r := newRotating(t, 2, nil)
				r.reconfigure(func() { r.configure(r.newBins, r.oldOnline) })
				r.inject.Plan(func(c faulty.Call) faulty.Fault {
					if c.N == n {
						return fault
					}
					return faulty.None
				})
				err := r.repo.Rotate(t.Context(), "bins-*")
				if n == 1 {
					require.ErrorIs(t, err, faulty.ErrInjected)
				}
				r.repo.Close()
				r.inject.Plan(nil)
				r.open()
				if fault == faulty.After || n > 1 {
					require.Len(t, r.lines(), 1)
				}
				r.rotate("bins-*")
				r.run(func() { time.Sleep(time.Second) })
				require.Equal(t, 2, r.signedByNew(2))
				r.check()
				r.close()
			})
		}
	}
}

// publishRunning publishes while Run runs.
func (r *rotating) publishRunning(target roles.Target) {
	r.t.Helper()
	r.wait(r.add(target), repository.Published)
}

// refusesToRotate requires that Rotate is refused.
func (r *rotating) refusesToRotate(role, want string) {
	r.t.Helper()
	require.ErrorContains(r.t, r.repo.Rotate(r.t.Context(), role), want)
}

func (r *rotating) generation() int64 {
	r.t.Helper()
	s, err := r.repo.Status(r.t.Context())
	require.NoError(r.t, err)
	return s.Generation
}

// waitsUntil requires that both rotations wait until a time two hours from now, that the old keys can't
// be dropped a second before, and that they can be then.
func (r *rotating) waitsUntil(until time.Time) {
	r.t.Helper()
	s, err := r.repo.Status(r.t.Context())
	require.NoError(r.t, err)
	require.Len(r.t, s.Rotations, 2)
	for _, x := range s.Rotations {
		require.Equal(r.t, repository.RotationWaiting, x.State)
		require.Equal(r.t, until, x.At)
	}
	time.Sleep(2*time.Hour - time.Second)
	require.ErrorIs(r.t, r.install(r.dropOnline), repository.ErrLocksOut)
	time.Sleep(time.Second)
	require.NoError(r.t, r.install(r.dropOnline))
	r.close()
}

// A clock that is set forward doesn't shorten the grace: what caches serve isn't older for that.
func TestRotateWithAClockThatSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset time.Duration
		r := newRotating(t, 2, func(c *repository.Config) { c.Now = func() time.Time { return time.Now().Add(offset) } })
		r.reconfigure(func() { r.configure(r.newBins, r.newOnline) })
		r.rotate("snapshot", "timestamp")
		r.publish(file("a", "1"))
		offset = 3 * time.Hour
		until := time.Now().Add(offset + 2*time.Hour).UTC()
		require.ErrorContains(t, r.install(r.dropOnline), "may be served by a cache until "+until.Format(time.RFC3339))
		r.publish(file("b", "1"))
		r.waitsUntil(until)
	})
}

// Nor does one that was set forward while no publisher ran, as a machine's clock is before it is set
// from the network.
func TestRotateWithAClockSetWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset time.Duration
		r := newRotating(t, 2, func(c *repository.Config) { c.Now = func() time.Time { return time.Now().Add(offset) } })
		r.reconfigure(func() { r.configure(r.newBins, r.newOnline) })
		r.rotate("snapshot", "timestamp")
		r.publish(file("a", "1"))
		time.Sleep(time.Hour)
		r.close()
		offset = 3 * time.Hour
		r.open()
		until := time.Now().Add(offset + 2*time.Hour).UTC()
		require.ErrorContains(t, r.install(r.dropOnline), "may be served by a cache until "+until.Format(time.RFC3339))
		r.waitsUntil(until)
	})
}
