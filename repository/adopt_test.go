package repository_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// A database lost its last records in a fail-over, whichever they were: uploads, removals, decisions, a new
// root, new documents, renewals. Open explains, and Adopt goes on from what is published; all clients go on, and what
// is queued is decided.
func TestAdopt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 8, delegation.Succinct)
		e.create()
		e.publish(files("x", 20)...)
		base := len(e.records())
		e.publish(files("y", 9)...)
		e.run(func() { e.wait(e.remove("packages/x/x-0.tar.gz"), repository.Published) })
		e.run(func() { e.wait(e.add(files("y", 9)[0]), repository.Unchanged) })
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
		e.publish(file("after the root", "1"))
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}))
		e.run(func() { time.Sleep(13 * time.Hour) }) // a renewal
		a, b := e.add(file("late", "1")), e.add(file("later", "1"), file("latest", "1"))
		e.run(func() { e.wait(a, repository.Published); e.wait(b, repository.Published) })
		e.close()
		store, journal, want := e.store, e.journal, maps.Clone(e.want)

		adoptions := 0
		first, step := thorough.OneIn(3)
		for k := 1 + first; k <= len(e.records())-base; k += step {
			e.journal, e.want = journal.Rewind(k), maps.Clone(want)
			e.store = store.Clone()
			e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
			before := store.History("timestamp.json")
			var err error
			if e.repo, err = repository.Open(t.Context(), e.config()); err == nil {
				_, _, err := repository.Adopt(t.Context(), e.config())
				require.ErrorIs(t, err, repository.ErrLocked)
			} else {
				adoptions++
				require.ErrorIs(t, err, repository.ErrDiverged)
				require.ErrorContains(t, err, "let Adopt go on from what is published")
				var adopted repository.Adopted
				e.inject.Plan(nil)
				e.repo, adopted, err = repository.Adopt(t.Context(), e.config())
				require.NoError(t, err, k)
				require.Empty(t, adopted.Unread)
				var created []string
				for _, c := range e.inject.Calls() {
					require.NotEqual(t, "store.Delete", c.Op)
					if c.Op == "store.Create" {
						created = append(created, c.Name)
					}
				}
				status, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.Equal(t, []string{fmt.Sprint(status.Generation, ".snapshot.json")}, created)
				require.LessOrEqual(t, adopted.From, adopted.To)
				require.Less(t, adopted.To, status.Generation)
				require.NotEmpty(t, adopted.String())
			}
			e.requireProblemsOnly("Run isn't running", "only a sweep finds", "an item waits since")
			e.run(func() {
				require.NoError(t, e.repo.Drain(t.Context()))
				e.wait(e.add(file("goes on", "1")), repository.Published)
				for _, r := range []*repository.Receipt{a, b} {
					if o, err := e.repo.Outcome(t.Context(), r.ID()); err == nil {
						require.Contains(t, []repository.State{repository.Published, repository.Unchanged}, o.State)
					} else {
						require.ErrorIs(t, err, repository.ErrUnknownItem, "it was queued after the journal's end")
					}
				}
			})
			e.reopen()
			e.publish(file("and on", "1"))
			for f, err := range audit.Run(t.Context(), e.store, audit.Config{Journal: e.journal}) {
				require.NoError(t, err)
				require.Equal(t, audit.Note, f.Severity, f)
			}
			for _, name := range e.store.Names() {
				if name != "timestamp.json" {
					require.Len(t, e.store.History(name), 1, name)
				}
			}
			e.checkAll(before)
			e.close()
		}
		require.GreaterOrEqual(t, adoptions, 14/step)
	})
}

