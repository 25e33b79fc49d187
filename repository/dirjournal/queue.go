package dirjournal

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// queue is the journal's memory: the pending entries, and the outcomes of the others. It does
// no I/O.
type queue struct {
	known   map[string]*known
	pending []*known  // oldest first
	bytes   int64     // of their bodies
	sealed  []*known  // decided by a seal and not committed, in the seal's order
	final   []*known  // in memory, oldest first
	older   older     // those before final
	now     time.Time // of the newest record
}

// known is everything that the journal remembers of one ID.
type known struct {
	remembered         // id, digest and by; the rest once a record decided it
	queued     *queued // nil once the outcome is final
}

// queued is an entry whose outcome isn't final.
type queued struct {
	entry   ledger.Entry // its body lies in encoded
	encoded []byte       // see encodeEntry
	durable bool         // false while the frame that queues it is being written
	sealed  bool
	in      int64 // the generation of the seal, if it is sealed
}

func newQueue() *queue { return &queue{known: map[string]*known{}} }

// newKnown returns an entry on its way into the queue. The body is encoded's.
func newKnown(e ledger.Entry, encoded []byte) *known {
	e.Body = bodyOf(encoded, len(e.Body))
	return &known{
		remembered: remembered{id: e.ID, by: e.By, digest: sha256.Sum256(e.Body)},
		queued:     &queued{entry: e, encoded: encoded},
	}
}

// is reports whether an entry asks for the same as the one that is known.
func (k *known) is(e ledger.Entry) bool {
	if k.queued == nil {
		return k.item().Is(e)
	}
	return e.Means(k.hex(), k.queued.entry.Body)
}

// admit makes the new ones of the entries known, and returns them appended to fresh; push makes
// them pending. It sets repeated for each of the others. If an ID is reused, or an older outcome can't be read,
// nothing changes.
func (q *queue) admit(d dir, fresh, entries []*known, repeated []bool) ([]*known, error) {
	before := len(fresh)
	undo := func(err error) ([]*known, error) {
		for _, f := range fresh[before:] {
			delete(q.known, f.id)
		}
		return fresh[:before], err
	}
	for i, k := range entries {
		old := q.known[k.id]
		if old == nil {
			r, found, err := q.older.find(d, k.id)
			if err != nil {
				return undo(fmt.Errorf("item %q: whether it was decided: %w", k.id, err))
			}
			if found {
				old = &known{remembered: r}
			}
		}
		if old == nil {
			q.known[k.id] = k
			fresh = append(fresh, k)
			continue
		}
		if !old.is(k.queued.entry) {
			return undo(fmt.Errorf("item %q: %w", k.id, repository.ErrIDReused))
		}
		repeated[i] = true
	}
	return fresh, nil
}

// withdraw forgets entries that were admitted and not written.
func (q *queue) withdraw(fresh []*known) {
	for _, k := range fresh {
		delete(q.known, k.id)
	}
}

// push makes entries pending that have become durable.
func (q *queue) push(fresh []*known) {
	for _, k := range fresh {
		k.queued.durable = true
		q.bytes += int64(len(k.queued.entry.Body))
	}
	q.pending = append(q.pending, fresh...)
}

func (q *queue) backlog() ledger.Backlog {
	b := ledger.Backlog{Pending: len(q.pending), Bytes: q.bytes}
	if b.Pending > 0 {
		b.Oldest = q.pending[0].queued.entry.Accepted
	}
	return b
}

// outcome returns the zero Outcome for an ID that is unknown or not durable. It doesn't look at older ones.
func (q *queue) outcome(id string) ledger.Outcome {
	switch k := q.known[id]; {
	case k == nil || k.queued != nil && !k.queued.durable:
		return ledger.Outcome{}
	case k.queued != nil:
		return ledger.Outcome{State: ledger.Accepted}
	default:
		return k.remembered.outcome()
	}
}

// oldest returns the entries that come first: at most n, and at most maxBytes of bodies
// unless the first alone has more.
func (q *queue) oldest(n int, maxBytes int64) []ledger.Entry {
	var entries []ledger.Entry
	for _, k := range q.pending {
		e := k.queued.entry
		maxBytes -= int64(len(e.Body))
		if len(entries) >= n || maxBytes < 0 && len(entries) > 0 {
			break
		}
		entries = append(entries, e)
	}
	return entries
}

// decidable returns nil if the records can be applied one after the other, or else the reason.
func (q *queue) decidable(records []ledger.Record) error {
	decided, sealed := map[string]bool{}, map[string]bool{} // by these records
	givenUp := false                                        // whether the seal before them is
	for _, r := range records {
		if r.Kind() == ledger.KindCheckpoint {
			clear(sealed)
			givenUp = true
		}
		for _, o := range r.Outcomes() {
			k := q.known[o.ID]
			var err error
			switch {
			case k == nil || k.queued != nil && !k.queued.durable:
				err = repository.ErrUnknownItem
			case k.queued == nil:
				err = fmt.Errorf("it is %s already", outcomeStates[k.state])
			case decided[o.ID] || sealed[o.ID] || k.queued.sealed && !givenUp:
				err = errors.New("another record decided it")
			case k.hex() != o.Digest:
				err = fmt.Errorf("the digest %.12s isn't that of the entry, %.12s", o.Digest, k.hex())
			case r.Kind() == ledger.KindSeal:
				sealed[o.ID] = true
			default:
				decided[o.ID] = true
			}
			if err != nil {
				return fmt.Errorf("%s record of generation %d: item %q: %w", r.Kind(), r.Generation, o.ID, err)
			}
		}
		if r.Kind() == ledger.KindCommit {
			for id := range sealed {
				decided[id] = true
			}
			clear(sealed)
		}
	}
	return nil
}

