package repository_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// A journal is only made to agree with what is published as it was signed; the
// error names what isn't, and nothing has changed.
func TestRestoreJournalRefusesWhatWasAltered(t *testing.T) {
	bin := func(version int) string { return fmt.Sprintf("%d.bins-1.json", version) }
	for name, c := range map[string]struct {
		alter func(e *env)
		words string
	}{
		"a bin altered": {func(e *env) {
			_, data := e.newest("bins-1")
			data[len(data)/2] ^= 1
			e.put(bin(3), data)
		}, "1 bins can't be read; put copies of a backup or a mirror into the store: " + bin(3)},
		"a bin missing": {func(e *env) { require.NoError(e.t, e.store.Delete(e.t.Context(), bin(3))) }, bin(3)},
		"an older bin under the newer one's name": {func(e *env) {
			data, err := e.store.Get(e.t.Context(), bin(1))
			require.NoError(e.t, err)
			e.put(bin(3), data)
		}, "3.bins-1.json: it is version 1 in generation 3"},
		"a bin of somebody else": {func(e *env) {
			other := newEnv(e.t, 2, delegation.Succinct)
			other.create()
			other.publish(files("x", 10)...)
			other.publish(files("y", 10)...)
			_, data := other.newest("bins-1")
			other.close()
			e.put(bin(3), data)
		}, bin(3)},
		"another snapshot": {func(e *env) {
			data, err := e.store.Get(e.t.Context(), "2.snapshot.json")
			require.NoError(e.t, err)
			e.put("3.snapshot.json", data)
		}, "3.snapshot.json"},
		"another root": {func(e *env) {
			e.put("1.root.json", repotest.NewCeremony(e.t, layout(e.t), time.Now()).Documents().Roots[0])
		}, "1.root.json isn't the trusted root of that version"},
		"a root that doesn't follow": {func(e *env) { e.put("2.root.json", e.ceremony.Documents().Roots[0]) }, "2.root.json"},
		"no targets":                 {func(e *env) { require.NoError(e.t, e.store.Delete(e.t.Context(), "1.targets.json")) }, "1.targets.json"},
		"no timestamp":               {func(e *env) { require.NoError(e.t, e.store.Delete(e.t.Context(), "timestamp.json")) }, "timestamp.json"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, 2, delegation.Succinct)
			e.create()
			e.publish(files("x", 10)...)
			e.publish(files("y", 10)...)
			e.close()
			if name == "a root that doesn't follow" {
				require.NoError(t, e.store.Create(t.Context(), "2.root.json", nil))
			}
			c.alter(e)
			e.journal = storetest.NewJournal()
			before := e.store.Clone()
			_, err := repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
			require.ErrorContains(t, err, c.words)
			require.Equal(t, before, e.store.Clone())
			_, err = repository.Open(t.Context(), e.config())
			require.ErrorIs(t, err, repository.ErrNotRepository, "the journal is still empty")
		})
	}
}

// The store is never let win over a journal that knows more, or as much.
func TestRestoreJournalRefusesAnOlderStore(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		old := e.store.Clone()
		e.publish(file("a", "1"))
		now := e.store
		e.close()
		restoration := repository.Restoration{Root: e.ceremony.Documents().Roots[0]}
		_, err := repository.RestoreJournal(t.Context(), e.config(), restoration)
		require.ErrorContains(t, err, "the journal agrees with the store: use Open")

		(&disaster{env: e}).use(old, e.journal)
		_, err = repository.RestoreJournal(t.Context(), e.config(), restoration)
		require.ErrorIs(t, err, repository.ErrDiverged)
		require.ErrorContains(t, err, "the store's timestamp is version 2, and the journal knows 3: RestoreStore publishes what the journal says")

		(&disaster{env: e}).use(now, e.journal)
		e.open()
		e.check()
	})
}
