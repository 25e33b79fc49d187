package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// plan is what one generation does with the items it was given.
type plan struct {
	items    []queued                   // decided, in order
	outcomes []Outcome                  // of each
	edits    map[int][]roles.TargetEdit // by role, in order
	removed  []ledger.RemovedTarget     // files that are published no more
	waiting  []string                   // IDs of the items that stay pending
	held     int64                      // bytes of their bodies
}

// planner decides about items. It is a pure function of its fields but for
// load, which is asked for a bin only when its size alone does not decide, and approve, which is
// the index's.
type planner struct {
	owner     func(path string) (int, error)
	name      func(role int) string
	length    func(role int) int64 // bytes of its published file
	limit     func(role int) int64 // bytes of it that clients accept and its key signs
	blocked   func(role int) bool  // quarantined or left out: its items wait
	load      func(role int) (*roles.Bin, error)
	approve   func(q queued) (refusal string, err error) // nil: all are
	published map[string]*roles.Target                   // of each path; nil where nothing is
}

// plan decides about items, which are oldest first. An item is taken, or refused or set
// aside, as a whole. An item that touches a quarantined bin waits, and with it
// every later one that names a path of a waiting item: for one path, items are
// never published out of order.
func (p planner) plan(items []queued, generation int64) (plan, error) {
	out := plan{edits: map[int][]roles.TargetEdit{}}
	held := holding{}
	last := map[string]int{}          // the last taken item that names a path
	now := map[string]*roles.Target{} // what paths hold after the items taken
	grown := map[int]int64{}          // bytes by which bins grow at most
	content := func(path string) *roles.Target {
		if t, ok := now[path]; ok {
			return t
		}
		return p.published[path]
	}
	for _, q := range items {
		if held.takes(q, p.blocked) {
			out.waiting = append(out.waiting, q.entry.ID)
			out.held += int64(len(q.entry.Body))
			continue
		}
		if q.err == nil && p.approve != nil {
			refusal, err := p.approve(q)
			if err != nil {
				return plan{}, err
			}
			if refusal != "" {
				q.err = errors.New(refusal)
			}
		}
		outcome, edits, err := p.decide(q, content, out.edits, grown)
		if err != nil {
			return plan{}, err
		}
		outcome.Generation = generation
		if outcome.State == Published {
			for i, es := range edits {
				out.edits[i] = append(out.edits[i], es...)
				for _, e := range es {
					now[e.Path], last[e.Path] = e.Target, len(out.items)
				}
			}
		}
		out.items = append(out.items, q)
		out.outcomes = append(out.outcomes, outcome)
	}
	for n, q := range out.items {
		if out.outcomes[n].State == Published && supersededBy(q.item, n, last) {
			out.outcomes[n].State = Superseded
		}
	}
	out.removed = p.removes(now)
	return out, nil
}

// holding are the paths of items that wait.
type holding map[string]bool

// takes reports whether an item waits, for a blocked role or for an item before it, and
// holds its paths then.
func (held holding) takes(q queued, blocked func(role int) bool) bool {
	waits := slices.ContainsFunc(q.roles, blocked)
	for path := range q.item.Paths {
		waits = waits || held[path]
	}
	if waits {
		for path := range q.item.Paths {
			held[path] = true
		}
	}
	return waits
}

// decide says what becomes of one item, given what its paths hold now, and returns its
// edits by role.
func (p planner) decide(q queued, content func(string) *roles.Target, taken map[int][]roles.TargetEdit, grown map[int]int64) (Outcome, map[int][]roles.TargetEdit, error) {
	if q.err != nil {
		return Outcome{State: SetAside, Reason: q.err.Error()}, nil, nil
	}
	for _, c := range q.item.If {
		if reason := unmet(c, content(c.Path)); reason != "" {
			if p.changesNothing(q.item, content) {
				return Outcome{State: Unchanged}, nil, nil
			}
			return Outcome{State: Refused, Reason: reason}, nil, nil
		}
	}
	if p.changesNothing(q.item, content) {
		return Outcome{State: Unchanged}, nil, nil
	}
	edits := map[int][]roles.TargetEdit{}
	for e := range q.item.Edits {
		i, err := p.owner(e.Path)
		if err != nil {
			return Outcome{State: SetAside, Reason: err.Error()}, nil, nil
		}
		edits[i] = append(edits[i], e)
	}
	reason, err := p.fits(edits, taken, grown)
	switch {
	case err != nil:
		return Outcome{}, nil, err
	case reason != "":
		return Outcome{State: SetAside, Reason: reason}, nil, nil
	}
	return Outcome{State: Published}, edits, nil
}

