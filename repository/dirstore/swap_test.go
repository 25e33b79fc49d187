package dirstore_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// TestSwapBetweenStores: of two publishers that swap one name at the same time, one wins.
func TestSwapBetweenStores(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metadata")
	first, err := dirstore.Create(dir)
	require.NoError(t, err)
	second, err := dirstore.Open(dir)
	require.NoError(t, err)
	old := []byte("0")
	require.NoError(t, first.Swap(ctx, "timestamp.json", nil, old))
	for n := range 200 {
		var errs [2]error
		var wg sync.WaitGroup
		for i, s := range []*dirstore.Store{first, second} {
			wg.Go(func() { errs[i] = s.Swap(ctx, "timestamp.json", old, fmt.Appendf(nil, "%d by %d", n, i)) })
		}
		wg.Wait()
		now, err := first.Get(ctx, "timestamp.json")
		require.NoError(t, err)
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		require.NoError(t, errs[winner])
		require.Error(t, errs[1-winner])
		require.Equal(t, fmt.Sprintf("%d by %d", n, winner), string(now))
		old = now
	}

	l, err := disk.OS().Lock(filepath.Join(dir, ".bindery"))
	require.NoError(t, err)
	err = first.Swap(ctx, "timestamp.json", old, []byte("later"))
	require.ErrorIs(t, err, disk.ErrLocked)
	require.ErrorContains(t, err, "another publisher is swapping in this store")
	require.NoError(t, l.Close())
	require.NoError(t, first.Swap(ctx, "timestamp.json", old, []byte("later")))
}
