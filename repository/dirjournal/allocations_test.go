//go:build !race

package dirjournal_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// What an entry allocates on its way into the journal is bounded. It is counted over many items, since maps and slices grow now and then.
func TestAllocationsOfEnqueue(t *testing.T) {
	j, err := dirjournal.Create(filepath.Join(t.TempDir(), "journal"))
	require.NoError(t, err)
	defer j.Close()
	const items = 1000
	uploads := make([]ledger.Entry, 2*items) // AllocsPerRun runs once more
	for i := range uploads {
		uploads[i], err = upload(int64(i))
		require.NoError(t, err)
	}
	got := testing.AllocsPerRun(1, func() {
		for _, it := range uploads[:items] {
			_, err := j.Enqueue(t.Context(), it)
			require.NoError(t, err)
		}
		uploads = uploads[items:]
	})
	require.LessOrEqual(t, got/items, 20.0)
}
