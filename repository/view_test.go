package repository_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// checkViews requires that the publisher's view, unless it is closed, and a reader's have just
// what clients must find.
func (e *env) checkViews() {
	e.t.Helper()
	read, err := repository.ReadView(e.t.Context(), e.store, e.journal.Handle())
	require.NoError(e.t, err)
	lookups := math.MaxInt
	status, err := repository.ReadStatus(e.t.Context(), e.store, e.journal.Handle())
	if err == nil && status.Fullest[0].Bytes >= 1<<20 { // each lookup reads a whole bin
		lookups = few
	}
	e.requireView(read, lookups)
	// It takes a while, and longer the larger the bins are.
	if err == nil && status.Fullest[0].Bytes < 1<<20 && !testing.Short() {
		e.checkCompare()
	}
	switch view, err := e.repo.View(e.t.Context()); {
	case errors.Is(err, repository.ErrClosed):
	default:
		require.NoError(e.t, err)
		require.Equal(e.t, read.Generation(), view.Generation())
		e.requireView(view, lookups)
	}
}

// checkCompare requires that a client finds what the journal says.
func (e *env) checkCompare() {
	e.t.Helper()
	client, err := repository.ClientView(e.t.Context(), e.store, e.ceremony.Documents().Roots[0])
	require.NoError(e.t, err)
	e.requireView(client, few)
	replayed, err := repository.LedgerView(e.t.Context(), e.store, e.journal.Handle())
	require.NoError(e.t, err)
	e.requireView(replayed, few)
	require.Empty(e.t, lines(e.t, repository.Compare(e.t.Context(), client, replayed)))
}

// few is how many targets are looked up where each lookup reads, or parses and verifies, a whole bin again.
const few = 3

// requireView requires that the view has just what clients must find. It looks up so many targets.
func (e *env) requireView(v *repository.View, lookups int) {
	e.t.Helper()
	all := map[string]roles.Target{}
	for target, err := range v.Targets(e.t.Context()) {
		require.NoError(e.t, err)
		_, twice := all[target.Path] // NotContains copies the map's keys
		require.False(e.t, twice, "%s came twice", target.Path)
		all[target.Path] = target
	}
	require.Equal(e.t, slices.Sorted(maps.Keys(e.want)), slices.Sorted(maps.Keys(all)))
	left := lookups
	for path, want := range e.want {
		found := all[path]
		require.Equal(e.t, []any{want.Path, want.Length, want.Hashes}, []any{found.Path, found.Length, found.Hashes})
		if want.Custom == nil {
			require.Nil(e.t, found.Custom)
		} else {
			require.JSONEq(e.t, string(want.Custom), string(found.Custom))
		}
		if left--; left < 0 {
			continue
		}
		looked, err := v.Lookup(e.t.Context(), path)
		require.NoError(e.t, err)
		require.Equal(e.t, found, looked)
	}
	for _, path := range slices.Collect(maps.Keys(e.gone))[:min(len(e.gone), lookups)] {
		_, err := v.Lookup(e.t.Context(), path)
		require.ErrorIs(e.t, err, repository.ErrNotPublished)
	}
}

// A view is one generation, whatever is published after it, and it is made once. It is there
// while a generation is under way, and after Close.
func TestViewIsOneGeneration(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 20)...)
		view, err := e.repo.View(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(2), view.Generation())
		then := maps.Clone(e.want)

		held := false
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "leader.Append" && c.Name == "seal" && !held {
				held = true
				return faulty.Hold
			}
			return faulty.None
		})
		r := e.add(file("packages/x/x-0.tar.gz", "other"), file("new", "1"))
		e.run(func() {
			synctest.Wait()
			require.True(t, held)
			again, err := e.repo.View(t.Context())
			require.NoError(t, err)
			require.Same(t, view, again)
			e.inject.Release()
			e.wait(r, repository.Published)
		})
		next, err := e.repo.View(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(3), next.Generation())
		e.requireView(next, math.MaxInt)

		now := e.want
		e.want, e.gone = then, map[string]bool{"new": true}
		e.requireView(view, math.MaxInt)
		e.want, e.gone = now, map[string]bool{}
		require.NoError(t, e.repo.Close())
		e.requireView(next, math.MaxInt)
		_, err = e.repo.View(t.Context())
		require.ErrorIs(t, err, repository.ErrClosed)
	})
}

// A view holds what clients see, and not documents that are accepted and wait.
func TestViewBeforeDocumentsArePublished(t *testing.T) {
	for _, s := range repotest.Shapes() {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				e.createShape(s)
				e.list(s, 1)
				e.publish(files("x", 9)...)

				e.inject.Plan(func(c faulty.Call) faulty.Fault {
					if c.Op == "leader.Append" && c.Name == "intent" {
						return faulty.Before
					}
					return faulty.None
				})
				next := repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}, Roles: s.Documents(e.ceremony, 2)}
				require.ErrorContains(t, e.install(next), "accepted, and not yet published")
				e.checkViews()
				e.close()
				e.inject.Plan(nil)
				e.checkViews()

				e.open()
				require.NoError(t, e.install(repository.Documents{}))
				e.list(s, 2)
				e.check()
				e.close()
			})
		})
	}
}

