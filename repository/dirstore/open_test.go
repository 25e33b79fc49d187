package dirstore_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// formatted makes a directory with this format line.
func formatted(t *testing.T, line string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".bindery"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".bindery", "format"), []byte(line), 0o644))
	return dir
}

func TestOpenRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	damaged := `damaged .bindery/format: `
	for _, test := range []struct {
		dir, want string
	}{
		{missing, "no such directory: open " + missing + "/.bindery/format: no such file or directory"},
		{file, "not a directory: open " + file + "/.bindery/format: not a directory"},
		{t.TempDir(), "not a store: it has no .bindery/format; if that was removed, make it again, with this one line: bindery metadata store 1"},
		{formatted(t, "bindery metadata store 2\n"), "format 2, and this version of Bindery knows none above 1"},
		{formatted(t, "bindery target store 1\n"), "it is a target store"},
		{formatted(t, "bindery target store 9\n"), "it is a target store"},
		{formatted(t, ""), damaged + `""`},
		{formatted(t, "bindery metadata store 1"), damaged + `"bindery metadata store 1"`},
		{formatted(t, "bindery metadata store 0\n"), damaged + `"bindery metadata store 0\n"`},
		{formatted(t, "bindery metadata store 02\n"), damaged + `"bindery metadata store 02\n"`},
		{formatted(t, "bindery metadata store +2\n"), damaged + `"bindery metadata store +2\n"`},
		{formatted(t, "bindery metadata store 1\n\n"), damaged + `"bindery metadata store 1\n\n"`},
		{formatted(t, "bindery other store 1\n"), damaged + `"bindery other store 1\n"`},
	} {
		_, err := dirstore.Open(test.dir)
		require.EqualError(t, err, "open metadata store "+test.dir+": "+test.want)
	}
	_, err := dirstore.Open(missing)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, missing)
	_, err = dirstore.Open(formatted(t, strings.Repeat("x", 1025)))
	require.ErrorContains(t, err, "too large")
}

func TestOpenWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := formatted(t, format)
	require.NoError(t, os.Chmod(dir, 0))
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	_, err := dirstore.Open(dir)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, dir)
}

func TestCreateRefuses(t *testing.T) {
	_, _, dir := newStore(t)
	_, err := dirstore.Create(dir)
	require.ErrorIs(t, err, fs.ErrExist)
	require.EqualError(t, err, "create metadata store in "+dir+": it is a store already: open it, or call OpenOrCreate in place of Create: file already exists")

	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "1.root.json"), nil, 0o644))
	_, err = dirstore.Create(full)
	require.ErrorIs(t, err, fs.ErrExist)
	require.EqualError(t, err, "create metadata store in "+full+`: directory not empty: it has "1.root.json": file already exists`)
	require.NoDirExists(t, filepath.Join(full, ".bindery"))

	_, err = dirstore.Create(filepath.Join(full, "1.root.json"))
	require.ErrorContains(t, err, "not a directory")
	_, err = dirstore.Create(filepath.Join(full, "a", "b"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// Create that fails at any call, before or after its work, leaves what another
// Create completes, or a store.
func TestCreateFaults(t *testing.T) {
	for _, worked := range []bool{false, true} {
		for at := 0; ; at++ {
			fsys, dir := newFaulty(), filepath.Join(t.TempDir(), "store")
			fsys.reset(func(n int, call string) *fault {
				if n == at {
					return &fault{worked}
				}
				return nil
			})
			_, err := dirstore.CreateOn(fsys, dir)
			if at >= len(fsys.took()) {
				require.NoError(t, err)
				require.Equal(t, 11, at)
				break
			}
			failed := fsys.took()[at]
			if err == nil {
				require.Equal(t, "remove tmp", failed) // a stray is all
			} else {
				require.ErrorIs(t, err, errInjected, failed)
			}
			fsys.reset(nil)
			if _, err := dirstore.CreateOn(fsys, dir); err != nil {
				require.ErrorIs(t, err, fs.ErrExist)
			}
			s, err := dirstore.OpenOn(fsys, dir)
			require.NoError(t, err, failed)
			require.NoError(t, s.Create(ctx, "a", nil))
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, line := range []string{format, "bindery target store 1\n", "bindery metadata store 2\n", "bindery metadata store ", ""} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		_, err := dirstore.Open(formatted(t, line))
		require.Equal(t, line == format, err == nil)
	})
}
