package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/bucket"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

const (
	binName  = "17.bins-0a3f.json"
	swapName = "timestamp.json"
)

// service is a bucket in memory.
type service struct {
	mu      sync.Mutex
	keys    map[string]bucket.Version
	caching map[string]string
	tag     int64
	writes  int // that were done
	calls   []string

	// fault sees each write, and may do it.
	fault func(do func() (string, error)) (string, error)

	ignores func(exists bool, c bucket.Condition) bool
	fails   string // the call that fails
	stale   bool   // reads are behind
}

func newService() *service {
	return &service{keys: map[string]bucket.Version{}, caching: map[string]string{}, tag: 1000}
}

func (s *service) open(t *testing.T) *bucket.Store {
	t.Helper()
	store, err := bucket.Open(t.Context(), s, config())
	require.NoError(t, err)
	s.calls, s.writes = nil, 0
	return store
}

func config() bucket.Config {
	return bucket.Config{Place: "memory://test/", Prefix: "metadata/", ClientsNeed: "the right to read"}
}

var errFails = errors.New("it fails")

func (s *service) call(ctx context.Context, name, key string) error {
	s.calls = append(s.calls, name+" "+key)
	if s.fails == name {
		return errFails
	}
	return ctx.Err()
}

func (s *service) Read(ctx context.Context, key string) (bucket.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call(ctx, "read", key); err != nil {
		return bucket.Version{}, err
	}
	have, ok := s.keys[key]
	if !ok {
		return have, repository.ErrNotExist
	}
	if s.stale {
		return bucket.Version{Data: []byte(`{"probe":1}`), Tag: have.Tag}, nil
	}
	return bucket.Version{Data: bytes.Clone(have.Data), Tag: have.Tag}, nil
}

func (s *service) Write(ctx context.Context, key string, data []byte, cacheControl string, c bucket.Condition) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call(ctx, "write", key); err != nil {
		return "", err
	}
	do := func() (string, error) {
		have, exists := s.keys[key]
		if met := c.Tag == have.Tag; !met && (s.ignores == nil || !s.ignores(exists, c)) {
			return "", fmt.Errorf("412: %w", bucket.ErrRefused)
		}
		s.tag++
		s.writes++
		tag := strconv.FormatInt(s.tag, 10)
		s.keys[key], s.caching[key] = bucket.Version{Data: bytes.Clone(data), Tag: tag}, cacheControl
		return tag, nil
	}
	if s.fault != nil {
		return s.fault(do)
	}
	return do()
}

func (s *service) List(ctx context.Context, prefix string) iter.Seq2[repository.Info, error] {
	s.mu.Lock()
	keys := maps.Clone(s.keys)
	err := s.call(ctx, "list", prefix)
	s.mu.Unlock()
	return func(yield func(repository.Info, error) bool) {
		if err != nil {
			yield(repository.Info{}, err)
			return
		}
		for key, v := range keys {
			if strings.HasPrefix(key, prefix) && !yield(repository.Info{Name: key, Size: int64(len(v.Data))}, nil) {
				return
			}
		}
	}
}

func (s *service) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.call(ctx, "delete", key); err != nil {
		return err
	}
	delete(s.keys, key)
	return nil
}

func TestStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) repository.Store { return newService().open(t) })
}

// The suite passes although every third write is refused or lost, done or not.
func TestStoreWithRefusals(t *testing.T) {
	for _, done := range []bool{false, true} {
		t.Run(fmt.Sprint("done ", done), func(t *testing.T) {
			storetest.TestStore(t, func(t *testing.T) repository.Store {
				s := newService()
				store := s.open(t)
				n := 0
				s.fault = func(do func() (string, error)) (string, error) {
					if n++; n%3 != 0 {
						return do()
					}
					if done {
						do()
					}
					return "", bucket.ErrRefused
				}
				return store
			})
		})
	}
}

