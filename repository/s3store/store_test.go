package s3store_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/bucket"
	"github.com/bindery-tuf/bindery/repository/s3store"
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

// requests runs f and returns the requests that it made.
func (f *fakeS3) requests(do func()) []string {
	f.mu.Lock()
	f.calls = nil
	f.mu.Unlock()
	do()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func TestCosts(t *testing.T) {
	f := newFake()
	s := f.open(t)
	ctx := t.Context()
	get, put, del := "GET metadata/"+swapName, "PUT metadata/"+swapName, "DELETE metadata/"+swapName
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return s.Create(ctx, binName, []byte("bin")) }, []string{"PUT metadata/" + binName}},
		{func() error { return s.Create(ctx, binName, []byte("bin")) }, []string{"PUT metadata/" + binName, "GET metadata/" + binName}},
		{func() error { return s.Swap(ctx, swapName, nil, []byte("1")) }, []string{get, put}},
		{func() error { return s.Swap(ctx, swapName, []byte("1"), []byte("2")) }, []string{put}},
		{func() error { return s.Swap(ctx, swapName, []byte("2"), []byte("3")) }, []string{put}},
		{func() error { return s.Swap(ctx, swapName, []byte("2"), []byte("3")) }, []string{get}},
		{func() error { return s.Swap(ctx, swapName, []byte("3"), []byte("4")) }, []string{put}},
		{func() error { return f.open(t).Swap(ctx, swapName, []byte("4"), []byte("5")) }, []string{get, put}},
		// Another publisher swapped.
		{func() error { return s.Swap(ctx, swapName, []byte("4"), []byte("5")) }, []string{put, get}},
		{func() error { return s.Delete(ctx, swapName) }, []string{del}},
	} {
		require.Equal(t, step.want, f.requests(func() { require.NoError(t, step.do()) }))
	}
	require.Equal(t, []string{"metadata/" + binName}, f.keys())
}

// What a client gets from the bucket is what web.Handler sends.
func TestHeaders(t *testing.T) {
	f := newFake()
	cfg := f.config()
	cfg.Caching = repository.Caching{MaxAge: time.Minute}
	s, err := s3store.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), binName, []byte("bin")))
	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("1")))
	require.NoError(t, s.Swap(t.Context(), swapName, []byte("1"), []byte("2")))
	for name, caching := range map[string]string{binName: "public, max-age=31536000, immutable", swapName: "public, max-age=60, must-revalidate"} {
		h := f.objects["metadata/"+name].header
		require.Equal(t, "application/json", h.Get("Content-Type"))
		require.Equal(t, caching, h.Get("Cache-Control"))
		require.NotContains(t, h, "Content-Encoding")
		require.NotContains(t, h, "X-Amz-Trailer")
		require.NotEmpty(t, h.Get("X-Amz-Checksum-Crc32c"))
		require.Empty(t, h.Get("X-Amz-Checksum-Crc32"))
	}

	cfg.AWS.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	s, err = s3store.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), "18.bins.json", []byte("bin")))
	for name := range f.objects["metadata/18.bins.json"].header {
		require.NotContains(t, name, "X-Amz-Checksum")
		require.NotContains(t, name, "Trailer")
	}
}

// faults are ways in which a request fails although, or before, it is done.
var faults = []struct {
	name string
	done bool
	fail func(do func() *http.Response) (*http.Response, error)
}{
	{"cut before", false, func(func() *http.Response) (*http.Response, error) { return nil, errCut }},
	{"reply lost", true, func(do func() *http.Response) (*http.Response, error) { do(); return nil, errCut }},
	{"throttled", false, func(func() *http.Response) (*http.Response, error) { return refusal(503, "SlowDown"), nil }},
	{"failed inside, but done", true, func(do func() *http.Response) (*http.Response, error) {
		do()
		return refusal(500, "InternalError"), nil
	}},
	{"bad gateway, but done", true, func(do func() *http.Response) (*http.Response, error) { do(); return answer(502, nil, nil), nil }},
}

// times has the first n requests of a method fail.
func (f *fakeS3) times(n int, method string, fail func(do func() *http.Response) (*http.Response, error)) {
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
					require.NoError(t, s.Swap(ctx, "other.json", nil, []byte("1")))
					f.writes = 0

					f.times(n, http.MethodPut, fault.fail)
					require.NoError(t, s.Create(ctx, binName, []byte("bin")))
					f.times(n, http.MethodPut, fault.fail)
					require.NoError(t, s.Swap(ctx, swapName, nil, []byte("1")))
					f.times(n, http.MethodPut, fault.fail)
					require.NoError(t, s.Swap(ctx, swapName, []byte("1"), []byte("2")))
					f.times(n, http.MethodPut, fault.fail)
					require.NoError(t, s.Swap(ctx, swapName, []byte("2"), []byte("3")))
					require.Equal(t, 4, f.writes)
					f.times(n, http.MethodGet, fault.fail)
					got, err := s.Get(ctx, swapName)
					require.NoError(t, err)
					require.Equal(t, "3", string(got))
					f.times(n, http.MethodDelete, fault.fail)
					require.NoError(t, s.Delete(ctx, binName))

					f.times(n, http.MethodPut, fault.fail)
					require.ErrorIs(t, s.Swap(ctx, swapName, []byte("2"), []byte("4")), repository.ErrConflict)
					require.ErrorIs(t, s.Create(ctx, swapName, []byte("4")), repository.ErrConflict)
					require.Equal(t, 4, f.writes)
					require.Equal(t, []string{"metadata/other.json", "metadata/" + swapName}, f.keys())
				})
			})
		}
	}
}

