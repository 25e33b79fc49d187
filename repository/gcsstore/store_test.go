package gcsstore_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/bucket"
	"github.com/bindery-tuf/bindery/repository/gcsstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

const (
	binName  = "17.bins-0a3f.json"
	swapName = "timestamp.json"
)

func TestStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) repository.Store {
		f := newFake()
		f.pageSize = 100
		return f.open(t)
	})
}

// Where caches may serve the timestamp, too.
func TestStoreWithCaching(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) repository.Store {
		f := newFake()
		cfg := f.config(t)
		cfg.Caching.MaxAge = time.Minute
		s, err := gcsstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		return s
	})
}

func TestCosts(t *testing.T) {
	f := newFake()
	s := f.open(t)
	ctx := t.Context()
	get, put := "GET metadata/"+swapName, "POST metadata/"+swapName
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return s.Create(ctx, binName, []byte("bin")) }, []string{"POST metadata/" + binName}},
		{func() error { return s.Create(ctx, binName, []byte("bin")) }, []string{"POST metadata/" + binName, "GET metadata/" + binName}},
		{func() error { return s.Swap(ctx, swapName, nil, []byte("1")) }, []string{get, put}},
		{func() error { return s.Swap(ctx, swapName, []byte("1"), []byte("2")) }, []string{put}},
		{func() error { return s.Swap(ctx, swapName, []byte("1"), []byte("2")) }, []string{get}},
		{func() error { return s.Delete(ctx, swapName) }, []string{"DELETE metadata/" + swapName}},
	} {
		require.Equal(t, step.want, f.requests(func() { require.NoError(t, step.do()) }))
	}
	require.Equal(t, []string{"metadata/" + binName}, f.keys())
	require.Len(t, f.requests(func() { f.open(t) }), 11)

	// Where caches may serve the timestamp, the service's own may, and the generation decides.
	cfg := f.config(t)
	cfg.Caching.MaxAge = time.Minute
	s, err := gcsstore.Open(ctx, cfg)
	require.NoError(t, err)
	require.NoError(t, s.Swap(ctx, swapName, nil, []byte("1")))
	require.Equal(t, []string{get, get}, f.requests(func() { s.Get(ctx, swapName) }))
	require.Equal(t, []string{"GET metadata/" + binName}, f.requests(func() { s.Get(ctx, binName) }))
}

// What a client gets from the bucket is what web.Handler sends.
func TestAttributes(t *testing.T) {
	f := newFake()
	cfg := f.config(t)
	cfg.Caching = repository.Caching{MaxAge: time.Minute}
	s, err := gcsstore.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), binName, []byte("bin")))
	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("1")))
	for name, caching := range map[string]string{binName: "public, max-age=31536000, immutable", swapName: "public, max-age=60, must-revalidate"} {
		attributes := f.objects["metadata/"+name].attributes
		require.Equal(t, "application/json", attributes["contentType"])
		require.Equal(t, caching, attributes["cacheControl"])
		require.NotContains(t, attributes, "contentEncoding")
		require.NotEmpty(t, attributes["crc32c"])
	}
	require.Equal(t, time.Second, s.MinInterval())
}

// faults are ways in which a request fails although, or before, it is done.
var faults = []struct {
	name string
	fail func(do func() *http.Response) (*http.Response, error)
}{
	{"cut before", func(func() *http.Response) (*http.Response, error) { return nil, errCut }},
	{"reply lost", func(do func() *http.Response) (*http.Response, error) { do(); return nil, errCut }},
	{"throttled", func(func() *http.Response) (*http.Response, error) { return refusal(429, "rateLimitExceeded"), nil }},
	{"failed inside, but done", func(do func() *http.Response) (*http.Response, error) {
		do()
		return refusal(503, "backendError"), nil
	}},
	{"bad gateway, but done", func(do func() *http.Response) (*http.Response, error) { do(); return answer(502, nil, nil), nil }},
}

// times has the first n requests of a method fail.
func (f *fakeGCS) times(n int, method string, fail func(do func() *http.Response) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = func(r *http.Request, do func() *http.Response) (*http.Response, error) {
		f.mu.Lock()
		hit := r.Method == method && n > 0
		if hit {
			n--
		}
		f.mu.Unlock()
		if !hit {
			return nil, nil
		}
		return fail(do)
	}
}

