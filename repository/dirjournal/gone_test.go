package dirjournal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// TestGone: who takes a journal away while it is open ends it, at the next call at the latest
// that would otherwise say yes to nobody.
func TestGone(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(t *testing.T, dir string)
		want string
	}{
		"directory removed": {func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) },
			"the directory was removed or moved while the journal was open"},
		"directory moved": {func(t *testing.T, dir string) { require.NoError(t, os.Rename(dir, dir+"2")) },
			"the directory was removed or moved while the journal was open"},
		"directory replaced": {func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(dir, dir+"2"))
			require.NoError(t, os.CopyFS(dir, os.DirFS(dir+"2")))
		}, "the directory was replaced while the journal was open"},
		"segment removed": {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, second))) },
			second + " was removed or moved while the journal was open"},
		"segments removed": {func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, segmentName(1))))
			require.NoError(t, os.Remove(filepath.Join(dir, second)))
		}, second + " was removed or moved while the journal was open"},
		"segment moved": {func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, second), filepath.Join(dir, "old")))
		}, second + " was removed or moved while the journal was open"},
		"segment replaced": {func(t *testing.T, dir string) {
			name := filepath.Join(dir, second)
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(name+".new", data, 0o600))
			require.NoError(t, os.Rename(name+".new", name))
		}, second + " was replaced while the journal was open"},
		"segment cut": {func(t *testing.T, dir string) { require.NoError(t, os.Truncate(filepath.Join(dir, second), 0)) },
			second + " has "},
		"lock replaced": {func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(filepath.Join(dir, lockName), filepath.Join(dir, "old")))
			require.NoError(t, os.WriteFile(filepath.Join(dir, lockName), nil, 0o600))
		}, lockName + " was replaced while the journal was open"},
		"later segment": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(3)), nil, 0o600))
		}, "another process writes to the journal, because "},
	} {
		for _, checkpoints := range []bool{false, true} { // which begins a segment
			dir := filepath.Join(t.TempDir(), "journal")
			j, err := Create(dir)
			require.NoError(t, err)
			l := leaderOf(t, j)
			require.NoError(t, queueUp(t.Context(), j, "a"))
			test.do(t, dir)
			if checkpoints {
				err = l.Append(t.Context(), rec(checkpoint, 0))
			} else {
				err = queueUp(t.Context(), j, "b")
			}
			require.ErrorContains(t, err, test.want, name)
			require.ErrorContains(t, err, dir)
			if !errors.Is(err, repository.ErrUnknown) { // nothing was written
				require.ErrorIs(t, err, repository.ErrClosed, name)
			}
			require.ErrorIs(t, queueUp(t.Context(), j, "c"), repository.ErrClosed, name)
			_, err = j.Backlog(t.Context())
			require.ErrorIs(t, err, repository.ErrClosed)
			require.ErrorContains(t, err, test.want, name)
			require.NoError(t, j.Close())
		}
	}
}

// TestLockSurvivesRemoval: whatever is removed from the directory, no second process gets in,
// and the journal can be opened again.
func TestLockSurvivesRemoval(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := Create(dir)
	require.NoError(t, err)
	require.NoError(t, queueUp(t.Context(), j, "a"))
	require.NoError(t, os.Remove(filepath.Join(dir, lockName)))
	_, err = Open(dir)
	require.ErrorIs(t, err, repository.ErrLocked)
	require.ErrorContains(t, err, dir)
	require.NoFileExists(t, filepath.Join(dir, lockName))
	require.NoError(t, queueUp(t.Context(), j, "b"))
	require.NoError(t, j.Close())
	got, err := pendingIn(t, dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, got)
}

// fileLocks is a disk of which no directory can be locked, as NFS of some systems.
type fileLocks struct{ disk.FS }

func (f fileLocks) Lock(name string) (disk.Lock, error) {
	if filepath.Base(name) != lockName {
		return nil, errors.ErrUnsupported
	}
	return f.FS.Lock(name)
}

// TestLockFileOnly: where no directory can be locked, the lock file must stay.
func TestLockFileOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	fsys := fileLocks{disk.OS()}
	j, err := createOn(fsys, dir)
	require.NoError(t, err)
	require.NoError(t, queueUp(t.Context(), j, "a"))
	_, err = openOn(fsys, dir)
	require.ErrorIs(t, err, repository.ErrLocked)
	require.NoError(t, os.Remove(filepath.Join(dir, lockName)))

	// The second process opens the journal before the first one notices.
	other, err := openOn(fsys, dir)
	require.NoError(t, err)
	require.ErrorIs(t, queueUp(t.Context(), j, "b"), repository.ErrFenced)
	require.ErrorIs(t, queueUp(t.Context(), j, "c"), repository.ErrClosed)
	require.NoError(t, j.Close())
	require.NoError(t, queueUp(t.Context(), other, "d"))
	require.NoError(t, other.Close())
	got, err := pendingIn(t, dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "d"}, got)
}

// TestReadWithoutSegments: what isn't there any more isn't read as a history that is empty, or
// short.
func TestReadWithoutSegments(t *testing.T) {
	for _, missing := range [][]uint64{{2}, {3}, {2, 3}, {1, 2, 3}} {
		dir := filepath.Join(t.TempDir(), "journal")
		j, err := Create(dir)
		require.NoError(t, err)
		require.NoError(t, queueUp(t.Context(), j, "a"))
		l := leaderOf(t, j)
		require.NoError(t, queueUp(t.Context(), j, "b"))
		for _, number := range missing {
			require.NoError(t, os.Remove(filepath.Join(dir, segmentName(number))))
		}
		for _, from := range []ledger.From{ledger.FromBeginning, ledger.FromCheckpoint} {
			var err error
			for _, err = range l.Read(t.Context(), from) {
			}
			require.Error(t, err, "%v", missing)
			require.ErrorContains(t, err, "segment 00000000000", "%v", missing)
		}
		j.Close()
	}
	// Cut, or an older copy.
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := Create(dir)
	require.NoError(t, err)
	defer j.Close()
	l := leaderOf(t, j)
	require.NoError(t, queueUp(t.Context(), j, "a"))
	require.NoError(t, os.Truncate(filepath.Join(dir, second), headerSize))
	for _, err = range l.Read(t.Context(), ledger.FromBeginning) {
	}
	require.ErrorContains(t, err, "segment "+second+": it ends before frame 1, and frames up to 1 were written")
}

// TestRelative: a process may go elsewhere.
func TestRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	j, err := Create("journal")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, queueUp(t.Context(), j, "a"))
	leaderOf(t, j)
	require.NoError(t, j.Close())
	_, err = os.Stat("journal")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