// A service that stays away is an error, after the attempts that were configured.
func TestGivesUp(t *testing.T) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				s := f.open(t)
				f.times(1000, http.MethodPut, fault.fail)
				calls := f.requests(func() {
					err := s.Create(t.Context(), binName, []byte("bin"))
					require.ErrorContains(t, err, `create "`+binName+`" in s3://index/metadata/: the service`)
				})
				require.Equal(t, []string{"PUT metadata/" + binName, "PUT metadata/" + binName, "PUT metadata/" + binName}, calls)
				f.fault = nil
				require.NoError(t, s.Create(t.Context(), binName, []byte("bin"))) // it may be repeated
			})
		})
	}
}

// After a refusal, what is there decides, and not what the service says.
func TestRefusals(t *testing.T) {
	for _, refused := range []struct {
		status int
		code   string
	}{{412, "PreconditionFailed"}, {409, "ConditionalRequestConflict"}, {409, "OperationAborted"}, {404, "NoSuchKey"}} {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprint(refused.code, done), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFake()
					s := f.open(t)
					refuse := func(do func() *http.Response) (*http.Response, error) {
						if done {
							do()
						}
						return refusal(refused.status, refused.code), nil
					}
					for n := 1; n <= 2; n++ {
						name := fmt.Sprintf("%d.bins.json", n)
						f.times(n, http.MethodPut, refuse)
						require.NoError(t, s.Create(t.Context(), name, []byte("bin")))
						old := []byte(nil)
						for i := range 3 {
							next := fmt.Append(nil, n, i)
							f.times(n, http.MethodPut, refuse)
							require.NoError(t, s.Swap(t.Context(), "x"+name, old, next))
							old = next
						}
					}
					require.Equal(t, 8, f.writes-2) // 2 were Open's

					f.times(1000, http.MethodPut, func(func() *http.Response) (*http.Response, error) {
						return refusal(refused.status, refused.code), nil
					})
					err := s.Create(t.Context(), "9.bins.json", []byte("bin"))
					require.ErrorContains(t, err, "refused it 8 times")
					require.NotErrorIs(t, err, repository.ErrConflict)
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
		cfg := f.config()
		cfg.Timeout = 7 * time.Second
		s, err := s3store.Open(t.Context(), cfg)
		require.NoError(t, err)
		f.fault = hang
		start := time.Now()
		err = s.Create(t.Context(), binName, []byte("bin"))
		require.ErrorContains(t, err, "no answer within 7s (Config.Timeout)")
		require.NotErrorIs(t, err, context.DeadlineExceeded) // the caller's context did not end
		require.GreaterOrEqual(t, time.Since(start), 21*time.Second)
		require.Less(t, time.Since(start), time.Minute)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Create(ctx, binName, []byte("bin")), context.DeadlineExceeded)
		_, err = s.Get(ctx, binName)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// cutBody ends in the middle of an answer, or stalls there.
type cutBody struct {
	data  io.Reader
	stall <-chan struct{}
}

func (b cutBody) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if err == io.EOF {
		if b.stall != nil {
			<-b.stall
			return n, context.DeadlineExceeded
		}
		return n, errCut
	}
	return n, err
}

func (b cutBody) Close() error { return nil }

// An answer that ends early, stalls, or is altered on the way is asked for again, and never returned.
func TestGetIsWhole(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for _, test := range []struct {
		name, want string
		damage     func(r *http.Request, response *http.Response)
	}{
		{"cut", "connection reset", func(_ *http.Request, response *http.Response) {
			response.Body = cutBody{io.LimitReader(response.Body, 5000), nil}
		}},
		{"short", "bytes of 10000 arrived", func(_ *http.Request, response *http.Response) {
			response.Header.Del("X-Amz-Checksum-Crc32c")
			response.Header.Set("Content-Length", "10000")
			response.Body = io.NopCloser(io.LimitReader(response.Body, 5000))
		}},
		{"stalls", "no answer within 30s", func(r *http.Request, response *http.Response) {
			response.Body = cutBody{io.LimitReader(response.Body, 5000), r.Context().Done()}
		}},
		{"altered", "checksum", func(_ *http.Request, response *http.Response) {
			response.Body = io.NopCloser(io.MultiReader(strings.NewReader("X"), io.LimitReader(response.Body, 9999)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				s := f.open(t)
				require.NoError(t, s.Create(t.Context(), binName, content))
				for n := 1; n <= 3; n++ {
					left := n
					f.fault = func(r *http.Request, do func() *http.Response) (*http.Response, error) {
						response := do()
						response.Header.Set("Content-Length", fmt.Sprint(response.ContentLength))
						if left > 0 {
							test.damage(r, response)
						}
						left--
						return response, nil
					}
					got, err := s.Get(t.Context(), binName)
					if n == 3 {
						require.ErrorContains(t, err, test.want)
						continue
					}
					require.NoError(t, err)
					require.True(t, bytes.Equal(content, got))
				}
			})
		})
	}
}

func TestTooLarge(t *testing.T) {
	f := newFake()
	s := f.open(t)
	require.ErrorContains(t, s.Create(t.Context(), binName, make([]byte, bucket.MaxSize+1)), "the limit is 67108864")
	for _, length := range []string{"67108865", ""} { // told before, or not
		f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) {
			response := answer(200, nil, http.Header{})
			if length != "" {
				response.Header.Set("Content-Length", length)
			}
			response.Body = io.NopCloser(io.LimitReader(zeroes{}, bucket.MaxSize+1))
			return response, nil
		}
		_, err := s.Get(t.Context(), binName)
		require.ErrorContains(t, err, "bytes are no metadata: ")
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }
