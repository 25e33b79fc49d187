package storetest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// MemJournal is one process's handle on a repository.Journal in memory, which
// any number of handles share as processes share a database: one of them leads,
// by a lease that ends when it is released, when its handle is closed, or when a
// test lets it expire. It remembers every entry and record for ever, and so every outcome. It
// is safe for concurrent use.
type MemJournal struct {
	*shared
	closed bool // guarded by shared.mu, as is all that follows
	lead   *memLead
}

// shared is what the handles share.
type shared struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever an Await or a Decided may be over
	moment  int64
	known   map[string]*memEntry
	pending []*memEntry // oldest first
	sealed  []*memEntry // decided by a seal that isn't committed, in its order
	history []memStep
	point   int             // where the newest checkpoint is in history
	atPoint []*ledger.Entry // what was pending then
	epoch   int64
	leader  *memLead // the holder of the lease, or nil
}

// memEntry is what is remembered of an entry.
type memEntry struct {
	*ledger.Entry
	decided ledger.ItemOutcome // by the newest record that has it
	final   bool
}

// memStep is an entry, or a record as written.
type memStep struct {
	entry  *ledger.Entry
	record []byte
}

// NewJournal returns the first handle on a new, empty journal.
func NewJournal() *MemJournal {
	return &MemJournal{shared: &shared{changed: make(chan struct{}), moment: 1, known: map[string]*memEntry{}}}
}

// Handle returns another handle on the same journal: another process, or the
// same one after it was started again.
func (j *MemJournal) Handle() *MemJournal { return &MemJournal{shared: j.shared} }

// Clone returns the first handle on a copy of the journal as it is now, as a backup
// has it: nobody leads.
func (j *MemJournal) Clone() *MemJournal {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := &shared{
		changed: make(chan struct{}), moment: 1, known: make(map[string]*memEntry, len(j.known)),
		history: slices.Clone(j.history), point: j.point, atPoint: j.atPoint, epoch: j.epoch,
	}
	for id, e := range j.known {
		same := *e
		c.known[id] = &same
	}
	of := func(entries []*memEntry) (out []*memEntry) {
		for _, e := range entries {
			out = append(out, c.known[e.ID])
		}
		return out
	}
	c.pending, c.sealed = of(j.pending), of(j.sealed)
	return &MemJournal{shared: c}
}

// Rewind returns the first handle on a copy of the journal without its newest records, and without
// what was queued after them: as a database has it that failed over to a replica which lagged behind. It
// returns nil if the journal doesn't have so many records.
func (j *MemJournal) Rewind(records int) *MemJournal {
	j.mu.Lock()
	defer j.mu.Unlock()
	end := len(j.history)
	for ; records > 0 && end > 0; end-- {
		if j.history[end-1].record != nil {
			records--
		}
	}
	if records > 0 {
		return nil
	}
	c := NewJournal()
	for _, m := range j.history[:end] {
		if m.entry != nil {
			e := &memEntry{Entry: m.entry}
			c.known[e.ID] = e
			c.pending = append(c.pending, e)
			c.history = append(c.history, m)
			continue
		}
		r, err := ledger.ParseRecord(m.record)
		if err != nil { // it was parsed before
			panic(err)
		}
		c.epoch = r.Epoch
		c.take(r)
	}
	return c
}

// Expire ends the leader's lease, as if its process had been paused. The leader goes on until another
// handle takes the lead; from then on it is fenced.
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

// Enqueue implements repository.Queue.
func (j *MemJournal) Enqueue(ctx context.Context, entries ...ledger.Entry) ([]bool, error) {
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return nil, fmt.Errorf("enqueue: %w", err)
		}
	}
	if err := j.open(ctx); err != nil {
		return nil, fmt.Errorf("enqueue: %w", err)
	}
	defer j.mu.Unlock()
	known := make([]bool, len(entries))
	fresh := map[string]*memEntry{}
	var order []*memEntry
	for i, e := range entries {
		old := j.known[e.ID]
		if old == nil {
			old = fresh[e.ID]
		}
		switch {
		case old == nil:
			e.Accepted, e.Body = e.Accepted.Round(0).UTC(), bytes.Clone(e.Body)
			fresh[e.ID] = &memEntry{Entry: &e}
			order = append(order, fresh[e.ID])
		case ledger.OutcomeOf(*old.Entry, ledger.Outcome{}).Is(e):
			known[i] = true
		default:
			return nil, fmt.Errorf("enqueue item %q: %w", e.ID, repository.ErrIDReused)
		}
	}
	for _, e := range order {
		j.known[e.ID] = e
		j.pending = append(j.pending, e)
		j.history = append(j.history, memStep{entry: e.Entry})
	}
	j.announce()
	return known, nil
}

