package repository_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// The variable tells the test binary to be the publisher that gets killed.
const killChildDir = "BINDERY_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killChildDir); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killChild opens the repository in dir, adds targets from several goroutines,
// numbered from what its standard input says, prints the number of each that was
// accepted, and publishes until it is killed.
func killChild(dir string) error {
	repo, err := openSite(dir)
	if err != nil {
		return err
	}
	var first int64
	if _, err := fmt.Fscan(os.Stdin, &first); err != nil {
		return err
	}
	var print sync.Mutex
	for g := range int64(4) {
		go func() {
			for n := first + g; ; n += 4 {
				_, err := repo.Submit(context.Background(), numbered(n))
				print.Lock()
				if err == nil {
					fmt.Println(n)
				} else {
					fmt.Fprintln(os.Stderr, err)
				}
				print.Unlock()
			}
		}()
	}
	return repo.Run(context.Background())
}

func numbered(n int64) repository.Item {
	path := fmt.Sprintf("packages/p%d/file.whl", n)
	return repository.Item{ID: strconv.FormatInt(n, 10), Add: []roles.Target{file(path, strconv.FormatInt(n, 10))}}
}

// newSite makes a repository that openSite opens, also in another process.
func newSite(t *testing.T) (dir string, store *dirstore.Store) {
	t.Helper()
	dir = t.TempDir()
	layout, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	_, err = repotest.NewSite(t.Context(), t, dir, [ed25519.SeedSize]byte{7}, layout, repository.Config{})
	require.NoError(t, err)
	store, err = dirstore.Open(filepath.Join(dir, repotest.SiteStore))
	require.NoError(t, err)
	return dir, store
}

// openSite has small generations and a queue that is often full.
func openSite(dir string) (*repository.Repository, error) {
	return repotest.OpenSite(context.Background(), dir, repository.Config{MaxDelay: 2 * time.Millisecond, MaxPending: 50})
}

// A publisher is killed again and again, at random moments. Every upload that it
// said it accepted is published in the end, and every client is content.
func TestKill(t *testing.T) {
	t.Parallel()
	kills := 20
	if testing.Short() {
		kills = 5
	}
	dir, store := newSite(t)
	accepted := map[int64]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for k := range kills {
		child := exec.Command(os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), killChildDir+"="+dir)
		child.Stdin = strings.NewReader(fmt.Sprintln((k + 1) * 1_000_000))
		var stderr bytes.Buffer
		child.Stderr = &stderr
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		// Killed after it accepted some number of uploads: a point in the work,
		// not in time.
		stop := 1 + rng.IntN(120)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			number, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				continue // a line cut short by the kill
			}
			accepted[number] = true
			if n == stop {
				require.NoError(t, child.Process.Kill())
			}
		}
		require.Error(t, child.Wait(), "killed")
		for line := range strings.Lines(stderr.String()) {
			require.Contains(t, line, repository.ErrBusy.Error())
		}
	}
	require.Greater(t, len(accepted), kills)

	repo, err := openSite(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- repo.Run(ctx) }()
	want := map[string]roles.Target{}
	for n := range accepted {
		it := numbered(n)
		r, err := repo.Submit(ctx, it) // again, which is harmless
		require.NoError(t, err)
		o, err := r.Wait(ctx)
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		want[it.Add[0].Path] = it.Add[0]
	}
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, repo.Close())
	timestamps := sealedTimestamps(t, filepath.Join(dir, repotest.SiteJournal))
	t.Logf("%d kills, %d uploads accepted, %d generations", kills, len(accepted), len(timestamps))
	repotest.CheckRepository(t, repotest.Published{
		Store: store, Timestamps: timestamps, Want: slices.Collect(maps.Values(want)), Now: time.Now(),
	})
}

// sealedTimestamps reads from the journal the timestamp of every generation there
// ever was. In the end each that was sealed is committed.
func sealedTimestamps(t *testing.T, dir string) (timestamps [][]byte) {
	t.Helper()
	journal, err := dirjournal.OpenReader(dir)
	require.NoError(t, err)
	for step, err := range journal.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
		if step.Record == nil {
			continue
		}
		if seal, ok := step.Record.Body.(*ledger.Seal); ok {
			timestamps = append(timestamps, seal.Swaps[0].New)
		}
	}
	return timestamps
}