// apply gives a durable record its effect on the entries.
func (q *queue) apply(r ledger.Record) {
	if r.Time.After(q.now) {
		q.now = r.Time
	}
	for _, o := range r.Outcomes() {
		k := q.known[o.ID]
		if k == nil || k.queued == nil || k.queued.sealed {
			continue
		}
		k.decide(o)
		q.bytes -= int64(len(k.queued.entry.Body))
		if r.Kind() == ledger.KindSeal {
			k.queued.sealed, k.queued.in = true, r.Generation
			q.sealed = append(q.sealed, k)
		} else {
			q.settle(k)
		}
	}
	switch r.Kind() {
	case ledger.KindSeal, ledger.KindDecided:
		q.pending = slices.DeleteFunc(q.pending, func(k *known) bool { return k.queued == nil || k.queued.sealed })
	case ledger.KindCommit:
		q.sealed = slices.DeleteFunc(q.sealed, func(k *known) bool {
			if k.queued.in != r.Generation {
				return false
			}
			q.settle(k)
			return true
		})
	case ledger.KindCheckpoint:
		q.giveUp()
	}
}

// giveUp makes entries that were sealed and not committed pending again, before the others.
func (q *queue) giveUp() {
	for _, k := range q.sealed {
		e := k.queued.entry
		k.remembered = remembered{id: e.ID, by: e.By, digest: k.digest}
		k.queued.sealed, k.queued.in = false, 0
		q.bytes += int64(len(e.Body))
	}
	q.pending = slices.Concat(q.sealed, q.pending)
	q.sealed = nil
}

// settle makes an outcome final.
func (q *queue) settle(k *known) {
	k.queued = nil
	q.final = append(q.final, k)
}

// forget takes the n oldest final outcomes out of memory.
func (q *queue) forget(n int) {
	for _, k := range q.final[:n] {
		delete(q.known, k.id)
	}
	q.final = slices.Clone(q.final[n:])
}

// read applies one part of a payload, of those that since selects. It returns the part's step,
// if the part is an entry or a record.
func (q *queue) read(p part) (ledger.Step, error) {
	switch p.kind {
	case entryPart, pendingPart:
		old := q.known[p.entry.ID]
		if old != nil && old.queued != nil {
			return ledger.Step{}, fmt.Errorf("item %q: appears twice", p.entry.ID)
		}
		if old != nil { // a writer that remembered fewer had forgotten it
			q.final = slices.DeleteFunc(q.final, func(k *known) bool { return k == old })
		}
		// A clone, so that it doesn't keep the whole segment in memory.
		k := newKnown(p.entry, bytes.Clone(p.data))
		q.known[k.id] = k
		q.push([]*known{k})
		return k.step(), nil
	case outcomePart:
		r, err := parseOutcome(p.data)
		if err != nil {
			return ledger.Step{}, fmt.Errorf("outcome: %w", err)
		}
		if q.known[r.id] != nil || r.id == "" {
			return ledger.Step{}, fmt.Errorf("outcome of item %q: appears twice, or has no ID", r.id)
		}
		k := &known{remembered: r}
		q.known[r.id] = k
		q.settle(k)
		return ledger.Step{}, nil
	}
	if p.kind == filePart {
		f, err := decode[olderFile](p.data)
		if err == nil && !isOlderName(f.Name) {
			err = fmt.Errorf("file of outcomes %q: impossible name", f.Name)
		}
		q.older.files = append(q.older.files, f)
		return ledger.Step{}, err
	}
	s, err := p.step()
	if err != nil {
		return ledger.Step{}, err
	}
	q.apply(*s.Record)
	return s, nil
}

// step is the entry as a step of the history.
func (k *known) step() ledger.Step {
	e := k.queued.entry
	return ledger.Step{Entry: &e}
}

// after returns the queue as it will be after records. The two share nothing that either
// changes.
func (q *queue) after(records []ledger.Record) *queue {
	// Final entries appear in no record that can be applied, so they need not be known.
	n := &queue{
		known: make(map[string]*known, len(q.pending)+len(q.sealed)), bytes: q.bytes,
		final: slices.Clone(q.final), older: q.older, now: q.now,
	}
	copied := func(all []*known) []*known {
		copies, ofKnown, ofQueued := make([]*known, len(all)), make([]known, len(all)), make([]queued, len(all))
		for i, k := range all {
			ofQueued[i] = *k.queued
			ofKnown[i] = known{k.remembered, &ofQueued[i]}
			copies[i] = &ofKnown[i]
			n.known[k.id] = copies[i]
		}
		return copies
	}
	n.pending, n.sealed = copied(q.pending), copied(q.sealed)
	for _, r := range records {
		n.apply(r)
	}
	return n
}

// usualOutcome is the length of most outcomes' parts, or more.
const usualOutcome = 256

// dump appends the parts from which read makes an equal queue. Nothing may be sealed.
func (q *queue) dump(b []byte) []byte {
	size := usualOutcome * len(q.final)
	for _, k := range q.pending {
		size += 1 + len(k.queued.encoded)
	}
	b = slices.Grow(b, size)
	for _, f := range q.older.lasting(q.now) {
		b = appendFile(b, f)
	}
	for _, k := range q.final {
		b = appendOutcome(b, &k.remembered)
	}
	for _, k := range q.pending {
		b = appendEntry(b, pendingPart, k.queued.encoded)
	}
	return b
}
