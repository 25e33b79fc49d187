package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Timestamp is the name whose swap commits a generation.
const Timestamp = "timestamp.json"

// State is all that a publisher must know to go on: the fold of a ledger's records, and
// nothing else. Only Apply changes it. The zero value is that of an empty ledger.
//
// Generations go through three states. Planned > Last(): an intent was written, and files
// of that version may be in the store. Sealed != nil: the generation will be published.
// Otherwise Generation is what clients see.
//
// Documents go through three states. In Unwritten: accepted, and perhaps not in the store.
// In Documents only: written, and (but for root) not yet named by a snapshot. In Published
// too: clients find them.
type State struct {
	Epoch int64  // of the newest record
	Chain string // hash of the newest record; "" if there is none

	Planned int64 // highest generation of an intent
	Sealed  *Seal // will be published, and isn't known to be; else nil

	Generation int64     // last committed; 0 before the first
	Signed     time.Time // when that generation was signed
	Committed  time.Time // when its commit record was written; zero where a checkpoint hides it
	Expires    Expires
	Swapped    map[string][]byte // the content of each name that is swapped
	Snapshot   Blob              // of that generation

	Documents map[string]Doc // accepted offline documents, by role; those but root are published by the next generation
	Published map[string]Doc // as of the committed generation
	Unwritten []File         // accepted documents that may not be in the store yet

	Table Table

	// Attempts are the generations above the committed one that have an intent, oldest first. Files of
	// them may be in the store. All but the newest are given up, and so is that one unless a seal
	// follows.
	Attempts []Attempt
	// Garbage has one entry for each commit after Collected, oldest first.
	Garbage   []Garbage
	Collected int64 // the files that generations up to this one superseded are gone
	// Targets are target files whose grace period is over, oldest first. They are offered to the index,
	// again and again, until it reports them deleted. Only MaxGarbage of them are remembered, the newest.
	Targets []RemovedTarget
	// Unlisted, unless it is zero, says that the store may have garbage of generations up to this one
	// that Garbage doesn't list: there was more than MaxGarbage, or a restoration found files that the
	// journal doesn't know. Only a sweep that lists the store finds it.
	Unlisted int64
	// Bases are files that a replay of the history begins with, as versions by role. The history doesn't
	// tell what is in them, so they are kept even if they are superseded. Nil: the history tells all.
	Bases map[string]int64

	// Signings has one entry for each combination of keys that ever signed a generation, the
	// committed one last.
	Signings []Signing

	// Rotations are those that are under way, by role.
	Rotations map[string]Rotating

	sealedAs int64
	written  int // how many of Unwritten the commit of the sealed generation comes after

	files, targets int // see Uncollected
}

// Last is the highest generation that clients may see.
func (s *State) Last() int64 {
	if s.Sealed != nil {
		return s.sealedAs
	}
	return s.Generation
}

// Timestamp returns the exact bytes of the committed timestamp; nil before the first.
func (s *State) Timestamp() []byte { return s.Swapped[Timestamp] }

// Next makes the record that follows the state. It doesn't apply it.
func (s *State) Next(epoch, generation int64, at time.Time, body Body) (Record, error) {
	return NewRecord(epoch, generation, s.Chain, at, body)
}

// Apply folds one record into s, or says why it can't follow the records before it: s is
// unusable after an error. A checkpoint may be the first record of a history that begins
// with it.
func (s *State) Apply(r Record) error {
	if s.Chain == "" && s.Planned == 0 && r.Kind() == KindCheckpoint {
		s.Chain = r.Prev // what came before it need not be read
	}
	if err := s.apply(r); err != nil {
		return fmt.Errorf("journal: %s record of generation %d: %w", r.Kind(), r.Generation, err)
	}
	s.Chain, s.Epoch = r.Hash(), r.Epoch
	return nil
}

