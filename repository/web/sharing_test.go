package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
)

// gets is a store of which only Get is called.
type gets struct {
	repository.Store
	get func(ctx context.Context, name string) ([]byte, error)
}

func (s gets) Get(ctx context.Context, name string) ([]byte, error) { return s.get(ctx, name) }

// stalled is a client that takes nothing until it is let go.
type stalled struct {
	*httptest.ResponseRecorder
	begun func()
	goOn  <-chan struct{}
}

func (w *stalled) Write(p []byte) (int, error) {
	w.begun()
	<-w.goOn
	return len(p), nil
}

// Readers that are slow hold one copy of a bin together. Without that the bins of this test
// take a gigabyte.
func TestSlowReadersShareACopy(t *testing.T) {
	const readers, size = 100, 10_000_000
	var reads atomic.Int64
	h := Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) {
		reads.Add(1)
		return make([]byte, size), nil
	}}})
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	var begun, ended sync.WaitGroup
	goOn := make(chan struct{})
	begun.Add(readers)
	for range readers {
		ended.Go(func() {
			w := &stalled{httptest.NewRecorder(), sync.OnceFunc(begun.Done), goOn}
			h.ServeHTTP(w, httptest.NewRequest("GET", "/metadata/7.bins-0a.json", nil))
			if w.Code != 200 {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	begun.Wait()
	during := heap() - before
	close(goOn)
	ended.Wait()
	t.Logf("%d readers of %d bytes: %d bytes of memory, %d copies read", readers, size, during, reads.Load())
	require.Equal(t, int64(1), reads.Load())
	require.Less(t, during, int64(3*size))
	require.Empty(t, h.(*handler).shared.copies)
}

// ask returns the status of a request for one bin.
func ask(h http.Handler, ctx context.Context) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/metadata/7.bins-0a.json", nil))
	return w.Code
}

// Whoever comes while a reading doesn't find a name may know that it is there now.
func TestErrorsAreNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		written := make(chan struct{})
		h := Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) {
			if reads.Add(1) == 1 {
				<-written
				return nil, repository.ErrNotExist // as it was when the call began
			}
			return []byte("{}"), nil
		}}})
		var group sync.WaitGroup
		var statuses [3]int
		for i := range statuses {
			group.Go(func() { statuses[i] = ask(h, t.Context()) })
			synctest.Wait()
		}
		close(written)
		group.Wait()
		require.Equal(t, [3]int{404, 200, 200}, statuses)
		require.LessOrEqual(t, reads.Load(), int64(3))
	})
}

// In an outage nobody reads more than twice, however many ask.
func TestErrorsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		h := Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) {
			reads.Add(1)
			time.Sleep(time.Second)
			return nil, errors.New("input/output error")
		}}})
		start := time.Now()
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if status := ask(h, t.Context()); status != 500 {
					t.Errorf("status %d", status)
				}
			})
		}
		group.Wait()
		require.Equal(t, int64(2), reads.Load())
		require.Equal(t, 2*time.Second, time.Since(start))
	})
}

// The reading goes on while somebody waits for it, and no longer.
func TestReadingOutlivesTheFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended error
		h := Handler(Config{Store: gets{get: func(ctx context.Context, _ string) ([]byte, error) {
			select {
			case <-time.After(time.Minute):
				return []byte("{}"), nil
			case <-ctx.Done():
				ended = ctx.Err()
				return nil, ctx.Err()
			}
		}}})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		var second int
		group.Go(func() { ask(h, ctx) })
		synctest.Wait()
		group.Go(func() { second = ask(h, t.Context()) })
		synctest.Wait()
		cancel()
		group.Wait()
		require.Equal(t, 200, second)
		require.NoError(t, ended)

		ctx, cancel = context.WithCancel(t.Context())
		group.Go(func() { ask(h, ctx) })
		synctest.Wait()
		cancel()
		group.Wait()
		synctest.Wait()
		require.ErrorIs(t, ended, context.Canceled)
		require.Empty(t, h.(*handler).shared.copies)
	})
}

