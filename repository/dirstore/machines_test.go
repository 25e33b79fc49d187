package dirstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// Where a directory can't be synced, a store can be read, and no write leaves anything.
func TestWritesAreRefusedOnWindows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "metadata")
	s, err := Create(dir)
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), "1.root.json", []byte("{}")))

	windows := disk.On("windows")
	refused := func(err error, begin string) {
		t.Helper()
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, begin)
		require.ErrorContains(t, err, ": windows is not supported: it can't sync a directory")
	}
	_, err = createOn(windows, dir+"2")
	refused(err, "create metadata store in "+dir+"2: mkdir "+dir+"2")
	_, err = createTargetsOn(windows, dir+"2")
	refused(err, "create target store in "+dir+"2: mkdir "+dir+"2")
	require.NoDirExists(t, dir+"2")

	s, err = openOn(windows, dir)
	require.NoError(t, err)
	got, err := s.Get(t.Context(), "1.root.json")
	require.NoError(t, err)
	require.Equal(t, "{}", string(got))
	refused(s.Create(t.Context(), "2.root.json", []byte("{}")), `create "2.root.json" in `+dir)
	refused(s.Swap(t.Context(), "timestamp.json", nil, []byte("{}")), `swap "timestamp.json" in `+dir)
	refused(s.Delete(t.Context(), "1.root.json"), `delete "1.root.json" in `+dir)

	_, err = CreateTargets(dir + "3")
	require.NoError(t, err)
	targets, err := openTargetsOn(windows, dir+"3")
	require.NoError(t, err)
	_, err = targets.Put(t.Context(), "a/b", strings.NewReader("b"))
	refused(err, `put target "a/b" in `+dir+"3")

	for _, own := range []string{dir, dir + "3"} {
		left, err := os.ReadDir(filepath.Join(own, ownDir))
		require.NoError(t, err)
		require.Len(t, left, 1)
	}
}
