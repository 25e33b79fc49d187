package repository_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
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
	require.ErrorIs(t, err, repository.ErrWrongKey)
	require.ErrorContains(t, err, "open repository: timestamp: the configured key may not sign it")

	// A key that is right when the repository is opened, and wrong when Run begins.
	turning := &turningSigner{Signer: online, later: bins, after: math.MaxInt64}
	store, err := dirstore.Open(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	journal, err := dirjournal.Open(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	repo, err := repository.Open(t.Context(), repository.Config{Store: store, Journal: journal, Bins: bins, Snapshot: turning, Timestamp: turning})
	require.NoError(t, err)
	require.NoError(t, repo.Close())
	turning = &turningSigner{Signer: online, later: bins, after: turning.asked.Load()}
	_, err = publish(t.Context(), dir, bins, turning, "a", endless{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "run: timestamp: the configured key may not sign it")

	_, err = publish(t.Context(), dir, bins, online, "a", strings.NewReader("a"))
	require.NoError(t, err)
}

// turningSigner says that it is another key once it was asked so many times.
type turningSigner struct {
	keys.Signer
	later keys.Signer
	after int64
	asked atomic.Int64
}

func (s *turningSigner) Public() *keys.PublicKey {
	if s.asked.Add(1) > s.after {
		return s.later.Public()
	}
	return s.Signer.Public()
}

// endless is an upload that only its context can end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	p[0] = 'a'
	return 1, nil
}
