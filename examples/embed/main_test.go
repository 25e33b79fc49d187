package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
)

// site is what an operator has before the index first starts: keys, and the documents of a
// ceremony.
type site struct {
	t        *testing.T
	dir      string
	ceremony *repotest.Ceremony
	root     []byte
}

func newSite(t *testing.T) *site {
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	s := &site{t: t, dir: t.TempDir(), ceremony: repotest.NewCeremony(t, layout, time.Now())}
	require.NoError(t, os.Mkdir(s.path("documents"), 0o755))
	s.root = s.ceremony.Documents().Roots[0]
	s.write("1.root.json", s.root)
	for role, data := range s.ceremony.Documents().Roles {
		s.write("1."+role+".json", data)
	}
	require.NoError(t, os.WriteFile(s.path("passphrase"), []byte("correct horse\n"), 0o600))
	for name, key := range map[string]keys.Signer{"bins.pem": s.ceremony.Bins, "online.pem": s.ceremony.Online} {
		require.NoError(t, keys.WriteFile(s.path(name), key.(*keys.MemorySigner), []byte("correct horse")))
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name string, document []byte) {
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, "documents", name), document, 0o644))
}

// start starts the index, and returns its URL and a function that stops it.
func (s *site) start() (url string, stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, []string{
			"-dir", s.path("index"), "-documents", s.path("documents"), "-passphrase", s.path("passphrase"),
			"-bins", "file:" + s.path("bins.pem"), "-online", "file:" + s.path("online.pem"), "-addr", "127.0.0.1:0",
		}, in)
		in.CloseWithError(err)
		done <- err
	}()
	_, err := fmt.Fscanln(out, &url)
	require.NoError(s.t, err)
	return url, func() {
		cancel()
		require.NoError(s.t, <-done)
	}
}

func (s *site) do(method, url, body string, want int) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	require.NoError(s.t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, want, resp.StatusCode, "%s %s: %s", method, url, data)
	return string(data)
}

// fetch downloads a file as a TUF client that knows the first root.
func (s *site) fetch(url, path string) (string, error) {
	s.t.Helper()
	cfg, err := config.New(url+"/metadata", s.root)
	require.NoError(s.t, err)
	cfg.RemoteTargetsURL = url + "/targets"
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = s.t.TempDir(), s.t.TempDir()
	client, err := updater.New(cfg)
	require.NoError(s.t, err)
	require.NoError(s.t, client.Refresh())
	info, err := client.GetTargetInfo(path)
	if err != nil {
		return "", err
	}
	_, data, err := client.DownloadTarget(info, "", "")
	return string(data), err
}

// From nothing to an index that clients verify; then again on what it left.
func TestIndex(t *testing.T) {
	s := newSite(t)
	url, stop := s.start()
	s.do("PUT", url+"/files/dir/hello.txt", "Hello", http.StatusCreated)
	s.do("PUT", url+"/files/dir/hello.txt", "Hello", http.StatusCreated) // is what there is
	require.Contains(t, s.do("PUT", url+"/files/dir/hello.txt", "Other", http.StatusConflict), "exists")
	require.Contains(t, s.do("PUT", url+"/files/dir/new%0Aline", "Hello", http.StatusBadRequest), "path")
	s.do("PUT", url+"/files/gone", "Gone", http.StatusCreated)
	require.Equal(t, "Hello", s.do("GET", url+"/files/dir/hello.txt", "", http.StatusOK))
	s.do("GET", url+"/files/nothing", "", http.StatusNotFound)
	s.do("DELETE", url+"/files/gone", "", http.StatusNoContent)
	s.do("DELETE", url+"/files/gone", "", http.StatusNoContent)
	s.do("GET", url+"/files/gone", "", http.StatusNotFound)

	got, err := s.fetch(url, "dir/hello.txt")
	require.NoError(t, err)
	require.Equal(t, "Hello", got)
	_, err = s.fetch(url, "gone")
	require.Error(t, err)
	stop()

	url, stop = s.start()
	require.Equal(t, "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969          5 dir/hello.txt\n",
		s.do("GET", url+"/files/", "", http.StatusOK))
	var status struct{ Generation int }
	require.NoError(t, json.Unmarshal([]byte(s.do("GET", url+"/health", "", http.StatusOK)), &status))
	require.Positive(t, status.Generation)

	// What is the index's own fault is for its log: the error names folders.
	content := s.path("index/targets/dir/185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969.hello.txt")
	require.NoError(t, os.Remove(content))
	require.Equal(t, "Internal Server Error\n", s.do("GET", url+"/files/dir/hello.txt", "", http.StatusInternalServerError))
	stop()
}

// On SIGHUP the documents of the next ceremony come into force.
func TestReload(t *testing.T) {
	s := newSite(t)
	url, stop := s.start()
	defer stop()
	s.write("2.root.json", s.ceremony.NextRoot(nil))
	s.write("2.bins.json", s.ceremony.NextBins(nil))
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	require.NoError(t, self.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool {
		resp, err := http.Get(url + "/metadata/2.bins.json")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
	s.do("GET", url+"/metadata/2.root.json", "", http.StatusOK)
}

// What is wrong at the start is said, and nothing is left half made.
func TestRefused(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ args, want string }{
		{"-nonsense", "-nonsense"},
		{"-dir DIR/none -documents DIR/documents", "give -bins and -online"},
		{"-dir DIR/none -bins file:DIR/bins.pem -online file:DIR/online.pem more", "nothing but flags"},
		{"-dir DIR/a -documents DIR/documents -passphrase DIR/none -bins file:DIR/bins.pem -online file:DIR/online.pem", "none"},
		{"-dir DIR/b -documents DIR/none -passphrase DIR/passphrase -bins file:DIR/bins.pem -online file:DIR/online.pem", `read documents: folder "DIR/none": `},
		{"-dir DIR/c -documents DIR/documents -passphrase DIR/passphrase -bins file:DIR/online.pem -online file:DIR/online.pem", "may not sign"},
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(strings.ReplaceAll(c.args, "DIR", s.dir)), &out)
		require.ErrorContains(t, err, strings.ReplaceAll(c.want, "DIR", s.dir))
		require.Empty(t, out.String())
	}
	require.NoDirExists(t, s.path("none"))
	_, stop := s.start()
	stop()
}

// Clients are told what they did wrong, and nothing of this machine.
func TestErrorsOfTheMachineAreLogged(t *testing.T) {
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	defer slog.SetDefault(before)
	s := newSite(t)
	url, stop := s.start()
	require.NotContains(t, s.do("PUT", url+"/files/a%25b", "Hello", http.StatusBadRequest), s.dir)
	s.do("PUT", url+"/files/hello", "Hello", http.StatusCreated)
	require.NoError(t, os.RemoveAll(s.path("index/targets")))
	require.Equal(t, "Internal Server Error\n", s.do("GET", url+"/files/hello", "", http.StatusInternalServerError))
	stop()
	require.Contains(t, logged.String(), "request failed")
	require.Contains(t, logged.String(), s.path("index/targets"))
}

// An engineer reads all of it.
func TestIsShort(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	require.Less(t, bytes.Count(source, []byte("\n")), 200)
}