// What Adopt says it took over.
func TestAdopted(t *testing.T) {
	t.Parallel()
	inBubble(t, 8, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 20)...)
		base := len(e.records())
		e.publish(file("packages/x/x-1.tar.gz", "replaced"), file("new", "1"))
		e.run(func() { e.wait(e.remove("packages/x/x-2.tar.gz"), repository.Published) })
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
		lost := len(e.records()) - base
		require.NoError(t, e.repo.Close())
		e.journal = e.journal.Rewind(lost)
		var adopted repository.Adopted
		var err error
		e.repo, adopted, err = repository.Adopt(t.Context(), e.config())
		require.NoError(t, err)
		require.EqualValues(t, 2, adopted.From)
		require.EqualValues(t, 4, adopted.To)
		require.Equal(t, []repository.VersionChange{{Role: "root", From: 1, To: 2}}, adopted.Documents)
		changes := map[string]string{}
		for _, d := range adopted.Targets {
			changes[d.Path] = fmt.Sprint(d.Known != nil, " ", d.Published != nil)
		}
		require.Equal(t, map[string]string{
			"packages/x/x-1.tar.gz": "true true", "new": "false true", "packages/x/x-2.tar.gz": "true false",
		}, changes)
		require.Contains(t, adopted.String(), "the journal knew generation 2, and goes on from generation 4: ")
		require.Contains(t, adopted.String(), "document root: version 2, was 1\n")

		e.publish(file("packages/x/x-3.tar.gz", "again"))
		e.check()
		rebuilt := 0
		for i := range 8 { // those for which the files of the lost generations aren't needed
			if name, _ := e.newest(mustBins(t, 8).Name(i)); !strings.HasPrefix(name, "3.") && !strings.HasPrefix(name, "4.") {
				e.requireRebuilt(mustBins(t, 8).Name(i), nil)
				rebuilt++
			}
		}
		require.GreaterOrEqual(t, rebuilt, 5)
		v, err := e.repo.View(t.Context())
		require.NoError(t, err)
		e.requireView(v, len(e.want))
	})
}

// A publisher of the database that was left is paused. It has sealed a generation there, and only the swap is
// missing. Once Adopt has returned, the store refuses that swap. What is queued waits for Run: the operator looks at what
// was adopted first.
func TestAdoptOvertakesALateSwap(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		before, prepared := e.pausedBeforeItsSwap()
		e.enqueue("queued", file("queued", "1"))
		var err error
		e.repo, _, err = repository.Adopt(t.Context(), e.config())
		require.NoError(t, err)
		require.ErrorIs(t, e.store.Swap(t.Context(), "timestamp.json", before, prepared), repository.ErrConflict)
		o, err := e.repo.Outcome(t.Context(), "queued")
		require.NoError(t, err)
		require.Equal(t, repository.Accepted, o.State)
		e.run(func() { e.wait(e.repo.Receipt("queued"), repository.Published) })
		e.checkAll(e.store.History("timestamp.json")[:1])
	})
}

// Where Adopt can't publish, Run does so first, also in another process.
func TestAdoptOvertakesLater(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]struct{ op, name string }{
		"the generation isn't begun":   {"leader.Append", "intent"},
		"the snapshot isn't written":   {"store.Create", ""},
		"the process ends at the seal": {"leader.Append", "seal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				before, prepared := e.pausedBeforeItsSwap()
				failed := 0
				e.inject.Plan(func(c faulty.Call) faulty.Fault {
					if c.Op == fault.op && (fault.name == "" || c.Name == fault.name) {
						failed++
						return faulty.Before
					}
					return faulty.None
				})
				var err error
				if e.repo, _, err = repository.Adopt(t.Context(), e.config()); err == nil {
					require.NoError(t, e.repo.Close())
				}
				require.Positive(t, failed)
				e.inject.Plan(nil)
				e.open()
				e.run(func() { time.Sleep(time.Second) })
				require.ErrorIs(t, e.store.Swap(t.Context(), "timestamp.json", before, prepared), repository.ErrConflict)
				e.checkAll(e.store.History("timestamp.json")[:1])
			})
		})
	}
}

