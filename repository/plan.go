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
	outcomes []Outcome                  // of each item
	edits    map[int][]roles.TargetEdit // by role, in order
	removed  []ledger.RemovedTarget     // target files that go: see removedFiles
	unseen   []ledger.RemovedTarget     // those that came and go
	waiting  []string                   // IDs of the items that stay pending
	held     int64                      // bytes of their bodies
}

// planner decides about items. It is a pure function of its fields, except two: load reads a bin, if
// the bin's size alone does not decide, and approve asks the index.
type planner struct {
	name      func(role int) string
	length    func(role int) int64 // bytes of its published file
	limit     func(role int) int64 // bytes of it that clients accept and its key signs
	blocked   func(role int) bool  // quarantined or left out: its items wait
	load      func(role int) (*roles.Bin, error)
	approve   func(q queued) (refusal string, err error) // nil: all are
	published map[place]*roles.Target
}

// listed is what roles list after the items that were taken so far.
type listed struct {
	published, now map[place]*roles.Target // now: nil for what is removed
}

func (l listed) at(p place) *roles.Target {
	if t, ok := l.now[p]; ok {
		return t
	}
	return l.published[p]
}

// find returns what clients find if they ask these roles in this order.
func (l listed) find(path string, leaves []int) *roles.Target {
	for _, i := range leaves {
		if t := l.at(place{i, path}); t != nil {
			return t
		}
	}
	return nil
}

