package s3store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/s3store"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// cache starts a cache in front of what is at origin, and returns the URL at which it is.
type cache func(t *testing.T, origin string) string

var caches = map[string]cache{
	"nginx": func(t *testing.T, origin string) string { return startNginx(t, origin, nil) },
	"varnish": func(t *testing.T, origin string) string {
		program := need(t, "varnishd")
		documented, err := os.ReadFile("caches/varnish.vcl")
		require.NoError(t, err)
		to, err := url.Parse(origin)
		require.NoError(t, err)
		// The bucket's name is in the host of the documented one, and here in the path.
		byHost := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, "/metadata")
			r.SetURL(to)
		}})
		t.Cleanup(byHost.Close)
		host, port, err := net.SplitHostPort(byHost.Listener.Addr().String())
		require.NoError(t, err)
		return serve(t, func(address, dir string) *exec.Cmd {
			vcl := filepath.Join(dir, "default.vcl")
			require.NoError(t, os.WriteFile(vcl, []byte(replaced(t, string(documented), map[string]string{
				`.host = "example-index.s3.eu-central-1.amazonaws.com";`: fmt.Sprintf(".host = %q;", host),
				`.port = "80";`: fmt.Sprintf(".port = %q;", port),
			})), 0o600))
			return exec.Command(program, "-F", "-j", "none", "-n", dir, "-a", address, "-f", vcl, "-s", "malloc,64m")
		})
	},
}

// startNginx runs nginx with the documented configuration, in which more may be changed.
func startNginx(t *testing.T, origin string, change map[string]string) string {
	program := need(t, "nginx")
	documented, err := os.ReadFile("caches/nginx.conf")
	require.NoError(t, err)
	return serve(t, func(address, dir string) *exec.Cmd {
		site := replaced(t, replaced(t, string(documented), change), map[string]string{
			"/var/cache/nginx/tuf": filepath.Join(dir, "cache"),
			"listen 8080;":         "listen " + address + ";",
			"https://example-index.s3.eu-central-1.amazonaws.com/metadata/$name": origin + "/$name",
		})
		var temporary strings.Builder
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&temporary, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
		}
		conf := filepath.Join(dir, "nginx.conf")
		require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "daemon off;\nmaster_process off;\npid %s;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n",
			filepath.Join(dir, "pid"), temporary.String(), site), 0o600))
		return exec.Command(program, "-e", "stderr", "-p", dir, "-c", conf)
	})
}

// need is the path of a program that a test needs.
func need(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skipf("it needs %s: BINDERY_INTEROP=1 runs it", name)
	}
	for _, found := range []string{name, "/usr/sbin/" + name} {
		if program, err := exec.LookPath(found); err == nil {
			return program
		}
	}
	t.Fatalf("%s is not installed", name)
	return ""
}

// replaced replaces what occurs exactly once.
func replaced(t *testing.T, text string, by map[string]string) string {
	t.Helper()
	for old, new := range by {
		require.Equal(t, 1, strings.Count(text, old), old)
		text = strings.Replace(text, old, new, 1)
	}
	return text
}

// serve runs a server until the test ends, and returns its URL once it answers.
func serve(t *testing.T, command func(address, dir string) *exec.Cmd) string {
	for range 5 { // another process may take the port meanwhile
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		require.NoError(t, l.Close())
		cmd := command(address, t.TempDir())
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		require.NoError(t, cmd.Start())
		done := make(chan struct{})
		go func() {
			cmd.Wait() // it is killed, and its error says only that
			close(done)
		}()
		stop := func() {
			cmd.Process.Kill()
			<-done
		}
		for deadline := time.Now().Add(time.Minute); ; {
			if response, err := http.Get("http://" + address + "/"); err == nil {
				response.Body.Close()
				t.Cleanup(stop)
				return "http://" + address
			}
			select {
			case <-done:
			case <-time.After(20 * time.Millisecond):
				if time.Now().Before(deadline) {
					continue
				}
				stop()
			}
			t.Log(log.String())
			break
		}
	}
	t.Fatal("it doesn't answer")
	return ""
}

// remote is a repository as clients read it.
type remote struct{ url string }

func (r remote) Get(ctx context.Context, name string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+name, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return io.ReadAll(response.Body)
	case http.StatusNotFound:
		return nil, repository.ErrNotExist
	}
	return nil, fmt.Errorf("%s: %s", name, response.Status)
}

