package repository

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// How long Run waits before it tries a failed generation again: it doubles from
// the first to the last.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = time.Minute
)

// longestWait is how long Run waits before it asks the clock again. Timers stand still while the
// machine sleeps, and don't notice that the clock was set.
const longestWait = time.Minute

// Run publishes items as they come, in batches, and renews the online roles before
// they expire. It returns nil when the context ends or the repository is closed.
//
// It returns an error when it can't go on: another publisher took over (ErrFenced), the journal
// failed, or the store holds what nobody here wrote (ErrDiverged). Each minute it looks at the store's
// timestamp.json: one that this publisher didn't write ends it. The repository must then be
// opened again. With Config.EndOnClock, a clock that is probably wrong (ErrClock) ends it too. Other failures may pass: a store or a key service that is down, a full
// disk, a wrong clock. Run logs them, Status shows them, and Run tries again. Items
// wait in the queue meanwhile.
//
// One Run at a time: a second one is an error.
func (r *Repository) Run(ctx context.Context) error {
	if !r.begin() {
		return errors.New("run: already running")
	}
	defer r.ended()
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	// A key that may not sign is a mistake in the configuration: say so at once.
	err := r.exclusively(ctx, func(_ context.Context, p *publisher) error {
		err := p.checkSigners()
		if err == nil && r.cfg.EndOnClock { // others wait for the lead
			_, err = p.checkClock()
		}
		return err
	})
	if err != nil {
		return r.runError(ctx, err)
	}
	retry := firstRetry
	defer r.deleting.Wait()
	defer cancel()
	for {
		arrived, err := r.await(ctx)
		if err == nil {
			err = r.exclusively(ctx, func(turn context.Context, p *publisher) error {
				claimed, err := p.stepAndCollect(turn, arrived)
				if !isFatal(err) {
					r.deleteTargets(ctx, claimed)
				}
				return err
			})
		} else if ctx.Err() != nil {
			return r.runError(ctx, err)
		}
		if err == nil || ctx.Err() == nil || isFatal(err) { // to be told to stop is no failure
			r.noteErr(err)
		}
		switch {
		case err == nil:
			retry = firstRetry
		case ctx.Err() != nil || isFatal(err) || r.cfg.EndOnClock && errors.Is(err, ErrClock):
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

// begin notes that Run runs, and reports whether it did not before.
func (r *Repository) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return false
	}
	r.running = true
	return true
}

func (r *Repository) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = false
}

// untilClosed returns a context that also ends when the repository does.
func (r *Repository) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.alive, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// orEnded returns why the repository ended instead of the cancellation that came of it.
func (r *Repository) orEnded(err error) error {
	if ended := context.Cause(r.alive); ended != nil && errors.Is(err, context.Canceled) {
		return ended
	}
	return err
}

// await returns when there may be something to publish. It reports whether items arrived that a
// generation may take now: a full batch, or what came until Config.MaxDelay was over or something
// fell due.
func (r *Repository) await(ctx context.Context) (arrived bool, err error) {
	if err := r.take(ctx); err != nil {
		return false, err
	}
	lead, began := r.pub.lead, r.pub.began
	one, full := r.pub.batches()
	woken, cancel := context.WithCancel(ctx)
	defer cancel()
	r.interruptible(cancel) // before the turn ends: who takes it next may change what is due
	defer r.interruptible(nil)
	now := r.cfg.Now()
	due := r.pub.dueAt(now)
	if t := now.Add(r.pub.lookAgain.left()); len(r.pub.quarantine) > 0 && t.Before(due) {
		due = t
	}
	if t := now.Add(r.pub.tryAgain.left()); len(r.pub.leftOut) > 0 && t.Before(due) {
		due = t
	}
	// Items come first, even if there is always something to collect.
	collect := max(r.pub.collectIn(), time.Millisecond)
	r.returnTurn()

	arrived, err = awaitUntil(woken, lead, one, min(due.Sub(now), longestWait, collect))
	if err == nil && arrived {
		// A generation takes along what arrives until it may begin. What falls due meanwhile
		// takes along what has arrived.
		rest := min(r.cfg.MaxDelay-since(began), due.Sub(r.cfg.Now()))
		var filled bool
		filled, err = awaitUntil(woken, lead, full, min(rest, longestWait, collect))
		arrived = filled || rest <= min(longestWait, collect)
	}
	if err != nil && ctx.Err() == nil && woken.Err() != nil {
		return false, nil // look again what is due
	}
	return arrived, err
}

// interruptible lets wakeRun end Run's wait.
func (r *Repository) interruptible(cancel context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt = cancel
}

// wakeRun makes Run look what is due, if it waits.
func (r *Repository) wakeRun() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.interrupt != nil {
		r.interrupt()
	}
}

