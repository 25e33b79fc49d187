package dirstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

var ctx = context.Background()

func newStore(t *testing.T) (*dirstore.Store, *faulty, string) {
	t.Helper()
	dir, fsys := filepath.Join(t.TempDir(), "store"), newFaulty()
	s, err := dirstore.CreateOn(fsys, dir)
	require.NoError(t, err)
	fsys.reset(nil)
	return s, fsys, dir
}

// tree returns the paths under dir, of files with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		found[filepath.ToSlash(rel)] = string(data)
		return err
	}))
	return found
}

const format = "bindery metadata store 1\n"

// What is on disk, and in which order it is reached, is exact: the syncs are
// what the promises rest on.
func TestCallsOnDisk(t *testing.T) {
	dir, fsys := filepath.Join(t.TempDir(), "store"), newFaulty()
	s, err := dirstore.CreateOn(fsys, dir)
	require.NoError(t, err)
	parent := "syncdir " + filepath.Base(filepath.Dir(dir))
	temp := []string{"create tmp", "write tmp", "sync tmp", "close tmp"}
	require.Equal(t, slices.Concat(
		[]string{"mkdir store", "mkdir .bindery", "syncdir store", parent},
		temp, []string{"link format", "remove tmp", "syncdir .bindery"},
	), fsys.took())

	fsys.reset(nil)
	require.NoError(t, s.Create(ctx, "1.root.json", []byte("root")))
	require.Equal(t, slices.Concat(temp, []string{"link 1.root.json", "syncdir store", "remove tmp"}), fsys.took())

	fsys.reset(nil)
	require.NoError(t, s.Create(ctx, "1.root.json", []byte("root")))
	again := slices.Concat(temp, []string{"link 1.root.json", "open 1.root.json", "rename 1.root.json", "syncdir store", "remove tmp"})
	require.Equal(t, again, fsys.took())

	fsys.reset(nil)
	require.NoError(t, s.Swap(ctx, "timestamp.json", nil, []byte("one")))
	require.NoError(t, s.Swap(ctx, "timestamp.json", []byte("one"), []byte("two")))
	require.NoError(t, s.Swap(ctx, "timestamp.json", []byte("one"), []byte("two")))
	swap := slices.Concat(temp, []string{"open timestamp.json", "rename timestamp.json", "syncdir store", "remove tmp"})
	require.Equal(t, slices.Concat(swap, swap, swap), fsys.took())

	fsys.reset(nil)
	require.NoError(t, s.Delete(ctx, "1.root.json"))
	require.NoError(t, s.Delete(ctx, "1.root.json"))
	require.Equal(t, []string{"remove 1.root.json", "syncdir store", "remove 1.root.json", "syncdir store"}, fsys.took())
	require.Equal(t, map[string]string{".bindery/format": format, "timestamp.json": "two"}, tree(t, dir))

	// Before the first write of a Store that was opened, what a killed process
	// left is made durable, by a new file.
	fsys.reset(nil)
	s, err = dirstore.OpenOn(fsys, dir)
	require.NoError(t, err)
	require.Equal(t, []string{"open format"}, fsys.took())
	require.NoError(t, s.Create(ctx, "a", nil))
	require.NoError(t, s.Create(ctx, "b", nil))
	settle := slices.Concat([]string{"open format"}, temp, []string{"rename format", "remove tmp"},
		[]string{"syncdir .bindery", "syncdir store", parent, "readdir .bindery"})
	require.Equal(t, settle, fsys.took()[:len(settle)])
	require.Len(t, fsys.took(), len(settle)+2*7)
}

func TestConflicts(t *testing.T) {
	s, _, dir := newStore(t)
	require.NoError(t, s.Create(ctx, "a", []byte("1")))
	require.NoError(t, s.Create(ctx, "empty", nil))
	before := tree(t, dir)

	err := s.Create(ctx, "a", []byte("2"))
	require.ErrorIs(t, err, repository.ErrConflict)
	require.EqualError(t, err, fmt.Sprintf("create %q in %s: conflict: it doesn't hold the bytes expected", "a", dir))
	require.ErrorIs(t, s.Create(ctx, "a", nil), repository.ErrConflict)
	require.ErrorIs(t, s.Swap(ctx, "a", []byte("2"), []byte("3")), repository.ErrConflict)
	require.ErrorIs(t, s.Swap(ctx, "a", nil, []byte("3")), repository.ErrConflict)
	err = s.Swap(ctx, "missing", []byte{}, []byte("3"))
	require.ErrorIs(t, err, repository.ErrConflict)
	require.ErrorContains(t, err, "the file is missing")
	require.ErrorIs(t, s.Swap(ctx, "empty", nil, []byte("3")), repository.ErrConflict)
	require.Equal(t, before, tree(t, dir))
	require.Equal(t, map[string]string{".bindery/format": format, "a": "1", "empty": ""}, before)

	require.NoError(t, s.Swap(ctx, "empty", []byte{}, []byte("3")))
	_, err = s.Get(ctx, "missing")
	require.ErrorIs(t, err, repository.ErrNotExist)
	require.EqualError(t, err, fmt.Sprintf("get %q in %s: does not exist", "missing", dir))
}