// unmet says why a condition doesn't hold, or "".
func unmet(c ledger.Condition, published *roles.Target) string {
	switch {
	case c.Absent && published != nil:
		return fmt.Sprintf("target %q exists: it is published with the SHA-256 %s", c.Path, published.Hashes["sha256"])
	case c.SHA256 != "" && published == nil:
		return fmt.Sprintf("target %q is not published", c.Path)
	case c.SHA256 != "" && published.Hashes["sha256"] != c.SHA256:
		return fmt.Sprintf("target %q is published with the SHA-256 %s", c.Path, published.Hashes["sha256"])
	}
	return ""
}

// changesNothing reports whether all that the item asks for is so already.
func (p planner) changesNothing(it Item, content func(string) *roles.Target) bool {
	for e := range it.Edits {
		if !sameTarget(e.Target, content(e.Path)) {
			return false
		}
	}
	return true
}

// sameTarget reports whether two targets of one path say the same; nil is none.
func sameTarget(a, b *roles.Target) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Length == b.Length && maps.Equal(a.Hashes, b.Hashes) && sameCustom(a.Custom, b.Custom)
}

// sameCustom compares by bytes first: both are usually canonical.
func sameCustom(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err := cjson.Canonicalize(a)
	if err != nil {
		return false
	}
	y, err := cjson.Canonicalize(b)
	return err == nil && bytes.Equal(x, y)
}

func supersededBy(it Item, i int, last map[string]int) bool {
	for path := range it.Paths {
		if last[path] == i {
			return false
		}
	}
	return true
}

// removes lists the files that are published under no path of the plan any more.
func (p planner) removes(now map[string]*roles.Target) []ledger.RemovedTarget {
	var out []ledger.RemovedTarget
	for _, path := range slices.Sorted(maps.Keys(now)) {
		old, next := p.published[path], now[path]
		if old == nil || next != nil && maps.Equal(old.Hashes, next.Hashes) {
			continue
		}
		out = append(out, ledger.RemovedTarget{Path: path, Hashes: old.Hashes})
	}
	return out
}

// settled are the outcomes, as a record keeps them.
func (p plan) settled() []ledger.ItemOutcome {
	out := make([]ledger.ItemOutcome, len(p.outcomes))
	for n, o := range p.outcomes {
		out[n] = ledger.OutcomeOf(p.items[n].entry, o)
	}
	return out
}

// size is about how many bytes the items take in the journal.
func (p plan) size() (n int) {
	for _, q := range p.items {
		n += q.entry.Size()
	}
	return n
}

// roles are those that change, in order, so that a run can be repeated.
func (p plan) roles() []int { return slices.Sorted(maps.Keys(p.edits)) }

// renew adds roles that are signed again, changed or not.
func (p plan) renew(roles ...int) {
	for _, i := range roles {
		if _, ok := p.edits[i]; !ok {
			p.edits[i] = nil
		}
	}
}

// envelopeSlack allows for what a bin has besides its targets: version, expiry,
// the signature.
const envelopeSlack = 4096

// fits returns "" if an item's edits fit into their bins after the edits already taken, and
// otherwise the reason why not. Most bins are far from the limit, and adding up what is
// added proves it; only for the others is the published content needed.
func (p planner) fits(edits, taken map[int][]roles.TargetEdit, grown map[int]int64) (reason string, err error) {
	after := make(map[int]int64, len(edits))
	for i, es := range edits {
		after[i] = grown[i]
		for _, e := range es {
			if e.Target != nil {
				after[i] += int64(e.Target.Size())
			}
		}
		if p.length(i)+after[i]+envelopeSlack <= p.limit(i) {
			continue
		}
		published, err := p.load(i)
		if err != nil {
			return "", err
		}
		next, err := published.Edit(1, time.Unix(0, 0), slices.Concat(taken[i], es))
		if err != nil {
			return "", err
		}
		size := int64(len(next.Canonical()))
		if size+envelopeSlack > p.limit(i) && size > int64(len(published.Canonical())) {
			return fmt.Sprintf("bin %s would have %d bytes, and at most %d can be published", p.name(i), size, p.limit(i)), nil
		}
		after[i] = size - p.length(i)
	}
	maps.Copy(grown, after)
	return "", nil
}