func (remote) Create(context.Context, string, []byte) error       { panic("clients only read") }
func (remote) Swap(context.Context, string, []byte, []byte) error { panic("clients only read") }
func (remote) Delete(context.Context, string) error               { panic("clients only read") }
func (remote) List(context.Context) iter.Seq2[repository.Info, error] {
	panic("clients only read")
}

const bins = 4

// askEarly asks for the next ten names of each role, before they exist.
func askEarly(t *testing.T, clients remote, root, generation int64) (asked int) {
	t.Helper()
	names := func(version int64) []string {
		all := []string{fmt.Sprintf("%d.snapshot.json", version), fmt.Sprintf("%d.targets.json", version), fmt.Sprintf("%d.bins.json", version)}
		for i := range bins {
			all = append(all, fmt.Sprintf("%d.bins-%x.json", version, i))
		}
		return all
	}
	for next := range int64(10) {
		_, err := clients.Get(t.Context(), fmt.Sprintf("%d.root.json", root+1+next))
		require.ErrorIs(t, err, repository.ErrNotExist)
		for _, name := range names(generation + 1 + next) {
			_, err := clients.Get(t.Context(), name)
			require.ErrorIs(t, err, repository.ErrNotExist, name)
			asked++
		}
	}
	return asked
}

// The whole: a publisher writes into a bucket, and go-tuf clients read it through a cache with the documented
// configuration, which is asked for the next ten names of each role before each commit.
func TestClientsBehindCaches(t *testing.T) {
	for name, start := range caches {
		for _, caching := range []repository.Caching{{}, {MaxAge: time.Second}} {
			t.Run(fmt.Sprint(name, " max-age ", caching.MaxAge), func(t *testing.T) {
				server := s3test.Need(t)
				require.NoError(t, server.CreateBucket(t.Context(), index, true))
				cfg := gateway(server, index)
				cfg.PublicURL, cfg.Caching = start(t, server.Object(index, "metadata"))+"/metadata/", caching
				publishBehind(t, cfg)
			})
		}
	}
}

func publishBehind(t *testing.T, cfg s3store.Config) {
	store, err := s3store.Open(t.Context(), cfg)
	require.NoError(t, err)
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	require.NoError(t, err)
	ceremony := repotest.NewCeremony(t, layout, time.Now())
	published := repotest.Published{Store: store}
	committed := func() {
		timestamp, err := store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		published.Timestamps = append(published.Timestamps, timestamp)
	}
	clients, client := remote{cfg.PublicURL}, t.TempDir()
	root := int64(1)
	askEarly(t, clients, 0, 0)
	repo, err := repository.Create(t.Context(), repository.Config{
		Store: store, Journal: storetest.NewJournal(),
		Bins: ceremony.Bins, Snapshot: ceremony.Online, Timestamp: ceremony.Online, Caching: cfg.Caching, MaxDelay: -1,
	}, ceremony.Documents())
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- repo.Run(context.Background()) }()
	defer func() {
		require.NoError(t, repo.Close())
		require.NoError(t, <-ended)
	}()
	committed()
	for i := range 5 {
		generation := int64(len(published.Timestamps))
		askEarly(t, clients, root, generation)
		if i == 2 {
			require.NoError(t, repo.Install(t.Context(), repository.Documents{Roots: [][]byte{ceremony.NextRoot(func(*roles.RootSpec) {})}}))
			root++
			if timestamp, err := store.Get(t.Context(), "timestamp.json"); err == nil && !bytes.Equal(timestamp, published.Timestamps[generation-1]) {
				committed()
			}
		}
		target := repotest.File(fmt.Sprintf("packages/demo/demo-%d.tar.gz", i), fmt.Sprint(i))
		receipt, err := repo.Add(t.Context(), target)
		require.NoError(t, err)
		_, err = receipt.Wait(t.Context())
		require.NoError(t, err)
		committed()
		published.Want = append(published.Want, target)

		// A cache may serve the timestamp of before for MaxAge.
		for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
			found, err := repotest.Visit(t, clients, client, time.Now(), target.Path)
			require.NoError(t, err)
			if len(found) == 1 {
				require.Equal(t, target.Hashes, found[target.Path].Hashes)
				break
			}
			require.Positive(t, cfg.Caching.MaxAge, "the client doesn't find what was published")
			require.Less(t, time.Since(start), time.Minute, "the client doesn't find what was published")
		}
	}
	published.Now = time.Now()
	repotest.CheckRepository(t, published)
	_, err = clients.Get(t.Context(), fmt.Sprintf("%d.root.json", root))
	require.NoError(t, err)
}

