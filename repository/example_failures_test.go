package repository_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

// Embedders copy the example, so it must leave nothing open whatever fails in it.
func TestExampleClosesTheJournal(t *testing.T) {
	for _, missing := range []string{"metadata", "targets"} {
		dir := t.TempDir()
		bins, online := create(t.Context(), dir)
		require.NoError(t, os.RemoveAll(filepath.Join(dir, missing)))
		_, err := publish(t.Context(), dir, bins, online, "a", strings.NewReader("a"))
		require.ErrorContains(t, err, missing)
		journal, err := dirjournal.Open(filepath.Join(dir, "journal"))
		require.NoError(t, err)
		require.NoError(t, journal.Close())
	}
}

// It returns why the publisher stopped, and not only that the upload was cancelled by that.
func TestExampleReturnsThePublishersError(t *testing.T) {
	dir := t.TempDir()
	bins, online := create(t.Context(), dir)
	_, err := publish(t.Context(), dir, online, bins, "a", endless{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "run: timestamp: the configured key may not sign it")

	_, err = publish(t.Context(), dir, bins, online, "a", strings.NewReader("a"))
	require.NoError(t, err)
}

// endless is an upload that only its context can end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	p[0] = 'a'
	return 1, nil
}
