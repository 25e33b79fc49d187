package repository

import (
	"context"
	"fmt"
	"math"
)

// Drain returns nil once all that was accepted before the call is decided: published and visible
// to clients, refused, or set aside. It publishes nothing itself: Run does. Items that wait, for
// instance for a quarantined bin, hold it up.
//
// The error is the context's or the repository's if that ended first. It says how many items were not
// decided: they stay accepted. Drain reads the queue once, and keeps the IDs in memory.
func (r *Repository) Drain(ctx context.Context) error {
	queue, err := r.cfg.Journal.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("drain: journal: %w", err)
	}
	if err := r.take(ctx); err != nil {
		return fmt.Errorf("drain: %d items are accepted, and may not be decided: %w", queue.Pending, err)
	}
	// Nothing is decided before the turn ends.
	var ids []string
	if s := r.pub.state.Sealed; s != nil {
		for _, o := range s.Outcomes {
			ids = append(ids, o.ID)
		}
	}
	entries, err := r.pub.lead.Pending(ctx, math.MaxInt32, math.MaxInt64)
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	done, forget := r.expect(ids...)
	r.returnTurn()
	defer forget()
	if err != nil {
		return fmt.Errorf("drain: journal: %w", err)
	}
	for left := len(ids); left > 0; left-- {
		select {
		case <-done:
			continue
		case <-r.alive.Done():
			err = context.Cause(r.alive)
		case <-ctx.Done():
			err = ctx.Err()
		}
		return fmt.Errorf("drain: %d items are accepted, and not yet decided: %w", left, err)
	}
	return nil
}
