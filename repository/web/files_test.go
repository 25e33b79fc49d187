package web_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/web"
)

// ownFiles is an index's own storage: contents by path, algorithm and hash.
type ownFiles struct {
	contents map[string]string
	asked    []string
	open     int
}

func (f *ownFiles) Open(_ context.Context, path, algorithm, hash string) (io.ReadSeekCloser, error) {
	f.asked = append(f.asked, algorithm+" "+path)
	content, ok := f.contents[path+" "+algorithm+" "+hash]
	if !ok {
		return nil, fs.ErrNotExist
	}
	f.open++
	return &ownFile{bytes.NewReader([]byte(content)), f}, nil
}

type ownFile struct {
	*bytes.Reader
	of *ownFiles
}

func (f *ownFile) Close() error {
	f.of.open--
	return nil
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The name in a URL has the hash and not its algorithm.
func TestFilesOfTheIndex(t *testing.T) {
	files := &ownFiles{contents: map[string]string{
		"a/x sha256 " + hash256: "by SHA-256", "a/y blake2b-256 " + hash256: "by BLAKE2b", "z sha512 " + hash512: "by SHA-512",
	}}
	h := web.Handler(web.Config{Store: broken{}, Files: files})
	for _, test := range []struct {
		path, body string
		status     int
		asked      []string
	}{
		{"/targets/a/" + hash256 + ".x", "by SHA-256", 200, []string{"sha256 a/x"}},
		{"/targets/a/" + hash256 + ".y", "by BLAKE2b", 200, []string{"sha256 a/y", "blake2b-256 a/y"}},
		{"/targets/" + hash512 + ".z", "by SHA-512", 200, []string{"sha512 z"}},
		{"/targets/" + hash512 + ".x", "Not Found\n", 404, []string{"sha512 x"}},
		{"/targets/" + hash256 + ".x", "Not Found\n", 404, []string{"sha256 x", "blake2b-256 x"}},
		{"/targets/a/x", "Not Found\n", 404, nil},
		{"/metadata/targets/a/" + hash256 + ".x", "Not Found\n", 404, nil},
	} {
		files.asked = nil
		w := get(h, test.path)
		require.Equal(t, test.status, w.Code, test.path)
		require.Equal(t, test.body, w.Body.String())
		require.Equal(t, test.asked, files.asked)
		require.Zero(t, files.open)
	}

	h = web.Handler(web.Config{Store: broken{}, Files: files, FilesBelowMetadata: true})
	for _, base := range []string{"/targets/", "/metadata/targets/"} {
		w := get(h, base+"a/"+hash256+".x")
		require.Equal(t, 200, w.Code)
		require.Equal(t, "by SHA-256", w.Body.String())
		require.Equal(t, "public, max-age=31536000, immutable", w.Header().Get("Cache-Control"))
		require.Equal(t, 404, get(h, base+"a/x").Code)
	}
}

// Either half may be served elsewhere.
func TestServeNothing(t *testing.T) {
	for _, path := range []string{"/metadata/timestamp.json", "/metadata/1.root.json", "/targets/" + hash256 + ".x", "/metadata/targets/" + hash256 + ".x"} {
		require.Equal(t, 404, get(web.Handler(web.Config{FilesBelowMetadata: true}), path).Code)
	}
}

// A file whose length can't be had is reported as any other failure is.
func TestFileThatCantSeek(t *testing.T) {
	h := web.Handler(web.Config{Store: broken{}, Files: unseekable{}})
	w := get(h, "/targets/"+hash256+".x")
	require.Equal(t, 500, w.Code)
	require.Equal(t, "Internal Server Error\n", w.Body.String())
	require.Empty(t, w.Header().Get("ETag"))
}

type unseekable struct{}

func (unseekable) Open(context.Context, string, string, string) (io.ReadSeekCloser, error) {
	return unseekable{}, nil
}
func (unseekable) Read([]byte) (int, error)       { return 0, io.EOF }
func (unseekable) Seek(int64, int) (int64, error) { return 0, io.ErrNoProgress }
func (unseekable) Close() error                   { return nil }

// With an os.Root, a symbolic link is followed to where it may lead.
func TestLinksInFiles(t *testing.T) {
	top := t.TempDir()
	targets := filepath.Join(top, "targets")
	require.NoError(t, os.MkdirAll(filepath.Join(targets, "dir"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(targets, "dir", "inside"), []byte("inside"), 0o600))
	for name, to := range map[string]string{
		".out": "../secret", ".absolute": filepath.Join(top, "secret"), ".in": "dir/inside", ".dir": "dir", ".none": "nowhere",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(targets, hash256+name)))
	}
	require.NoError(t, os.Symlink("..", filepath.Join(targets, "up")))
	require.NoError(t, os.WriteFile(filepath.Join(top, hash256+".x"), []byte("secret"), 0o600))
	root, err := os.OpenRoot(targets)
	require.NoError(t, err)
	defer root.Close()
	h := web.Handler(web.Config{Store: broken{}, Files: web.Dir(root.FS())})
	for name, status := range map[string]int{".out": 500, ".absolute": 500, ".in": 200, ".dir": 404, ".none": 404} {
		w := get(h, "/targets/"+hash256+name)
		require.Equal(t, status, w.Code, name)
		require.NotContains(t, w.Body.String(), "secret")
	}
	require.Equal(t, 500, get(h, "/targets/up/"+hash256+".x").Code)
}

// Many ranges in one request would be many parts in one answer.
func TestOneRange(t *testing.T) {
	h := web.Handler(web.Config{Files: &ownFiles{contents: map[string]string{"x sha256 " + hash256: "content"}}})
	for ranges, want := range map[string]string{"bytes=0-1": "co", "bytes=0-1,3-4": "content", "bytes=0-0,0-0,0-0": "content", "bytes=90-,0-1": "content", "bytes=-2": "nt"} {
		r := httptest.NewRequest("GET", "/targets/"+hash256+".x", nil)
		r.Header.Set("Range", ranges)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Body.String(), ranges)
		require.Equal(t, ranges, r.Header.Get("Range"), "the request is the server's")
		if want == "content" {
			require.Equal(t, 200, w.Code)
			require.Empty(t, w.Header().Get("Content-Range"))
		} else {
			require.Equal(t, 206, w.Code)
		}
		require.Equal(t, "application/octet-stream", w.Header().Get("Content-Type"))
	}
}
