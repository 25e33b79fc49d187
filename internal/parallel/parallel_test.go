package parallel

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var numbers = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}

func TestAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, calls atomic.Int64
		began := time.Now()
		work := func(_ context.Context, i int) error {
			calls.Add(1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(time.Second)
			return nil
		}
		require.NoError(t, All(t.Context(), 4, numbers, work))
		require.EqualValues(t, 10, calls.Load())
		require.EqualValues(t, 4, most.Load())
		require.Equal(t, 3*time.Second, time.Since(began))

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, All(ctx, 4, numbers, work), context.Canceled)
		require.EqualValues(t, 10, calls.Load())
	})
}

// After a failure no call begins, and of those that had begun the first one in order counts.
func TestAllStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		failures := []error{errors.New("first"), errors.New("second")}
		err := All(t.Context(), 4, numbers, func(_ context.Context, i int) error {
			calls.Add(1)
			time.Sleep(time.Duration(10-i) * time.Second)
			if i < 2 {
				return failures[i]
			}
			return nil
		})
		require.Equal(t, failures[0], err)
		require.EqualValues(t, 4+2, calls.Load(), "2 and 3 ended before, and made room")
	})
}

func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var keys, results []int
		for k, v := range InOrder(t.Context(), 5, slices.Values(numbers), func(_ context.Context, k int) int {
			time.Sleep(time.Duration(10-k) * time.Second)
			return k * k
		}) {
			keys, results = append(keys, k), append(results, v)
		}
		require.Equal(t, numbers, keys)
		require.Equal(t, []int{0, 1, 4, 9, 16, 25, 36, 49, 64, 81}, results)
		require.Less(t, time.Since(began), 20*time.Second) // 55 one after the other

		var calls atomic.Int64
		for range InOrder(t.Context(), 3, slices.Values(numbers), func(ctx context.Context, k int) error {
			if calls.Add(1); k == 0 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}) {
			break // ends those under way, and waits for them
		}
		require.EqualValues(t, 3, calls.Load())
	})
}

// callsThrough lets 1,000 calls go through a gate, of which those fail that fails says, and counts them.
func callsThrough(g *Gate, fails func(n int) Result) (calls int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := range 1000 {
		if !g.Enter() {
			return n
		}
		wg.Go(func() {
			time.Sleep(time.Second)
			g.Leave(fails(n))
		})
	}
	return 1000
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 8, callsThrough(NewGate(8), func(int) Result { return Failed }))
		for _, well := range []func(n int) Result{
			func(int) Result { return Succeeded },
			func(int) Result { return Other },
			func(n int) Result { return Result(n % 2) }, // every other one fails
			func(n int) Result { // some in a row do
				if n > 100 && n < 107 {
					return Failed
				}
				return Succeeded
			},
		} {
			began := time.Now()
			require.Equal(t, 1000, callsThrough(NewGate(8), well))
			require.LessOrEqual(t, time.Since(began), 500*time.Second, "at half of the width at least, on average")
		}
		after := callsThrough(NewGate(8), func(n int) Result {
			if n < 500 {
				return Succeeded
			}
			return Failed
		})
		require.LessOrEqual(t, after, 500+2*8)
	})
}