// The requests of each call, and that nothing is written twice.
func TestCosts(t *testing.T) {
	s := newService()
	store, other := s.open(t), s.open(t)
	ctx := t.Context()
	for _, step := range []struct {
		want string
		do   func() error
	}{
		{"write", func() error { return store.Create(ctx, "a.json", []byte("a")) }},
		{"write read", func() error { return store.Create(ctx, "a.json", []byte("a")) }},
		{"read write", func() error { return store.Swap(ctx, swapName, nil, []byte("1")) }},
		{"write", func() error { return store.Swap(ctx, swapName, []byte("1"), []byte("2")) }},
		{"read", func() error { return store.Swap(ctx, swapName, []byte("1"), []byte("2")) }},
		{"write", func() error { return store.Swap(ctx, swapName, []byte("2"), []byte("3")) }},
		{"read write", func() error { return other.Swap(ctx, swapName, []byte("3"), []byte("4")) }},
		{"write read", func() error { return store.Swap(ctx, swapName, []byte("3"), []byte("4")) }},
		{"delete", func() error { return store.Delete(ctx, swapName) }},
		{"list", func() error {
			for range store.List(ctx) {
			}
			return nil
		}},
	} {
		s.calls = nil
		require.NoError(t, step.do())
		var got []string
		for _, call := range s.calls {
			name, _, _ := strings.Cut(call, " ")
			got = append(got, name)
		}
		require.Equal(t, step.want, strings.Join(got, " "))
	}
	require.Equal(t, 5, s.writes)
	require.Equal(t, "no-cache", s.caching["metadata/"+swapName])
	require.Equal(t, "public, max-age=31536000, immutable", s.caching["metadata/a.json"])
}

// A write that was done, and then refused, has succeeded. One that was refused because of another content is
// a conflict. One that is refused for no reason is an error that may be repeated.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		store := s.open(t)
		lost := func(do func() (string, error)) (string, error) { do(); return "", bucket.ErrRefused }
		s.fault = lost
		require.NoError(t, store.Create(t.Context(), binName, []byte("bin")))
		require.NoError(t, store.Swap(t.Context(), swapName, nil, []byte("1")))
		require.NoError(t, store.Swap(t.Context(), swapName, []byte("1"), []byte("2")))
		require.Equal(t, 3, s.writes)
		require.ErrorIs(t, store.Create(t.Context(), binName, []byte("other")), repository.ErrConflict)
		require.ErrorIs(t, store.Swap(t.Context(), swapName, []byte("1"), []byte("3")), repository.ErrConflict)

		s.calls = nil
		s.fault = func(func() (string, error)) (string, error) { return "", bucket.ErrRefused }
		err := store.Create(t.Context(), "18.bins.json", []byte("bin"))
		require.ErrorContains(t, err, `create "18.bins.json" in memory://test/metadata/: the service refused it 8 times`)
		require.NotErrorIs(t, err, repository.ErrConflict)
		require.Len(t, s.calls, 16)
		require.Equal(t, 3, s.writes)

		s.fault = nil
		require.NoError(t, store.Create(t.Context(), "18.bins.json", []byte("bin")))
	})
}

// An error that is no refusal is returned at once.
func TestErrors(t *testing.T) {
	s := newService()
	store := s.open(t)
	s.fails = "write"
	require.ErrorIs(t, store.Create(t.Context(), binName, nil), errFails)
	require.ErrorIs(t, store.Swap(t.Context(), swapName, nil, nil), errFails)
	s.fails = "read"
	_, err := store.Get(t.Context(), binName)
	require.ErrorIs(t, err, errFails)
	require.ErrorIs(t, store.Swap(t.Context(), swapName, nil, nil), errFails)
	s.fails = "delete"
	require.ErrorIs(t, store.Delete(t.Context(), binName), errFails)
	s.fails = "list"
	for _, err := range store.List(t.Context()) {
		require.ErrorIs(t, err, errFails)
	}
	require.Equal(t, []string{
		"write metadata/" + binName, "read metadata/" + swapName, "write metadata/" + swapName, "read metadata/" + binName, "read metadata/" + swapName,
		"delete metadata/" + binName, "list metadata/",
	}, s.calls)
	require.ErrorContains(t, store.Create(t.Context(), binName, make([]byte, bucket.MaxSize+1)), "the limit is 67108864")
}