// The paused publisher goes on just before Adopt's own swap. Adopt and Open say so, and nothing that clients see goes
// backwards.
func TestAdoptIsOvertaken(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		before, prepared := e.pausedBeforeItsSwap()
		swapped := false
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Swap" && !swapped {
				swapped = true
				require.NoError(t, e.store.Swap(t.Context(), "timestamp.json", before, prepared))
			}
			return faulty.None
		})
		_, _, err := repository.Adopt(t.Context(), e.config())
		e.inject.Plan(nil)
		require.ErrorIs(t, err, repository.ErrDiverged)
		_, err = repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "RestoreStore")
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.publish(file("goes on", "1"))
		e.checkAll(e.store.History("timestamp.json")[:1])
	})
}

// pausedBeforeItsSwap publishes, and loses the journal's last records. It returns the timestamp that clients see, and the
// one that the paused publisher would swap in.
func (e *env) pausedBeforeItsSwap() (public, prepared []byte) {
	e.t.Helper()
	e.publish(files("x", 20)...)
	base := len(e.records())
	e.publish(file("seen", "1"))
	e.add(file("late", "1"))
	delete(e.want, "late")
	e.withoutSwaps()
	swap := e.newestSeal().Swaps[0]
	lost := len(e.records()) - base
	require.NoError(e.t, e.repo.Close())
	e.journal = e.journal.Rewind(lost)
	return swap.Old, swap.New
}

// enqueue queues an item as an index does that uses the journal itself.
func (e *env) enqueue(id string, targets ...roles.Target) {
	e.t.Helper()
	it := repository.Item{ID: id, Add: targets, Accepted: time.Now().UTC().Truncate(time.Millisecond)}
	entry, err := it.Entry()
	require.NoError(e.t, err)
	_, err = e.journal.Enqueue(e.t.Context(), entry)
	require.NoError(e.t, err)
	e.note(it)
}

// The files that the journal knew are collected by then: what changed isn't known, and the rest is.
func TestAdoptAfterCollection(t *testing.T) {
	collecting(t, 4, func(c *collected) {
		t := c.t
		c.publish(files("x", 20)...)
		base := len(c.records())
		for n := range 3 {
			c.publish(files(fmt.Sprint("lost", n), 20)...)
		}
		require.NoError(t, c.install(repository.Documents{Roles: map[string][]byte{"bins": c.ceremony.NextBins(nil)}}))
		c.run(func() { time.Sleep(2 * grace) })
		require.NotContains(t, c.names(), "1.bins.json")
		lost := len(c.records()) - base
		require.NoError(t, c.repo.Close())
		c.journal = c.journal.Rewind(lost)
		_, err := repository.Open(t.Context(), c.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "let Adopt go on from what is published")
		var adopted repository.Adopted
		c.repo, adopted, err = repository.Adopt(t.Context(), c.config())
		require.NoError(t, err)
		require.Len(t, adopted.Unread, 4)
		require.Empty(t, adopted.Targets)
		c.opened = time.Now()
		c.publish(file("goes on", "1"))
		c.run(func() { time.Sleep(2 * grace) })
		for _, err := range c.repo.Sweep(t.Context(), false) {
			require.NoError(t, err)
		}
		status, err := c.repo.Status(t.Context())
		require.NoError(t, err)
		require.Zero(t, status.Collection.Unlisted)
		now := c.store.History("timestamp.json")
		repotest.CheckRepository(t, repotest.Published{
			Store: c.store, Timestamps: now[len(now)-1:], Now: time.Now(), Want: slices.Collect(maps.Values(c.want)),
		})
	})
}