// Where a role stands in front of others, clients find what that lists, and nothing twice.
func TestViewOfHiddenTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.create()
		before := append(files("claimed", 9), files("free", 9)...)
		e.publish(before...)

		// Two online roles now stand in front of all bins: they list some of the paths again, and
		// a third one is asked for some before either.
		delegations := []delegation.Delegation{
			{Name: "first", Keys: repotest.Of(1, e.ceremony.Bins), Paths: []string{"packages/claimed/claimed-1.tar.gz"}},
			{Name: "second", Keys: repotest.Of(1, e.ceremony.Bins), Paths: []string{"packages/claimed/*"}},
			{Name: "bins", Keys: repotest.Of(1, e.ceremony.Bins), HashPrefixes: []string{""}, Terminating: true},
		}
		targets, err := delegation.NewRole(metadata.TARGETS, 2, time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second), delegations)
		require.NoError(t, err)
		layout, err := delegation.New("bins", 4, delegation.Succinct)
		require.NoError(t, err)
		bins, err := layout.NewRole(2, time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second), repotest.Of(1, e.ceremony.Bins))
		require.NoError(t, err)
		e.close()
		e.cfg.Signers = map[string][]keys.Signer{"first": {e.ceremony.Bins}, "second": {e.ceremony.Bins}}
		e.open()
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{
			"targets": e.ceremony.SignTargets(targets),
			"bins":    e.ceremony.SignRole("bins", bins, repotest.Of(1, e.ceremony.Bins)),
		}}))
		e.checkViews()
		e.publish(file("packages/claimed/claimed-1.tar.gz", "again"), file("packages/claimed/claimed-2.tar.gz", "again"), file("packages/claimed/new", "new"))
		e.check()
		e.close()
	})
}

// A file that is missing or altered is an error of the view, and no target.
func TestViewOfAlteredFiles(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 9)...)
		view, err := e.repo.View(t.Context())
		require.NoError(t, err)
		role := e.roleOf("packages/x/x-3.tar.gz")
		name, original := e.newest(role)
		fails := func() error {
			t.Helper()
			_, err := view.Lookup(t.Context(), "packages/x/x-3.tar.gz")
			require.NotErrorIs(t, err, repository.ErrNotPublished)
			require.ErrorContains(t, err, name+": published file missing or altered in the store")
			last := error(nil)
			for _, err := range view.Targets(t.Context()) {
				require.NoError(t, last, "it went on after an error")
				last = err
			}
			require.ErrorContains(t, last, "targets of "+role+": "+name+": published file missing or altered in the store")
			return err
		}
		e.put(name, []byte("{}"))
		require.NotErrorIs(t, fails(), repository.ErrNotExist)
		require.NoError(t, e.store.Delete(t.Context(), name))
		require.ErrorIs(t, fails(), repository.ErrNotExist)
		e.put(name, original)
		e.store.Forget(name)
		e.checkViews()

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = view.Lookup(ctx, "packages/x/x-3.tar.gz")
		require.ErrorIs(t, err, context.Canceled)
	})
}

// A journal in which nothing was created has no view.
func TestReadViewOfNothing(t *testing.T) {
	_, err := repository.ReadView(t.Context(), storetest.NewStore(), storetest.NewJournal())
	require.ErrorIs(t, err, repository.ErrNotRepository)
}

// Views are taken while generations are committed: each has all of one and nothing else.
func TestViewsWhilePublishing(t *testing.T) {
	const generations = 200
	e := newEnv(t, 2, delegation.Succinct)
	e.create()
	e.publish(file("a", "0"), file("b", "0"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { _ = e.repo.Run(ctx) }()
		for n := range generations {
			r, err := e.repo.Add(ctx, file("a", string(rune('0'+n))), file("b", string(rune('0'+n))))
			if err == nil {
				_, err = r.Wait(ctx)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for last := int64(0); ; {
		view, err := e.repo.View(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, view.Generation(), last)
		last = view.Generation()
		a, err := view.Lookup(t.Context(), "a")
		require.NoError(t, err)
		b, err := view.Lookup(t.Context(), "b")
		require.NoError(t, err)
		require.Equal(t, a.Hashes, b.Hashes)
		select {
		case <-done:
			e.close()
			return
		default:
		}
	}
}

// Drain returns when all that was accepted before it is decided, also what is sealed and not
// committed, whatever becomes of it.
func TestDrain(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		require.NoError(t, e.repo.Drain(t.Context()), "nothing waits")
		old := file("packages/x/x-0.tar.gz", "old")
		e.publish(old)
		for _, f := range files("x", 9)[1:] {
			e.add(f)
		}
		refused, err := e.repo.Submit(t.Context(), one("refused", file(old.Path, "new"), absent(old.Path)))
		require.NoError(t, err)

		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = e.repo.Drain(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "9 items are accepted, and not yet decided")

		held := false
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Swap" && !held {
				held = true
				return faulty.Before
			}
			return faulty.None
		})
		drained := make(chan error, 2)
		go func() { drained <- e.repo.Drain(t.Context()) }()
		synctest.Wait()
		e.run(func() {
			synctest.Wait()
			require.True(t, held, "sealed, and not committed")
			require.Empty(t, drained)
			go func() { drained <- e.repo.Drain(t.Context()) }()
			require.NoError(t, <-drained)
			require.NoError(t, <-drained)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Zero(t, s.Queue.Pending)
			require.Equal(t, int64(3), s.Generation)
		})
		o, err := e.repo.Outcome(t.Context(), refused.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Refused, o.State)
		e.check()

		e.add(file("left", "1"))
		go func() { drained <- e.repo.Drain(t.Context()) }()
		synctest.Wait()
		require.NoError(t, e.repo.Close())
		err = <-drained
		require.ErrorIs(t, err, repository.ErrClosed)
		require.ErrorContains(t, err, "1 items are accepted, and not yet decided")
		require.Error(t, e.repo.Drain(t.Context()))
	})
}