func (s *State) apply(r Record) error {
	if r.Prev != s.Chain {
		return fmt.Errorf("the chain is broken: it follows record %.12s, not %.12s", r.Prev, s.Chain)
	}
	if r.Epoch < s.Epoch {
		return fmt.Errorf("it is of epoch %d, after one of epoch %d", r.Epoch, s.Epoch)
	}
	switch b := r.Body.(type) {
	case *Documents:
		for _, name := range b.Withdrawn {
			if err := s.withdraw(name); err != nil {
				return err
			}
		}
		for _, role := range b.Rotated {
			if _, ok := s.Rotations[role]; !ok {
				return fmt.Errorf("the rotation of %q ends, and none is under way", role)
			}
			s.Rotations = maps.Clone(s.Rotations) // a checkpoint may hold it
			delete(s.Rotations, role)
		}
		if len(s.Rotations) == 0 {
			s.Rotations = nil
		}
		s.Documents = b.InForce
		s.Unwritten = append(s.Unwritten, b.Files...)
	case *Intent:
		if r.Generation <= s.Planned { // where one is sealed, a restoration will give it up
			return fmt.Errorf("it follows generation %d", s.Planned)
		}
		for _, bins := range b.Bins {
			if err := bins.check(); err != nil {
				return err
			}
		}
		s.Planned = r.Generation
		s.attempted(Attempt{r.Generation, *b})
	case *Seal:
		if s.Sealed != nil {
			return fmt.Errorf("generation %d is sealed and not committed", s.sealedAs)
		}
		if r.Generation != s.Planned {
			return errors.New("there is no intent before it")
		}
		if err := b.check(); err != nil {
			return err
		}
		s.Sealed, s.sealedAs, s.written = b, r.Generation, len(s.Unwritten)
	case *Commit:
		if s.Sealed == nil || s.sealedAs != r.Generation {
			return errors.New("there is no seal before it")
		}
		return s.commit(r.Time)
	case *Decided:
	case *Collected:
		return s.collected(b)
	case *Rotation:
		if b.Role == "" || b.To == "" {
			return errors.New("it lacks the role or the key")
		}
		s.Rotations = maps.Clone(s.Rotations)
		if s.Rotations == nil {
			s.Rotations = map[string]Rotating{}
		}
		s.Rotations[b.Role] = Rotating{To: b.To, Begun: r.Time}
	case *Checkpoint:
		if b.Planned < max(s.Planned, r.Generation) { // a name could get a second content
			return fmt.Errorf("it knows of no generation after %d, and there was %d", b.Planned, max(s.Planned, r.Generation))
		}
		if err := b.Table.check(); err != nil {
			return err
		}
		if err := b.checkGarbage(r.Generation); err != nil {
			return err
		}
		*s = State{
			Planned: b.Planned, Generation: r.Generation, Signed: time.Unix(b.Signed, 0).UTC(), Expires: b.Expires,
			Swapped: maps.Clone(b.Swapped), Snapshot: b.Snapshot, Documents: b.Documents, Published: b.Published,
			Table: b.Table.Clone(), Signings: b.Signings, Rotations: b.Rotations,
			Attempts: b.Attempts, Garbage: b.Garbage, Collected: b.Collected, Targets: b.Targets, Unlisted: b.Unlisted, Bases: b.Bases,
		}
		if len(b.Garbage) == 0 && b.Collected < r.Generation { // of a version that listed none
			s.Unlisted = max(s.Unlisted, r.Generation)
		}
		s.recount()
	default:
		return fmt.Errorf("%w: a body of type %T", ErrNewer, b)
	}
	return nil
}

// withdraw forgets an accepted file that nobody tried to write.
func (s *State) withdraw(name string) error {
	i := slices.IndexFunc(s.Unwritten, func(f File) bool { return f.AtCommit && f.Name() == name })
	if i < 0 || i < s.written {
		return fmt.Errorf("%s can't be withdrawn: it isn't held back, or a seal came after it", name)
	}
	s.Unwritten = slices.Concat(s.Unwritten[:i], s.Unwritten[i+1:])
	return nil
}

// check makes sure that the seal can be carried out.
func (b *Seal) check() error {
	swapped := map[string]bool{}
	for _, swap := range b.Swaps {
		if swapped[swap.Name] {
			return fmt.Errorf("it swaps %s twice", swap.Name)
		}
		swapped[swap.Name] = true
	}
	if n := len(b.Swaps); n == 0 || b.Swaps[n-1].Name != Timestamp {
		return fmt.Errorf("its last swap is not %s", Timestamp)
	}
	if err := checkSets(b.Sets); err != nil {
		return err
	}
	for _, c := range b.Rows {
		if err := checkKey(c.Row, b.Keys); err != nil {
			return fmt.Errorf("%s: %w", c.Role, err)
		}
	}
	return nil
}

// commit makes the sealed generation the committed one. Documents that were accepted since
// the seal stay unwritten: a generation writes first what was unwritten when it was sealed.
func (s *State) commit(at time.Time) error {
	b := s.Sealed
	fewer := len(b.Keys) < len(s.Table.Keys)
	s.Table.Keys = b.Keys
	if b.Sets != nil {
		s.Table.resize(b.Sets)
	}
	s.Table.put(b.Rows)
	for _, role := range b.Dropped {
		delete(s.Table.Roles, role)
	}
	if s.Swapped == nil {
		s.Swapped = map[string][]byte{}
	}
	for _, swap := range b.Swaps {
		s.Swapped[swap.Name] = swap.New
	}
	s.Generation, s.Signed, s.Committed, s.Expires = s.sealedAs, time.Unix(b.Signed, 0).UTC(), at, b.Expires
	s.Snapshot, s.Published = b.Snapshot, b.Documents
	s.signed(b.SignedBy, at)
	s.supersede(b, at)
	s.Unwritten = s.Unwritten[s.written:]
	if len(s.Unwritten) == 0 {
		s.Unwritten = nil
	}
	s.Sealed, s.sealedAs, s.written = nil, 0, 0
	if fewer {
		return s.Table.checkKeys()
	}
	return nil
}

