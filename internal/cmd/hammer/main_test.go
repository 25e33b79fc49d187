package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test's own program is the publisher that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(publisherDir); dir != "" {
		os.Exit(publisher(dir))
	}
	os.Exit(m.Run())
}

func TestHammer(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), 2*time.Second, filepath.Join(t.TempDir(), "site"), 1, &out)
	require.NoError(t, err, out.String())
	t.Log(out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var accepted, published, kills, refreshes, collected, rotations, failures int
	_, err = fmt.Sscanf(lines[len(lines)-1], "accepted=%d published=%d kills=%d refreshes=%d collected=%d rotations=%d failures=%d",
		&accepted, &published, &kills, &refreshes, &collected, &rotations, &failures)
	require.NoError(t, err)
	require.GreaterOrEqual(t, accepted, lanes, "each lane settles with one item")
	require.Equal(t, accepted, published)
	require.Positive(t, kills)
	require.Positive(t, refreshes)
	require.Positive(t, collected)
	require.Zero(t, failures)
}

// The files of a lane are as if its items were applied one by one.
func TestSlotAfter(t *testing.T) {
	holds := map[string]int{}
	for n := 1; n <= 200; n++ {
		it := item(3, n)
		require.NoError(t, it.Validate())
		for _, added := range it.Add {
			holds[added.Path] = n
		}
		for _, path := range it.Remove {
			delete(holds, path)
		}
		for slot := range slots {
			require.Equal(t, holds[slotPath(3, slot)], slotAfter(slot, n), "slot %d after %d items", slot, n)
		}
	}
}
