package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteNew(t *testing.T) {
	const prefix = ".test-"
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	requireFiles := func(n int) {
		t.Helper()
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, n, "no temporary file is left")
	}
	name := path("file")
	require.NoError(t, WriteNew(name, prefix, []byte("a")))
	require.NoError(t, WriteNew(name, prefix, []byte("a")), "the same again")
	require.EqualError(t, WriteNew(name, prefix, []byte("b")), name+" exists already, with other contents, and is not replaced: name another file, or move it away")
	require.NoError(t, Replace(name, prefix, []byte("b")))
	requireFiles(1)
	require.ErrorIs(t, WriteNew(path("no/file"), prefix, []byte("a")), fs.ErrNotExist)

	// A stick with FAT has no links, and says so in one of two ways.
	for i, cause := range []error{syscall.EPERM, syscall.EOPNOTSUPP} {
		noLinks := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: cause} }
		fat := path([]string{"x", "y"}[i])
		require.NoError(t, writeWhole(fat, prefix, []byte("a"), noLinks))
		err := writeWhole(fat, prefix, []byte("b"), noLinks)
		require.ErrorIs(t, err, fs.ErrExist)
		data, err := os.ReadFile(fat)
		require.NoError(t, err)
		require.Equal(t, "a", string(data))
	}
	failing := errors.New("broken")
	require.ErrorIs(t, writeWhole(path("z"), prefix, nil, func(from, _ string) error {
		require.Contains(t, filepath.Base(from), prefix)
		return failing
	}), failing)
	requireFiles(3)
}