// A bin that was altered in the store and made again isn't served altered for as long as
// there are readers.
func TestCopiesGrowOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		h := Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) {
			return fmt.Appendf(nil, "%d", reads.Add(1)), nil
		}}})
		s := &h.(*handler).shared
		_, done, err := s.get(t.Context(), "x") // a slow reader
		require.NoError(t, err)
		for _, test := range []struct {
			pause time.Duration
			want  string
		}{{0, "1"}, {maxShared, "1"}, {1, "2"}, {maxShared, "2"}} {
			time.Sleep(test.pause)
			data, leave, err := s.get(t.Context(), "x")
			require.NoError(t, err)
			require.Equal(t, test.want, string(data))
			if test.pause == 1 {
				defer leave() // it is slow, too
			} else {
				leave()
			}
		}
		done() // of the one that was replaced
		require.Len(t, s.copies, 1)
	})
}

// The timestamp is the one name whose content changes.
func TestTimestampIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int64
		swapped := make(chan struct{})
		h := Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) {
			if reads.Add(1) == 1 {
				<-swapped
				return []byte("old"), nil
			}
			return []byte("new"), nil
		}}})
		var group sync.WaitGroup
		var bodies [2]string
		for i := range bodies {
			group.Go(func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/metadata/timestamp.json", nil))
				bodies[i] = w.Body.String()
			})
			synctest.Wait()
		}
		require.Equal(t, "new", bodies[1])
		close(swapped)
		group.Wait()
		require.Equal(t, "old", bodies[0])
	})
}

func TestStoreThatPanics(t *testing.T) {
	h := Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) { panic("a bug") }}})
	require.Equal(t, 500, ask(h, t.Context()))
	h = Handler(Config{Store: gets{get: func(context.Context, string) ([]byte, error) {
		runtime.Goexit()
		return nil, nil
	}}})
	require.Equal(t, 500, ask(h, t.Context()))
}

// connection is what net/http gives a handler, as far as it is looked at here.
type connection struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	parts     []int64
}

func (c *connection) SetWriteDeadline(at time.Time) error {
	c.deadlines = append(c.deadlines, at)
	return nil
}

func (c *connection) ReadFrom(r io.Reader) (int64, error) {
	c.parts = append(c.parts, r.(*io.LimitedReader).N) // the system copies a file from one of these only
	return io.Copy(c.ResponseRecorder, r)
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		at := time.Now().Add(time.Hour)
		require.NoError(t, http.NewResponseController(&response{ResponseWriter: c}).SetWriteDeadline(at))
		require.Equal(t, []time.Time{at}, c.deadlines)

		content := strings.Repeat("x", 2*stallBytes+5)
		store := gets{get: func(context.Context, string) ([]byte, error) { return []byte(content), nil }}
		for _, test := range []struct {
			stall     time.Duration
			ranges    string
			deadlines int
			parts     []int64
			want      string
		}{
			{0, "", 0, []int64{2*stallBytes + 5}, content},
			{time.Minute, "", 3, []int64{stallBytes, stallBytes, 5}, content},
			{time.Minute, "bytes=1-7", 1, []int64{7}, content[1:8]},
			{time.Minute, "bytes=9999999-", 0, nil, "invalid range: failed to overlap\n"},
		} {
			c := &connection{ResponseRecorder: httptest.NewRecorder()}
			r := httptest.NewRequest("GET", "/metadata/7.bins-0a.json", nil)
			if test.ranges != "" {
				r.Header.Set("Range", test.ranges)
			}
			Handler(Config{Store: store, Stall: test.stall}).ServeHTTP(c, r)
			require.Equal(t, test.parts, c.parts)
			require.Len(t, c.deadlines, test.deadlines)
			for _, at := range c.deadlines {
				require.Equal(t, time.Now().Add(test.stall), at)
			}
			require.Equal(t, test.want, c.Body.String())
		}
	})
}

// A server without deadlines serves all the same.
func TestStallWithoutDeadlines(t *testing.T) {
	h := Handler(Config{Stall: time.Minute, Store: gets{get: func(context.Context, string) ([]byte, error) { return []byte("{}"), nil }}})
	require.Equal(t, 200, ask(h, t.Context()))
}
