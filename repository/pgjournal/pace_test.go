package pgjournal

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The database is asked 20 times a second for 10 seconds after something happened, and then once a second.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		j := &Journal{idle: pollIdle, woken: make(chan struct{})}
		// asked returns how often that is in each of the next seconds.
		asked := func(seconds int) []int {
			counts := make([]int, seconds)
			begun := time.Now()
			for i := range counts {
				for time.Since(begun) < time.Duration(i+1)*time.Second {
					require.True(t, j.rest(ctx))
					counts[i]++
				}
			}
			return counts
		}
		busy := []int{20, 20, 20, 20, 20, 20, 20, 20, 20, 20}
		rare := []int{1, 1, 1, 1, 1}
		require.Equal(t, rare, asked(5))
		for _, happens := range []func(){j.touch, j.wake} {
			happens()
			require.Equal(t, busy, asked(10))
			require.Equal(t, rare, asked(5))
		}

		// What happens meanwhile prolongs it. A notification ends a rest at once, an end of the context too.
		j.touch()
		asked(9)
		j.touch()
		require.Equal(t, busy, asked(10))
		require.Equal(t, rare, asked(5))
		begun := time.Now()
		go j.wake()
		require.True(t, j.rest(ctx))
		require.Zero(t, time.Since(begun))
		go cancel()
		require.False(t, j.rest(ctx))
		require.Zero(t, time.Since(begun))
	})
}
