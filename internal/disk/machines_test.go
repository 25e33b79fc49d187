package disk

import (
	"errors"
	"go/build/constraint"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// systems are what "go tool dist list" lists.
var systems = []string{
	"aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux",
	"netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows",
}

// A system has a lock exactly if its changes aren't refused.
func TestRefusedWhereThereIsNoLock(t *testing.T) {
	source, err := os.ReadFile("lock_flock.go")
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(source), "\n")
	expr, err := constraint.Parse(line)
	require.NoError(t, err)
	implied := map[string]string{"android": "linux", "illumos": "solaris", "ios": "darwin"}
	for _, goos := range systems {
		locks := expr.Eval(func(tag string) bool { return tag == goos || tag == implied[goos] })
		require.Equal(t, locks, unsupported(goos) == nil, goos)
	}
}

func TestChangesAreRefusedByName(t *testing.T) {
	dir := t.TempDir()
	name, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.WriteFile(name, []byte("A"), 0o600))
	windows := On("windows")
	_, create := windows.Create(other, 0o600)
	_, lock := windows.Lock(name)
	_, stat := windows.Stat(name)
	for op, err := range map[string]error{
		"create " + other: create,
		"link " + other:   windows.Link(name, other),
		"rename " + other: windows.Rename(name, other),
		"remove " + name:  windows.Remove(name),
		"mkdir " + other:  windows.Mkdir(other, 0o700),
		"chmod " + name:   windows.Grant(name, 0o600),
		"sync " + dir:     windows.SyncDir(dir),
		"lock " + name:    lock,
		"stat " + name:    stat,
	} {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.EqualError(t, err, op+": windows is not supported: it can't sync a directory, so a loss of power could take "+
			"a file that was promised to be durable: publish from Linux, macOS or a BSD, or with a store and a journal that aren't local directories")
	}
	require.ErrorContains(t, On("solaris").SyncDir(dir), "solaris is not supported: this package has no file lock for it")

	// What is there can be read.
	got, err := ReadFile(windows, name, 1)
	require.NoError(t, err)
	require.Equal(t, "A", string(got))
	for e, err := range windows.ReadDir(dir) {
		require.NoError(t, err)
		require.Equal(t, "a", e.Name)
	}
}

func TestNoLinks(t *testing.T) {
	for _, answer := range []error{errNoLinks, fs.ErrPermission, errors.ErrUnsupported} {
		require.True(t, NoLinks(&os.LinkError{Op: "link", Old: "a", New: "b", Err: answer}))
	}
	require.NoError(t, explainLink(nil))
	err := explainLink(&os.LinkError{Op: "link", Old: "a", New: "b", Err: errNoLinks})
	require.ErrorIs(t, err, errNoLinks)
	require.ErrorContains(t, err, "link a b: ")
	require.ErrorContains(t, err, "(FAT and exFAT have none), and they are needed: use a folder on another one, such as ext4, XFS, ZFS or APFS")
	require.False(t, NoLinks(nil))
	require.False(t, NoLinks(&os.LinkError{Op: "link", Old: "a", New: "b", Err: fs.ErrExist}))
}

func TestSyncName(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	for _, goos := range systems {
		require.NoError(t, syncName(goos, name), goos)
		require.NoError(t, syncName(goos, dir), goos)
	}
	for _, goos := range systems {
		require.NoError(t, syncNames(goos, dir), goos)
	}
	require.ErrorIs(t, syncName("windows", name+"b"), fs.ErrNotExist)
	require.ErrorIs(t, syncName("linux", filepath.Join(name+"b", "c")), fs.ErrNotExist)
}
