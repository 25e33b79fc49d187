//go:build !race

package repository_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// The allocations of an upload, and of a bin in a generation, are bounded.
func TestAllocationsOfSubmit(t *testing.T) {
	r := benchRepository(t, 2, repository.Config{Journal: forgetful{storetest.NewJournal()}})
	upload := benchTargets(1)[0]
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, err := r.Add(t.Context(), upload)
		require.NoError(t, err)
	}), 40.0)
}

func TestAllocationsOfGeneration(t *testing.T) {
	r := benchRepository(t, 256, repository.Config{MaxDelay: -1})
	targets, publish := onePerBin(t, 256), publishing(t, r)
	publish(targets)
	// What is allocated for each bin, its upload included, and nothing of the generation's.
	cost := func(n int) float64 {
		return testing.AllocsPerRun(10, func() { publish(targets[:n]) })
	}
	few, many := cost(50), cost(250)
	require.LessOrEqual(t, (many-few)/200, 180.0)
}

// forgetful is a journal that allocates nothing for an item.
type forgetful struct{ repository.Journal }

func (forgetful) Enqueue(_ context.Context, entries ...ledger.Entry) ([]bool, error) {
	return make([]bool, len(entries)), nil
}
