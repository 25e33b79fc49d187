package pinned_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pinned"
)

// What is built once is found again; what failed is built again, and leaves nothing behind.
func TestCached(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} { // by system
		t.Setenv(name, home)
	}
	failed := errors.New("failed")
	_, err := pinned.Cached("name", func(string) error { return failed })
	require.ErrorIs(t, err, failed)
	builds := 0
	for range 2 {
		dir, err := pinned.Cached("name", func(dir string) error {
			builds++
			return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
		})
		require.NoError(t, err)
		require.FileExists(t, filepath.Join(dir, "file"))
		entries, err := os.ReadDir(filepath.Dir(dir))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
	require.Equal(t, 1, builds)

	// Another process is faster.
	dir, err := pinned.Cached("other", func(string) error {
		dir, err := pinned.Cached("other", func(string) error { return nil })
		require.DirExists(t, dir)
		return errors.Join(err, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "file"))
}
