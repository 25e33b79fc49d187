package repository_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// disaster is a repository of which there is a backup, and to which more happened
// since: items of every kind, new offline documents, a generation that was sealed
// and not committed.
type disaster struct {
	*env
	store, oldStore     *storetest.MemStore
	journal, oldJournal *storetest.MemJournal
	before, after       map[string]roles.Target // published at the backup, and at the end
	waited              []*repository.Receipt   // accepted before the backup, published since
	never               *repository.Receipt     // accepted, and never published
	timestamps          [][]byte                // all that clients ever saw
	foreign             []byte                  // one that they never accepted
}

// inDisaster lets f restore a repository in which time is fake.
func inDisaster(t *testing.T, form delegation.Form, f func(t *testing.T, d *disaster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &disaster{env: newEnv(t, 8, form)}
		d.create()
		d.publish(files("x", 20)...)
		d.publish(file("replaced", "1"), file("removed", "1"), file("twice", "0"))
		d.before = maps.Clone(d.want)
		d.waited = append(d.waited,
			d.add(file("late", "1")),                         // and stays
			d.add(file("later", "1")),                        // and is replaced while nobody remembers
			d.add(file("twice", "1")),                        // and is replaced by an item of the same queue
			d.add(file("twice", "2"), files("x", 20)[3]),     // and stays
			d.remove("packages/x/x-0.tar.gz", "never there")) // and stays
		d.oldStore, d.oldJournal = d.env.store.Clone(), d.env.journal.Clone()
		d.run(func() { d.wait(d.waited[4], repository.Published) })
		d.publish(file("replaced", "2"), file("later", "2"), file("new", "1"))
		d.run(func() { d.wait(d.remove("removed"), repository.Published) })
		require.NoError(t, d.install(repository.Documents{Roots: [][]byte{d.ceremony.NextRoot(nil)}, Bins: d.ceremony.NextBins(nil)}))
		d.publish(files("y", 9)...)
		time.Sleep(4 * 24 * time.Hour)
		d.publish(file("last", "1")) // and renewals
		d.after = maps.Clone(d.want)
		d.never = d.add(file("never published", "1"))
		d.env.close()
		d.store, d.journal = d.env.store, d.env.journal
		d.timestamps = d.store.History("timestamp.json")
		f(t, d)
	})
}

// use is what the operator gives the next process.
func (d *disaster) use(store *storetest.MemStore, journal *storetest.MemJournal) {
	d.env.store, d.env.journal = store, journal
	d.cfg.Store = faulty.Store{Injector: d.inject, Inner: store}
}

// checkRestored requires that every client that ever was goes on with what is there.
func (d *disaster) checkRestored(want map[string]roles.Target) {
	d.t.Helper()
	now := d.env.store.History("timestamp.json")
	for i, ts := range now {
		if !slices.ContainsFunc(d.timestamps, func(old []byte) bool { return string(old) == string(ts) }) {
			now = now[i:]
			break
		}
	}
	now = slices.DeleteFunc(now, func(ts []byte) bool { return string(ts) == string(d.foreign) })
	gone := maps.Clone(d.gone)
	for path := range d.after {
		if _, ok := want[path]; !ok {
			gone[path] = true
		}
	}
	for path := range want {
		delete(gone, path)
	}
	repotest.CheckRepository(d.t, repotest.Published{
		Store: d.env.store, Then: both{d.env.store, d.store}, Timestamps: slices.Concat(d.timestamps, now), Now: time.Now(),
		Want: slices.Collect(maps.Values(want)), Gone: slices.Collect(maps.Keys(gone)),
	})
	for f, err := range repository.Audit(d.t.Context(), d.env.store, repository.AuditConfig{}) {
		require.NoError(d.t, err)
		require.Equal(d.t, repository.SeverityNote, f.Severity, f)
	}
	// It goes on: also after another start, and without the disaster's help.
	more := maps.Clone(want)
	more["goes on"] = file("goes on", "1")
	d.publish(more["goes on"])
	d.env.close()
	d.open()
	d.env.close()
	repotest.CheckRepository(d.t, repotest.Published{
		Store: d.env.store, Timestamps: d.env.store.History("timestamp.json")[len(d.env.store.History("timestamp.json"))-2:],
		Now: time.Now(), Want: slices.Collect(maps.Values(more)),
	})
}