// What can't be adopted is refused, and nothing changes.
func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(e *env)
		words string
	}{
		"the journal isn't behind": {func(e *env) { e.journal = e.journal.Handle() }, "the journal agrees with the store: use Open"},
		"the store is behind": {func(e *env) {
			e.journal = e.journal.Handle()
			now := e.store.History("timestamp.json")
			require.NoError(e.t, e.store.Swap(e.t.Context(), "timestamp.json", now[len(now)-1], now[0]))
		}, "the store isn't ahead: RestoreStore"},
		"another's key": {func(e *env) {
			now := e.store.History("timestamp.json")
			doc, err := roles.NewTimestamp(99, time.Now().Add(time.Hour), 99, []byte("another"))
			require.NoError(e.t, err)
			var key keys.Signer = e.ceremony.NewEd25519()
			doc, err = doc.Sign(e.t.Context(), key)
			require.NoError(e.t, err)
			require.NoError(e.t, e.store.Swap(e.t.Context(), "timestamp.json", now[len(now)-1], doc.Bytes()))
		}, "what the store publishes can't be adopted: timestamp.json: "},
		"a bin is missing": {func(e *env) {
			name, _ := e.newest(binOf("y"))
			require.NoError(e.t, e.store.Delete(e.t.Context(), name))
		}, "1 bins can't be read"},
		"a bin was altered": {func(e *env) {
			name, _ := e.newest(binOf("y"))
			e.put(name, []byte("{}"))
		}, "1 bins can't be read"},
		"an empty journal": {func(e *env) { e.journal = storetest.NewJournal() }, "the journal is empty, and the store publishes a repository"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				e.publish(files("x", 20)...)
				e.publish(file("y", "1"))
				require.NoError(t, e.repo.Close())
				whole := e.journal
				e.journal = e.journal.Rewind(3)
				if name == "the journal isn't behind" || name == "the store is behind" {
					e.journal = whole
				}
				c.spoil(e)
				before := len(e.records())
				_, _, err := repository.Adopt(t.Context(), e.config())
				require.ErrorContains(t, err, c.words)
				require.Len(t, e.records(), before)
				handle, _, err := e.journal.Lead(t.Context())
				require.NoError(t, err, "the lead was given up")
				require.NoError(t, handle.Release(t.Context()))
			})
		})
	}
}

// Whatever call of Adopt fails, before or after its work, it can be repeated, or Open has it.
func TestAdoptUnderFaults(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 20)...)
		e.publish(file("y", "1"))
		e.publish(file("z", "1"))
		e.close()
		store, journal := e.store, e.journal
		first, step := thorough.OneIn(3)
		for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
			for n := 1 + first; ; n += step {
				e.store, e.journal = store.Clone(), journal.Rewind(5)
				e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
				seen := 0
				e.inject.Plan(func(faulty.Call) faulty.Fault {
					if seen++; seen == n {
						return fault
					}
					return faulty.None
				})
				var err error
				e.repo, _, err = repository.Adopt(t.Context(), e.config())
				e.inject.Plan(nil)
				if err != nil {
					if e.repo, err = repository.Open(t.Context(), e.config()); err != nil {
						e.repo, _, err = repository.Adopt(t.Context(), e.config())
						require.NoError(t, err, n)
					}
				}
				e.publish(file("goes on", "1"))
				e.checkAll(store.History("timestamp.json"))
				if seen < n {
					break
				}
				e.close()
			}
			e.close()
		}
		e.store, e.journal = store, journal
		e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
		e.open()
	})
}

// records are those of the journal, oldest first.
func (e *env) records() (all []*ledger.Record) {
	e.t.Helper()
	for step, err := range e.journal.Handle().Read(e.t.Context(), ledger.FromBeginning) {
		require.NoError(e.t, err)
		if step.Record != nil {
			all = append(all, step.Record)
		}
	}
	return all
}

// requireProblemsOnly requires that each problem of Status has one of these texts.
func (e *env) requireProblemsOnly(allowed ...string) {
	e.t.Helper()
	for _, line := range e.problems() {
		require.True(e.t, slices.ContainsFunc(allowed, func(a string) bool { return strings.Contains(line, a) }), line)
	}
}

// checkAll lets clients of all generations judge the store, those included that saw one of these timestamps before
// the store was copied.
func (e *env) checkAll(before [][]byte) {
	e.t.Helper()
	now := e.store.History("timestamp.json")
	repotest.CheckRepository(e.t, repotest.Published{
		Store: e.store, Timestamps: slices.Concat(before, now[1:]), Now: time.Now(),
		Want: slices.Collect(maps.Values(e.want)), Gone: slices.Collect(maps.Keys(e.gone)),
	})
}