// Each call that writes, with each fault, once and twice in a row, has the one right result. Nothing is written
// twice.
func TestFaults(t *testing.T) {
	for _, fault := range faults {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprintf("%s, %d times", fault.name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					s := f.open(t)
					ctx := t.Context()
					f.writes = 0
					f.times(n, http.MethodPost, fault.fail)
					require.NoError(t, s.Create(ctx, binName, []byte("bin")))
					f.times(n, http.MethodPost, fault.fail)
					require.NoError(t, s.Swap(ctx, swapName, nil, []byte("1")))
					f.times(n, http.MethodPost, fault.fail)
					require.NoError(t, s.Swap(ctx, swapName, []byte("1"), []byte("2")))
					require.Equal(t, 3, f.writes)
					f.times(n, http.MethodGet, fault.fail)
					got, err := s.Get(ctx, swapName)
					require.NoError(t, err)
					require.Equal(t, "2", string(got))
					f.times(n, http.MethodDelete, fault.fail)
					require.NoError(t, s.Delete(ctx, binName))
					f.times(n, http.MethodPost, fault.fail)
					require.ErrorIs(t, s.Swap(ctx, swapName, []byte("1"), []byte("4")), repository.ErrConflict)
					require.ErrorIs(t, s.Create(ctx, swapName, []byte("4")), repository.ErrConflict)
					require.Equal(t, 3, f.writes)
					require.Equal(t, []string{"metadata/" + swapName}, f.keys())

					f.times(1000, http.MethodPost, fault.fail)
					calls := f.requests(func() {
						require.ErrorContains(t, s.Create(ctx, "9.bins.json", nil), `create "9.bins.json" in gs://index/metadata/: the service`)
					})
					require.Equal(t, []string{"POST metadata/9.bins.json", "POST metadata/9.bins.json", "POST metadata/9.bins.json"}, calls)
				})
			})
		}
	}
}

// hang is a service that never answers.
func hang(r *http.Request, _ func() *http.Response) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		cfg := f.config(t)
		cfg.Timeout = 7 * time.Second
		s, err := gcsstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		f.fault = hang
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { return s.Create(ctx, binName, []byte("bin")) },
			func(ctx context.Context) error { return s.Swap(ctx, swapName, nil, []byte("1")) },
			func(ctx context.Context) error { return s.Delete(ctx, binName) },
			func(ctx context.Context) error { _, err := s.Get(ctx, binName); return err },
			func(ctx context.Context) (found error) {
				for _, err := range s.List(ctx) {
					found = err
				}
				return found
			},
		} {
			start := time.Now()
			err = call(t.Context())
			require.ErrorContains(t, err, "no answer within 7s (Config.Timeout)")
			require.NotErrorIs(t, err, context.DeadlineExceeded) // the caller's context did not end
			require.GreaterOrEqual(t, time.Since(start), 21*time.Second)
			require.Less(t, time.Since(start), time.Minute)

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			require.ErrorIs(t, call(ctx), context.DeadlineExceeded)
			cancel()
		}
	})
}

// cutBody ends in the middle of an answer.
type cutBody struct{ io.Reader }

func (b cutBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b cutBody) Close() error { return nil }

// An answer that ends early, or is altered on the way, is never returned.
func TestGetIsWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for name, damage := range map[string]func(response *http.Response){
		"cut": func(response *http.Response) { response.Body = cutBody{io.LimitReader(response.Body, 5000)} },
		"short": func(response *http.Response) {
			response.Header.Del("X-Goog-Hash")
			response.Body = io.NopCloser(io.LimitReader(response.Body, 5000))
		},
		"altered": func(response *http.Response) {
			response.Body = io.NopCloser(io.MultiReader(strings.NewReader("X"), io.LimitReader(response.Body, 9999)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				s := f.open(t)
				require.NoError(t, s.Create(t.Context(), binName, content))
				f.fault = func(_ *http.Request, do func() *http.Response) (*http.Response, error) {
					response := do()
					damage(response)
					return response, nil
				}
				got, err := s.Get(t.Context(), binName)
				require.Error(t, err)
				require.Nil(t, got)
				require.NotErrorIs(t, err, repository.ErrNotExist)
			})
		})
	}
	f := newFake()
	s := f.open(t)
	f.objects["metadata/"+binName] = object{make([]byte, bucket.MaxSize+1), 5, nil}
	_, err := s.Get(t.Context(), binName)
	require.ErrorContains(t, err, "the limit is 67108864")
}

