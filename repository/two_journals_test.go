package repository_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// TestTwoJournals: while a repository runs, somebody makes a second journal for its store.
// The first publisher notices at its next commit, and publishes nothing of its own any more.
func TestTwoJournals(t *testing.T) {
	for _, works := range []bool{false, true} { // the second one publishes, too
		inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
			e.publish(files("x", 5)...)
			first := e.repo
			root, err := e.store.Get(t.Context(), "1.root.json")
			require.NoError(t, err)
			e.journal = storetest.NewJournal()
			second, err := repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: root})
			require.NoError(t, err)
			if works {
				e.repo = second
				e.publish(file("second", "1"))
			}
			before, err := e.store.Get(t.Context(), "timestamp.json")
			require.NoError(t, err)

			receipt, err := first.Add(t.Context(), file("first", "1"))
			require.NoError(t, err)
			err = first.Run(t.Context())
			require.ErrorIs(t, err, repository.ErrConflict)
			_, err = receipt.Wait(t.Context())
			require.ErrorIs(t, err, repository.ErrClosed)
			_, err = first.Add(t.Context(), file("first", "2"))
			require.ErrorIs(t, err, repository.ErrClosed)
			now, err := e.store.Get(t.Context(), "timestamp.json")
			require.NoError(t, err)
			require.Equal(t, string(before), string(now))
			require.NoError(t, first.Close())

			e.repo = second
			e.publish(file("third", "1"))
			e.check()
		})
	}
}

// TestRebuildWithoutSegments: a journal whose segments are gone says so when its history is
// read. What is left of them makes nothing.
func TestRebuildWithoutSegments(t *testing.T) {
	t.Parallel()
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	bin := layout.Name(0)
	for _, checkpoints := range []int{1, 1 << 30} {
		whole := t.TempDir()
		_, err = repotest.NewSite(t.Context(), t, whole, [32]byte{1}, layout, repository.Config{CheckpointBytes: checkpoints})
		require.NoError(t, err)
		for missing := 0; ; missing++ {
			// A site of a few processes, of which the last one goes on.
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
			var repo *repository.Repository
			for n := range 3 {
				if repo != nil {
					require.NoError(t, repo.Close())
				}
				repo, err = repotest.OpenSite(t.Context(), dir, repository.Config{MaxDelay: -1, CheckpointBytes: checkpoints})
				require.NoError(t, err)
				r, err := repo.Add(t.Context(), files(fmt.Sprint(n), 8)...)
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- repo.Run(ctx) }()
				_, err = r.Wait(t.Context())
				require.NoError(t, err)
				cancel()
				require.NoError(t, <-done)
			}
			segments, err := filepath.Glob(filepath.Join(dir, repotest.SiteJournal, "*.seg"))
			require.NoError(t, err)
			if missing > len(segments)+1 {
				require.NoError(t, repo.Close())
				break
			}
			for i, name := range segments {
				if missing == i+1 || missing == len(segments)+1 { // one, or all
					require.NoError(t, os.Remove(name))
				}
			}
			bins, err := filepath.Glob(filepath.Join(dir, repotest.SiteStore, "*."+bin+".json"))
			require.NoError(t, err)
			for _, name := range bins {
				require.NoError(t, os.Remove(name))
			}
			err = repo.Rebuild(t.Context(), bin)
			if missing <= 1 { // the first one never has a frame
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "segment 00000000", "%d", missing)
			}
			repo.Close()
		}
	}
}
