package repository_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// rotate opens the repository with a new online key, and returns the root that
// names no other.
func (e *env) rotate() (root []byte) {
	e.t.Helper()
	next := e.ceremony.NewP256()
	e.close()
	e.useOnline(next)
	e.cfg.UncheckedKeys = true
	e.open()
	return e.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, next), repotest.Of(1, next) })
}

func (e *env) useOnline(key keys.Signer) { e.cfg.Snapshot, e.cfg.Timestamp = key, key }

// A root is installed without a generation, so the timestamps don't tell that the
// journal is older than it.
func TestJournalOlderByARoot(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		old := e.journal.Clone()
		root := e.ceremony.NextRoot(nil)
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root}}))
		e.close()

		e.journal = old
		_, err := repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "the store has 2.root.json, which clients follow, and the journal doesn't know it")
		_, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.ErrorIs(t, err, repository.ErrDiverged)
		_, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{})
		require.ErrorContains(t, err, "but for root version 2: give it to RestoreStore")
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{
			Documents: repository.Documents{Roots: [][]byte{root}},
		})
		require.NoError(t, err)
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
		e.publish(file("a", "1"))
		e.check()
	})
}

// The journal and the configuration are older than a new online key: by the root that
// they know, the store's timestamp isn't signed. It is newer all the same.
func TestRestoreStoreKeepsAnotherKeysTimestamp(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		old, before := e.journal.Clone(), e.cfg
		root := e.rotate()
		require.NoError(t, e.repo.InstallAfterCompromise(t.Context(), repository.Documents{Roots: [][]byte{root}}))
		e.publish(file("new", "1"))
		e.close()

		after := e.cfg
		e.journal, e.cfg = old, before
		names := e.store.Names()
		_, err := repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "the store has 2.root.json")
		require.Equal(t, names, e.store.Names())
		e.cfg = after
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.check()
	})
}

// A witness is older than what is published, and may be signed by the key before.
func TestWitnessOfBeforeANewKey(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		old := []any{e.store.Clone(), e.journal.Clone()}
		e.publish(file("new", "1"))
		witness, err := e.store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		root := e.rotate()
		e.inject.Plan(func(c faulty.Call) faulty.Fault { // the newest that clients have seen
			if c.Op == "store.Swap" {
				return faulty.Before
			}
			return faulty.None
		})
		d := repository.Documents{Roots: [][]byte{root}}
		require.ErrorIs(t, e.repo.InstallAfterCompromise(t.Context(), d), faulty.ErrInjected)
		e.close()
		e.inject.Plan(nil)
		e.cfg.Witness = witness
		e.open()
		e.publish(file("later", "1"))
		e.check()

		// It shows all the same that both were restored.
		e.close()
		e.store, e.journal = old[0].(*storetest.MemStore), old[1].(*storetest.MemJournal)
		e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
		_, err = repository.Open(t.Context(), e.config())
		require.ErrorContains(t, err, "clients have seen version 3 of the timestamp, and 2 is the last one known here")
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{Documents: d})
		require.NoError(t, err)
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 4, s.Generation)
	})
}

// The publisher died between a root and the first timestamp that verifies under it,
// and the journal is lost too.
func TestRestoreJournalAfterHalfACompromise(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		d := repository.Documents{Roots: [][]byte{e.rotate()}}
		e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
		require.ErrorIs(t, e.repo.InstallAfterCompromise(t.Context(), d), faulty.ErrInjected)
		e.close()
		e.inject.Plan(nil)

		e.journal = storetest.NewJournal()
		r := repository.Restoration{Root: e.ceremony.Documents().Roots[0], Documents: d}
		_, err := repository.RestoreJournal(t.Context(), e.config(), r)
		require.ErrorContains(t, err, "move 2.root.json away and give it in Restoration.Documents")
		require.NoError(t, e.store.Delete(t.Context(), "2.root.json"))
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), r)
		require.NoError(t, err)
		e.store.Forget("2.root.json")
		e.publish(file("a", "1"))
		e.check()
	})
}