func TestOpenRefuses(t *testing.T) {
	deny := func(method, said string) func(*fakeGCS, *gcsstore.Config) {
		return func(f *fakeGCS, _ *gcsstore.Config) { f.denies = map[string]string{method: said} }
	}
	always := func(status int, said string) func(*fakeGCS, *gcsstore.Config) {
		return func(f *fakeGCS, _ *gcsstore.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) { return refusal(status, said), nil }
		}
	}
	for _, test := range []struct {
		name, want string
		set        func(*fakeGCS, *gcsstore.Config)
	}{
		{"DoesNotExist is ignored", "replaced a name that must be missing, and exists", func(f *fakeGCS, _ *gcsstore.Config) { f.ignores = "0" }},
		{"generations are ignored", "replaced a name that has a certain ETag or generation, and is missing", func(f *fakeGCS, _ *gcsstore.Config) { f.ignores = "generation" }},
		{"POST is denied", "not permitted: grant the credentials storage.objects.create and storage.objects.delete on gs://index (roles/storage.objectUser); or is the bucket somebody else's?", deny("POST", "no access")},
		{"DELETE is denied", "grant the credentials storage.objects.delete on gs://index", deny("DELETE", "no access")},
		{"GET is denied", "grant the credentials storage.objects.list on gs://index", deny("GET", "no access")},
		{"there is no bucket", `there is no bucket "other": create it, or correct Config.Bucket`, func(_ *fakeGCS, c *gcsstore.Config) { c.Bucket = "other" }},
		{"retention", "the bucket's retention policy keeps each object from being replaced for 24h0m0s, and timestamp.json with them: remove the policy, or use another bucket",
			func(f *fakeGCS, _ *gcsstore.Config) {
				f.bucket = `{"retentionPolicy":{"retentionPeriod":"86400","effectiveTime":"2026-01-02T03:04:05Z"}}`
			}},
		{"hold", "the bucket's default event-based hold keeps each new object from being replaced, and timestamp.json with them: turn it off",
			func(f *fakeGCS, _ *gcsstore.Config) { f.bucket = `{"defaultEventBasedHold":true}` }},
		{"credentials", "the service takes the credentials for none or expired: renew them", always(401, "Invalid Credentials")},
		{"throttled", "the service is throttling", always(429, "slow down")},
		{"failing", "the service failed inside", always(500, "oops")},
		{"not reached", "the service could not be reached", func(f *fakeGCS, _ *gcsstore.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) { return nil, errCut }
		}},
		{"it hangs", "no answer within 30s (Config.Timeout)", func(f *fakeGCS, _ *gcsstore.Config) { f.fault = hang }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				cfg := f.config(t)
				test.set(f, &cfg)
				_, err := gcsstore.Open(t.Context(), cfg)
				require.ErrorContains(t, err, test.want)
				require.ErrorContains(t, err, "gcsstore: open gs://"+cfg.Bucket+"/metadata/: ")
				require.NotContains(t, err.Error(), "%!")
				if f.denies["DELETE"] == "" {
					require.Empty(t, f.keys())
				}
			})
		})
	}
	for want, set := range map[string]func(*gcsstore.Config){
		"Client is nil":              func(c *gcsstore.Config) { c.Client = nil },
		"Bucket is empty":            func(c *gcsstore.Config) { c.Bucket = "" },
		`Bucket is "index/metadata"`: func(c *gcsstore.Config) { c.Bucket = "index/metadata" },
		`Prefix is "metadata"`:       func(c *gcsstore.Config) { c.Prefix = "metadata" },
		"Timeout is -1ns":            func(c *gcsstore.Config) { c.Timeout = -1 },
	} {
		f := newFake()
		cfg := f.config(t)
		set(&cfg)
		_, err := gcsstore.Open(t.Context(), cfg)
		require.ErrorContains(t, err, "gcsstore: config: "+want)
		require.Empty(t, f.calls)
	}
}

func TestOpenWarns(t *testing.T) {
	const (
		versioned = "the bucket keeps old versions, so deleting frees no space: have a lifecycle rule delete noncurrent versions, or turn versioning off"
		soft      = "the bucket keeps deleted objects for a while, so deleting frees no space before: set its soft delete policy to 0 if you don't want to pay for that"
		locked    = "the bucket can lock objects, so deleting frees no space before their retention ends, if somebody sets one: use a bucket without object retention"
		unasked   = "it could not be asked whether the bucket keeps old versions or locks objects, where deleting frees no space: grant the credentials storage.buckets.get on gs://index (roles/storage.legacyBucketReader), or make sure that it doesn't"
	)
	for attributes, want := range map[string]string{
		`{}`:                               "",
		`{"versioning":{"enabled":false}}`: "",
		`{"versioning":{"enabled":true}}`:  versioned,
		`{"softDeletePolicy":{"retentionDurationSeconds":"604800"}}`: soft,
		`{"softDeletePolicy":{"retentionDurationSeconds":"0"}}`:      "",
		`{"objectRetention":{"mode":"Enabled"}}`:                     locked,
		"denied":                                                     unasked,
	} {
		f := newFake()
		f.bucket = attributes
		f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
			if attributes == "denied" && strings.HasSuffix(r.URL.Path, "/b/"+index) {
				return refusal(403, "no storage.buckets.get access"), nil
			}
			return nil, nil
		}
		var log bytes.Buffer
		cfg := f.config(t)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, err := gcsstore.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Contains(t, log.String(), "PublicURL is not set")
		if want == "" {
			require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
			continue
		}
		require.Contains(t, log.String(), fmt.Sprintf("level=WARN msg=%q bucket=gs://index/metadata/", want))
	}
}
