package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// plan is what one generation does with the items it was given.
type plan struct {
	items    []Item // decided, in order
	outcomes []ItemOutcome
	edits    map[int][]roles.TargetEdit // by bin, in order
	waiting  []string                   // IDs of the items that stay pending
}

// planner decides about items. It is a pure function of its fields but for
// load, which is asked for a bin only when its size alone does not decide.
type planner struct {
	layout  delegation.Bins
	bins    []binState
	limit   int64                             // bytes of a bin that clients accept and its key signs
	blocked func(bin int) bool                // quarantined: its items wait
	load    func(bin int) (*roles.Bin, error) // the published content of a bin
}

// plan decides about items, which are oldest first. An item is taken or set
// aside as a whole. An item that touches a quarantined bin waits, and with it
// every later one that names a path of a waiting item: for one path, items are
// never published out of order.
func (p planner) plan(items []Item, generation int64) (plan, error) {
	out := plan{edits: map[int][]roles.TargetEdit{}}
	held := map[string]bool{} // paths of waiting items
	last := map[string]int{}  // the last taken item that names a path
	grown := map[int]int64{}  // bytes by which bins grow at most

	for _, it := range items {
		if p.waits(it, held) {
			out.waiting = append(out.waiting, it.ID)
			for path := range it.paths {
				held[path] = true
			}
			continue
		}
		outcome := ItemOutcome{ID: it.ID, Outcome: Outcome{State: Published, Generation: generation}}
		if err := it.Validate(); err != nil { // others may fill a shared journal
			outcome.State, outcome.Reason = SetAside, err.Error()
		} else if reason, err := p.fits(it, out.edits, grown); err != nil {
			return plan{}, err
		} else if reason != "" {
			outcome.State, outcome.Reason = SetAside, reason
		} else {
			for path := range it.paths {
				last[path] = len(out.items)
			}
			for bin, edits := range p.edits(it) {
				out.edits[bin] = append(out.edits[bin], edits...)
			}
		}
		out.items = append(out.items, it)
		out.outcomes = append(out.outcomes, outcome)
	}
	for i, it := range out.items {
		if out.outcomes[i].State == Published && supersededBy(it, i, last) {
			out.outcomes[i].State = Superseded
		}
	}
	return out, nil
}

// renew adds bins that are signed again, changed or not.
func (p plan) renew(bins ...int) {
	for _, i := range bins {
		if _, ok := p.edits[i]; !ok {
			p.edits[i] = nil
		}
	}
}

func (p planner) waits(it Item, held map[string]bool) bool {
	for path := range it.paths {
		if held[path] || p.blocked(p.layout.Find(path)) {
			return true
		}
	}
	return false
}

func supersededBy(it Item, i int, last map[string]int) bool {
	for path := range it.paths {
		if last[path] == i {
			return false
		}
	}
	return true
}

// digestOf is what a seal says of the items it decides.
func digestOf(items []Item) string {
	h := sha256.New()
	for _, it := range items {
		io.WriteString(h, it.ID+"\n"+it.Digest()+"\n")
	}
	return hex.EncodeToString(h.Sum(nil))
}

// envelopeSlack allows for what a bin has beside its targets: version, expiry,
// the signature.
const envelopeSlack = 4096

// fits tells whether the item fits into its bins after the edits already taken,
// or the reason why not. Most bins are far from the limit, and adding up what is
// added proves it; only for the others is the published content needed.
func (p planner) fits(it Item, taken map[int][]roles.TargetEdit, grown map[int]int64) (reason string, err error) {
	edits := p.edits(it)
	after := make(map[int]int64, len(edits))
	for bin, es := range edits {
		after[bin] = grown[bin]
		for _, e := range es {
			if e.Target != nil {
				after[bin] += int64(e.Target.Size())
			}
		}
		if p.bins[bin].Length+after[bin]+envelopeSlack <= p.limit {
			continue
		}
		published, err := p.load(bin)
		if err != nil {
			return "", err
		}
		next, err := published.Edit(1, time.Unix(0, 0), slices.Concat(taken[bin], es))
		if err != nil {
			return "", err
		}
		size := int64(len(next.Canonical()))
		if size+envelopeSlack > p.limit && size > int64(len(published.Canonical())) {
			return fmt.Sprintf("bin %s would have %d bytes, and at most %d can be published", p.layout.Name(bin), size, p.limit), nil
		}
		after[bin] = size - p.bins[bin].Length
	}
	maps.Copy(grown, after)
	return "", nil
}

// edits are the item's edits by bin.
func (p planner) edits(it Item) map[int][]roles.TargetEdit {
	edits := map[int][]roles.TargetEdit{}
	for e := range it.edits {
		bin := p.layout.Find(e.Path)
		edits[bin] = append(edits[bin], e)
	}
	return edits
}