// announce wakes all that wait. The lock is held.
func (s *shared) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Outcomes implements repository.Queue.
func (j *MemJournal) Outcomes(ctx context.Context, ids ...string) ([]ledger.Outcome, error) {
	if err := j.open(ctx); err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	defer j.mu.Unlock()
	outcomes := make([]ledger.Outcome, len(ids))
	for i, id := range ids {
		switch e := j.known[id]; {
		case e == nil:
		case e.final:
			outcomes[i] = e.decided.Outcome
		default:
			outcomes[i].State = ledger.Accepted
		}
	}
	return outcomes, nil
}

// Backlog implements repository.Queue.
func (j *MemJournal) Backlog(ctx context.Context) (ledger.Backlog, error) {
	if err := j.open(ctx); err != nil {
		return ledger.Backlog{}, fmt.Errorf("backlog: %w", err)
	}
	defer j.mu.Unlock()
	return j.backlog(), nil
}

// backlog describes what is pending. The lock is held.
func (j *MemJournal) backlog() ledger.Backlog {
	b := ledger.Backlog{Pending: len(j.pending)}
	for _, e := range slices.Backward(j.pending) {
		b.Bytes += int64(len(e.Body))
		b.Oldest = e.Accepted
	}
	return b
}

// Decided implements repository.Queue.
func (j *MemJournal) Decided(ctx context.Context, seen int64) (int64, error) {
	for {
		if err := j.open(ctx); err != nil {
			return 0, fmt.Errorf("wait for outcomes: %w", err)
		}
		now, changed := j.moment, j.changed
		j.mu.Unlock()
		if now != seen {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Lead implements repository.Journal.
func (j *MemJournal) Lead(ctx context.Context) (repository.Lead, int64, error) {
	if err := j.open(ctx); err != nil {
		return nil, 0, fmt.Errorf("lead: %w", err)
	}
	defer j.mu.Unlock()
	if j.leader != nil {
		return nil, 0, fmt.Errorf("lead: %w (epoch %d)", repository.ErrLocked, j.epoch)
	}
	j.epoch++
	j.lead = &memLead{handle: j, epoch: j.epoch}
	j.leader = j.lead
	j.announce() // for whom this fences
	return j.lead, j.epoch, nil
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

var _ repository.Reader = (*MemJournal)(nil)

// Read implements repository.Reader: any handle may read.
func (j *MemJournal) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		if err := j.open(ctx); err != nil {
			yield(ledger.Step{}, fmt.Errorf("read: %w", err))
			return
		}
		steps := j.steps(from)
		j.mu.Unlock()
		yieldSteps(ctx, steps, yield)
	}
}

// steps are what is to be read. The lock is held.
func (s *shared) steps(from ledger.From) []memStep {
	if from == ledger.FromBeginning {
		return s.history // only ever appended to
	}
	var steps []memStep
	for _, e := range s.atPoint {
		steps = append(steps, memStep{entry: e})
	}
	return append(steps, s.history[s.point:]...)
}

// yieldSteps reports whether all were yielded.
func yieldSteps(ctx context.Context, steps []memStep, yield func(ledger.Step, error) bool) bool {
	for _, m := range steps {
		s, err := m.step()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(ledger.Step{}, fmt.Errorf("read: %w", err))
			return false
		}
		if !yield(s, nil) {
			return false
		}
	}
	return true
}

func (m memStep) step() (ledger.Step, error) {
	if m.entry != nil {
		e := *m.entry
		return ledger.Step{Entry: &e}, nil
	}
	r, err := ledger.ParseRecord(bytes.Clone(m.record))
	return ledger.Step{Record: &r}, err
}

// take applies a record's effect. The lock is held.
func (s *shared) take(r ledger.Record) {
	for _, o := range r.Outcomes() {
		e := s.known[o.ID]
		e.decided = o
		s.pending = slices.DeleteFunc(s.pending, func(p *memEntry) bool { return p == e })
		if r.Kind() == ledger.KindSeal {
			s.sealed = append(s.sealed, e)
		} else {
			e.final = true
		}
	}
	switch r.Kind() {
	case ledger.KindCommit:
		for _, e := range s.sealed {
			e.final = true
		}
		s.sealed = nil
		s.moment++
	case ledger.KindDecided:
		s.moment++
	case ledger.KindCheckpoint:
		s.pending = append(s.sealed, s.pending...)
		s.sealed = nil
		s.point, s.atPoint = len(s.history), nil
		for _, e := range s.pending {
			s.atPoint = append(s.atPoint, e.Entry)
		}
	}
	s.history = append(s.history, memStep{record: r.Bytes()})
}