func TestNames(t *testing.T) {
	s, fsys, dir := newStore(t)
	for _, name := range []string{"", ".", "..", ".bindery", ".hidden", "a/b", "../a", "/a", `a\b`, "a b", "a%41", "ö", "a\x00", strings.Repeat("a", 256)} {
		_, err := s.Get(ctx, name)
		require.ErrorContains(t, err, "not a name", name)
		require.NotErrorIs(t, err, repository.ErrNotExist)
		require.ErrorContains(t, s.Create(ctx, name, nil), "not a name", name)
		require.ErrorContains(t, s.Swap(ctx, name, nil, nil), "not a name", name)
		require.ErrorContains(t, s.Delete(ctx, name), "not a name", name)
	}
	require.Empty(t, fsys.took())
	longest := strings.Repeat("a", 255)
	require.NoError(t, s.Create(ctx, longest, nil))
	require.NoError(t, s.Create(ctx, "17.bins-0a3f_.json", nil))
	require.Equal(t, map[string]string{".bindery/format": format, longest: "", "17.bins-0a3f_.json": ""}, tree(t, dir))
}

func TestContextAndSize(t *testing.T) {
	s, fsys, dir := newStore(t)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err := s.Get(done, "a")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Create(done, "a", nil), context.Canceled)
	require.ErrorIs(t, s.Swap(done, "a", nil, nil), context.Canceled)
	require.ErrorIs(t, s.Delete(done, "a"), context.Canceled)

	huge := make([]byte, 64<<20+1)
	require.ErrorIs(t, s.Create(ctx, "a", huge), disk.ErrTooLarge)
	require.Empty(t, fsys.took())

	require.NoError(t, os.Truncate(filepath.Join(dir, ".bindery", "format"), 0))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o644))
	require.NoError(t, os.Truncate(filepath.Join(dir, "a"), int64(len(huge))))
	_, err = s.Get(ctx, "a")
	require.ErrorIs(t, err, disk.ErrTooLarge)
	require.ErrorIs(t, s.Create(ctx, "a", nil), repository.ErrConflict)
}

func TestList(t *testing.T) {
	s, fsys, dir := newStore(t)
	require.NoError(t, s.Create(ctx, "a", []byte("12")))
	require.NoError(t, s.Create(ctx, "b", nil))
	for _, foreign := range []string{".nfs0001", "a b", ".bindery/tmp-X"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, foreign), nil, 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))

	got := make(map[repository.Info]int)
	for info, err := range s.List(ctx) {
		require.NoError(t, err)
		got[info]++
	}
	require.Equal(t, map[repository.Info]int{{Name: "a", Size: 2}: 1, {Name: "b"}: 1}, got)
	for range s.List(ctx) {
		break
	}

	fsys.reset(func(int, string) *fault { return &fault{} })
	n := 0
	for _, err := range s.List(ctx) {
		require.ErrorIs(t, err, errInjected)
		require.ErrorContains(t, err, dir)
		n++
	}
	require.Equal(t, 1, n)
}

// A stray temporary file is removed by the first write, not by Open, and only
// when it is old.
func TestStrays(t *testing.T) {
	_, _, dir := newStore(t)
	for name, age := range map[string]time.Duration{"tmp-OLD": 2 * time.Hour, "tmp-NEW": time.Minute, "other": 2 * time.Hour} {
		path := filepath.Join(dir, ".bindery", name)
		require.NoError(t, os.WriteFile(path, nil, 0o644))
		when := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(path, when, when))
	}
	s, err := dirstore.Open(dir)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, ".bindery", "tmp-OLD"))
	require.NoError(t, s.Create(ctx, "a", nil))
	require.Equal(t, map[string]string{".bindery/format": format, ".bindery/tmp-NEW": "", ".bindery/other": "", "a": ""}, tree(t, dir))
}

// Of many Stores and goroutines that create one name, those with the winner's
// bytes succeed, and all others meet a conflict.
func TestRace(t *testing.T) {
	_, _, dir := newStore(t)
	const stores, each = 4, 6
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := make(map[string]int)
	for range stores {
		s, err := dirstore.Open(dir)
		require.NoError(t, err)
		for i := range each {
			wg.Go(func() {
				content := fmt.Sprint(i % 3)
				err := s.Create(ctx, "a", []byte(content))
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					won[content]++
				} else if !bytes.Contains([]byte(err.Error()), []byte("conflict")) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	require.Len(t, won, 1)
	got := tree(t, dir)
	require.Equal(t, stores*each/3, won[got["a"]])
	delete(got, "a")
	require.Equal(t, map[string]string{".bindery/format": format}, got)
}

// Of many swaps from the same old content exactly one wins.
func TestSwapRace(t *testing.T) {
	s, _, dir := newStore(t)
	require.NoError(t, s.Swap(ctx, "timestamp.json", nil, []byte("old")))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []string
	for i := range 20 {
		wg.Go(func() {
			new := fmt.Sprint(i)
			if s.Swap(ctx, "timestamp.json", []byte("old"), []byte(new)) == nil {
				mu.Lock()
				defer mu.Unlock()
				won = append(won, new)
			}
		})
	}
	wg.Wait()
	require.Len(t, won, 1)
	require.Equal(t, map[string]string{".bindery/format": format, "timestamp.json": won[0]}, tree(t, dir))
}
