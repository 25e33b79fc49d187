package gcsstore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// Generations are a second apart, however quickly uploads come and whatever MaxDelay is; and a
// configuration with less is refused.
func TestOneWriteASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		store := f.open(t)
		layout, err := delegation.New("bins", 4, delegation.Succinct)
		require.NoError(t, err)
		ceremony := repotest.NewCeremony(t, layout, time.Now())
		cfg := repository.Config{
			Store: store, Journal: storetest.NewJournal(), Bins: ceremony.Bins, Snapshot: ceremony.Online, Timestamp: ceremony.Online,
			MaxDelay: -1, MinInterval: 999 * time.Millisecond,
		}
		_, err = repository.Create(t.Context(), cfg, ceremony.Documents())
		require.ErrorContains(t, err, "demands 1s between two swaps of a name: make it at least that, or leave it zero")

		cfg.MinInterval = 0
		var swaps []time.Time
		repo, err := repository.Create(t.Context(), cfg, ceremony.Documents())
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- repo.Run(context.Background()) }()
		published := repotest.Published{Store: store}
		committed := func() {
			swaps = append(swaps, time.Now())
			timestamp, err := store.Get(t.Context(), swapName)
			require.NoError(t, err)
			published.Timestamps = append(published.Timestamps, timestamp)
		}
		committed()
		for _, target := range repotest.Files("demo", 5) {
			receipt, err := repo.Add(t.Context(), target)
			require.NoError(t, err)
			_, err = receipt.Wait(t.Context())
			require.NoError(t, err)
			committed()
			published.Want = append(published.Want, target)
		}
		require.NoError(t, repo.Close())
		require.NoError(t, <-ended)
		for i := range swaps[1:] {
			require.GreaterOrEqual(t, swaps[i+1].Sub(swaps[i]), time.Second)
		}
		published.Now = time.Now()
		repotest.CheckRepository(t, published)
	})
}
