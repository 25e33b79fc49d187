package dirstore_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/repository/web"
	"github.com/bindery-tuf/bindery/roles"
)

const (
	targetFormat = "bindery target store 1\n"
	content      = "content"
	blake        = "2d49316473cb68324b3f807c6d88c5618f6a422801f52ee3f6b3c29784504fc0" // by b2sum -l 256
)

var (
	sum256 = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	sum512 = fmt.Sprintf("%x", sha512.Sum512([]byte(content)))
)

func newTargets(t *testing.T) (*dirstore.Targets, *faulty, string) {
	t.Helper()
	dir, fsys := filepath.Join(t.TempDir(), "store"), newFaulty()
	s, err := dirstore.CreateTargetsOn(fsys, dir)
	require.NoError(t, err)
	fsys.reset(nil)
	return s, fsys, dir
}

func TestPut(t *testing.T) {
	s, fsys, dir := newTargets(t)
	target, err := s.Put(ctx, "simple/a b/index.html", strings.NewReader(content), "sha512", "sha512", "sha256")
	require.NoError(t, err)
	require.Equal(t, roles.Target{
		Path: "simple/a b/index.html", Length: 7,
		Hashes: map[string]string{"sha256": sum256, "sha512": sum512},
	}, target)
	want := map[string]string{
		".bindery/format":                      targetFormat,
		"simple/a b/" + sum256 + ".index.html": content,
		"simple/a b/" + sum512 + ".index.html": content,
	}
	require.Equal(t, want, tree(t, dir))
	require.Equal(t, []string{
		"create tmp", "write tmp", "sync tmp", "close tmp", "mkdir simple", "mkdir a b",
		"link " + sum256 + ".index.html", "link " + sum512 + ".index.html",
		"syncdir a b", "syncdir simple", "syncdir store", "remove tmp",
	}, fsys.took())

	// Again, with one more algorithm: what was there is made durable again.
	fsys.reset(nil)
	again, err := s.Put(ctx, "simple/a b/index.html", strings.NewReader(content), "blake2b-256")
	require.NoError(t, err)
	require.Equal(t, sum256, again.Hashes["sha256"])
	require.Equal(t, blake, again.Hashes["blake2b-256"])
	require.Len(t, again.Hashes, 2)
	want["simple/a b/"+blake+".index.html"] = content
	require.Equal(t, want, tree(t, dir))
	require.Equal(t, 1, count(fsys, "rename "+sum256+".index.html"))
	require.Equal(t, 3, count(fsys, "syncdir a b")+count(fsys, "syncdir simple")+count(fsys, "syncdir store"))

	// At the top, and empty.
	empty, err := s.Put(ctx, "empty", strings.NewReader(""))
	require.NoError(t, err)
	require.Zero(t, empty.Length)
	require.FileExists(t, filepath.Join(dir, empty.Hashes["sha256"]+".empty"))
}

func count(fsys *faulty, call string) (n int) {
	for _, c := range fsys.took() {
		if c == call {
			n++
		}
	}
	return n
}

func TestPutRefuses(t *testing.T) {
	s, fsys, dir := newTargets(t)
	for path, want := range map[string]string{
		"":                       "empty",
		"../a":                   `a segment ".."`,
		"/a":                     "absolute",
		"a%41":                   "clients differ",
		".bindery/a":             ".bindery/ belongs to the store",
		".Bindery/a":             ".bindery/ belongs to the store",
		strings.Repeat("a", 191): "a file name of 191 bytes",
	} {
		_, err := s.Put(ctx, path, strings.NewReader(content))
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, repository.ErrInvalid)
		require.True(t, strings.HasPrefix(err.Error(), fmt.Sprintf("put target %q: ", path)), err)
		require.Equal(t, 1, strings.Count(err.Error(), "target"), err)
		require.NotContains(t, err.Error(), dir)
	}
	_, err := s.Put(ctx, "a", strings.NewReader(content), "md5")
	require.ErrorContains(t, err, `unknown hash algorithm "md5"`)
	require.Empty(t, fsys.took())
	_, err = s.Put(ctx, strings.Repeat("a", 127), strings.NewReader(content), "sha512")
	require.ErrorContains(t, err, "more than 126 bytes with a SHA-512")
	require.Equal(t, map[string]string{".bindery/format": targetFormat}, tree(t, dir))

	_, err = dirstore.Open(dir)
	require.EqualError(t, err, "open metadata store "+dir+": it is a target store")
	_, err = dirstore.OpenTargets(dir)
	require.NoError(t, err)
}

