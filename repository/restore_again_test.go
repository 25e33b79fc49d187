package repository_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// withoutSwaps runs the publisher while nothing can be committed: it ends with a
// seal at most.
func (e *env) withoutSwaps() {
	e.t.Helper()
	e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
	ctx, cancel := context.WithTimeout(e.t.Context(), time.Minute)
	defer cancel()
	require.NoError(e.t, e.repo.Run(ctx))
	e.inject.Plan(nil)
}

// An older journal ends with a seal that was given up afterwards: its outcomes were
// never true. Whoever gives it up names its files.
func TestRestoreJournalThatEndsWithASealGivenUp(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		sealed := e.add(file("sealed", "1"))
		e.withoutSwaps()
		old := e.journal.Clone()
		e.close()
		require.NoError(t, e.store.Delete(t.Context(), "3.snapshot.json"))
		var err error
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		require.EqualValues(t, 4, e.wait(resubmitted(e, sealed, file("sealed", "1")), repository.Published))
		require.Subset(t, e.newestSeal().Superseded, []string{"3.snapshot.json", "3." + binOf("sealed") + ".json"})
		e.publish(file("later", "1"))
		e.close()

		e.journal = old
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		o, err := e.repo.Outcome(t.Context(), sealed.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Outcome{State: repository.Published, Generation: 6}, o, "clients see it in this generation, too")
		require.Subset(t, e.newestSeal().Superseded, []string{"3.snapshot.json", "3." + binOf("sealed") + ".json"})
		e.publish(file("goes on", "1"))
		e.check()
	})
}

// What RestoreJournal read from the store and the store then lost can't be made by
// anybody: the error names all of it, at once.
func TestRestoreStoreNamesAllThatIsMissing(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 40)...)
		e.close()
		e.journal = storetest.NewJournal()
		var err error
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
		require.NoError(t, err)
		e.publish(file("a", "1"))
		e.close()
		full := e.store
		(&disaster{env: e}).use(storetest.NewStore(), e.journal)
		_, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.ErrorContains(t, err, "4 files are missing: put archived segments back into the journal")
		for _, name := range []string{"2.bins-0.json", "2.bins-1.json", "2.bins-2.json", "2.bins-3.json"} {
			require.ErrorContains(t, err, name)
			data, err := full.Get(t.Context(), name)
			require.NoError(t, err)
			require.NoError(t, e.store.Create(t.Context(), name, data))
		}
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.check()
	})
}

func TestRestoreStoreAcceptClock(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
		e.close()
		e.open()
		e.publish(file("a", "1"))
		e.cfg.Now = nil
		e.close()
		require.NoError(t, e.store.Delete(t.Context(), "timestamp.json"))
		_, err := repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.ErrorIs(t, err, repository.ErrClock)
		require.ErrorContains(t, err, "Restoration.AcceptClock")
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{AcceptClock: true})
		require.NoError(t, err)
	})
}

// After a compromise the new root appears just before the timestamp that verifies
// under it, also when a restoration publishes it.
func TestRestoreStoreInACompromise(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		c := e.ceremony
		next := c.NewP256()
		root := c.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, next), repotest.Of(1, next) })
		e.close()
		e.cfg.Snapshot, e.cfg.Timestamp, e.cfg.UncheckedKeys = next, next, true
		e.open()
		e.inject.Plan(faulty.On(faulty.Before, "store.Create"))
		require.Error(t, e.repo.InstallAfterCompromise(t.Context(), repository.Documents{Roots: [][]byte{root}}))
		e.inject.Plan(nil)
		e.close()
		require.NoError(t, e.store.Delete(t.Context(), "2.bins-0.json"))
		require.NoError(t, e.store.Delete(t.Context(), "1.targets.json"))
		before := len(e.inject.Calls())
		e.cfg.Workers = 1 // one file after the other, the snapshot last
		var err error
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		var writes []string
		for _, c := range e.inject.Calls()[before:] {
			if c.Op == "store.Create" || c.Op == "store.Swap" {
				writes = append(writes, c.Name)
			}
		}
		require.Equal(t, []string{"4.snapshot.json", "2.root.json", "timestamp.json"}, writes[len(writes)-3:])
		e.publish(file("goes on", "1"))
	})
}

// A restoration's generation is reserved in the journal before its files appear, be it
// a new journal: an attempt that fails takes a number with it, and no name ever has two
// contents.
func TestRestorationsReserveTheirGeneration(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		e.close()
		failing := func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && c.Name == "3.bins-0.json" || c.Name == "5.bins-0.json" {
				return faulty.Before
			}
			return faulty.None
		}
		root := repository.Restoration{Root: e.ceremony.Documents().Roots[0]}
		e.cfg.Workers = 1 // one file after the other, the snapshot last

		e.journal = storetest.NewJournal()
		e.inject.Plan(failing)
		_, err := repository.RestoreJournal(t.Context(), e.config(), root)
		require.ErrorIs(t, err, faulty.ErrInjected)
		e.inject.Plan(nil)
		_, err = repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrNotRepository)
		require.ErrorContains(t, err, "RestoreJournal began to make its journal, and must be repeated")
		_, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.ErrorIs(t, err, repository.ErrNotRepository)
		_, err = repository.Create(t.Context(), e.config(), e.ceremony.Documents())
		require.ErrorIs(t, err, repository.ErrExists)
		_, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{})
		require.ErrorContains(t, err, "a trusted one must be given")
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), root)
		require.NoError(t, err)
		status, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 4, status.Generation)
		require.Empty(t, e.store.History("3.snapshot.json"))
		e.close()

		require.NoError(t, e.store.Delete(t.Context(), "timestamp.json"))
		e.inject.Plan(failing)
		_, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.ErrorIs(t, err, faulty.ErrInjected)
		e.inject.Plan(nil)
		_, err = repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		status, err = e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 6, status.Generation)
		e.publish(file("goes on", "1"))
		e.check()
	})
}

// A document was accepted and never published, and a restoration brings a newer one: its seal
// names both that went out of use.
func TestRestoreStoreNamesDocumentsOutOfUse(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 3)...)
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.HasSuffix(c.Name, ".snapshot.json") {
				return faulty.Before
			}
			return faulty.None
		})
		second := repository.Documents{Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}
		require.ErrorContains(t, e.install(second), "accepted, and not yet published")
		e.inject.Plan(nil)
		e.close()
		newer := repository.Restoration{Documents: repository.Documents{Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}}
		var err error
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), newer)
		require.NoError(t, err)
		require.Subset(t, e.newestSeal().Superseded, []string{"1.bins.json", "2.bins.json"})
		require.NotContains(t, e.newestSeal().Superseded, "3.bins.json")
		e.check()
	})
}
