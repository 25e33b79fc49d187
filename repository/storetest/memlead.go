package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// memLead implements repository.Lead.
type memLead struct {
	handle   *MemJournal
	epoch    int64
	read     bool
	released bool
}

// enter returns with the lock held, or says why the lead can't be used.
func (m *memLead) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.handle.mu.Lock()
	err := m.check()
	if err != nil {
		m.handle.mu.Unlock()
	}
	return err
}

func (m *memLead) check() error {
	switch {
	case m.handle.epoch != m.epoch:
		return fmt.Errorf("%w: epoch %d follows %d", repository.ErrFenced, m.handle.epoch, m.epoch)
	case m.handle.closed:
		return repository.ErrClosed
	case m.released:
		return fmt.Errorf("%w: the lead was released", repository.ErrClosed)
	}
	return nil
}

var errNotRead = errors.New("the history must be read first")

// Read implements repository.Lead.
func (m *memLead) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		if err := m.enter(ctx); err != nil {
			yield(ledger.Step{}, fmt.Errorf("read: %w", err))
			return
		}
		steps := m.handle.steps(from)
		m.handle.mu.Unlock()
		if !yieldSteps(ctx, steps, yield) {
			return
		}
		if err := m.enter(ctx); err != nil {
			yield(ledger.Step{}, fmt.Errorf("read: %w", err))
			return
		}
		defer m.handle.mu.Unlock()
		m.read = m.read || from == ledger.FromCheckpoint
	}
}

// Await implements repository.Lead.
func (m *memLead) Await(ctx context.Context, n int, bytes int64) error {
	for {
		if err := m.enter(ctx); err != nil {
			return fmt.Errorf("await: %w", err)
		}
		pending, changed, read := m.handle.backlog(), m.handle.changed, m.read
		m.handle.mu.Unlock()
		if !read {
			return fmt.Errorf("await: %w", errNotRead)
		}
		if pending.Pending >= n || pending.Bytes >= bytes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Pending implements repository.Lead.
func (m *memLead) Pending(ctx context.Context, max int, maxBytes int64) ([]ledger.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	defer m.handle.mu.Unlock()
	if !m.read {
		return nil, fmt.Errorf("pending: %w", errNotRead)
	}
	var entries []ledger.Entry
	size := int64(0)
	for _, e := range m.handle.pending {
		size += int64(len(e.Body))
		if len(entries) == max || len(entries) > 0 && size > maxBytes {
			break
		}
		entries = append(entries, *e.Entry)
	}
	return entries, nil
}

// Append implements repository.Lead.
func (m *memLead) Append(ctx context.Context, records ...ledger.Record) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	defer m.handle.mu.Unlock()
	if !m.read {
		return fmt.Errorf("append: %w", errNotRead)
	}
	taken := map[string]bool{} // not pending any more, by these records
	var sealed []string
	for _, e := range m.handle.sealed {
		taken[e.ID] = true
		sealed = append(sealed, e.ID)
	}
	for _, r := range records {
		if r.Body == nil || len(r.Bytes()) == 0 {
			return errors.New("append: a record without a body or bytes")
		}
		if err := m.admit(r, taken); err != nil {
			return fmt.Errorf("append %s record of generation %d: %w", r.Kind(), r.Generation, err)
		}
		switch r.Kind() {
		case ledger.KindSeal:
			for _, o := range r.Outcomes() {
				sealed = append(sealed, o.ID)
			}
		case ledger.KindCommit:
			sealed = nil
		case ledger.KindCheckpoint: // it gives up what is sealed
			for _, id := range sealed {
				delete(taken, id)
			}
			sealed = nil
		}
	}
	for _, r := range records {
		m.handle.take(r)
	}
	if slices.ContainsFunc(records, func(r ledger.Record) bool { return r.Kind() != ledger.KindIntent }) {
		m.handle.announce()
	}
	return nil
}

// admit says why a record can't be appended, and adds to taken what it decides.
func (m *memLead) admit(r ledger.Record, taken map[string]bool) error {
	if r.Epoch < m.epoch {
		return fmt.Errorf("%w: its epoch is %d, and the leader's is %d", repository.ErrFenced, r.Epoch, m.epoch)
	}
	if r.Epoch > m.epoch {
		return fmt.Errorf("its epoch is %d, and the leader's is %d", r.Epoch, m.epoch)
	}
	for _, o := range r.Outcomes() {
		e := m.handle.known[o.ID]
		switch {
		case e == nil:
			return fmt.Errorf("item %q: %w", o.ID, repository.ErrUnknownItem)
		case e.final:
			return fmt.Errorf("item %q: it is %s already", o.ID, e.decided.State)
		case taken[o.ID]:
			return fmt.Errorf("item %q: another record decided it", o.ID)
		case e.Digest() != o.Digest:
			return fmt.Errorf("item %q: the digest %.12s isn't that of the entry", o.ID, o.Digest)
		}
		taken[o.ID] = true
	}
	return nil
}

// Release implements repository.Lead.
func (m *memLead) Release(context.Context) error {
	m.handle.mu.Lock()
	defer m.handle.mu.Unlock()
	if m.released || m.handle.closed {
		return nil
	}
	if err := m.check(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	m.released = true
	if m.handle.leader == m {
		m.handle.leader = nil
	}
	m.handle.announce()
	return nil
}
