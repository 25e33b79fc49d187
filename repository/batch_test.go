package repository_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Items that wait for a quarantined bin take no place in a batch, neither by their number,
// their bytes nor their bins: all others are published.
func TestQuarantineTakesNoPlace(t *testing.T) {
	for name, limit := range map[string]func(*repository.Config){
		"items": func(c *repository.Config) { c.MaxBatch = 1 },
		"bytes": func(c *repository.Config) { c.MaxBatchBytes = 1 },
		"cache": func(c *repository.Config) { c.CacheBytes = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				layout, _ := delegation.New("bins", 4, delegation.Succinct)
				var in [4][]roles.Target
				for _, f := range files("x", 100) {
					i := layout.Find(f.Path)
					in[i] = append(in[i], f)
				}
				e.publish(in[0][0], in[1][0], in[2][0])
				e.close()
				limit(&e.cfg)
				bad, data := e.newest("bins-0")
				e.altered = bad
				e.put(bad, []byte("{}"))

				e.open()
				var waits, others []*repository.Receipt
				for n := range 10 {
					waits = append(waits, e.add(in[0][n+1], in[3][n+1]))
				}
				waits = append(waits, e.remove(in[3][1].Path)) // for an item that waits
				for n := range 3 {
					others = append(others, e.add(in[1][n+1], in[2][n+1]))
				}
				e.run(func() {
					for _, r := range others {
						e.wait(r, repository.Published)
					}
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					require.Equal(t, len(waits), s.Queue.Pending)
					synctest.Wait() // and Run waits too
					e.put(bad, data)
					for n, r := range waits {
						o, err := r.Wait(t.Context())
						require.NoError(t, err)
						require.Contains(t, []repository.State{repository.Published, repository.Superseded}, o.State, fmt.Sprint(n))
					}
				})
				e.check()
			})
		})
	}
}

// Items that were decided without a generation count towards the next checkpoint too.
func TestCheckpointAfterDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.CheckpointBytes = 100_000
		e.create()
		all := files("x", 200) // some 30 kB
		e.publish(all...)
		e.inject.Plan(nil)
		for range 4 {
			r := e.add(all...)
			e.run(func() {
				e.wait(r, repository.Unchanged)
				synctest.Wait() // a checkpoint follows
			})
		}
		require.True(t, slices.ContainsFunc(e.inject.Calls(), func(c faulty.Call) bool { return c.Name == "checkpoint" }))
		e.close()
		e.open()
		e.check()
		e.close()
	})
}

// A checkpoint holds what is queued. While a long queue is published it is written now and
// then, and not after each batch.
func TestCheckpointsOfALongQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.CheckpointBytes, e.cfg.MaxBatch = 1000, 1
		e.create()
		e.inject.Plan(nil)
		var last *repository.Receipt
		for _, target := range files("x", 64) {
			target.Custom = fmt.Appendf(nil, `{"note":"%s"}`, strings.Repeat("n", 2000))
			last = e.add(target)
		}
		e.run(func() { e.wait(last, repository.Published) })
		checkpoints := 0
		for _, c := range e.inject.Calls() {
			if c.Name == "checkpoint" {
				checkpoints++
			}
		}
		require.Greater(t, checkpoints, 2)
		require.Less(t, checkpoints, 16)
		e.close()
		e.open()
		e.check()
		e.close()
	})
}

// generations publishes items that are all queued before, and returns the generation of each.
func (e *env) generations(items ...repository.Item) (gens []int64) {
	e.t.Helper()
	for _, o := range e.outcomes(items...) {
		require.Equal(e.t, repository.Published, o.State)
		gens = append(gens, o.Generation)
	}
	return gens
}

// A batch is bounded by the bytes of its items. One item is never split, whatever its size.
func TestMaxBatchBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		all := files("x", 10) // whose items have the same size
		var items []repository.Item
		for _, f := range all {
			items = append(items, repository.Item{Add: []roles.Target{f}})
		}
		entry, err := items[0].Entry()
		require.NoError(t, err)
		e.cfg.MaxBatchBytes = 3 * int64(len(entry.Body))
		e.create()
		large := repository.Item{Add: files("large", 50)}
		queue := slices.Concat(items[:4], []repository.Item{large}, items[4:])
		require.Equal(t, []int64{2, 2, 2, 3, 4, 5, 5, 5, 6, 6, 6}, e.generations(queue...))
		e.check()
		e.close()
	})
}

// A batch ends before the item whose bins would exceed the cache, so that each bin is read
// once, and before the generation is begun. One item is never split: it may read its bins
// twice.
func TestBatchFitsTheCache(t *testing.T) {
	inBubble(t, 8, delegation.Succinct, func(t *testing.T, e *env) {
		layout, _ := delegation.New("bins", 8, delegation.Succinct)
		var in [8][]roles.Target
		for _, f := range files("x", 400) {
			i := layout.Find(f.Path)
			in[i] = append(in[i], f)
		}
		var first []roles.Target
		largest := 0
		for i := range in {
			first = append(first, in[i][:20]...)
			in[i] = in[i][20:]
		}
		e.publish(first...)
		for i := range in {
			_, data := e.newest(layout.Name(i))
			largest = max(largest, len(data))
		}
		e.close()
		e.cfg.CacheBytes = int64(2*largest + largest/2) // of two bins, and not of three
		e.open()
		item := func(bins ...int) repository.Item {
			var it repository.Item
			for _, i := range bins {
				it.Add = append(it.Add, in[i][0])
				in[i] = in[i][1:]
			}
			return it
		}
		e.inject.Plan(nil)
		require.Equal(t, []int64{3, 3, 3, 3, 4, 5, 5, 5}, e.generations(
			item(0), item(1), item(0, 1), item(1),
			item(2),
			item(0, 1, 2, 3, 4, 5, 6, 7),
			item(7), item(7, 3), // their bins are in the batch already
		))
		// What each generation reads before its intent, and after it.
		before, after := make([][]string, 6), make([][]string, 6)
		gen, into := 3, before
		for _, c := range e.inject.Calls() {
			switch {
			case c.Name == "intent":
				into = after
			case c.Name == "commit":
				gen, into = gen+1, before
			case c.Op == "store.Get":
				into[gen] = append(into[gen], c.Name)
			}
		}
		for _, names := range slices.Concat(before, after) {
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), len(names), "read twice: %v", names)
		}
		require.ElementsMatch(t, []string{"2.bins-0.json", "2.bins-1.json"}, before[3])
		require.Equal(t, []string{"2.bins-2.json"}, before[4])
		for _, n := range []int{3, 4} {
			require.Empty(t, after[n])
		}
		require.NotEmpty(t, after[5], "all bins of the large item were kept, in spite of the limit")
		e.check()
	})
}
