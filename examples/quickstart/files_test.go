package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An index below the files, even by another name, must not publish its keys.
func TestIndexBelowTheFiles(t *testing.T) {
	t.Chdir(someFiles(t))
	dir := filepath.Join("pkg", "index")
	_, err := quickstart(t, "-files", ".", "-dir", dir, "-bins", "2")
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "keys", "root-1.pem"))

	absolute, err := filepath.Abs(dir)
	require.NoError(t, err)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(absolute, link))
	for _, name := range []string{dir, absolute, link, "pkg/demo/../index/"} {
		var out bytes.Buffer
		found, err := listFiles(&printer{w: &out}, ".", name)
		require.NoError(t, err)
		require.Len(t, found, 5)
		require.Contains(t, out.String(), "skipped: "+dir+", the folder of the index\n")
	}
	out, err := quickstart(t, "-files", ".", "-dir", dir)
	require.NoError(t, err)
	require.Contains(t, out, "verified 5 of 5 files")
	published, err := filepath.Glob(filepath.Join(dir, "targets", "pkg", "index", "*"))
	require.NoError(t, err)
	require.Empty(t, published)
}

// Nothing in the index is a file to publish, whatever its folder is called; what can't
// be published is told, and a link to a folder is a folder.
func TestFilesThatAreRefusedOrSkipped(t *testing.T) {
	index := t.TempDir()
	keys := filepath.Join(index, "keys")
	require.NoError(t, os.MkdirAll(keys, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(keys, "root-1.pem"), []byte("secret"), 0o600))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(keys, link))
	for _, dir := range []string{keys, link} {
		_, err := listFiles(&printer{w: io.Discard}, dir, index)
		require.ErrorContains(t, err, "it is the folder of the index, or in it")
	}
	_, err := listFiles(&printer{w: io.Discard}, filepath.Join(keys, "root-1.pem"), "")
	require.ErrorContains(t, err, "not a folder")

	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".bindery"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".bindery", "format"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), nil, 0o644))
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "b")))
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(dir, link))
	var out bytes.Buffer
	files, err := listFiles(&printer{w: &out}, link, index)
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Equal(t, "a", files[0].path)
	require.Contains(t, out.String(), filepath.Join(dir, "b")+", which is no regular file\n")
	require.Contains(t, out.String(), filepath.Join(dir, ".bindery")+", a store's own folder\n")
}

// Only the modules named are taken from a cache that holds others.
func TestArchives(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{
		"example.com/one/@v/v1.0.0.zip", "example.com/one/@v/v1.1.0.zip", "example.com/private/@v/v1.0.0.zip",
		"example.com/!upper/@v/v1.0.0-!r!c1.zip", "example.com/fork/@v/v2.0.0.zip", "example.com/big/@v/v1.0.0.zip",
	} {
		from := filepath.Join(cache, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(from), 0o755))
		require.NoError(t, os.WriteFile(from, []byte("zip"), 0o644))
	}
	require.NoError(t, os.Truncate(filepath.Join(cache, "example.com", "big", "@v", "v1.0.0.zip"), maxBytes-3))
	modules := []*debug.Module{
		{Path: "example.com/Upper", Version: "v1.0.0-RC1"},
		{Path: "example.com/absent", Version: "v1.0.0"},
		{Path: "example.com/big", Version: "v1.0.0"},
		{Path: "example.com/one", Version: "v1.1.0"},
		{Path: "example.com/original", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v2.0.0"}},
		{Path: "example.com/folder", Version: "v1.0.0", Replace: &debug.Module{Path: "../folder"}},
	}
	var out bytes.Buffer
	files, err := archives(&printer{w: &out}, cache, modules)
	require.NoError(t, err)
	var paths []string
	for _, f := range files {
		paths = append(paths, f.path)
	}
	require.Equal(t, []string{"example.com/!upper/@v/v1.0.0-!r!c1.zip", "example.com/big/@v/v1.0.0.zip"}, paths)
	require.Contains(t, out.String(), "(2 archives not there)\n")
	require.Contains(t, out.String(), "(2 archives left out: at most 100, of 134.2 MB together, are taken)\n")

	files, err = archives(&printer{w: io.Discard}, cache, append(modules[:2:2], modules[3:]...))
	require.NoError(t, err)
	require.Equal(t, "example.com/one/@v/v1.1.0.zip", files[1].path)
	require.Equal(t, "example.com/fork/@v/v2.0.0.zip", files[2].path)
	require.Len(t, files, 3)

	_, err = archives(&printer{w: io.Discard}, cache, modules[1:2])
	require.ErrorIs(t, err, errNoFiles)
}

// What is taken without -files is what this program is built from.
func TestModuleArchives(t *testing.T) {
	files, err := moduleArchives(t.Context(), &printer{w: io.Discard})
	require.NoError(t, err)
	build, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	var used []string
	for _, m := range build.Deps {
		used = append(used, escaped(m.Path)+"/@v/"+escaped(m.Version)+".zip")
	}
	for _, f := range files {
		require.Contains(t, used, f.path)
	}
	require.True(t, strings.HasPrefix(files[0].path, "github.com/"), files[0].path)
}