// A reader that fails, or a context that ends, leaves nothing behind.
func TestPutInterrupted(t *testing.T) {
	s, _, dir := newTargets(t)
	broken := errors.New("connection reset")
	_, err := s.Put(ctx, "a/b", io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)

	stopped, cancel := context.WithCancel(ctx)
	_, err = s.Put(stopped, "a/b", io.MultiReader(strings.NewReader(content), readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, map[string]string{".bindery/format": targetFormat}, tree(t, dir))
	require.NoDirExists(t, filepath.Join(dir, "a"))
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A file that isn't what its name says is neither taken for the content nor replaced.
func TestPutConflict(t *testing.T) {
	for _, test := range []struct{ have, put string }{
		{"", content}, {"CONTENT", content}, {content + ".", content}, {content, ""},
	} {
		s, _, dir := newTargets(t)
		file := fmt.Sprintf("%x.a", sha256.Sum256([]byte(test.put)))
		name := filepath.Join(dir, file)
		require.NoError(t, os.WriteFile(name, []byte(test.have), 0o644))
		_, err := s.Put(ctx, "a", strings.NewReader(test.put))
		require.ErrorIs(t, err, repository.ErrConflict)
		require.ErrorContains(t, err, name)
		require.Equal(t, map[string]string{".bindery/format": targetFormat, file: test.have}, tree(t, dir))
	}
}

func TestPutFaults(t *testing.T) {
	for _, existing := range []bool{false, true} {
		for _, worked := range []bool{false, true} {
			for at := 0; ; at++ {
				s, fsys, dir := newTargets(t)
				if existing {
					_, err := s.Put(ctx, "a/b", strings.NewReader(content), "sha512")
					require.NoError(t, err)
				}
				fsys.reset(func(n int, _ string) *fault {
					if n == at {
						return &fault{worked}
					}
					return nil
				})
				_, err := s.Put(ctx, "a/b", strings.NewReader(content), "sha512")
				if at == len(fsys.took()) {
					require.NoError(t, err)
					require.Equal(t, map[bool]int{false: 10, true: 18}[existing], at)
					break
				}
				failed := fsys.took()[at]
				if failed == "remove tmp" || fsys.hits == 0 {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, errInjected, failed)
				fsys.reset(nil)
				_, err = s.Put(ctx, "a/b", strings.NewReader(content), "sha512")
				require.NoError(t, err, failed)
				require.Equal(t, map[string]string{
					".bindery/format": targetFormat, "a/" + sum256 + ".b": content, "a/" + sum512 + ".b": content,
				}, tree(t, dir), failed)
			}
		}
	}
}

func TestPutConcurrently(t *testing.T) {
	s, _, dir := newTargets(t)
	other, err := dirstore.OpenTargets(dir)
	require.NoError(t, err)
	want := map[string]string{".bindery/format": targetFormat}
	var wg sync.WaitGroup
	for i := range 20 {
		data := fmt.Sprint(i / 4) // each four times, by two stores
		path := "p" + data + "/file"
		want[fmt.Sprintf("p%s/%x.file", data, sha256.Sum256([]byte(data)))] = data
		wg.Go(func() {
			_, err := []*dirstore.Targets{s, other}[i%2].Put(ctx, path, strings.NewReader(data))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, want, tree(t, dir))
}

func TestPutMemory(t *testing.T) {
	s, _, _ := newTargets(t)
	const size = 16 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	target, err := s.Put(ctx, "large", io.LimitReader(readerFunc(func(p []byte) (int, error) { return len(p), nil }), size))
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	require.Equal(t, int64(size), target.Length)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// What Put returned is what a client gets from the handler, under each hash.
func TestPutIsServed(t *testing.T) {
	s, _, dir := newTargets(t)
	h := web.Handler(web.Config{Store: storetest.NewStore(), Files: web.Dir(os.DirFS(dir))})
	for _, path := range []string{"a", "simple/index.html", "d/ö +~&=;:@[]{}*'\"<>|^,$!.whl", ".well-known/x"} {
		target, err := s.Put(ctx, path, strings.NewReader(content), "sha512", "blake2b-256")
		require.NoError(t, err)
		require.NoError(t, target.Validate())
		require.Len(t, target.Hashes, 3)
		for _, hash := range target.Hashes {
			sub, name := filepath.Split(path)
			req := httptest.NewRequest("GET", "/targets/x", nil)
			req.URL.Path = "/targets/" + sub + hash + "." + name
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			require.Equal(t, 200, w.Code, path)
			require.Equal(t, content, w.Body.String())
		}
	}
}

// A directory must never be in the way of a file that somebody knows will come.
func TestPutRefusesDirectoriesThatLookLikeFiles(t *testing.T) {
	s, _, dir := newTargets(t)
	for _, path := range []string{sum256 + ".foo/evil", "a/" + sum512 + ".foo/b/evil", strings.ToUpper(sum256) + ".foo/evil"} {
		_, err := s.Put(ctx, path, strings.NewReader("evil"))
		require.ErrorContains(t, err, ".foo\": another target could be kept under this name", path)
	}
	require.Equal(t, map[string]string{".bindery/format": targetFormat}, tree(t, dir))
	for _, path := range []string{"foo", sum256 + "/foo", sum256[1:] + ".foo/foo", sum256 + ".foo"} {
		_, err := s.Put(ctx, path, strings.NewReader(content))
		require.NoError(t, err, path)
	}
}

// Open opens what Put kept, and nothing else that is in the directory or outside of it.
func TestTargetsOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "targets")
	s, err := dirstore.CreateTargets(dir)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "dir/a.whl", strings.NewReader(content))
	require.NoError(t, err)

	f, err := s.Open(t.Context(), "dir/a.whl", "sha256", sum256)
	require.NoError(t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, content, string(data))

	_, err = s.Open(t.Context(), "dir/b.whl", "sha256", sum256)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir", sum256+".c.whl"), 0o755))
	_, err = s.Open(t.Context(), "dir/c.whl", "sha256", sum256)
	require.ErrorIs(t, err, os.ErrNotExist)
	outside := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(outside, []byte("secret"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "dir", sum256+".d.whl")))
	_, err = s.Open(t.Context(), "dir/d.whl", "sha256", sum256)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrNotExist)
}
