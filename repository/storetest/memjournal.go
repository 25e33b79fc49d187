package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
)

// MemJournal is one process's handle on a repository.Journal in memory, which
// any number of handles share as processes share a database: one of them leads,
// by a lease that ends when it is released, when its handle is closed, or when a
// test lets it expire. It remembers every item and record for ever. It is safe
// for concurrent use.
type MemJournal struct {
	*ledger
	closed bool // guarded by ledger.mu, as is all that follows
	lead   *memLeader
}

// ledger is what the handles share.
type ledger struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever an Await may be over
	known   map[string]*memItem
	pending []*memItem // oldest first
	bytes   int64      // of their data
	sealed  []*memItem // decided by a seal that isn't committed yet
	records [][]byte   // JSON
	history []memEntry
	epoch   int64
	leader  *memLeader // whoever holds the lease, or nil
}

// memItem is kept as JSON, so that nobody shares memory with it.
type memItem struct {
	data    []byte
	item    repository.Item // ID and Accepted only
	digest  string
	outcome repository.Outcome // what everybody may know
	decided repository.Outcome // what the newest seal says
	sealed  int64              // the generation of that seal
}

// NewJournal returns the first handle on a new, empty journal.
func NewJournal() *MemJournal {
	return &MemJournal{ledger: &ledger{changed: make(chan struct{}), known: map[string]*memItem{}}}
}

// Handle returns another handle on the same journal: another process, or the
// same one after it was started again.
func (j *MemJournal) Handle() *MemJournal { return &MemJournal{ledger: j.ledger} }

// Clone returns the first handle on a copy of the journal as it is now, as a backup
// has it: nobody leads.
func (j *MemJournal) Clone() *MemJournal {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := &ledger{
		changed: make(chan struct{}), known: make(map[string]*memItem, len(j.known)),
		records: slices.Clone(j.records), history: slices.Clone(j.history), epoch: j.epoch,
	}
	for id, it := range j.known {
		same := *it
		c.known[id] = &same
	}
	of := func(items []*memItem) (out []*memItem) {
		for _, it := range items {
			out = append(out, c.known[it.item.ID])
		}
		return out
	}
	c.pending, c.bytes, c.sealed = of(j.pending), j.bytes, of(j.sealed)
	return &MemJournal{ledger: c}
}

// Expire ends the lease of whoever leads. It goes on unless another handle takes
// the lead, as a publisher does that was paused; from then on it is fenced.
func (j *MemJournal) Expire() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leader = nil
}

// open returns with the lock held, or says why the handle can't be used.
func (j *MemJournal) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return repository.ErrClosed
	}
	return nil
}

// Enqueue implements repository.Journal.
func (j *MemJournal) Enqueue(ctx context.Context, items ...repository.Item) error {
	var fresh []*memItem
	for _, it := range items {
		data, err := json.Marshal(it)
		if err == nil && it.ID == "" {
			err = errors.New("it has no ID")
		}
		if err != nil {
			return fmt.Errorf("enqueue item %q: %w", it.ID, err)
		}
		fresh = append(fresh, &memItem{
			data: data, item: repository.Item{ID: it.ID, Accepted: it.Accepted}, digest: it.Digest(),
			outcome: repository.Outcome{State: repository.Accepted},
		})
	}
	if err := j.open(ctx); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	defer j.mu.Unlock()
	same := map[string]*memItem{}
	for _, it := range fresh {
		known := j.known[it.item.ID]
		if known == nil {
			known = same[it.item.ID]
		}
		if known != nil && known.digest != it.digest {
			return fmt.Errorf("enqueue item %q: %w", it.item.ID, repository.ErrIDReused)
		}
		same[it.item.ID] = it
	}
	for _, it := range fresh {
		if j.known[it.item.ID] == nil {
			j.known[it.item.ID] = it
			j.pending = append(j.pending, it)
			j.bytes += int64(len(it.data))
			j.history = append(j.history, memEntry{item: it.data})
		}
	}
	j.announce()
	return nil
}

// announce wakes every Await. The lock is held.
func (l *ledger) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Outcome implements repository.Journal.
func (j *MemJournal) Outcome(ctx context.Context, id string) (repository.Outcome, error) {
	if err := j.open(ctx); err != nil {
		return repository.Outcome{}, fmt.Errorf("outcome of item %q: %w", id, err)
	}
	defer j.mu.Unlock()
	it := j.known[id]
	if it == nil {
		return repository.Outcome{}, fmt.Errorf("outcome of item %q: %w", id, repository.ErrUnknownItem)
	}
	return it.outcome, nil
}

// Stats implements repository.Journal.
func (j *MemJournal) Stats(ctx context.Context) (repository.QueueStats, error) {
	if err := j.open(ctx); err != nil {
		return repository.QueueStats{}, fmt.Errorf("queue: %w", err)
	}
	defer j.mu.Unlock()
	return j.stats(), nil
}

// Lead implements repository.Journal.
func (j *MemJournal) Lead(ctx context.Context) (repository.Leader, error) {
	if err := j.open(ctx); err != nil {
		return nil, fmt.Errorf("lead: %w", err)
	}
	defer j.mu.Unlock()
	if j.leader != nil {
		return nil, fmt.Errorf("lead: %w (epoch %d)", repository.ErrLocked, j.epoch)
	}
	j.epoch++
	j.lead = &memLeader{handle: j, epoch: j.epoch}
	j.leader = j.lead
	j.announce() // for whom this fences
	return j.lead, nil
}

// Close implements repository.Journal.
func (j *MemJournal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if j.lead != nil && j.leader == j.lead {
		j.leader = nil
	}
	j.announce()
	return nil
}

// take applies the seal's or commit's effect on the queue. The lock is held.
func (l *ledger) take(r repository.Record) {
	switch r.Kind {
	case repository.KindSeal:
		for _, o := range r.Outcomes {
			it := l.known[o.ID]
			if it.outcome.State != repository.Accepted {
				continue // committed by a record of the same call
			}
			it.decided, it.sealed = o.Outcome, r.Generation
			l.pending = slices.DeleteFunc(l.pending, func(p *memItem) bool {
				if p == it {
					l.bytes -= int64(len(it.data))
				}
				return p == it
			})
			l.sealed = append(l.sealed, it)
		}
	case repository.KindCommit:
		l.sealed = slices.DeleteFunc(l.sealed, func(it *memItem) bool {
			if it.sealed == r.Generation {
				it.outcome = it.decided
			}
			return it.sealed == r.Generation
		})
	}
}
