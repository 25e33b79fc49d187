package disk_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
)

func TestCreateNeverReplaces(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	require.NoError(t, disk.WriteFile(disk.OS(), name, []byte("first"), 0o600))
	err := disk.WriteFile(disk.OS(), name, []byte("second"), 0o600)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, name)
	got, err := disk.ReadFile(disk.OS(), name, 5)
	require.NoError(t, err)
	require.Equal(t, "first", string(got))
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestLinkNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, disk.WriteFile(disk.OS(), a, []byte("A"), 0o600))
	require.NoError(t, disk.WriteFile(disk.OS(), b, []byte("B"), 0o600))
	require.ErrorIs(t, disk.OS().Link(a, b), fs.ErrExist)
	got, err := disk.ReadFile(disk.OS(), b, 100)
	require.NoError(t, err)
	require.Equal(t, "B", string(got))
	require.NoError(t, disk.OS().Rename(a, b))
	got, err = disk.ReadFile(disk.OS(), b, 100)
	require.NoError(t, err)
	require.Equal(t, "A", string(got))
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")

	_, err := disk.ReadFile(disk.OS(), name, 100)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = disk.ReadFile(disk.OS(), dir, 1<<20)
	require.ErrorContains(t, err, "not a regular file")

	require.NoError(t, disk.WriteFile(disk.OS(), name, []byte("12345"), 0o600))
	_, err = disk.ReadFile(disk.OS(), name, 4)
	require.ErrorIs(t, err, disk.ErrTooLarge)
	require.ErrorContains(t, err, "5 bytes: too large (the limit is 4)")

	r, err := disk.OS().Open(name)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, int64(5), r.Size())
	got := make([]byte, 2)
	_, err = r.ReadAt(got, 3)
	require.NoError(t, err)
	require.Equal(t, "45", string(got))
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "12345", string(all))
}

func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	const files = 2500 // more than two batches
	for i := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d", i)), make([]byte, i%7), 0o600))
	}
	require.NoError(t, disk.OS().Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.ErrorIs(t, disk.OS().Mkdir(filepath.Join(dir, "sub"), 0o700), fs.ErrExist)
	require.NoError(t, disk.OS().SyncDir(dir))

	var names []string
	for e, err := range disk.OS().ReadDir(dir) {
		require.NoError(t, err)
		require.Equal(t, e.Name == "sub", e.Dir)
		require.False(t, e.ModTime.IsZero())
		if e.Dir {
			continue
		}
		var i int64
		_, err := fmt.Sscanf(e.Name, "f%d", &i)
		require.NoError(t, err)
		require.Equal(t, i%7, e.Size)
		names = append(names, e.Name)
	}
	slices.Sort(names)
	require.Len(t, slices.Compact(names), files)

	for range disk.OS().ReadDir(dir) {
		break // an early end must not panic
	}

	n := 0
	for _, err := range disk.OS().ReadDir(filepath.Join(dir, "missing")) {
		require.ErrorIs(t, err, fs.ErrNotExist)
		n++
	}
	require.Equal(t, 1, n)
}

// TestLock also holds the lock in another process, which is then killed.
func TestLock(t *testing.T) {
	if name := os.Getenv("BINDERY_TEST_LOCK"); name != "" {
		_, err := disk.OS().Lock(name)
		fmt.Println("lock:", err)
		io.Copy(io.Discard, os.Stdin)
		return
	}
	name := filepath.Join(t.TempDir(), "lock")
	_, err := disk.OS().Lock(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoFileExists(t, name)

	require.NoError(t, os.WriteFile(name, nil, 0o600))
	l, err := disk.OS().Lock(name)
	require.NoError(t, err)
	_, err = disk.OS().Lock(name)
	require.ErrorIs(t, err, disk.ErrLocked)
	require.ErrorContains(t, err, name)
	require.NoError(t, l.Close())

	cmd := exec.Command(os.Args[0], "-test.run=^TestLock$")
	cmd.Env = append(os.Environ(), "BINDERY_TEST_LOCK="+name)
	_, err = cmd.StdinPipe() // open until the process is killed
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := make([]byte, len("lock: <nil>"))
	_, err = io.ReadFull(out, said)
	require.NoError(t, err)
	require.Equal(t, "lock: <nil>", string(said))

	_, err = disk.OS().Lock(name)
	require.ErrorIs(t, err, disk.ErrLocked)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	l, err = disk.OS().Lock(name)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// TestLockDir: a directory is locked as a file is, whatever becomes of what is in it and of
// its name, and is known again by its ID.
func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	name := filepath.Join(dir, "file")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(name, []byte("12345"), 0o600))
	fsys := disk.OS()
	l, err := fsys.Lock(dir)
	require.NoError(t, err)
	defer l.Close()
	f, err := fsys.Lock(name)
	require.NoError(t, err)
	defer f.Close()
	for _, locked := range []string{dir, name} {
		_, err = fsys.Lock(locked)
		require.ErrorIs(t, err, disk.ErrLocked)
		require.ErrorContains(t, err, locked)
	}

	info, err := fsys.Stat(name)
	require.NoError(t, err)
	require.False(t, info.ModTime.IsZero())
	require.Equal(t, disk.Info{ID: f.ID(), Size: 5, ModTime: info.ModTime}, info)
	info, err = fsys.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, l.ID(), info.ID)
	require.NoError(t, l.Sync())

	require.NoError(t, os.Rename(dir, dir+"2"))
	_, err = fsys.Stat(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, l.Sync())
	require.NoError(t, os.Mkdir(dir, 0o700))
	info, err = fsys.Stat(dir)
	require.NoError(t, err)
	require.NotEqual(t, l.ID(), info.ID)
	_, err = fsys.Lock(dir + "2")
	require.ErrorIs(t, err, disk.ErrLocked)
	other, err := fsys.Lock(dir)
	require.NoError(t, err)
	require.NoError(t, other.Close())
}