// plan decides about items, which are oldest first. An item is taken, refused or set aside as a
// whole. An item that touches a blocked role waits. So does every later item that names a path of a
// waiting one: for one path, items are never published out of order.
func (p planner) plan(items []queued, generation int64) (plan, error) {
	out := plan{edits: map[int][]roles.TargetEdit{}}
	held := holding{}
	last := map[string]int{}     // the last taken item that names a path
	leaves := map[string][]int{} // of each path of the items taken
	list := listed{p.published, map[place]*roles.Target{}}
	grown := growth{map[int]int64{}, map[int]size{}}
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
		outcome, edits, err := p.decide(q, list, out.edits, grown)
		if err != nil {
			return plan{}, err
		}
		outcome.Generation = generation
		if outcome.State == Published {
			for i, es := range edits {
				out.edits[i] = append(out.edits[i], es...)
				for _, e := range es {
					list.now[place{i, e.Path}] = e.Target
				}
			}
			for e, in := range q.places {
				last[e.Path], leaves[e.Path] = len(out.items), in
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
	out.removed, out.unseen = list.removedFiles(leaves, out.edits)
	return out, nil
}

// holding are the paths of items that wait.
type holding map[string]bool

// takes reports whether an item waits, for a blocked role or for an item before it. If so, the
// item's paths are held from then on.
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

// decide returns what becomes of one item, and its edits by role. list is what the roles list now,
// and taken are the edits of the items before it.
func (p planner) decide(q queued, list listed, taken map[int][]roles.TargetEdit, grown growth) (Outcome, map[int][]roles.TargetEdit, error) {
	if q.err != nil {
		return Outcome{State: SetAside, Reason: reasonOf(q.err)}, nil, nil
	}
	found := make(map[string]*roles.Target, len(q.leaves))
	unchanged := true
	for e, leaves := range q.places {
		found[e.Path] = list.find(e.Path, leaves)
		unchanged = unchanged && sameTarget(e.Target, found[e.Path])
	}
	if unchanged { // all that the item asks for is so already, whatever its conditions say
		return Outcome{State: Unchanged}, nil, nil
	}
	for _, c := range q.item.If {
		if reason := unmet(c, found[c.Path]); reason != "" {
			return Outcome{State: Refused, Reason: short(reason)}, nil, nil
		}
	}
	edits := map[int][]roles.TargetEdit{}
	for e, leaves := range q.places {
		if e.Target != nil {
			edits[leaves[0]] = append(edits[leaves[0]], e)
			continue
		}
		for _, i := range leaves {
			if list.at(place{i, e.Path}) != nil {
				edits[i] = append(edits[i], e)
			}
		}
	}
	reason, err := p.fits(edits, taken, list, grown)
	switch {
	case err != nil:
		return Outcome{}, nil, err
	case reason != "":
		return Outcome{State: SetAside, Reason: short(reason)}, nil, nil
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

// removedFiles returns the target files that go, path by path. One kind is a file that clients found
// before and don't find now. The other kind is a file that a role no longer lists. Clients never
// found that one: they asked another role first. unseen are files that one of the edits adds and a later
// one replaces or removes. A file that clients still find at its path is left out.
func (l listed) removedFiles(leaves map[string][]int, edits map[int][]roles.TargetEdit) (removed, unseen []ledger.RemovedTarget) {
	before := listed{published: l.published}
	added := map[string][]*roles.Target{}
	for _, i := range slices.Sorted(maps.Keys(edits)) {
		for _, e := range edits[i] {
			added[e.Path] = append(added[e.Path], e.Target)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		stays := []*roles.Target{l.find(path, leaves[path])}
		gone := func(out *[]ledger.RemovedTarget, old *roles.Target) {
			same := func(t *roles.Target) bool { return t != nil && maps.Equal(t.Hashes, old.Hashes) }
			if old != nil && !slices.ContainsFunc(stays, same) {
				stays = append(stays, old) // named once
				*out = append(*out, ledger.RemovedTarget{Path: path, Hashes: old.Hashes})
			}
		}
		gone(&removed, before.find(path, leaves[path]))
		for _, i := range leaves[path] {
			if _, changed := l.now[place{i, path}]; changed {
				gone(&removed, l.published[place{i, path}])
			}
		}
		for _, t := range added[path] {
			gone(&unseen, t)
		}
	}
	return removed, unseen
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

// roles are the roles that change, in order, so that a run can be repeated.
func (p plan) roles() []int { return slices.Sorted(maps.Keys(p.edits)) }

// alsoSign adds roles to those that the generation signs. Where the plan has edits of a role, it
// keeps them.
func (p plan) alsoSign(roles ...int) {
	for _, i := range roles {
		if _, ok := p.edits[i]; !ok {
			p.edits[i] = nil
		}
	}
}

// envelopeSlack is room for what a bin has in addition to its targets: version, expiry, the signature.
const envelopeSlack = 4096

// growth is by how many bytes bins grow in a plan.
type growth struct {
	most  map[int]int64 // an upper bound: the sum of what is added
	sizes map[int]size  // exactly, for bins that the bound doesn't decide
}

// size is how many bytes a bin has, without its signature.
type size struct{ published, planned int64 }

// fits returns "" if an item's edits fit into their bins after the edits already taken, and
// otherwise the reason why not. Most bins are far from their limit, and the sum of what is added
// proves it. For the others it loads the published content, once.
func (p planner) fits(edits, taken map[int][]roles.TargetEdit, list listed, grown growth) (reason string, err error) {
	most, planned := make(map[int]int64, len(edits)), map[int]int64{}
	for i, es := range edits {
		most[i] = grown.most[i]
		for _, e := range es {
			if e.Target != nil {
				most[i] += int64(e.Target.Size())
			}
		}
		now, known := grown.sizes[i]
		if !known && p.length(i)+most[i]+envelopeSlack <= p.limit(i) {
			continue
		}
		if !known {
			if now, err = p.size(i, taken[i]); err != nil {
				return "", err
			}
			grown.sizes[i] = now
		}
		planned[i] = now.planned
		for _, e := range es {
			added, err := entrySize(e.Path, e.Target)
			if err != nil {
				return "", err
			}
			removed, err := entrySize(e.Path, list.at(place{i, e.Path}))
			if err != nil {
				return "", err
			}
			planned[i] += added - removed
		}
		if n := planned[i]; n+envelopeSlack > p.limit(i) && n > now.published {
			return fmt.Sprintf("bin %s would have %d bytes, and at most %d can be published", p.name(i), n, p.limit(i)), nil
		}
	}
	maps.Copy(grown.most, most)
	for i, n := range planned {
		grown.sizes[i] = size{grown.sizes[i].published, n}
	}
	return "", nil
}

// size returns how large a bin is, as published and with the edits that were taken. Don't call it for
// each item: a bin near its limit has millions of bytes.
func (p planner) size(i int, taken []roles.TargetEdit) (size, error) {
	published, err := p.load(i)
	if err != nil {
		return size{}, err
	}
	next, err := published.Edit(1, time.Unix(0, 0), taken)
	if err != nil {
		return size{}, err
	}
	return size{int64(len(published.Canonical())), int64(len(next.Canonical()))}, nil
}

// entrySize is how many bytes a target takes in a bin that has others; nil is none.
func entrySize(path string, t *roles.Target) (int64, error) {
	if t == nil {
		return 0, nil
	}
	none := roles.NewBin()
	one, err := none.Edit(0, time.Time{}, []roles.TargetEdit{{Path: path, Target: t}})
	if err != nil {
		return 0, err
	}
	return int64(len(one.Canonical()) - len(none.Canonical()) + len(",")), nil
}
