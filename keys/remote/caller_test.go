package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

func newCaller(t *testing.T, l Limits) *Caller {
	t.Helper()
	c, err := NewCaller(l)
	require.NoError(t, err)
	return c
}

func TestNewCaller(t *testing.T) {
	for want, l := range map[string]Limits{
		"limit Concurrent is -1: it must not be negative (0 means 16)":             {Concurrent: -1, PerSecond: 1},
		"limit PerSecond is 0: it must be above zero, what the account may call":   {},
		"limit PerSecond is -1: it must be above zero, what the account may call":  {PerSecond: -1},
		"limit PerSecond is NaN: it must be above zero, what the account may call": {PerSecond: math.NaN()},
		"limit CallTimeout is -1ns: it must not be negative (0 means 10 seconds)":  {PerSecond: 1, CallTimeout: -1},
		"limit Attempts is -1: it must not be negative (0 means 5)":                {PerSecond: 1, Attempts: -1},
	} {
		_, err := NewCaller(l)
		require.EqualError(t, err, want)
	}
}

// No more calls are under way than allowed, and all get their turn.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Limits{Concurrent: 3, PerSecond: 1e9})
		var mu sync.Mutex
		var under, most, made int
		start := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				err := c.Do(t.Context(), "k", func(context.Context) error {
					mu.Lock()
					under, made = under+1, made+1
					most = max(most, under)
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					under--
					mu.Unlock()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 3, most)
		require.Equal(t, 10, made)
		require.Equal(t, 4*time.Second, time.Since(start).Round(time.Millisecond)) // 3, 3, 3, 1
	})
}

// A burst of Concurrent calls begins at once, then PerSecond a second, and
// repetitions count.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Limits{Concurrent: 2, PerSecond: 0.1, Attempts: 4})
		start := time.Now()
		var begun []time.Duration
		err := c.Do(t.Context(), "k", func(context.Context) error {
			begun = append(begun, time.Since(start).Round(5*time.Second))
			return keys.ErrUnavailable
		})
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.Equal(t, []time.Duration{0, 0, 10 * time.Second, 20 * time.Second}, begun)
	})
}

// Waiting for a slot, for its turn or for the next attempt, a call ends with its
// context and gives back what it held.
func TestContextWhileWaiting(t *testing.T) {
	t.Run("slot", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(t, Limits{Concurrent: 1, PerSecond: 1e9})
			go c.Do(t.Context(), "k", func(context.Context) error { time.Sleep(5 * time.Second); return nil })
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			require.ErrorIs(t, c.Do(ctx, "k", never(t)), context.DeadlineExceeded)
			require.NoError(t, c.Do(t.Context(), "k", func(context.Context) error { return nil }))
		})
	})
	t.Run("turn", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(t, Limits{Concurrent: 1, PerSecond: 0.01})
			start := time.Now()
			require.NoError(t, c.Do(t.Context(), "k", func(context.Context) error { return nil }))
			for range 3 { // turns that were given up are not counted
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				require.ErrorIs(t, c.Do(ctx, "k", never(t)), context.DeadlineExceeded)
				cancel()
			}
			require.NoError(t, c.Do(t.Context(), "k", func(context.Context) error { return nil }))
			require.Equal(t, 100*time.Second, time.Since(start).Round(time.Second))
		})
	})
	t.Run("next attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCaller(t, Limits{PerSecond: 1e9, Attempts: 100})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			start := time.Now()
			err := c.Do(ctx, "k", func(context.Context) error { return fmt.Errorf("%w: throttled", keys.ErrUnavailable) })
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, keys.ErrUnavailable)
			require.EqualError(t, err, "context deadline exceeded, while trying again after: key unavailable for now: throttled")
			require.Equal(t, 30*time.Second, time.Since(start))
		})
	})
}

func never(t *testing.T) func(context.Context) error {
	return func(context.Context) error { t.Error("called"); return nil }
}