func TestOpenRefuses(t *testing.T) {
	for _, test := range []struct {
		want string
		set  func(*service)
	}{
		{"replaced a name that must be missing, and exists", func(s *service) {
			s.ignores = func(_ bool, c bucket.Condition) bool { return c == bucket.Missing }
		}},
		{"replaced a name that has another ETag or generation", func(s *service) {
			s.ignores = func(exists bool, c bucket.Condition) bool { return exists && c != bucket.Missing }
		}},
		{"replaced a name that has a certain ETag or generation, and is missing", func(s *service) {
			s.ignores = func(exists bool, c bucket.Condition) bool { return !exists && c != bucket.Missing }
		}},
		{"the service isn't consistent", func(s *service) { s.stale = true }},
		{"list memory://test/metadata/: it fails", func(s *service) { s.fails = "list" }},
		{"open memory://test/metadata/: it fails", func(s *service) { s.fails = "read" }},
		{"a write under a condition: it fails", func(s *service) { s.fails = "write" }},
		{"delete ", func(s *service) { s.fails = "delete" }},
	} {
		s := newService()
		test.set(s)
		_, err := bucket.Open(t.Context(), s, config())
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, "open memory://test/metadata/: ")
		if s.fails != "delete" {
			require.Empty(t, s.keys, test.want)
		}
	}
}

// Open writes only names of its own, and removes them.
func TestOpenLeavesNothing(t *testing.T) {
	s := newService()
	_, err := bucket.Open(t.Context(), s, config())
	require.NoError(t, err)
	require.Len(t, s.calls, 10)
	require.Empty(t, s.keys)
	require.Equal(t, 2, s.writes)
	for _, call := range s.calls[1:] {
		require.Regexp(t, `^[a-z]+ metadata/1\.bindery-probe-[a-z0-9]{26}\.json$`, call)
	}
}

func TestConfigRefused(t *testing.T) {
	for want, set := range map[string]func(*bucket.Config){
		`Place is "memory:"`:      func(c *bucket.Config) { c.Place = "memory:" },
		`Prefix is "metadata"`:    func(c *bucket.Config) { c.Prefix = "metadata" },
		`Prefix is "/"`:           func(c *bucket.Config) { c.Prefix = "/" },
		`Prefix is "a//b/"`:       func(c *bucket.Config) { c.Prefix = "a//b/" },
		`Prefix is "a/../"`:       func(c *bucket.Config) { c.Prefix = "a/../" },
		"Timeout is -1ns":         func(c *bucket.Config) { c.Timeout = -1 },
		`PublicURL is "x.org/"`:   func(c *bucket.Config) { c.PublicURL = "x.org/" },
		`PublicURL is "http://x"`: func(c *bucket.Config) { c.PublicURL = "http://x" },
	} {
		s, cfg := newService(), config()
		set(&cfg)
		_, err := bucket.Open(t.Context(), s, cfg)
		require.ErrorContains(t, err, "config: "+want)
		require.Empty(t, s.calls)
	}
}

// A prefix keeps things in one bucket apart, and what isn't a store's is left out.
func TestPrefixes(t *testing.T) {
	s := newService()
	prefixes := []string{"", "metadata/", "metadata/staging/", "other/"}
	stores := map[string]*bucket.Store{}
	for _, prefix := range prefixes {
		cfg := config()
		cfg.Prefix = prefix
		var err error
		stores[prefix], err = bucket.Open(t.Context(), s, cfg)
		require.NoError(t, err)
		require.Equal(t, "memory://test/"+prefix, stores[prefix].String())
		require.NoError(t, stores[prefix].Create(t.Context(), binName, []byte(prefix)))
	}
	for _, stray := range []string{"metadata/", "metadata/.hidden", "metadata/a b"} {
		s.keys[stray] = bucket.Version{}
	}
	for _, prefix := range prefixes {
		var got []repository.Info
		for info, err := range stores[prefix].List(t.Context()) {
			require.NoError(t, err)
			got = append(got, info)
		}
		require.Equal(t, []repository.Info{{Name: binName, Size: int64(len(prefix))}}, got)
	}
}

