package web_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/repository/web"
)

const (
	hash256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	hash512 = hash256 + hash256
)

// serving returns a server over a store and a directory of target files that
// also hold what must not be seen.
func serving(t *testing.T) *httptest.Server {
	t.Helper()
	dir, targets := filepath.Join(t.TempDir(), "metadata"), t.TempDir()
	store, err := dirstore.Create(dir)
	require.NoError(t, err)
	for _, name := range []string{"1.root.json", "17.bins-0a3f.json", "01.root.json", "0.root.json", "root.json", "snapshot.json", "1.root.json.tmp", "1..json", "1.x"} {
		require.NoError(t, store.Create(t.Context(), name, []byte("content of "+name)))
	}
	require.NoError(t, store.Swap(t.Context(), "timestamp.json", nil, []byte("one")))
	for _, name := range []string{
		"a/b c/" + hash256 + ".x+~&=;:@[]ö.whl", hash512 + ".y", hash256 + ".z/inner",
		"plain", hash256, hash256 + ".", hash256[1:] + ".short", "A" + hash256[1:] + ".upper", ".bindery/tmp-X", hash256 + ".%41",
	} {
		path := filepath.Join(targets, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("content"), 0o644))
	}
	srv := httptest.NewServer(web.Handler(web.Config{
		Store: store, Files: web.Dir(os.DirFS(targets)), Logger: slog.New(slog.NewTextHandler(failOnWrite{t}, nil)),
	}))
	t.Cleanup(srv.Close)
	return srv
}

// failOnWrite is for logs that must stay empty.
type failOnWrite struct{ t *testing.T }

func (f failOnWrite) Write(p []byte) (int, error) {
	f.t.Errorf("logged: %s", p)
	return len(p), nil
}

func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // follows no redirects
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
	return resp, string(body)
}

func TestServeMetadata(t *testing.T) {
	srv := serving(t)
	for _, name := range []string{"1.root.json", "17.bins-0a3f.json", "17%2Ebins%2d0a3f.json"} {
		content := "content of 17.bins-0a3f.json"
		if name == "1.root.json" {
			content = "content of 1.root.json"
		}
		resp, body := ask(t, "GET", srv.URL+"/metadata/"+name)
		require.Equal(t, 200, resp.StatusCode, name)
		require.Equal(t, content, body)
		require.Equal(t, "public, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
		require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
		require.Equal(t, int64(len(content)), resp.ContentLength)

		resp, body = ask(t, "HEAD", srv.URL+"/metadata/"+name)
		require.Equal(t, 200, resp.StatusCode)
		require.Empty(t, body)
		require.Equal(t, int64(len(content)), resp.ContentLength)
		require.Equal(t, "public, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
	}
}

func TestServeTimestamp(t *testing.T) {
	srv := serving(t)
	const tag = `"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"` // SHA-256 of "one"
	resp, body := ask(t, "GET", srv.URL+"/metadata/timestamp.json")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "one", body)
	require.Equal(t, "no-cache", resp.Header.Get("Cache-Control"))
	require.Equal(t, tag, resp.Header.Get("ETag"))
	require.Empty(t, resp.Header.Get("Last-Modified"))

	resp, body = ask(t, "GET", srv.URL+"/metadata/timestamp.json", "If-None-Match", tag)
	require.Equal(t, 304, resp.StatusCode)
	require.Empty(t, body)
	require.Equal(t, "no-cache", resp.Header.Get("Cache-Control"))
	require.Equal(t, tag, resp.Header.Get("ETag"))

	resp, body = ask(t, "GET", srv.URL+"/metadata/timestamp.json", "If-None-Match", `"other"`)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "one", body)
}

