package repository_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
)

// TestSegmentsGone removes any run of a journal's segments, while it is closed or open. Open and
// Rebuild do what they promise, or say what is missing and where, or what to do.
func TestSegmentsGone(t *testing.T) {
	opens := regexp.MustCompile(`segment \d{12}\.seg: (it is missing|offset \d+, sequence \d+: it ends here, and segment \d{12}\.seg goes on)` +
		`|it has no segments|RestoreJournal make|let Adopt go on`)
	rebuilds := regexp.MustCompile(`segment \d{12}\.seg: (it begins with frame \d+: the segments before it are missing|it was removed or moved while the journal was open` +
		`|offset \d+, sequence \d+: it ends here, and segment \d{12}\.seg goes on)` +
		`|\d\.bins-0\.json: .*: the journal doesn't tell what is in it: put a copy with the SHA-256 `)
	for name, bytes := range map[string]int{"with checkpoints": 1, "without": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			whole, cfg := t.TempDir(), repository.Config{CheckpointBytes: bytes, MaxDelay: -1}
			_, err := repotest.NewSite(t.Context(), t, whole, [32]byte{1}, mustBins(t, 2), cfg)
			require.NoError(t, err)
			for n := range 2 {
				repo, err := repotest.OpenSite(t.Context(), whole, cfg)
				require.NoError(t, err)
				publishTo(t, repo, fmt.Sprint("x", n))
				require.NoError(t, repo.Close())
			}
			segments, err := filepath.Glob(filepath.Join(whole, repotest.SiteJournal, "*.seg"))
			require.NoError(t, err)
			require.Greater(t, len(segments), 3)
			for first := range segments {
				for last := first; last < len(segments); last++ {
					for _, open := range []bool{false, true} {
						dir := t.TempDir()
						require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
						remove := func() {
							for _, path := range segments[first : last+1] {
								require.NoError(t, os.Remove(filepath.Join(dir, repotest.SiteJournal, filepath.Base(path))))
							}
						}
						if !open {
							remove()
						}
						repo, err := repotest.OpenSite(t.Context(), dir, cfg)
						if err != nil {
							require.Regexp(t, opens, err.Error())
							continue
						}
						if open {
							remove()
						}
						bins, err := filepath.Glob(filepath.Join(dir, repotest.SiteStore, "*.bins-0.json"))
						require.NoError(t, err)
						for _, path := range bins {
							require.NoError(t, os.Remove(path))
						}
						if err := repo.Rebuild(t.Context(), "bins-0"); err != nil {
							require.Regexp(t, rebuilds, err.Error())
						} else {
							require.Equal(t, first, last, "all are needed")
							require.Contains(t, []int{0, len(segments) - 1}, first, "but the first, which is empty, and one that repeats what stands before it")
						}
						_ = repo.Close()
					}
				}
			}
		})
	}
}

// publishTo publishes some files.
func publishTo(t *testing.T, repo *repository.Repository, name string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- repo.Run(ctx) }()
	r, err := repo.Add(t.Context(), files(name, 8)...)
	require.NoError(t, err)
	_, err = r.Wait(t.Context())
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-ran)
}