// The documented configuration keeps files that exist, and no error, not even one that says that it may be
// kept.
func TestWhatCachesKeep(t *testing.T) {
	for name, start := range caches {
		t.Run(name, func(t *testing.T) {
			var hits atomic.Int32
			status := http.StatusNotFound
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				switch {
				case r.URL.Path == "/timestamp.json":
					w.Header().Set("Cache-Control", "no-cache")
				case r.URL.Path == "/1.root.json":
					w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
				default:
					w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
					w.WriteHeader(status)
				}
				io.WriteString(w, r.URL.Path)
			}))
			defer origin.Close()
			at := start(t, origin.URL) + "/metadata/"
			ask := func(name string, want int) (asked int32) {
				t.Helper()
				before := hits.Load()
				response, err := http.Get(at + name)
				require.NoError(t, err)
				defer response.Body.Close()
				body, err := io.ReadAll(response.Body)
				require.NoError(t, err)
				require.Equal(t, want, response.StatusCode)
				if want == http.StatusOK {
					path, _, _ := strings.Cut(name, "?")
					require.Equal(t, "/"+path, string(body))
				}
				return hits.Load() - before
			}
			require.EqualValues(t, 1, ask("1.root.json", 200))
			require.EqualValues(t, 0, ask("1.root.json", 200))
			require.EqualValues(t, 0, ask("1.root.json?versionId=1", 200))
			for range 3 {
				require.EqualValues(t, 1, ask("timestamp.json", 200))
				for _, status = range []int{404, 403, 500, 503} {
					require.EqualValues(t, 1, ask("2.root.json", status), status)
				}
			}
		})
	}
}

// Clients that ask for what isn't kept at the same time don't wait for each other: each client asks for
// timestamp.json and for the next root.
func TestCachesAskSideBySide(t *testing.T) {
	const clients = 20
	for name, start := range caches {
		t.Run(name, func(t *testing.T) {
			var together, arrived atomic.Int32
			var all chan struct{}
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := together.Load(); n > 0 {
					if arrived.Add(1) == n {
						close(all)
					}
					select {
					case <-all: // each waits until all are there
					case <-r.Context().Done():
						return
					}
				}
				w.Header().Set("Cache-Control", "no-cache")
				if r.URL.Path != "/timestamp.json" {
					w.WriteHeader(http.StatusNotFound)
				}
			}))
			defer origin.Close()
			at := start(t, origin.URL) + "/metadata/"
			ask := func(ctx context.Context, name string, want int) error {
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, at+name, nil)
				if err != nil {
					return err
				}
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					return err
				}
				if response.StatusCode != want {
					err = fmt.Errorf("%s: %s", name, response.Status)
				}
				return errors.Join(err, response.Body.Close())
			}
			for name, want := range map[string]int{"timestamp.json": 200, "2.root.json": 404} {
				together.Store(0)
				require.NoError(t, ask(t.Context(), name, want)) // Varnish learns that it isn't kept
				arrived.Store(0)
				all = make(chan struct{})
				together.Store(clients)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				ended := make(chan error, clients)
				for range clients {
					go func() { ended <- ask(ctx, name, want) }()
				}
				for range clients {
					require.NoError(t, <-ended, name)
				}
			}
		})
	}
}

// With a line that many configurations have, Open refuses the cache.
func TestCacheThatKeeps404(t *testing.T) {
	server := s3test.Need(t)
	require.NoError(t, server.CreateBucket(t.Context(), index, true))
	cfg := gateway(server, index)
	cfg.PublicURL = startNginx(t, server.Object(index, "metadata"), map[string]string{"proxy_no_cache $tuf_not_kept;": "proxy_cache_valid any 10m;"}) + "/metadata/"
	_, err := s3store.Open(t.Context(), cfg)
	require.ErrorContains(t, err, "a cache there keeps the 404 that it got before")
}
