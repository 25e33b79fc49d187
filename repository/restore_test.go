package repository_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

func TestRestoreStore(t *testing.T) {
	t.Parallel()
	for name, form := range bothForms {
		for found, c := range map[string]struct {
			store func(d *disaster) *storetest.MemStore
			words string
		}{
			"older":   {func(d *disaster) *storetest.MemStore { return d.oldStore }, "2.root.json was installed, and the store doesn't have it"},
			"missing": {func(d *disaster) *storetest.MemStore { return storetest.NewStore() }, "2.root.json was installed, and the store doesn't have it"},
			"older, with the new documents": {func(d *disaster) *storetest.MemStore {
				t := d.t
				for _, name := range []string{"2.root.json", "2.bins.json"} {
					data, err := d.store.Get(t.Context(), name)
					require.NoError(t, err)
					require.NoError(t, d.oldStore.Create(t.Context(), name, data))
				}
				return d.oldStore
			}, "in the store there is version 3, expiring"},
			"without its timestamp": {func(d *disaster) *storetest.MemStore {
				t := d.t
				require.NoError(t, d.store.Delete(t.Context(), "timestamp.json"))
				return d.store
			}, "in the store there is none"},
		} {
			t.Run(name+" "+found, func(t *testing.T) {
				inDisaster(t, form, func(t *testing.T, d *disaster) {
					d.use(c.store(d), d.journal)
					d.refuses(c.words)
					require.Error(t, d.restoreJournal(repository.Restoration{}), "that is the wrong way")
					require.NoError(t, d.restoreStore(repository.Restoration{}))
					more := d.publishAll()
					d.wait(d.again(d.never), repository.Published)
					d.checkRestored(with(d.after, file("never published", "1"), more["marker"]))
				})
			})
		}
	}
}

// again is the receipt of an item after a restart.
func (d *disaster) again(r *repository.Receipt) *repository.Receipt {
	d.t.Helper()
	it := repository.Item{ID: r.ID(), Add: []roles.Target{file("never published", "1")}}
	receipt, err := d.repo.Submit(d.t.Context(), it)
	require.NoError(d.t, err)
	return receipt
}

func TestRestoreJournalOlder(t *testing.T) {
	for name, form := range bothForms {
		t.Run(name, func(t *testing.T) {
			inDisaster(t, form, func(t *testing.T, d *disaster) {
				d.use(d.store, d.oldJournal)
				d.refuses("the journal was restored from a backup, or cut")
				require.ErrorIs(t, d.restoreStore(repository.Restoration{}), repository.ErrDiverged, "that would take back what is published")
				require.NoError(t, d.restoreJournal(repository.Restoration{}))
				for i, want := range []repository.State{
					repository.Published, repository.SetAside, repository.Superseded, repository.Published, repository.Published,
				} {
					o, err := d.repo.Outcome(t.Context(), d.waited[i].ID())
					require.NoError(t, err)
					require.Equal(t, want, o.State, i)
					if want == repository.SetAside { // an ID that is remembered is never queued again
						require.Contains(t, o.Reason, "submit it again with another ID")
					}
				}
				_, err := d.repo.Outcome(t.Context(), d.never.ID())
				require.ErrorIs(t, err, repository.ErrUnknownItem)
				s, err := d.repo.Status(t.Context())
				require.NoError(t, err)
				require.Zero(t, s.Queue.Pending)
				d.checkRestored(d.after)
			})
		})
	}
}

func TestRestoreJournalLost(t *testing.T) {
	t.Parallel()
	for name, form := range bothForms {
		t.Run(name, func(t *testing.T) {
			inDisaster(t, form, func(t *testing.T, d *disaster) {
				d.use(d.store, storetest.NewJournal())
				_, err := repository.Open(t.Context(), d.config())
				require.ErrorIs(t, err, repository.ErrNotRepository)
				require.ErrorContains(t, err, "RestoreJournal")
				require.ErrorIs(t, d.restoreStore(repository.Restoration{}), repository.ErrNotRepository)
				require.ErrorContains(t, d.restoreJournal(repository.Restoration{}), "a trusted one must be given")
				roots := d.ceremony.Documents().Roots
				require.NoError(t, d.restoreJournal(repository.Restoration{Root: roots[0]}))
				d.checkRestored(d.after)

				// What the new journal has is enough to restore the store from.
				d.store = d.env.store
				d.timestamps = slices.Concat(d.timestamps, d.store.History("timestamp.json")[len(d.timestamps):])
				lost := d.store.Clone()
				for _, name := range []string{"1.root.json", "2.root.json", "1.targets.json", "2.bins.json", "timestamp.json"} {
					require.NoError(t, lost.Delete(t.Context(), name))
				}
				d.use(lost.Clone(), d.env.journal)
				d.refuses("2.root.json")
				require.NoError(t, d.restoreStore(repository.Restoration{}))
				d.checkRestored(with(d.after, file("goes on", "1")))
			})
		})
	}
}