func TestServeTargets(t *testing.T) {
	srv := serving(t)
	for _, url := range []string{
		"/targets/a/b%20c/" + hash256 + ".x+~&=;:@[]%C3%B6.whl",                   // as Go and browsers write it
		"/targets/a/b%20c/" + hash256 + ".x%2B%7E%26%3D%3B%3A%40%5B%5D%c3%b6.whl", // all that can be escaped
		"/targets/a%2Fb%20c%2f" + hash256 + ".x+~&=;:@[]%C3%B6.whl",
	} {
		resp, body := ask(t, "GET", srv.URL+url)
		require.Equal(t, 200, resp.StatusCode, url)
		require.Equal(t, "content", body)
		require.Equal(t, "public, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
		require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
		require.Equal(t, `"`+hash256+`"`, resp.Header.Get("ETag"))
		require.Equal(t, int64(7), resp.ContentLength)
	}
	resp, body := ask(t, "GET", srv.URL+"/targets/"+hash512+".y", "Range", "bytes=2-4")
	require.Equal(t, 206, resp.StatusCode)
	require.Equal(t, "nte", body)
	require.Equal(t, "bytes 2-4/7", resp.Header.Get("Content-Range"))
	require.Equal(t, `"`+hash512+`"`, resp.Header.Get("ETag"))

	resp, _ = ask(t, "GET", srv.URL+"/targets/"+hash512+".y", "Range", "bytes=9-")
	require.Equal(t, 416, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
}

// Whatever asks for a condition that fails must not put the failure into a cache,
// least of all as immutable.
func TestServeFailedConditions(t *testing.T) {
	srv := serving(t)
	for _, path := range []string{"/metadata/1.root.json", "/metadata/timestamp.json", "/targets/" + hash512 + ".y"} {
		for _, test := range []struct {
			header, value string
			status        int
		}{
			{"If-Match", `"other"`, 412},
			{"Range", "bytes=100000-", 416},
		} {
			for _, method := range []string{"GET", "HEAD"} {
				resp, _ := ask(t, method, srv.URL+path, test.header, test.value)
				require.Equal(t, test.status, resp.StatusCode, path)
				require.Equal(t, []string{"no-store"}, resp.Header.Values("Cache-Control"), "%s %d", path, test.status)
			}
		}
	}
}

func TestServeRefuses(t *testing.T) {
	srv := serving(t)
	for _, path := range []string{
		"", "/", "/metadata", "/metadata/", "/targets", "/targets/", "/other/1.root.json", "//metadata/1.root.json",
		"/metadata/2.root.json", "/metadata/01.root.json", "/metadata/0.root.json", "/metadata/root.json",
		"/metadata/snapshot.json", "/metadata/1.root.json.tmp", "/metadata/1..json", "/metadata/1.x",
		"/metadata/.bindery/format", "/metadata/./1.root.json", "/metadata/../metadata/1.root.json",
		"/metadata/%2e%2e/metadata/1.root.json", "/metadata/1.root.json/", "/metadata/1.root%2Ejson%00",
		"/metadata/1%252Eroot.json", "/metadata//timestamp.json", "/metadata/timestamp.json%0A",
		"/metadata/1." + strings.Repeat("a", 300) + ".json",
		"/targets/plain", "/targets/" + hash256, "/targets/" + hash256 + ".", "/targets/" + hash256[1:] + ".short",
		"/targets/A" + hash256[1:] + ".upper", "/targets/.bindery/tmp-X", "/targets/.bindery/format",
		"/targets/" + hash256 + ".z", "/targets/" + hash256 + ".z/", "/targets/" + hash256 + ".z/inner", // a directory
		"/targets/" + hash512 + ".y/" + hash256 + ".y", // below a file
		"/targets/a/../" + hash512 + ".y", "/targets/a/%2e%2e/" + hash512 + ".y", "/targets/a/..%2f" + hash512 + ".y",
		"/targets/./" + hash512 + ".y", "/targets//" + hash512 + ".y", `/targets/a\..\` + hash512 + ".y", "/targets/..%5c" + hash512 + ".y",
		"/targets/" + hash256 + ".%2541", "/targets/" + hash512 + ".y%00", "/targets/" + hash512 + ".%ff",
		"/targets/" + hash256 + "." + strings.Repeat("a", 300),
		"/targets/" + strings.Repeat("a/", 5000) + hash256 + ".a",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			resp, body := ask(t, method, srv.URL+path)
			require.Equal(t, 404, resp.StatusCode, path)
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"), path)
			require.Empty(t, resp.Header.Get("ETag"), path)
			if method == "GET" {
				require.Equal(t, "Not Found\n", body)
			}
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp, _ := ask(t, method, srv.URL+"/metadata/1.root.json")
		require.Equal(t, 405, resp.StatusCode)
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	}
}

// net/http's client and URLs normalise; a hostile client sends what it likes.
func TestServeRawPaths(t *testing.T) {
	srv := serving(t)
	for _, path := range []string{
		"/metadata/../../../../../../etc/passwd", "/targets/../../../../../../etc/passwd",
		"/targets/../" + filepath.Base(t.TempDir()), "/targets/..%2f..%2f" + hash256 + ".x", "/targets/%2e%2e%2f" + hash256 + ".x",
	} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		require.True(t, bytes.HasPrefix(answer, []byte("HTTP/1.1 404 Not Found\r\nCache-Control: no-store\r\n")), "%s: %s", path, answer)
	}
}

// broken is a store that fails.
type broken struct{ repository.Store }

func (broken) Get(context.Context, string) ([]byte, error) {
	return nil, errors.New("read /secret/path: input/output error")
}

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, errors.New("input/output error") }

func TestServeFailures(t *testing.T) {
	var log bytes.Buffer
	h := web.Handler(web.Config{Store: broken{}, Files: web.Dir(brokenFS{}), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, path := range []string{"/metadata/timestamp.json", "/metadata/1.root.json", "/targets/" + hash256 + ".x"} {
		log.Reset()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		require.Equal(t, 500, w.Code)
		require.Equal(t, "Internal Server Error\n", w.Body.String())
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.Empty(t, w.Header().Get("ETag"))
		require.Contains(t, log.String(), "input/output error")
		require.Contains(t, log.String(), path)
	}

	w := httptest.NewRecorder()
	web.Handler(web.Config{Store: broken{}}).ServeHTTP(w, httptest.NewRequest("GET", "/targets/"+hash256+".x", nil))
	require.Equal(t, 404, w.Code)
	w = httptest.NewRecorder()
	web.Handler(web.Config{Store: broken{}}).ServeHTTP(w, httptest.NewRequest("GET", "/metadata/1.root.json", nil))
	require.Equal(t, 500, w.Code)

	// Any fs.FS whose files seek will do.
	w = httptest.NewRecorder()
	memory := fstest.MapFS{hash256 + ".x": {Data: []byte("content")}}
	web.Handler(web.Config{Store: broken{}, Files: web.Dir(memory)}).ServeHTTP(w, httptest.NewRequest("GET", "/targets/"+hash256+".x", nil))
	require.Equal(t, 200, w.Code)
	require.Equal(t, "content", w.Body.String())
}

// Caches are told for how long they may serve the timestamp, and that alone.
func TestCaching(t *testing.T) {
	for want, c := range map[string]repository.Caching{
		"no-cache":                                {},
		"public, max-age=60, must-revalidate":     {MaxAge: time.Minute},
		"public, max-age=60, stale-if-error=3600": {MaxAge: time.Minute, StaleIfError: time.Hour},
		"public, max-age=0, stale-if-error=3600":  {StaleIfError: time.Hour},
	} {
		store := storetest.NewStore()
		require.NoError(t, store.Swap(t.Context(), "timestamp.json", nil, []byte("one")))
		require.NoError(t, store.Create(t.Context(), "1.root.json", []byte("root")))
		srv := httptest.NewServer(web.Handler(web.Config{Store: store, Caching: c}))
		resp, _ := ask(t, "GET", srv.URL+"/metadata/timestamp.json")
		require.Equal(t, want, resp.Header.Get("Cache-Control"))
		require.NotEmpty(t, resp.Header.Get("ETag"))
		resp, _ = ask(t, "GET", srv.URL+"/metadata/1.root.json")
		require.Equal(t, "public, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
		resp, _ = ask(t, "GET", srv.URL+"/metadata/2.root.json")
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		srv.Close()
	}
}
