package repository_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
)

// TestCut: what a journal leaves out at its end is logged, and where it was.
func TestCut(t *testing.T) {
	dir := t.TempDir()
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	_, err = repotest.NewSite(t.Context(), t, dir, [32]byte{1}, layout, repository.Config{})
	require.NoError(t, err)
	open := func() string {
		var log bytes.Buffer
		repo, err := repotest.OpenSite(t.Context(), dir, repository.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		require.NoError(t, repo.Close())
		return log.String()
	}
	require.NotContains(t, open(), "cut=")

	segments, err := filepath.Glob(filepath.Join(dir, repotest.SiteJournal, "*.seg"))
	require.NoError(t, err)
	last := segments[len(segments)-1]
	f, err := os.OpenFile(last, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString("torn")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Contains(t, open(), `cut="segment `+filepath.Base(last)+`: the last 4 bytes, from offset `)
	require.NotContains(t, open(), "cut=")
}