// Store and journal restored together: only a witness can tell.
func TestRestoreBoth(t *testing.T) {
	inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
		docs := d.ceremony.Documents()
		newest := d.timestamps[len(d.timestamps)-1]
		d.use(d.oldStore, d.oldJournal)
		d.cfg.Witness = newest
		d.refuses("clients have seen version")
		d.cfg.Witness = d.timestamps[1]
		d.open()
		d.env.close()

		d.cfg.Witness = newest
		require.NoError(t, d.restoreStore(repository.Restoration{Documents: docs}))
		d.cfg.Witness = nil
		want := with(d.before, file("late", "1"), file("later", "1"), file("twice", "2"))
		delete(want, "packages/x/x-0.tar.gz")
		more := d.publishAll()
		for i, state := range []repository.State{
			repository.Published, repository.Published, repository.Superseded, repository.Published, repository.Published,
		} {
			o, err := d.repo.Outcome(t.Context(), d.waited[i].ID())
			require.NoError(t, err)
			require.Equal(t, state, o.State, i)
		}
		d.checkRestored(with(want, more["marker"]))
	})
}

// The same without a witness: the operator knows the version from a mirror's log.
func TestRestoreBothPast(t *testing.T) {
	inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
		d.use(d.oldStore, d.oldJournal)
		require.NoError(t, d.restoreStore(repository.Restoration{Past: int64(len(d.timestamps)) + 3, Documents: d.ceremony.Documents()}))
		want := with(d.before, file("late", "1"), file("later", "1"), file("twice", "2"))
		delete(want, "packages/x/x-0.tar.gz")
		more := d.publishAll()
		d.checkRestored(with(want, more["marker"]))
		require.Error(t, func() error {
			d.cfg.Witness = []byte("{}")
			_, err := repository.Open(t.Context(), d.config())
			return err
		}(), "a witness must be a timestamp")
	})
}

// A timestamp that is none of ours, and one that another publisher signed with our
// key.
func TestRestoreForeignTimestamp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		version int64
		key     func(d *disaster) *repotest.Ceremony
		words   string
		past    int64
	}{
		"no metadata":         {0, nil, "one that is not valid metadata", 0},
		"another key":         {99, func(d *disaster) *repotest.Ceremony { return repotest.NewCeremony(d.t, layout(d.t), time.Now()) }, "which isn't signed as root version 2 demands", 0},
		"our key, newer":      {99, func(d *disaster) *repotest.Ceremony { return d.ceremony }, "the journal was restored from a backup, or cut", 99},
		"our key, as new":     {-1, func(d *disaster) *repotest.Ceremony { return d.ceremony }, "but another one: two publishers were at work", 0},
		"our key, much older": {2, func(d *disaster) *repotest.Ceremony { return d.ceremony }, "the store was restored from a backup", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
				d.foreign = []byte("{}")
				if c.key != nil {
					version := c.version
					if version < 0 {
						last, err := roles.Peek(d.timestamps[len(d.timestamps)-1])
						require.NoError(t, err)
						version = last.Version
					}
					doc, err := roles.NewTimestamp(version, time.Now().Add(time.Hour), version, []byte("another"))
					require.NoError(t, err)
					doc, err = doc.Sign(t.Context(), c.key(d).Online)
					require.NoError(t, err)
					d.foreign = doc.Bytes()
				}
				current := d.timestamps[len(d.timestamps)-1]
				require.NoError(t, d.store.Swap(t.Context(), "timestamp.json", current, d.foreign))
				d.use(d.store, d.journal)
				d.refuses(c.words)
				err := d.restoreJournal(repository.Restoration{})
				require.Error(t, err, "what it names isn't there")
				if c.past > 0 {
					require.ErrorContains(t, d.restoreStore(repository.Restoration{}), "set Past to 99")
				}
				require.NoError(t, d.restoreStore(repository.Restoration{Past: c.past}))
				s, err := d.repo.Status(t.Context())
				require.NoError(t, err)
				require.Greater(t, s.Generation, c.past)
				more := d.publishAll()
				d.checkRestored(with(d.after, file("never published", "1"), more["marker"]))
			})
		})
	}
}

