package dirjournal

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// lead implements repository.Lead. The journal's lock guards its fields.
type lead struct {
	journal  *Journal
	epoch    int64
	read     bool // whether the history since the checkpoint was consumed
	released bool
}

var errNotRead = errors.New("the history must be read first")

// enter returns with the lock held, or with the reason why the lead can't be used.
func (l *lead) enter(ctx context.Context) error {
	if err := l.journal.enter(ctx); err != nil {
		return err
	}
	if err := l.leads(); err != nil {
		l.journal.mu.Unlock()
		return err
	}
	return nil
}

// leads returns nil while l leads. The lock is held.
func (l *lead) leads() error {
	switch {
	case l.epoch != l.journal.epoch:
		return fmt.Errorf("%w: epoch %d follows %d", repository.ErrFenced, l.journal.epoch, l.epoch)
	case l.released:
		return fmt.Errorf("%w: the lead was released", repository.ErrClosed)
	}
	return nil
}

// awaiter is a call of Await. ready is closed when the call should look again.
type awaiter struct {
	n     int
	bytes int64
	ready chan struct{}
}

// has reports whether that much is pending.
func (q *queue) has(n int, bytes int64) bool { return len(q.pending) >= n || q.bytes >= bytes }

// wakeAwaiting wakes each Await that waits for no more than is pending, or all. The lock is
// held.
func (j *Journal) wakeAwaiting(all bool) {
	j.awaiting = slices.DeleteFunc(j.awaiting, func(a *awaiter) bool {
		over := all || j.queue.has(a.n, a.bytes)
		if over {
			close(a.ready)
		}
		return over
	})
}

// Await implements repository.Lead.
func (l *lead) Await(ctx context.Context, n int, bytes int64) error {
	j := l.journal
	for {
		if err := l.enter(ctx); err != nil {
			return fmt.Errorf("await: %w", err)
		}
		if !l.read {
			j.mu.Unlock()
			return fmt.Errorf("await: %w", errNotRead)
		}
		if j.queue.has(n, bytes) {
			j.mu.Unlock()
			return nil
		}
		a := &awaiter{n, bytes, make(chan struct{})}
		j.awaiting = append(j.awaiting, a)
		j.mu.Unlock()
		select {
		case <-a.ready:
		case <-ctx.Done():
			j.mu.Lock()
			j.awaiting = slices.DeleteFunc(j.awaiting, func(other *awaiter) bool { return other == a })
			j.mu.Unlock()
		}
	}
}

// Pending implements repository.Lead. It does no I/O.
func (l *lead) Pending(ctx context.Context, max int, maxBytes int64) ([]ledger.Entry, error) {
	if err := l.enter(ctx); err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	defer l.journal.mu.Unlock()
	if !l.read {
		return nil, fmt.Errorf("pending: %w", errNotRead)
	}
	return l.journal.queue.oldest(max, maxBytes), nil
}

// Append implements repository.Lead. Once its records are being written, a call waits for the
// result even if ctx ends: that takes one sync, and a publisher that doesn't know the result
// must stop. A checkpoint costs one write of everything pending and remembered.
func (l *lead) Append(ctx context.Context, records ...ledger.Record) error {
	r := &request{lead: l, records: slices.Clone(records), checkpoint: -1, done: make(chan error, 1)}
	for i, rec := range records {
		if rec.Body == nil || len(rec.Bytes()) == 0 {
			return errors.New("append: a record without a body or bytes")
		}
		if rec.Kind() == ledger.KindCheckpoint {
			r.checkpoint = i
		}
		r.size += len("r 1000000000\n\n") + len(rec.Bytes())
	}
	if err := l.journal.handToWriter(ctx, r); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
}

// admit returns nil if the records may be appended, or else the reason. The lock is held.
func (l *lead) admit(records []ledger.Record) error {
	if err := l.leads(); err != nil {
		return err
	}
	if !l.read {
		return errNotRead
	}
	for _, r := range records {
		var err error
		switch {
		case r.Epoch < l.epoch:
			err = fmt.Errorf("%w: its epoch is %d, and the leader's is %d", repository.ErrFenced, r.Epoch, l.epoch)
		case r.Epoch > l.epoch:
			err = fmt.Errorf("its epoch is %d, and the leader's is %d", r.Epoch, l.epoch)
		}
		if err != nil {
			return fmt.Errorf("%s record of generation %d: %w", r.Kind(), r.Generation, err)
		}
	}
	return l.journal.queue.decidable(records)
}

// Release implements repository.Lead. It does no I/O.
func (l *lead) Release(context.Context) error {
	j := l.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if l.released || j.ended != nil {
		return nil
	}
	if err := l.leads(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	l.released = true
	j.leader = nil
	j.wakeAwaiting(true)
	return nil
}