func TestNames(t *testing.T) {
	s := newService()
	store := s.open(t)
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "a b", "a\x00", "ä.json", "a?b", "a%2fb", strings.Repeat("x", 256)} {
		_, err := store.Get(t.Context(), name)
		require.ErrorContains(t, err, "name: ")
		require.NotErrorIs(t, err, repository.ErrNotExist)
		require.ErrorContains(t, store.Create(t.Context(), name, nil), "name: ")
		require.ErrorContains(t, store.Swap(t.Context(), name, nil, nil), "name: ")
		require.ErrorContains(t, store.Delete(t.Context(), name), "name: ")
	}
	require.Empty(t, s.calls)
}

// edge is what clients see of a bucket.
type edge struct {
	s       *service
	missing int  // the status of a missing name
	found   int  // the status of one that exists; 0 is 200
	keeps   bool // errors
	other   bool // it is another bucket
	down    int  // so many first requests fail

	mu   sync.Mutex
	kept map[string]int
	hits int
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hits++
	if e.down > 0 {
		e.down--
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if status := e.kept[r.URL.Path]; status != 0 {
		w.WriteHeader(status)
		return
	}
	e.s.mu.Lock()
	have, ok := e.s.keys[strings.TrimPrefix(r.URL.Path, "/")]
	e.s.mu.Unlock()
	switch {
	case !ok:
		if e.keeps {
			e.kept[r.URL.Path] = e.missing
		}
		w.WriteHeader(e.missing)
	case e.found != 0:
		w.WriteHeader(e.found)
	case e.other:
		w.Write([]byte("something else"))
	default:
		w.Write(have.Data)
	}
}

// What clients would get is tried where they get it.
func TestPublicURL(t *testing.T) {
	for _, test := range []struct {
		name, want string
		hits       int
		edge       *edge
	}{
		{"as it must be", "", 2, &edge{missing: 404}},
		{"403", "clients get 403, not 404, for a missing name at URL, and most stop on anything but 404: grant everybody the right to read", 1, &edge{missing: 403}},
		{"401", "clients get 401, not 404", 1, &edge{missing: 401}},
		{"a page for everything", "clients get 200, not 404, for a missing name at URL", 1, &edge{missing: 200}},
		{"404 is kept", "clients at URL don't find a name that was just written: a cache there keeps the 404 that it got before", 2, &edge{missing: 404, keeps: true}},
		{"nothing may be read", "clients get 403 at URL for a name that exists: grant everybody the right to read", 2, &edge{missing: 404, found: 403}},
		{"another bucket", "clients at URL get other bytes than the bucket has", 2, &edge{missing: 404, other: true}},
		{"down for a moment", "", 4, &edge{missing: 404, down: 2}},
		{"down", "clients get 502, not 404", 3, &edge{missing: 404, down: 100}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, e := newService(), test.edge
			e.s, e.kept = s, map[string]int{}
			server := httptest.NewServer(e)
			defer server.Close()
			cfg := config()
			cfg.PublicURL = server.URL + "/metadata/"
			_, err := bucket.Open(t.Context(), s, cfg)
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, strings.ReplaceAll(test.want, "URL", cfg.PublicURL))
			}
			require.Equal(t, test.hits, e.hits)
			require.Empty(t, s.keys)
		})
	}
	// Without the URL, one warning says that nobody tried it.
	for _, public := range []bool{false, true} {
		s, e := newService(), &edge{missing: 404}
		e.s, e.kept = s, map[string]int{}
		server := httptest.NewServer(e)
		defer server.Close()
		var log bytes.Buffer
		cfg := config()
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		if public {
			cfg.PublicURL = server.URL + "/metadata/"
		}
		_, err := bucket.Open(t.Context(), s, cfg)
		require.NoError(t, err)
		if public {
			require.Empty(t, log.String())
			continue
		}
		require.Equal(t, 1, strings.Count(log.String(), "\n"))
		require.Contains(t, log.String(), "level=WARN msg=\"what clients see of the bucket was not tried, because PublicURL is not set")
		require.Contains(t, log.String(), `bucket=memory://test/metadata/ "clients need"="the right to read"`)
	}
	s, cfg := newService(), config()
	server := httptest.NewServer(nil)
	server.Close()
	cfg.PublicURL, cfg.Attempts = server.URL+"/", 1
	_, err := bucket.Open(t.Context(), s, cfg)
	require.ErrorContains(t, err, "ask as clients do (Config.PublicURL): ")
	require.Empty(t, slices.Collect(maps.Keys(s.keys)))
}
