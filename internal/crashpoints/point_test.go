package crashpoints_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashpoints"
)

// A sample of the points that .ci/run tries, from every part of the histories.
func TestSample(t *testing.T) {
	points, err := crashpoints.Run(t, crashpoints.Options{Seed: 1, Every: 41}, func(f crashpoints.Failure) {
		t.Errorf("%v", f)
	})
	require.NoError(t, err)
	require.Greater(t, points, int64(300))
}
