package crashpoints_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashpoints"
	"github.com/bindery-tuf/bindery/internal/thorough"
)

// TestSample tries a sample of all points, with some from every part of the histories.
func TestSample(t *testing.T) {
	every := 401
	if thorough.Long() {
		every = 101
	}
	points, err := crashpoints.Run(t, crashpoints.Options{Seed: 1, Every: every}, func(f crashpoints.Failure) {
		t.Errorf("%v", f)
	})
	require.NoError(t, err)
	require.Greater(t, points, int64(12_300/every))
}
