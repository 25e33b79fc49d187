package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"golang.org/x/time/rate"
)

// The wait before the first repetition is at most firstWait, and doubles.
const firstWait, longestWait = 250 * time.Millisecond, 10 * time.Second

// Limits bound the calls to one account. The zero value lacks PerSecond.
type Limits struct {
	// Concurrent is how many calls may be under way; others wait. 0 means 16.
	Concurrent int

	// PerSecond is how many calls may begin in a second, repetitions included,
	// after a burst of Concurrent ones. It must be given.
	PerSecond float64

	// CallTimeout ends a call that is not answered. 0 means 10 seconds.
	CallTimeout time.Duration

	// Attempts is how often a call is made before its error is returned. 0
	// means 5.
	Attempts int

	// Logger is told of each repetition. nil means none.
	Logger *slog.Logger
}

// Caller makes calls to one account within limits. It is safe for concurrent use.
type Caller struct {
	limits Limits
	slots  chan struct{}
	rate   *rate.Limiter
}

// NewCaller returns a caller that keeps to these limits. It makes no call. A limit
// below zero is an error, and so is a PerSecond of zero.
func NewCaller(l Limits) (*Caller, error) {
	switch {
	case l.Concurrent < 0:
		return nil, fmt.Errorf("limit Concurrent is %d: it must not be negative (0 means 16)", l.Concurrent)
	case !(l.PerSecond > 0):
		return nil, fmt.Errorf("limit PerSecond is %v: it must be above zero, what the account may call", l.PerSecond)
	case l.CallTimeout < 0:
		return nil, fmt.Errorf("limit CallTimeout is %v: it must not be negative (0 means 10 seconds)", l.CallTimeout)
	case l.Attempts < 0:
		return nil, fmt.Errorf("limit Attempts is %d: it must not be negative (0 means 5)", l.Attempts)
	}
	if l.Concurrent == 0 {
		l.Concurrent = 16
	}
	if l.CallTimeout == 0 {
		l.CallTimeout = 10 * time.Second
	}
	if l.Attempts == 0 {
		l.Attempts = 5
	}
	if l.Logger == nil {
		l.Logger = slog.New(slog.DiscardHandler)
	}
	return &Caller{
		limits: l,
		slots:  make(chan struct{}, l.Concurrent),
		rate:   rate.NewLimiter(rate.Limit(l.PerSecond), l.Concurrent),
	}, nil
}

// Do calls until the error doesn't wrap keys.ErrUnavailable, or Attempts are used up.
// An attempt that takes longer than CallTimeout counts as such an error. The log has
// the name of the key. If ctx ends first, the error wraps the context's error and the
// last answer of the service.
func (c *Caller) Do(ctx context.Context, key string, call func(context.Context) error) error {
	var last error
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, call)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ended(ctx, last)
		case !errors.Is(err, keys.ErrUnavailable) || c.limits.Attempts == 1:
			return err
		case attempt == c.limits.Attempts:
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		last = err
		wait := backoff(attempt, rand.Float64())
		c.limits.Logger.WarnContext(ctx, "KMS call failed, trying again",
			"key", key, "attempt", attempt, "wait", wait, "error", err)
		if sleep(ctx, wait) != nil {
			return ended(ctx, last)
		}
	}
}

func (c *Caller) attempt(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	// Limiter.Wait would refuse at once, and not with the context's error, where
	// the deadline is too near.
	turn := c.rate.Reserve()
	if err := sleep(ctx, turn.Delay()); err != nil {
		turn.Cancel()
		return err
	}
	limited, cancel := context.WithTimeout(ctx, c.limits.CallTimeout)
	defer cancel()
	err := call(limited)
	if err != nil {
		awaitEnd(ctx)
		awaitEnd(limited)
	}
	// The text only: a caller must not take it for the end of its own context.
	switch {
	case err != nil && limited.Err() != nil:
		return fmt.Errorf("%w: no answer within %v (%v)", keys.ErrUnavailable, c.limits.CallTimeout, err)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: no answer within a time limit of the client's own (%v)", keys.ErrUnavailable, err)
	}
	return err
}

// awaitEnd waits for a context to end whose deadline has come: a service that was told
// of the deadline may have noticed it first.
func awaitEnd(ctx context.Context) {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
}

// backoff is how long to wait after an attempt, the first being 1: from half of
// what doubles to all of it, as chance in [0, 1) has it, so that callers that were
// refused together don't come back together.
func backoff(attempt int, chance float64) time.Duration {
	wait := longestWait
	if doublings := attempt - 1; doublings < 16 {
		wait = min(wait, firstWait<<doublings)
	}
	return wait/2 + time.Duration(chance*float64(wait/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended is the error for a context that ended after the service gave last, if it
// gave anything.
func ended(ctx context.Context, last error) error {
	if last == nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w, while trying again after: %w", ctx.Err(), last)
}
