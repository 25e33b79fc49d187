package thorough

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Within n days each case is tried once.
func TestOneIn(t *testing.T) {
	t.Setenv(Variable, "")
	began := today
	defer func() { today = began }()
	tried := make([]int, 100)
	for range 7 {
		first, step := OneIn(7)
		require.Equal(t, 7, step)
		for n := first; n < len(tried); n += step {
			tried[n]++
		}
		today++
	}
	for n, times := range tried {
		require.Equal(t, 1, times, n)
	}
}

func TestAll(t *testing.T) {
	t.Setenv(Variable, "1")
	first, step := OneIn(7)
	require.Zero(t, first)
	require.Equal(t, 1, step)
}
