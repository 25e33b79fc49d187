//go:build !race

package dirjournal_test

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

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
	require.LessOrEqual(t, got/items, 40.0)
}

// A checkpoint takes the memory of the queue once: what is written isn't copied.
func TestMemoryOfCheckpoint(t *testing.T) {
	j, err := dirjournal.Create(filepath.Join(t.TempDir(), "journal"))
	require.NoError(t, err)
	defer j.Close()
	lead, epoch, err := j.Lead(t.Context())
	require.NoError(t, err)
	for _, err := range lead.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
	}
	const queue = 16 << 20
	_, err = j.Enqueue(t.Context(), ledger.Entry{ID: "a", Accepted: time.Now().UTC(), Body: make([]byte, queue)})
	require.NoError(t, err)
	checkpoint, err := ledger.NewRecord(epoch, 0, "", time.Now(), &ledger.Checkpoint{})
	require.NoError(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, lead.Append(t.Context(), checkpoint))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(queue+queue/4))
}
