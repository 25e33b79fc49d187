//go:build !race

package dirjournal_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

// What an item allocates on its way into the journal is pinned: whoever lowers it may
// lower it here. It is counted over many items, since maps and slices grow now and then.
func TestAllocationsOfEnqueue(t *testing.T) {
	j, err := dirjournal.Create(filepath.Join(t.TempDir(), "journal"))
	require.NoError(t, err)
	defer j.Close()
	const items = 1000
	uploads := make([]repository.Item, 2*items) // AllocsPerRun runs once more
	for i := range uploads {
		uploads[i] = upload(int64(i))
	}
	got := testing.AllocsPerRun(1, func() {
		for _, it := range uploads[:items] {
			require.NoError(t, j.Enqueue(t.Context(), it))
		}
		uploads = uploads[items:]
	})
	require.InDelta(t, 12, got/items, 0.5)
}
