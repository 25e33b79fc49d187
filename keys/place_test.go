package keys

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// On a stick with FAT a link is not permitted, elsewhere it isn't supported.
func TestKeyFileWithoutLinks(t *testing.T) {
	for _, cause := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.ENOSYS} {
		link := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: cause} }
		dir := t.TempDir()
		name := filepath.Join(dir, "key")
		require.NoError(t, writeNew(name, []byte("first"), link))
		require.ErrorIs(t, writeNew(name, []byte("second"), link), fs.ErrExist)
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, "first", string(data))
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		requireOnly(t, dir, "key")
	}
}

func TestKeyFileLinkFails(t *testing.T) {
	dir := t.TempDir()
	link := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EIO} }
	require.ErrorIs(t, writeNew(filepath.Join(dir, "key"), []byte("first"), link), syscall.EIO)
	requireOnly(t, dir)
}

// requireOnly requires that a directory has these entries.
func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	require.Equal(t, names, got)
}
