package repository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// readCounter counts how often a file is read.
type readCounter struct {
	repository.Getter
	mu    *sync.Mutex
	reads map[string]int
}

func (c readCounter) Get(ctx context.Context, name string) ([]byte, error) {
	c.mu.Lock()
	c.reads[name]++
	c.mu.Unlock()
	return c.Getter.Get(ctx, name)
}

// Two repositories are compared by what clients find, however their roles delegate. With the same
// delegations every file is read once. Otherwise every bin is read twice, and once more for a role in
// front of the other's bins.
func TestCompareShapes(t *testing.T) {
	t.Parallel()
	shapes := append(repotest.Shapes(), repotest.PEP458(delegation.Succinct), repotest.PEP458(delegation.Explicit))
	synctest.Test(t, func(t *testing.T) {
		made := map[string]*env{}
		var many []roles.Target
		for i := range 200 {
			many = append(many, file(fmt.Sprintf("many/%d", i), "1"))
		}
		for _, s := range shapes {
			e := newEnv(t, 4, delegation.Succinct)
			s.Listed = nil
			e.createShape(s)
			e.publish(many...)
			made[s.Name] = e
		}
		sixteen := newEnv(t, 16, delegation.Succinct)
		sixteen.create()
		sixteen.publish(many...)
		made["16 bins"] = sixteen

		view := func(e *env) (*repository.View, readCounter) {
			c := readCounter{e.store, &sync.Mutex{}, map[string]int{}}
			v, err := repository.ClientView(t.Context(), c, e.ceremony.Documents().Roots[0])
			require.NoError(t, err)
			clear(c.reads)
			return v, c
		}
		for a, x := range made {
			for b, y := range made {
				published, ofPublished := view(x)
				known, ofKnown := view(y)
				var own []string // what documents list themselves
				for d, err := range repository.Compare(t.Context(), published, known) {
					require.NoError(t, err)
					own = append(own, d.Path)
				}
				require.NotContains(t, own, "many/0", "%s and %s", a, b)
				if a == b {
					require.Empty(t, own, a)
				}
				for _, reads := range []map[string]int{ofPublished.reads, ofKnown.reads} {
					for name, n := range reads {
						require.LessOrEqual(t, n, map[bool]int{true: 1, false: 3}[a == b], "%s of %s and %s", name, a, b)
					}
				}
			}
		}
		for _, e := range made {
			e.close()
		}
	})
}

// Differences are told in words and as JSON. Whoever wants no more stops.
func TestCompareWords(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		custom := func(path, custom string) roles.Target {
			target := file(path, "1")
			target.Custom = json.RawMessage(custom)
			return target
		}
		e.publish(file("same", "1"), custom("custom", `{"a":1}`), file("longer", "1"), file("gone", "1"))
		before, err := repository.ClientView(t.Context(), e.store.Clone(), e.ceremony.Documents().Roots[0])
		require.NoError(t, err)
		e.publish(custom("custom", `{"a":2}`), file("longer", "12"), file("new", "1"))
		e.run(func() { e.wait(e.remove("gone"), repository.Published) })
		now, err := e.repo.View(t.Context())
		require.NoError(t, err)

		one, two := file("", "1").Hashes["sha256"], file("", "12").Hashes["sha256"]
		require.Equal(t, []string{
			`custom: the same file with other custom data: published {"a":2}, known {"a":1}`,
			"gone: known, and not published: 1 bytes, sha256 " + one,
			"longer: published 2 bytes, sha256 " + two + ", known 1 bytes, sha256 " + one,
			"new: published, and not known: 1 bytes, sha256 " + one,
		}, lines(t, repository.Compare(t.Context(), now, before)))

		var all []string
		for d, err := range repository.Compare(t.Context(), now, before) {
			require.NoError(t, err)
			data, err := json.Marshal(d)
			require.NoError(t, err)
			var back repository.Difference
			require.NoError(t, json.Unmarshal(data, &back))
			all = append(all, back.String())
		}
		slices.Sort(all)
		require.Equal(t, lines(t, repository.Compare(t.Context(), now, before)), all)

		n := 0
		for range repository.Compare(t.Context(), now, before) {
			n++
			break
		}
		require.Equal(t, 1, n)
	})
}

// A store or a context that fails ends a comparison. It says nothing of what is published.
func TestCompareFails(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 9)...)
		known, err := e.repo.View(t.Context())
		require.NoError(t, err)
		published, err := repository.ClientView(t.Context(), e.store, e.ceremony.Documents().Roots[0])
		require.NoError(t, err)
		for _, v := range [][2]*repository.View{{published, known}, {known, published}} {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var last error
			for d, err := range repository.Compare(ctx, v[0], v[1]) {
				require.Zero(t, d)
				last = err
			}
			require.ErrorIs(t, last, context.Canceled)
		}
	})
}

// A client of a store that is no repository, or of another one, is told which file it fails at.
func TestClientViewFails(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 9)...)
		root := e.ceremony.Documents().Roots[0]
		stranger := repotest.NewCeremony(t, mustBins(t, 4), e.ceremony.Now)
		for name, c := range map[string]struct {
			root  []byte
			store *storetest.MemStore
			alter string
			fails string
		}{
			"no root":         {[]byte("{}"), e.store, "", "the trusted root"},
			"another root":    {stranger.Documents().Roots[0], e.store, "", "timestamp.json: timestamp version 2 under root version 1"},
			"an empty store":  {root, storetest.NewStore(), "", "timestamp.json"},
			"no snapshot":     {root, e.store.Clone(), "2.snapshot.json", "2.snapshot.json"},
			"no targets":      {root, e.store.Clone(), "1.targets.json", "1.targets.json"},
			"no delegations":  {root, e.store.Clone(), "1.bins.json", "1.bins.json"},
			"a broken root 2": {root, e.store.Clone(), "2.root.json", "2.root.json"},
		} {
			if c.alter != "" {
				require.NoError(t, c.store.Delete(t.Context(), c.alter))
				require.NoError(t, c.store.Create(t.Context(), c.alter, []byte("{}")))
			}
			_, err := repository.ClientView(t.Context(), c.store, c.root)
			require.ErrorContains(t, err, "client view: ", name)
			require.ErrorContains(t, err, c.fails, name)
		}
		_, err := repository.LedgerView(t.Context(), e.store, storetest.NewJournal())
		require.ErrorIs(t, err, repository.ErrNotRepository)
	})
}
