package repository_test

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// What a generation allocates, and what Open does, depends on the bins that are
// touched. What the others hold plays no part.
func TestMemoryOfUntouchedTargets(t *testing.T) {
	layout, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	inBin0 := func(i int) bool { return layout.Find(fmt.Sprintf("packages/%d.whl", i)) == 0 }

	type use struct{ stored, generation, open int64 }
	measure := func(targets int) (u use) {
		inBubble(t, 8, delegation.Succinct, func(t *testing.T, e *env) {
			e.cfg.CacheBytes = -1
			e.close()
			e.open()
			var fill []roles.Target
			small := -1
			for i := range targets {
				if inBin0(i) {
					small = i
				} else {
					fill = append(fill, file(fmt.Sprintf("packages/%d.whl", i), "1"))
				}
			}
			e.submit(repository.Item{Add: fill})
			e.publish(file(fmt.Sprintf("packages/%d.whl", small), "2"))
			for _, name := range e.store.Names() {
				data, err := e.store.Get(t.Context(), name)
				require.NoError(t, err)
				u.stored += int64(len(data))
			}
			u.generation = leastAllocated(func(i int) { e.publish(file(fmt.Sprintf("packages/%d.whl", small), fmt.Sprint("of", i))) })
			u.open = leastAllocated(func(int) {
				e.close()
				e.open()
			})
		})
		return u
	}
	measure(100) // what is made once in a process
	few, many := measure(100), measure(5000)
	// Whoever reads the other bins allocates at least their bytes. The rest differs from run to
	// run: how long ago the last checkpoint was, and what a pool had lost.
	more := many.stored - few.stored
	require.Greater(t, more, int64(500_000))
	require.Less(t, many.generation, few.generation+more/2, "a generation")
	require.Less(t, many.open, few.open+more/2, "open")
}

// leastAllocated returns how many bytes f allocates: the least of five calls, because a collection
// in between empties pools, which are then filled again.
func leastAllocated(f func(i int)) int64 {
	least := int64(math.MaxInt64)
	for i := range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f(i)
		runtime.ReadMemStats(&after)
		least = min(least, int64(after.TotalAlloc-before.TotalAlloc))
	}
	return least
}