func layout(t *testing.T) delegation.Bins {
	t.Helper()
	l, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	return l
}

// A sealed generation whose files are gone can't be committed: its items are
// decided again.
func TestRestoreStoreGivesASealUp(t *testing.T) {
	inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
		d.use(d.store, d.journal)
		d.open()
		d.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.NoError(t, d.repo.Run(ctx))
		d.env.close()
		d.inject.Plan(nil)
		sealed := d.store.Names()[0]
		for _, name := range d.store.Names() {
			if h, err := roles.Peek(d.store.History(name)[0]); err == nil && h.Type == metadata.SNAPSHOT && h.Version > int64(len(d.timestamps)) {
				sealed = name
			}
		}
		require.NoError(t, d.store.Delete(t.Context(), sealed))
		d.refuses("is sealed and can't be committed: " + sealed)
		require.NoError(t, d.restoreStore(repository.Restoration{}))
		d.wait(d.again(d.never), repository.Published)

		// The history with its seal that never was is one from which bins can be made.
		for i := range 8 {
			bin := layout(t).Name(i)
			name, original := d.newest(bin)
			d.put(name, []byte("{}"))
			require.NoError(t, d.repo.Rebuild(t.Context(), bin))
			_, rebuilt := d.newest(bin)
			require.Equal(t, targetsOf(t, original), targetsOf(t, rebuilt))
			d.put(name, original)
		}
		d.checkRestored(with(d.after, file("never published", "1")))
	})
}

// Whatever call of a restoration fails, before or after its work, it can be
// repeated, or Open completes it.
func TestRestoreUnderFaults(t *testing.T) {
	t.Parallel()
	type restore func(d *disaster) error
	for name, c := range map[string]struct {
		use     func(d *disaster)
		restore restore
	}{
		"store":   {func(d *disaster) { d.use(storetest.NewStore(), d.journal.Clone()) }, func(d *disaster) error { return d.restoreStore(repository.Restoration{}) }},
		"journal": {func(d *disaster) { d.use(d.store.Clone(), d.oldJournal.Clone()) }, func(d *disaster) error { return d.restoreJournal(repository.Restoration{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			first, step := thorough.OneIn(5)
			inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
				for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
					for n := 1 + first; ; n += step {
						c.use(d)
						seen := 0
						d.inject.Plan(func(faulty.Call) faulty.Fault {
							if seen++; seen == n {
								return fault
							}
							return faulty.None
						})
						err := c.restore(d)
						d.inject.Plan(nil)
						if seen < n {
							require.NoError(t, err)
							d.env.close()
							break
						}
						if err != nil { // or nothing came of it: a name that isn't there
							if d.repo, err = repository.Open(t.Context(), d.config()); err != nil {
								require.NoError(t, c.restore(d), "call %d", n)
							}
						}
						d.publishAll()
						d.env.close()
						history := d.env.store.History("timestamp.json")
						repotest.CheckRepository(t, repotest.Published{
							Store: d.env.store, Then: both{d.env.store, d.store}, Now: time.Now(),
							Timestamps: slices.Concat(d.timestamps[len(d.timestamps)-1:], history[len(history)-1:]),
							Want:       slices.Collect(maps.Values(d.after)),
						})
					}
				}
			})
		})
	}
}

// An older journal ends with a seal: its generation was committed before those that
// the store has beyond it.
func TestRestoreJournalThatEndsWithASeal(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		sealed := e.add(file("sealed", "1"))
		e.withoutSwaps()
		old := e.journal.Clone()
		e.run(func() { require.EqualValues(t, 3, e.wait(sealed, repository.Published)) })
		e.publish(file("later", "1"))
		e.close()

		e.journal = old
		_, err := repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "by the journal the timestamp is version 2 or 3, and in the store there is version 4")
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		o, err := e.repo.Outcome(t.Context(), sealed.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Outcome{State: repository.Published, Generation: 3}, o)
		e.publish(file("goes on", "1"))
		e.check()
	})
}