// pending is a number of items, or else of their bytes.
type pending struct {
	items int
	bytes int64
}

// batches returns how much must be pending for one item to be decided, and for a batch to be full.
// Both include the items that wait for blocked roles.
func (p *publisher) batches() (one, full pending) {
	one = pending{p.waiting + 1, math.MaxInt64}
	full = pending{p.waiting + p.cfg.MaxBatch, p.held + p.cfg.MaxBatchBytes}
	if p.filled > 0 {
		full.items = p.waiting + p.filled
	}
	return one, full
}

// awaitUntil waits until n is pending, but no longer than d. It reports whether it is.
func awaitUntil(ctx context.Context, lead Lead, n pending, d time.Duration) (bool, error) {
	if d <= 0 {
		return false, ctx.Err()
	}
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := lead.Await(wait, n.items, n.bytes)
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

// take waits for the turn: its taker alone uses the publisher. returnTurn gives it back.
func (r *Repository) take(ctx context.Context) error {
	if err := context.Cause(r.alive); err != nil {
		return err
	}
	select {
	case <-r.turn:
		return nil
	case <-r.alive.Done():
		return context.Cause(r.alive)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Repository) returnTurn() { r.turn <- struct{}{} }

// exclusively waits for its turn until ctx ends, and lets f use the publisher. Then it updates what
// Status and Submit see. The context that f gets may end before ctx: see insist.
func (r *Repository) exclusively(ctx context.Context, f func(context.Context, *publisher) error) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.returnTurn()
	preemptible, done := r.preemptible(ctx)
	err := f(preemptible, r.pub)
	done()
	status := r.pub.status()
	r.online.Store(&r.pub.docs.online)

	r.mu.Lock()
	r.published, r.stuck = status, r.pub.documentsWait()
	r.mu.Unlock()
	if isFatal(err) {
		r.end(fmt.Errorf("%w: the repository must be opened again: %w", ErrClosed, err))
	}
	return r.orEnded(err)
}

// noteErr lets Status show why publishing failed, or that it succeeded.
func (r *Repository) noteErr(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
}

// runError is what Run returns: nothing if it was told to stop. After an error
// with which nobody can go on, it ends the repository.
func (r *Repository) runError(ctx context.Context, err error) error {
	if isFatal(err) {
		r.end(fmt.Errorf("%w: the repository must be opened again: %w", ErrClosed, err))
	}
	switch reason := context.Cause(r.alive); {
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

// AcceptClock takes the present time for right after an error that wraps
// ErrClock: publishing goes on with it. It waits for a generation under way. The error is
// the context's or the repository's.
func (r *Repository) AcceptClock(ctx context.Context) error {
	err := r.exclusively(ctx, func(_ context.Context, p *publisher) error {
		p.clock.accept()
		return nil
	})
	r.wakeRun()
	if err != nil {
		return fmt.Errorf("accept clock: %w", err)
	}
	return nil
}

// patienceOfClose is how long Close waits for a signer, a store or Config.DeleteTarget that doesn't
// heed its context.
const patienceOfClose = 10 * time.Second

// Close ends Run, gives the lead up and closes the journal. It loses nothing. What is queued
// stays queued. A generation under way is committed if it was sealed. Otherwise its items stay
// queued. Calls that wait end with an error that wraps ErrClosed.
//
// Close ends the context of the generation under way, and waits until its signer and store stop.
// After 10 seconds it closes the journal without them, and the error says so. Whatever that
// generation does later has no effect. In the same 10 seconds it waits for calls of
// Config.DeleteTarget. One that goes on after that may delete a file that the next publisher accepts
// meanwhile.
func (r *Repository) Close() error { return r.close() }

func (r *Repository) shut() error {
	r.end(ErrClosed)
	var stuck error
	patience := time.After(patienceOfClose)
	select {
	case <-r.turn: // for good: nobody else gets it
	case <-patience:
		stuck = fmt.Errorf("close: a signer or the store didn't stop within %v: the journal is closed without it", patienceOfClose)
	}
	if stuck == nil {
		// The next publisher doesn't know of the claims: it accepts a file that is being deleted.
		deleted := make(chan struct{})
		go func() {
			r.deleting.Wait()
			close(deleted)
		}()
		select {
		case <-deleted:
		case <-patience:
			stuck = fmt.Errorf("close: Config.DeleteTarget didn't stop within %v: the journal is closed without it, and a file that is submitted again soon may be deleted", patienceOfClose)
		}
	}
	err := giveUpLead(r.pub.lead)
	if errors.Is(err, ErrFenced) { // there is nothing left to give up
		err = nil
	}
	return errors.Join(stuck, err, r.cfg.Journal.Close())
}
