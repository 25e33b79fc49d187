//go:build unix

package dirjournal_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// TestNoDescriptors takes all descriptors of a child process away: what needs one fails, and
// works when there is one again. What is queued needs none.
func TestNoDescriptors(t *testing.T) {
	const variable = "BINDERY_TEST_DESCRIPTORS"
	dir := os.Getenv(variable)
	if dir == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoDescriptors$")
		cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	limit.Cur = 64
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	// without runs f while there is no descriptor.
	without := func(f func()) {
		var held []*os.File
		for {
			file, err := os.Open(os.DevNull)
			if err != nil {
				require.ErrorIs(t, err, syscall.EMFILE)
				break
			}
			held = append(held, file)
		}
		f()
		for _, file := range held {
			require.NoError(t, file.Close())
		}
	}
	lacks := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, syscall.EMFILE)
		require.ErrorContains(t, err, dir)
		require.NotErrorIs(t, err, repository.ErrUnknown)
		require.NotErrorIs(t, err, repository.ErrClosed)
	}

	name := filepath.Join(dir, "journal")
	j, err := dirjournal.Create(name)
	require.NoError(t, err)
	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	queue := func(id string) {
		t.Helper()
		_, err := j.Enqueue(t.Context(), ledger.Entry{ID: id})
		require.NoError(t, err)
	}
	queue("a")
	without(func() {
		queue("b")
		_, _, err := j.Lead(t.Context())
		lacks(err)
		lacks(store.Create(t.Context(), "1.root.json", []byte("{}")))
		lacks(store.Swap(t.Context(), "timestamp.json", nil, []byte("{}")))
		queue("c")
	})
	require.NoError(t, j.Close())
	without(func() {
		_, err := dirjournal.Open(name)
		lacks(err)
	})
	require.NoError(t, store.Create(t.Context(), "1.root.json", []byte("{}")))
	require.NoError(t, store.Swap(t.Context(), "timestamp.json", nil, []byte("{}")))
	j, err = dirjournal.Open(name)
	require.NoError(t, err)
	require.Empty(t, j.Cut())
	without(func() {
		_, err := j.Enqueue(t.Context(), ledger.Entry{ID: "d"}) // it would begin a segment
		lacks(err)
	})
	queue("d")
	l, _, err := j.Lead(t.Context())
	require.NoError(t, err)
	var got []string
	for s, err := range l.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		got = append(got, s.Entry.ID)
	}
	require.Equal(t, []string{"a", "b", "c", "d"}, got)
	require.NoError(t, j.Close())
}