// both is the store as it is now, and what was lost behind it.
type both struct {
	repository.Store
	lost repository.Store
}

func (b both) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := b.Store.Get(ctx, name)
	if err != nil {
		return b.lost.Get(ctx, name)
	}
	return data, nil
}

// refuses requires that Open explains what it found and changes nothing.
func (d *disaster) refuses(words string) {
	d.t.Helper()
	before := d.env.store.Clone()
	_, err := repository.Open(d.t.Context(), d.config())
	require.ErrorIs(d.t, err, repository.ErrDiverged)
	require.ErrorContains(d.t, err, words)
	require.Equal(d.t, before, d.env.store.Clone())
}

func (d *disaster) restoreStore(r repository.Restoration) error {
	var err error
	d.repo, err = repository.RestoreStore(d.t.Context(), d.config(), r)
	return err
}

func (d *disaster) restoreJournal(r repository.Restoration) error {
	var err error
	d.repo, err = repository.RestoreJournal(d.t.Context(), d.config(), r)
	return err
}

// publishAll publishes what is still queued, and adds it to what is wanted.
func (d *disaster) publishAll() map[string]roles.Target {
	d.t.Helper()
	r, err := d.repo.Submit(d.t.Context(), repository.Item{Add: []roles.Target{file("marker", "1")}})
	require.NoError(d.t, err)
	d.run(func() { d.wait(r, repository.Published) })
	return map[string]roles.Target{"marker": file("marker", "1")}
}

func with(m map[string]roles.Target, more ...roles.Target) map[string]roles.Target {
	m = maps.Clone(m)
	for _, t := range more {
		m[t.Path] = t
	}
	return m
}

func TestRestoreStore(t *testing.T) {
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
	for name, c := range map[string]struct {
		version int64
		key     func(d *disaster) *repotest.Ceremony
		words   string
		past    int64
	}{
		"no metadata":         {0, nil, "one that is not valid metadata", 0},
		"another key":         {99, func(d *disaster) *repotest.Ceremony { return repotest.NewCeremony(d.t, layout(d.t), time.Now()) }, "which isn't signed as root version 2 demands", 0},
		"our key, newer":      {99, func(d *disaster) *repotest.Ceremony { return d.ceremony }, "the journal was restored from a backup, or cut", 99},
		"our key, as new":     {8, func(d *disaster) *repotest.Ceremony { return d.ceremony }, "version 8, expiring", 0},
		"our key, much older": {2, func(d *disaster) *repotest.Ceremony { return d.ceremony }, "the store was restored from a backup", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
				d.foreign = []byte("{}")
				if c.key != nil {
					doc, err := roles.NewTimestamp(c.version, time.Now().Add(time.Hour), c.version, []byte("another"))
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
		d.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Swap" {
				return faulty.Before
			}
			return faulty.None
		})
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
		d.checkRestored(with(d.after, file("never published", "1")))
	})
}

// Whatever call of a restoration fails, before or after its work, it can be
// repeated, or Open completes it.
func TestRestoreUnderFaults(t *testing.T) {
	type restore func(d *disaster) error
	for name, c := range map[string]struct {
		use     func(d *disaster)
		restore restore
	}{
		"store":   {func(d *disaster) { d.use(storetest.NewStore(), d.journal.Clone()) }, func(d *disaster) error { return d.restoreStore(repository.Restoration{}) }},
		"journal": {func(d *disaster) { d.use(d.store.Clone(), d.oldJournal.Clone()) }, func(d *disaster) error { return d.restoreJournal(repository.Restoration{}) }},
	} {
		t.Run(name, func(t *testing.T) {
			inDisaster(t, delegation.Succinct, func(t *testing.T, d *disaster) {
				for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
					for n := 1; ; n++ {
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
