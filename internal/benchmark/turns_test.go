package benchmark_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/benchmark"
)

func TestTurns(t *testing.T) {
	var order strings.Builder
	side := func(name string, times ...time.Duration) benchmark.Named {
		return benchmark.Named{Name: name, Side: func(context.Context) (time.Duration, error) {
			order.WriteString(name)
			d := times[0]
			times = times[1:]
			return d, nil
		}}
	}
	medians, err := benchmark.Turns(t.Context(), 3, side("a", 9, 3, 1), benchmark.Named{Name: "none"}, side("b", 5, 9, 1))
	require.NoError(t, err)
	require.Equal(t, []int64{3, 0, 5}, medians)
	require.Equal(t, "ababab", order.String())

	failure := errors.New("no disk")
	_, err = benchmark.Turns(t.Context(), 1, benchmark.Named{Name: "limit", Side: func(context.Context) (time.Duration, error) { return 0, failure }})
	require.ErrorIs(t, err, failure)
	require.EqualError(t, err, "limit: no disk")
}

func TestMedian(t *testing.T) {
	require.EqualValues(t, 3, benchmark.Median([]int64{9, 3, 1}))
	require.EqualValues(t, 4, benchmark.Median([]int64{5, 9, 1, 3}))
}
