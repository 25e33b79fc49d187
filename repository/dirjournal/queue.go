package dirjournal

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
)

// queue is what the journal knows in memory: the pending items and what became of
// the others. It does no I/O.
type queue struct {
	known    map[string]*entry
	pending  []*entry // oldest first
	bytes    int64    // of their data
	sealed   []*entry // decided by a seal and not committed
	final    []*entry // oldest first, at most remember
	remember int

	log *recordLog // where the records that are read are kept, or nil
}

func newQueue(remember int) *queue { return &queue{known: map[string]*entry{}, remember: remember} }

// admit makes the items known that are not, or none if an ID is reused, and
// returns them appended to fresh. They become pending with push.
func (q *queue) admit(fresh, items []*entry) ([]*entry, error) {
	before := len(fresh)
	for _, e := range items {
		known := q.known[e.id]
		if known == nil {
			q.known[e.id] = e
			fresh = append(fresh, e)
			continue
		}
		if known.digest != e.digest {
			for _, f := range fresh[before:] {
				delete(q.known, f.id)
			}
			return fresh[:before], fmt.Errorf("item %q: %w", e.id, repository.ErrIDReused)
		}
	}
	return fresh, nil
}

// push makes items pending that are durable now.
func (q *queue) push(fresh []*entry) {
	for _, e := range fresh {
		e.durable = true
		q.bytes += int64(len(e.data))
	}
	q.pending = append(q.pending, fresh...)
}

func (q *queue) stats() repository.QueueStats {
	s := repository.QueueStats{Pending: len(q.pending), Bytes: q.bytes}
	if s.Pending > 0 {
		s.Oldest = q.pending[0].accepted
	}
	return s
}

// decidable says why a record can't be applied, or nil.
func (q *queue) decidable(r repository.Record) error {
	if r.Kind != repository.KindSeal {
		return nil
	}
	for _, o := range r.Outcomes {
		switch e := q.known[o.ID]; {
		case e == nil || !e.durable:
			return fmt.Errorf("item %q: %w", o.ID, repository.ErrUnknownItem)
		case e.committed:
			return fmt.Errorf("item %q: it is %s already, in generation %d", o.ID, e.outcome.State, e.outcome.Generation)
		}
	}
	return nil
}

// apply gives a durable record its effect on the items.
func (q *queue) apply(r repository.Record) {
	switch r.Kind {
	case repository.KindSeal:
		for _, o := range r.Outcomes {
			e := q.known[o.ID]
			if e == nil || e.committed {
				continue
			}
			if e.data != nil {
				q.bytes -= int64(len(e.data))
				e.data = nil
				q.sealed = append(q.sealed, e)
			}
			e.sealed, e.outcome = r.Generation, o.Outcome
		}
		q.pending = slices.DeleteFunc(q.pending, func(e *entry) bool { return e.data == nil })
	case repository.KindCommit:
		q.sealed = slices.DeleteFunc(q.sealed, func(e *entry) bool {
			if e.sealed == r.Generation {
				q.settle(e)
			}
			return e.committed
		})
	}
}

// settle makes an outcome final, and forgets the oldest one beyond the limit.
func (q *queue) settle(e *entry) {
	e.committed = true
	q.final = append(q.final, e)
	if len(q.final) > q.remember {
		delete(q.known, q.final[0].id)
		q.final[0] = nil
		q.final = q.final[1:]
	}
}

// read takes in one line of the log.
func (q *queue) read(kind byte, data []byte) error {
	switch kind {
	case itemLine:
		it, err := repository.ParseItem(data)
		if err != nil {
			return fmt.Errorf("item: %w", err)
		}
		old := q.known[it.ID]
		if it.ID == "" || old != nil && !old.committed {
			return fmt.Errorf("item %q: it is there twice, or has no ID", it.ID)
		}
		if old != nil { // a writer that remembered fewer had forgotten it
			q.final = slices.DeleteFunc(q.final, func(e *entry) bool { return e == old })
		}
		// A clone, so that it doesn't keep the whole segment in memory.
		e := &entry{id: it.ID, digest: it.Digest(), accepted: it.Accepted, data: bytes.Clone(data)}
		q.known[e.id] = e
		q.push([]*entry{e})
	case recordLine:
		r, err := jsontext.Decode[repository.Record](data)
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		q.apply(r)
		if q.log != nil {
			q.log.add(r)
		}
	case outcomeLine:
		o, err := decodeOutcome(data)
		if err != nil {
			return fmt.Errorf("outcome: %w", err)
		}
		if q.known[o.ID] != nil || o.ID == "" {
			return fmt.Errorf("outcome of item %q: it is there twice, or has no ID", o.ID)
		}
		e := &entry{id: o.ID, digest: o.Digest, durable: true, sealed: o.Sealed, outcome: o.Outcome}
		q.known[e.id] = e
		if o.Committed {
			q.settle(e)
		} else {
			q.sealed = append(q.sealed, e)
		}
	default:
		return fmt.Errorf("unknown kind %q: written by a newer version?", kind)
	}
	return nil
}

// usualOutcome is the length of most outcomes' lines, or more.
const usualOutcome = 224

// dump appends lines that, read into an empty queue, make it equal to q.
func (q *queue) dump(b []byte) []byte {
	b = slices.Grow(b, int(q.bytes)+len("i \n")*len(q.pending)+usualOutcome*(len(q.final)+len(q.sealed)))
	for _, entries := range [][]*entry{q.final, q.sealed} {
		for _, e := range entries {
			b = append(b, outcomeLine, ' ')
			b = outcome{e.id, e.digest, e.sealed, e.committed, e.outcome}.appendJSON(b)
			b = append(b, '\n')
		}
	}
	for _, e := range q.pending {
		b = appendLine(b, itemLine, e.data)
	}
	return b
}
