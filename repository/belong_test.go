package repository_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

const different = "store and journal belong to different repositories"

// mixed are two repositories of the same shape. What is configured is the first one's journal and the second one's store.
func mixed(t *testing.T, rootsOfA, rootsOfB int) (a, b *env) {
	t.Helper()
	a, b = newEnv(t, 4, delegation.Succinct), newEnv(t, 4, delegation.Succinct)
	for _, e := range []*env{a, b} {
		e.create()
		e.publish(files("x", 5)...)
		roots := map[*env]int{a: rootsOfA, b: rootsOfB}[e]
		for range roots - 1 {
			require.NoError(t, e.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
			e.publish(file("more", time.Now().String()))
		}
		e.close()
	}
	a.cfg.Store = faulty.Store{Injector: a.inject, Inner: b.store}
	return a, b
}

// attempts are all calls that take a store and a journal together.
func attempts(t *testing.T, e *env) map[string]error {
	t.Helper()
	ctx, out := t.Context(), map[string]error{}
	closed := func(r *repository.Repository, err error) error {
		if err == nil {
			require.NoError(t, r.Close())
		}
		return err
	}
	out["Open"] = closed(repository.Open(ctx, e.config()))
	out["OpenOrCreate"] = closed(repository.OpenOrCreate(ctx, e.config(), e.ceremony.Documents()))
	out["RestoreStore"] = closed(repository.RestoreStore(ctx, e.config(), repository.Restoration{Past: 99}))
	out["RestoreJournal"] = closed(repository.RestoreJournal(ctx, e.config(), repository.Restoration{}))
	r, _, err := repository.Adopt(ctx, e.config())
	out["Adopt"] = closed(r, err)
	_, out["ReadStatus"] = repository.ReadStatus(ctx, e.cfg.Store, e.journal)
	for _, err := range repository.ReadSweep(ctx, e.cfg.Store, e.journal, 0) {
		out["ReadSweep"] = err
		break
	}
	out["Belong"] = repository.Belong(ctx, e.cfg.Store, e.journal)
	return out
}

// A journal and another repository's store are taken for what they are by every call, whichever of them has more
// generations or roots, and nothing is changed.
func TestStoreOfAnotherRepository(t *testing.T) {
	t.Parallel()
	for _, roots := range [][2]int{{1, 1}, {1, 3}, {3, 1}} {
		a, b := mixed(t, roots[0], roots[1])
		before := b.store.Clone()
		for call, err := range attempts(t, a) {
			require.ErrorIs(t, err, repository.ErrDiverged, call)
			require.ErrorContains(t, err, different+": the store's 1.root.json is a valid root, and not the journal's: nothing was changed; check where the configuration says that they are", call)
			require.NotContains(t, err.Error(), "away", call)
		}
		// The other one's root, given as one that is trusted, makes no difference.
		_, err := repository.RestoreJournal(t.Context(), a.config(), repository.Restoration{Root: b.ceremony.Documents().Roots[0]})
		require.ErrorContains(t, err, different)
		require.Equal(t, before, b.store.Clone())
		for _, e := range []*env{a, b} { // both are as they were
			e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
			e.open()
			e.check()
			e.close()
		}
	}
}

// Somebody moves away, one by one, every file that an error names, and more: no restoration writes into what is left of
// another repository.
func TestStoreOfAnotherRepositoryWithoutItsRoots(t *testing.T) {
	t.Parallel()
	for _, moved := range []string{`root`, `root|targets\.`, `root|targets\.|bins\.`, `root|timestamp`, `root|timestamp|snapshot|targets|bins\.`} {
		a, b := mixed(t, 2, 1)
		b.move(moved)
		before := b.store.Clone()
		for call, err := range attempts(t, a) {
			require.ErrorIs(t, err, repository.ErrDiverged, "%s: %s", moved, call)
			require.ErrorContains(t, err, different+": the store has none of the journal's roots, and ", "%s: %s", moved, call)
		}
		require.Equal(t, before, b.store.Clone(), moved)
	}
}

// move moves files of the store away.
func (e *env) move(pattern string) {
	e.t.Helper()
	for info, err := range e.store.List(e.t.Context()) {
		require.NoError(e.t, err)
		if regexp.MustCompile(pattern).MatchString(info.Name) {
			require.NoError(e.t, e.store.Delete(e.t.Context(), info.Name))
			e.store.Forget(info.Name)
		}
	}
}

// Damage and attacks of a repository's own store aren't taken for another repository.
func TestDamageIsNotAnotherRepository(t *testing.T) {
	t.Parallel()
	foreign := func(t *testing.T) []byte {
		other := newEnv(t, 4, delegation.Succinct)
		other.create()
		defer other.close()
		data, err := other.store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		return data
	}
	for name, c := range map[string]struct {
		damage func(e *env)
		words  string
	}{
		"a root that is garbage": {func(e *env) { e.put("1.root.json", []byte("{}")) }, "1.root.json isn't the document that was installed: move it away"},
		"a root signed once more": {func(e *env) {
			root, err := roles.Parse[metadata.RootType](e.ceremony.Documents().Roots[0])
			require.NoError(e.t, err)
			root, err = root.Sign(e.t.Context(), e.ceremony.Online)
			require.NoError(e.t, err)
			e.put("1.root.json", root.Bytes())
		}, "1.root.json isn't the document that was installed: move it away"},
		"all roots are gone":          {func(e *env) { e.move("root") }, "1.root.json was installed, and the store doesn't have it"},
		"all but the bins are gone":   {func(e *env) { e.move(`root|timestamp|snapshot|targets|bins\.`) }, "1.root.json was installed, and the store doesn't have it"},
		"all is gone":                 {func(e *env) { e.move(".") }, "1.root.json was installed, and the store doesn't have it"},
		"somebody else's timestamp":   {func(e *env) { e.put("timestamp.json", foreign(e.t)) }, "somebody else wrote it"},
		"and the roots are gone then": {func(e *env) { e.put("timestamp.json", foreign(e.t)); e.move("root") }, "1.root.json was installed, and the store doesn't have it"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 4, delegation.Succinct)
			e.create()
			e.publish(files("x", 5)...)
			e.close()
			c.damage(e)
			_, err := repository.Open(t.Context(), e.config())
			require.ErrorIs(t, err, repository.ErrDiverged)
			require.ErrorContains(t, err, c.words)
			require.NotContains(t, err.Error(), different)
			_, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
			if err != nil {
				require.ErrorIs(t, err, repository.ErrConflict)
				e.move("root") // as it advises
				r, err := repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
				require.NoError(t, err)
				require.NoError(t, r.Close())
			}
		})
	}
}

