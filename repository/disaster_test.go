package repository_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
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
	checks              int                     // how often checkRestored was called
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
		require.NoError(t, d.install(repository.Documents{Roots: [][]byte{d.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"bins": d.ceremony.NextBins(nil)}}))
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
	for f, err := range audit.Run(d.t.Context(), d.env.store, audit.Config{}) {
		require.NoError(d.t, err)
		require.Equal(d.t, audit.Note, f.Severity, f)
	}
	// It goes on: also after another start, and without the disaster's help.
	more := maps.Clone(want)
	d.checks++
	more["goes on"] = file("goes on", fmt.Sprint(d.checks))
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
