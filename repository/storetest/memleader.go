package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/repository"
)

// memLeader implements repository.Leader.
type memLeader struct {
	handle   *MemJournal
	epoch    int64
	loaded   bool
	released bool
}

// enter returns with the lock held, or says why the leader can't go on.
func (m *memLeader) enter(ctx context.Context) error {
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

func (m *memLeader) check() error {
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

var errNotLoaded = errors.New("Load was not called")

// Load implements repository.Leader.
func (m *memLeader) Load(ctx context.Context) (repository.Log, error) {
	if err := m.enter(ctx); err != nil {
		return repository.Log{}, fmt.Errorf("load: %w", err)
	}
	defer m.handle.mu.Unlock()
	if m.loaded {
		return repository.Log{}, errors.New("load: it was called before")
	}
	log, err := m.handle.log()
	if err != nil {
		return repository.Log{}, fmt.Errorf("load: %w", err)
	}
	m.loaded = true
	return log, nil
}

// Await implements repository.Leader.
func (m *memLeader) Await(ctx context.Context, n int) error {
	for {
		if err := m.enter(ctx); err != nil {
			return fmt.Errorf("await: %w", err)
		}
		pending, changed, loaded := len(m.handle.pending), m.handle.changed, m.loaded
		m.handle.mu.Unlock()
		if !loaded {
			return fmt.Errorf("await: %w", errNotLoaded)
		}
		if pending >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Pending implements repository.Leader.
func (m *memLeader) Pending(ctx context.Context, max int) ([]repository.Item, error) {
	if err := m.enter(ctx); err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	defer m.handle.mu.Unlock()
	if !m.loaded {
		return nil, fmt.Errorf("pending: %w", errNotLoaded)
	}
	items := make([]repository.Item, min(max, len(m.handle.pending)))
	for i := range items {
		if err := json.Unmarshal(m.handle.pending[i].data, &items[i]); err != nil {
			return nil, fmt.Errorf("pending: %w", err)
		}
	}
	return items, nil
}

// Append implements repository.Leader.
func (m *memLeader) Append(ctx context.Context, records ...repository.Record) error {
	if err := m.enter(ctx); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	defer m.handle.mu.Unlock()
	if !m.loaded {
		return fmt.Errorf("append: %w", errNotLoaded)
	}
	encoded := make([][]byte, len(records))
	for i, r := range records {
		data, err := json.Marshal(r)
		if err == nil {
			err = m.admit(r)
		}
		if err != nil {
			return fmt.Errorf("append %s record of generation %d: %w", r.Kind, r.Generation, err)
		}
		encoded[i] = data
	}
	for i, r := range records {
		m.handle.records = append(m.handle.records, encoded[i])
		m.handle.history = append(m.handle.history, memEntry{record: encoded[i]})
		m.handle.take(r)
	}
	return nil
}

// admit says why a record can't be appended.
func (m *memLeader) admit(r repository.Record) error {
	if r.Epoch < m.epoch {
		return fmt.Errorf("%w: it is of epoch %d, and %d leads", repository.ErrFenced, r.Epoch, m.epoch)
	}
	if r.Epoch > m.epoch {
		return fmt.Errorf("it is of epoch %d, and %d leads", r.Epoch, m.epoch)
	}
	if r.Kind != repository.KindSeal {
		return nil
	}
	for _, o := range r.Outcomes {
		it := m.handle.known[o.ID]
		if it == nil {
			return fmt.Errorf("item %q: %w", o.ID, repository.ErrUnknownItem)
		}
		if it.outcome.State != repository.Accepted {
			return fmt.Errorf("item %q: it is %s already, in generation %d", o.ID, it.outcome.State, it.outcome.Generation)
		}
	}
	return nil
}

// Release implements repository.Leader.
func (m *memLeader) Release(context.Context) error {
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
