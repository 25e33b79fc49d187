package dirjournal

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Where a directory can't be synced, a journal can only be read.
func TestRefusedOnWindows(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	windows := disk.On("windows")
	_, err := createOn(windows, dir)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "create journal "+dir+": mkdir "+dir+": windows is not supported: it can't sync a directory")
	require.NoDirExists(t, dir)

	j, err := Create(dir)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	_, err = openOn(windows, dir)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "open journal "+dir+": lock "+dir+": windows is not supported")

	r, err := openReaderOn(windows, dir)
	require.NoError(t, err)
	for _, err := range r.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
	}
}