// signed notes which keys signed the generation that was committed at the time given.
func (s *State) signed(by SignedBy, at time.Time) {
	n := len(s.Signings)
	if n > 0 && s.Signings[n-1].SignedBy.equal(by) {
		return
	}
	all := slices.Clone(s.Signings) // a checkpoint may hold it
	if n > 0 {
		all[n-1].Superseded = at
	}
	all = slices.DeleteFunc(all, func(g Signing) bool { return g.SignedBy.equal(by) })
	s.Signings = append(all, Signing{SignedBy: by})
}

// Checkpoint returns the body from which the whole state can be read again. There must be
// nothing sealed and nothing unwritten.
func (s *State) Checkpoint() *Checkpoint {
	return &Checkpoint{
		Planned: s.Planned, Signed: s.Signed.Unix(), Expires: s.Expires, Swapped: maps.Clone(s.Swapped), Snapshot: s.Snapshot,
		Documents: s.Documents, Published: s.Published, Signings: s.Signings, Table: s.Table,
		Attempts: s.Attempts, Garbage: s.Garbage, Collected: s.Collected, Targets: s.Targets, Unlisted: s.Unlisted, Bases: s.Bases,
		Rotations: s.Rotations,
	}
}

// Backlog describes a queue. What a seal names is in it no more, and isn't published before
// the commit of its generation: a queue that is empty doesn't mean that all is published.
type Backlog struct {
	Pending int       `json:"pending"`         // entries that are accepted and have no outcome in a seal or decided record
	Bytes   int64     `json:"bytes"`           // of their bodies
	Oldest  time.Time `json:"oldest,omitzero"` // when the oldest of them was accepted; zero if none
}

// History folds steps: the state, and the entries that are pending.
type History struct {
	State   State
	Pending []Entry // oldest first; between two calls of Queue it may have holes, of the zero Entry

	place  map[string]int // of each entry in Pending
	holes  int
	sealed []Entry
}

// Apply folds one step.
func (h *History) Apply(step Step) error {
	if e := step.Entry; e != nil {
		isIt := func(other Entry) bool { return other.ID == e.ID }
		if _, known := h.place[e.ID]; known || slices.ContainsFunc(h.sealed, isIt) {
			return fmt.Errorf("journal: item %q is queued twice", e.ID)
		}
		h.push(*e)
		return nil
	}
	r := *step.Record
	if r.Kind() == KindCheckpoint { // a seal that was given up: its entries are decided again
		h.settle()
		h.Pending = slices.Concat(h.sealed, h.Pending)
		h.sealed = nil
		h.place = nil
		h.index()
	}
	if err := h.State.Apply(r); err != nil {
		return err
	}
	for _, o := range r.Outcomes() {
		i, ok := h.place[o.ID]
		if !ok {
			return fmt.Errorf("journal: %s record of generation %d: item %q isn't in the history", r.Kind(), r.Generation, o.ID)
		}
		if d := h.Pending[i].Digest(); d != o.Digest {
			return fmt.Errorf("journal: %s record of generation %d: item %q has the digest %.12s in the history, and it decided %.12s",
				r.Kind(), r.Generation, o.ID, d, o.Digest)
		}
		if r.Kind() == KindSeal {
			h.sealed = append(h.sealed, h.Pending[i])
		}
		h.Pending[i] = Entry{}
		delete(h.place, o.ID)
		h.holes++
	}
	if r.Kind() == KindCommit {
		h.sealed = nil
	}
	if h.holes > len(h.Pending)/2 {
		h.settle()
	}
	return nil
}

// Sealed are the entries that the newest seal decided, in its order, until its commit.
func (h *History) Sealed() []Entry { return h.sealed }

// Queue returns the entries that are pending, oldest first.
func (h *History) Queue() []Entry {
	h.settle()
	return h.Pending
}

// Backlog describes what is pending.
func (h *History) Backlog() Backlog {
	var b Backlog
	for _, e := range h.Queue() {
		if b.Pending == 0 {
			b.Oldest = e.Accepted
		}
		b.Pending++
		b.Bytes += int64(len(e.Body))
	}
	return b
}

func (h *History) push(e Entry) {
	if h.place == nil {
		h.place = map[string]int{}
	}
	h.place[e.ID] = len(h.Pending)
	h.Pending = append(h.Pending, e)
}

// settle closes the holes.
func (h *History) settle() {
	if h.holes == 0 {
		return
	}
	h.Pending = slices.DeleteFunc(h.Pending, func(e Entry) bool { return e.ID == "" })
	h.holes = 0
	h.index()
}

func (h *History) index() {
	h.place = make(map[string]int, len(h.Pending))
	for i, e := range h.Pending {
		h.place[e.ID] = i
	}
}
