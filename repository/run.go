package repository

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long Run waits before it tries a failed generation again: it doubles from
// the first to the last.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Run publishes: items as they come, in batches, and the renewal of the online
// roles before they expire. It returns nil when the context ends or the
// repository is closed, and an error when it can't go on: another publisher took
// over, the journal failed, or the store holds what nobody here wrote. The
// repository must then be opened again. What may pass by itself (a store or a key
// service that is down, a full disk, a clock that is wrong) is logged, shown by
// Status and tried again; items wait in the queue meanwhile.
//
// One Run at a time: a second one is an error.
func (r *Repository) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.running {
		r.mu.Unlock()
		return errors.New("run: it runs already")
	}
	r.running = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running = false
		r.mu.Unlock()
	}()

	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	// A key that may not sign is a mistake in the configuration: say so at once.
	err := r.exclusively(func(p *publisher) error {
		_, err := p.offline.signers(p.cfg)
		return err
	})
	if err != nil {
		return r.runError(ctx, err)
	}
	retry := firstRetry
	for {
		arrived, err := r.await(ctx)
		if err == nil {
			err = r.exclusively(func(p *publisher) error { return p.step(ctx, arrived) })
		} else if ctx.Err() != nil {
			return r.runError(ctx, err)
		}
		r.noteErr(err)
		switch {
		case err == nil:
			retry = firstRetry
		case ctx.Err() != nil || isFatal(err):
			return r.runError(ctx, err)
		default:
			r.cfg.Logger.Error("publishing failed, it will be tried again", "err", err, "in", retry)
			if !sleep(ctx, retry) {
				return r.runError(ctx, err)
			}
			retry = min(2*retry, lastRetry)
		}
	}
}

// runError is what Run returns: nothing if it was told to stop. After an error
// with which nobody can go on, it ends the repository.
func (r *Repository) runError(ctx context.Context, err error) error {
	if isFatal(err) && r.closedErr() == nil {
		r.end(fmt.Errorf("%w: the repository must be opened again: %w", ErrClosed, err))
	}
	switch reason := r.closedErr(); {
	case reason == ErrClosed: // by Close
		return nil
	case reason != nil:
		return fmt.Errorf("run: %w", reason)
	case ctx.Err() != nil:
		return nil
	default:
		return fmt.Errorf("run: %w", err)
	}
}

// untilClosed returns a context that also ends when the repository does.
func (r *Repository) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// await returns when there may be something to publish: it tells whether items
// arrived, in a batch that is full or has waited long enough.
func (r *Repository) await(ctx context.Context) (arrived bool, err error) {
	r.publishing.Lock()
	leader, waiting := r.pub.leader, r.pub.waiting
	now := r.cfg.Now()
	due := r.pub.dueAt(now)
	if t := now.Add(r.pub.patience); len(r.pub.quarantine) > 0 && t.Before(due) {
		due = t
	}
	r.publishing.Unlock()

	woken, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.wake:
			cancel()
		case <-woken.Done():
		}
	}()
	arrived, err = awaitUntil(woken, leader, waiting+1, due.Sub(now))
	switch {
	case err != nil && ctx.Err() == nil && woken.Err() != nil:
		return false, nil // look again what is due
	case err != nil || !arrived || r.cfg.MaxDelay <= 0:
		return arrived, err
	}
	// What falls due meanwhile takes along what has arrived.
	_, err = awaitUntil(ctx, leader, waiting+r.cfg.MaxBatch, min(r.cfg.MaxDelay, due.Sub(r.cfg.Now())))
	return true, err
}

// wakeRun makes Run look what is due.
func (r *Repository) wakeRun() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// awaitUntil waits for n pending items, but no longer than the time given; it
// tells whether they are there.
func awaitUntil(ctx context.Context, leader Leader, n int, d time.Duration) (bool, error) {
	if d <= 0 {
		return false, ctx.Err()
	}
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := leader.Await(wait, n)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case wait.Err() != nil:
		return false, nil
	default:
		return false, err
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