// What is not answered is given up and tried again; the caller's own context is
// told apart from it.
func TestCallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(t, Limits{PerSecond: 1e9, CallTimeout: 3 * time.Second, Attempts: 2})
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		start := time.Now()
		err := c.Do(t.Context(), "k", hang)
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "after 2 attempts: key unavailable for now: no answer within 3s (context deadline exceeded)")
		require.InDelta(t, 6.2, time.Since(start).Seconds(), 0.1)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = c.Do(ctx, "k", hang)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, keys.ErrUnavailable)
	})
}

// A time limit that an SDK has by itself, as an http.Client may, is not the
// caller's either.
func TestTimeoutOfClient(t *testing.T) {
	for _, of := range []error{context.DeadlineExceeded, context.Canceled} {
		c := newCaller(t, Limits{PerSecond: 1e9, Attempts: 2})
		calls := 0
		err := c.Do(t.Context(), "k", func(context.Context) error { calls++; return fmt.Errorf("post: %w", of) })
		require.Equal(t, 2, calls)
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.NotErrorIs(t, err, of)
		require.ErrorContains(t, err, "post: "+of.Error())
	}
}

// A context that ends during a call decides what the error is, whatever the call
// made of it, and what the service said before is kept.
func TestContextDuringCall(t *testing.T) {
	c := newCaller(t, Limits{PerSecond: 1e9})
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := c.Do(ctx, "k", func(context.Context) error {
		if calls++; calls == 2 {
			cancel()
			return errors.New("connection closed")
		}
		return fmt.Errorf("%w: throttled", keys.ErrUnavailable)
	})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.EqualError(t, err, "context canceled, while trying again after: key unavailable for now: throttled")
	require.Equal(t, 2, calls)
}

func TestAttempts(t *testing.T) {
	final := errors.New("no such key")
	for _, test := range []struct {
		name    string
		answers []error // the last one is repeated
		calls   int
		want    string
	}{
		{"at once", []error{nil}, 1, ""},
		{"at the second attempt", []error{keys.ErrUnavailable, nil}, 2, ""},
		{"at the last attempt", []error{keys.ErrUnavailable, keys.ErrUnavailable, keys.ErrUnavailable, keys.ErrUnavailable, nil}, 5, ""},
		{"never", []error{keys.ErrUnavailable}, 5, "after 5 attempts: key unavailable for now"},
		{"final", []error{final}, 1, "no such key"},
		{"final at the second attempt", []error{keys.ErrUnavailable, final}, 2, "no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c := newCaller(t, Limits{PerSecond: 1e9, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				calls := 0
				err := c.Do(t.Context(), "arn:of:key", func(context.Context) error {
					calls++
					return test.answers[min(calls, len(test.answers))-1]
				})
				if test.want == "" {
					require.NoError(t, err)
				} else {
					require.EqualError(t, err, test.want)
				}
				require.Equal(t, test.calls, calls)
				require.Equal(t, calls-1, strings.Count(log.String(), `"KMS call failed, trying again" key=arn:of:key attempt=`))
			})
		})
	}
}

// With one attempt, nothing is said of attempts.
func TestOneAttempt(t *testing.T) {
	c := newCaller(t, Limits{PerSecond: 1, Attempts: 1})
	calls := 0
	err := c.Do(t.Context(), "k", func(context.Context) error { calls++; return keys.ErrUnavailable })
	require.Equal(t, keys.ErrUnavailable, err)
	require.Equal(t, 1, calls)
}

func TestBackoff(t *testing.T) {
	for attempt, longest := range map[int]time.Duration{
		1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 3: time.Second, 6: 8 * time.Second,
		7: 10 * time.Second, 100: 10 * time.Second, math.MaxInt: 10 * time.Second,
	} {
		require.Equal(t, longest/2, backoff(attempt, 0), attempt)
		require.Equal(t, longest*3/4, backoff(attempt, 0.5), attempt)
	}
}
