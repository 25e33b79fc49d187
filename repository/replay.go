package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// replay is the fold of a journal's history: the publisher's state, and beside
// it what that state only has a digest of.
type replay struct {
	layout delegation.Bins
	bins   map[int]*contents // those that are asked for
	bases  bool              // of which only their bases are asked for

	begun   bool
	state   state
	pending map[string]Item // queued, and decided by no seal
	decided []Item          // by the newest seal, in the order of its outcomes, until its commit
	how     []ItemOutcome   // what that seal decided
	files   []file          // the offline documents ever accepted, in that order
}

// contents is what a bin holds: the targets of base, an earlier version of its
// file or, if that is version 0, nothing, and what happened since.
type contents struct {
	base binState
	// since are the targets added since base, nil for those removed.
	since map[string]*roles.Target
}

// replayHistory folds the history of a journal up to the record whose hash is
// chain, and notes what is in the bins asked for. Every record is checked against
// the one before it, and every seal's items against its digest.
// The cost is that of reading the whole history, and the memory that of the queue
// at its longest and of the bins.
func replayHistory(ctx context.Context, j Journal, chain string, layout delegation.Bins, bins ...int) (*replay, error) {
	return newReplay(layout, bins...).run(ctx, j, chain)
}

func newReplay(layout delegation.Bins, bins ...int) *replay {
	h := &replay{layout: layout, bins: make(map[int]*contents, len(bins)), pending: map[string]Item{}}
	for _, i := range bins {
		h.bins[i] = &contents{since: map[string]*roles.Target{}}
	}
	return h
}

func (h *replay) run(ctx context.Context, j Journal, chain string) (*replay, error) {
	historian, ok := j.(Historian)
	if !ok {
		return nil, fmt.Errorf("the journal can't be read back: %w", errors.ErrUnsupported)
	}
	for e, err := range historian.History(ctx) {
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if e.Item != nil {
			h.pending[e.Item.ID] = *e.Item
			continue
		}
		if err := h.record(*e.Record); err != nil {
			return nil, err
		}
		if h.state.chain == chain {
			return h, nil
		}
	}
	return nil, fmt.Errorf("journal: its history ends with record %.12s, before %.12s", h.state.chain, chain)
}

func (h *replay) record(r Record) error {
	if !h.begun && r.Kind == KindCheckpoint {
		h.state.chain = r.Prev
	}
	h.begun = true
	before := h.state.bins
	if r.Kind == KindCheckpoint {
		// A seal that was given up: see RestoreStore. Its items are decided again.
		for _, it := range h.decided {
			h.pending[it.ID] = it
		}
		h.decided, h.how = nil, nil
	}
	if err := h.state.apply(r); err != nil {
		return err
	}
	switch r.Kind {
	case KindDocuments:
		var b documentsBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		h.files = append(h.files, b.Files...)
	case KindSeal:
		return h.decide(r)
	case KindCommit:
		h.commit()
	case KindCheckpoint:
		// What the records before it don't explain was read from the store, by
		// RestoreJournal.
		for i, c := range h.bins {
			if !sameBin(binAt(before, i), binAt(h.state.bins, i)) {
				*c = contents{binAt(h.state.bins, i), map[string]*roles.Target{}}
			}
		}
	}
	return nil
}

// decide takes the items that a seal decides out of the queue.
func (h *replay) decide(r Record) error {
	for _, o := range r.Outcomes {
		it, ok := h.pending[o.ID]
		if !ok {
			return fmt.Errorf("journal: seal of generation %d: item %q isn't in its history", r.Generation, o.ID)
		}
		delete(h.pending, o.ID)
		h.decided = append(h.decided, it)
	}
	h.how = r.Outcomes
	if digestOf(h.decided) != h.state.sealed.Items {
		return fmt.Errorf("journal: seal of generation %d: its items in the history aren't those that it decided", r.Generation)
	}
	return nil
}

// commit makes the items of the newest seal part of the bins.
func (h *replay) commit() {
	for n, it := range h.decided {
		if len(h.bins) == 0 || h.bases || h.how[n].State == SetAside {
			continue
		}
		for e := range it.edits {
			if c := h.bins[h.layout.Find(e.Path)]; c != nil {
				c.since[e.Path] = e.Target
			}
		}
	}
	h.decided, h.how = nil, nil
}

func binAt(bins []binState, i int) binState {
	if i >= len(bins) {
		return binState{}
	}
	return bins[i]
}

func sameBin(a, b binState) bool { return a.Version == b.Version && a.blob == b.blob }
