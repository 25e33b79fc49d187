package ceremony

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sheet is the record of a ceremony, to be printed and signed by hand. Holders take it to their
// machines and compare the digest with it.
type Sheet struct {
	Request *Request

	// Made is when the sheet was made; it is printed in UTC.
	Made time.Time

	// Progress is zero for a sheet that is printed before anyone has signed.
	Progress Progress

	// GivenUp says that nobody is to sign the request any more.
	GivenUp bool
}

// page is the contents of a sheet, for both forms.
type page struct {
	Title, Made, Reason string
	Alarms              []string // what the request declares
	Groups              [8]string
	Based               *pageMark // the root in force, or nil
	Documents           []pageDocument
	Destroyed           []pageDestroyed
	Holders             []pageHolder
	Keys                []Who // all that are named, by ID
	Steps               []string
}

// pageMark is a document, and its digest in the groups that a holder may be asked for.
type pageMark struct {
	Name    string // such as "root version 1"
	Version int64
	Groups  [8]string
}

func pageMarkOf(m Mark) pageMark { return pageMark{m.String(), m.Version, m.Digest.Groups()} }

type pageDocument struct {
	pageMark
	Expires  string
	State    string // of its signatures
	Changes  []pageChange
	Signers  []Signers
	Warnings []string
}

type pageChange struct {
	Role, Text string
	Grave      bool
}

type pageDestroyed struct {
	Role, At string
	KeyIDs   []string
}

// short is a key with the beginning of its ID first, so that a name that is written from
// right to left doesn't move the ID.
func short(w Who) string {
	id, name := shortCells(w)
	return id + "  " + name
}

func shortCells(w Who) (id, name string) {
	return printable(w.KeyID[:min(groupLen, len(w.KeyID))]), w.orNone()
}

// pageHolder is a line on which a holder signs.
type pageHolder struct {
	Name, KeyID string
	Signed      bool
}

func (s Sheet) page() page {
	r := s.Request
	p := page{
		Title:  "Record of a key ceremony: " + r.asks(),
		Made:   dateOf(s.Made),
		Reason: r.proposal.Reason,
		Groups: r.digest.Groups(),
		Steps:  s.steps(),
	}
	if s.GivenUp {
		p.Alarms = append(p.Alarms, "GIVEN UP: nobody signs this request any more.")
	}
	if r.proposal.Compromise {
		p.Alarms = append(p.Alarms, "A COMPROMISE IS DECLARED: what the removed keys signed need not verify any longer.")
	}
	if lowers := r.proposal.Lowers; len(lowers) > 0 {
		p.Alarms = append(p.Alarms, "FEWER MUST SIGN from then on: "+strings.Join(lowers, ", ")+".")
	}
	if n := len(r.chain); n > 0 {
		root := r.chain[n-1]
		based := pageMarkOf(Mark{roleRoot, root.Version(), Digest(root.Digest())})
		p.Based = &based
	}
	for i, step := range r.Steps() {
		d := pageDocument{
			pageMark: pageMarkOf(step.Mark),
			Expires:  dateOf(step.Expires),
			Signers:  step.Signers,
			Warnings: step.Warnings,
			State:    s.state(i, step),
		}
		for _, c := range step.Changes {
			text := c.String()
			if c.Key != nil && (c.Was == "" || c.Is == "") {
				text = c.What + ": " + short(*c.Key)
			}
			d.Changes = append(d.Changes, pageChange{c.Role, text, c.Grave})
		}
		p.Documents = append(p.Documents, d)
	}
	for _, d := range r.proposal.Destroyed {
		p.Destroyed = append(p.Destroyed, pageDestroyed{d.Role, dateOf(d.At), d.KeyIDs})
	}
	p.Holders = s.holders()
	for _, who := range keysIn(r.Steps()) {
		p.Keys = append(p.Keys, Who{who.Name, printable(who.KeyID)})
	}
	return p
}

// String is the change in one line, without its role.
func (c Change) String() string {
	text := c.What + ": "
	switch {
	case c.Was != "" && c.Is != "":
		text += c.Is + " (was " + c.Was + ")"
	case c.Is != "":
		text += c.Is
	default:
		text += c.Was
	}
	if c.Grave {
		text += " [!]"
	}
	return text
}

func (s Sheet) state(i int, step Step) string {
	switch {
	case step.Signed && step.Destroyed.IsZero():
		return "signed already"
	case step.Signed:
		return "signed by one-time keys"
	case i >= len(s.Progress.Documents):
		return "to be signed"
	case s.Progress.Documents[i].Complete():
		return "complete"
	}
	var parts []string
	for _, q := range s.Progress.Documents[i].Quorums {
		parts = append(parts, fmt.Sprintf("%s: %d of %d signed", q.Of, len(q.Signed), q.Threshold))
	}
	return strings.Join(parts, "; ")
}

// holders returns everyone whose signature could count, by name.
func (s Sheet) holders() []pageHolder {
	var all []pageHolder
	for i, p := range s.Request.parts {
		for _, q := range p.quorums {
			for _, k := range q.Keys {
				if p.signed || slices.ContainsFunc(all, func(h pageHolder) bool { return h.KeyID == k.ID() }) {
					continue
				}
				who := s.Request.who(k.ID())
				all = append(all, pageHolder{who.Name, printable(who.KeyID), s.signed(i, who)})
			}
		}
	}
	slices.SortFunc(all, func(a, b pageHolder) int { return byName(Who{a.Name, a.KeyID}, Who{b.Name, b.KeyID}) })
	return all
}

func (s Sheet) signed(i int, who Who) bool {
	return i < len(s.Progress.Documents) && slices.ContainsFunc(s.Progress.Documents[i].Quorums, func(q Quorum) bool {
		return slices.Contains(q.Signed, who)
	})
}

// steps returns the boxes to tick on the day.
func (s Sheet) steps() []string {
	steps := []string{
		"Every holder has a copy of this page that was not made on the machine he or she signs with.",
		"Every holder's screen showed the digest above, group by group.",
		"Every holder read the changes on the screen, and found those on this page.",
	}
	if len(s.Request.proposal.Destroyed) > 0 {
		steps = append(steps, "The one-time keys were made on a machine without a network or swap, which was switched off afterwards.")
	}
	steps = append(steps,
		"All responses were merged, and the finished documents verified from the first root and from every later one.",
		"The finished documents were published in the order of this page.")
	if s.addsKeys() {
		steps = append(steps, "New holders have noted version and digest of the newest root.")
	}
	return steps
}

// addsKeys reports whether a request adds a holder.
func (s Sheet) addsKeys() bool {
	return slices.ContainsFunc(s.Request.Steps(), func(step Step) bool {
		return slices.ContainsFunc(step.Changes, func(c Change) bool { return c.Role == roleRoot && c.What == "key added" })
	})
}