// Belong compares no generations, and says so if there is nothing to compare yet.
func TestBelong(t *testing.T) {
	t.Parallel()
	e := newEnv(t, 4, delegation.Succinct)
	belong := func(store repository.Store) error { return repository.Belong(t.Context(), store, e.journal.Handle()) }
	require.ErrorIs(t, belong(e.store), repository.ErrNotRepository, "nothing was created yet")
	e.inject.Plan(faulty.On(faulty.Before, "store.Create"))
	_, err := repository.Create(t.Context(), e.config(), e.ceremony.Documents())
	require.Error(t, err)
	require.ErrorIs(t, belong(e.store), repository.ErrNotRepository, "the documents are only in the journal")
	e.inject.Plan(nil)
	e.open()
	require.NoError(t, belong(e.store))
	older := e.store.Clone()
	require.NoError(t, e.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
	lagging := e.journal.Clone()
	e.publish(files("x", 5)...)
	require.NoError(t, e.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
	require.NoError(t, belong(e.store))
	require.NoError(t, belong(older), "the store is behind")
	require.NoError(t, repository.Belong(t.Context(), e.store, lagging), "the journal is behind")
	e.close()
	require.ErrorIs(t, belong(storetest.NewStore()), repository.ErrDiverged)
	require.ErrorContains(t, belong(storetest.NewStore()), "the store has none of its roots: the store is another one, or was lost: check where")
	require.ErrorIs(t, repository.Belong(t.Context(), e.store, storetest.NewJournal()), repository.ErrNotRepository)
	e.move("root")
	require.NoError(t, belong(e.store), "its keys signed what is left")
}
