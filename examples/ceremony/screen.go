package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/internal/columns"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// requestView is a request for scripts.
type requestView struct {
	File      string          `json:"file,omitempty"`
	Reason    string          `json:"reason"`
	Digest    ceremony.Digest `json:"digest"`
	Documents []ceremony.Step `json:"documents"`
	Warnings  []string        `json:"warnings,omitempty"` // for the person who prepares it
}

func viewRequest(r *ceremony.Request, file string) requestView {
	return requestView{File: file, Reason: r.Proposal().Reason, Digest: r.Digest(), Documents: r.Steps()}
}

// reader is the holder who reads the screen of a request. Nothing is known of others who do.
type reader struct {
	trusted *ceremony.Mark  // the root, or nil
	keys    map[string]bool // the holder's own, by all IDs that it has; or none
}

// mark is what the first column says of a change: that it is grave, or of the reader's own key.
func (h reader) mark(c ceremony.Change) string {
	switch {
	case c.Grave:
		return grave
	case c.Key != nil && h.keys[c.Key.KeyID]:
		return yours
	}
	return unmarked
}

// What is in the first column of a change. It is as wide on all screens.
const grave, yours, unmarked = "!! ", "you", "   "

// showRequest shows a request in words, and its digest.
func (a *app) showRequest(r *ceremony.Request) {
	a.showChanges(r, reader{})
	a.showDigest(r.Digest(), 0)
}

// showChanges shows what a request changes.
func (a *app) showChanges(r *ceremony.Request, holder reader) {
	p := r.Proposal()
	if p.Compromise {
		a.say("\n%s", strings.Repeat("!", 78))
		a.say("!!  A COMPROMISE IS DECLARED. Sign only if you know of it from the people")
		a.say("!!  themselves: what removed keys signed need not verify any longer.")
		a.say("%s", strings.Repeat("!", 78))
	}
	a.title("What shall be signed")
	rows := [][]string{{"why", p.Reason}}
	if based := r.Based(); based != nil {
		rows = append(rows, []string{"based on", based.String()})
		rows = append(rows, documentRows("", based.Digest)...)
	} else {
		rows = append(rows, []string{"based on", "nothing: this is the first root"})
	}
	if holder.trusted != nil {
		rows = append(rows, []string{"you trust", fmt.Sprintf("root version %d, and this follows from it", holder.trusted.Version)})
	}
	a.table(rows...)
	for i, step := range r.Steps() {
		a.showStep(i+1, step, holder)
	}
}

// showAgain repeats on a page of its own what nobody may sign without having read it: on a low
// screen the rest is out of sight when the question comes.
func (a *app) showAgain(r *ceremony.Request, holder reader) {
	a.newPage()
	a.title("Once more, before you sign")
	p, warnings := r.Proposal(), []string{}
	rows := [][]string{{unmarked, "why", p.Reason}}
	if p.Compromise {
		rows = append(rows, []string{grave, "declared", "A COMPROMISE: what removed keys signed need not verify any longer"})
	}
	if len(p.Lowers) > 0 {
		rows = append(rows, []string{grave, "declared", "FEWER MUST SIGN: " + strings.Join(p.Lowers, ", ")})
	}
	for _, step := range r.Steps() {
		warnings = append(warnings, step.Warnings...)
		for _, c := range step.Changes {
			if mark := holder.mark(c); mark != unmarked {
				rows = append(rows, []string{mark, fmt.Sprintf("%s %d", step.Role, step.Version), c.Role + ", " + briefly(c)})
			}
		}
	}
	switch n := len(warnings); {
	case n == 1:
		rows = append(rows, []string{unmarked, "BEWARE", warnings[0]})
	case n > 1: // all of them might leave no room for the digest
		rows = append(rows, []string{unmarked, "BEWARE", fmt.Sprintf("there are %d warnings above", n)})
	}
	if len(holder.keys) == 0 {
		rows = append(rows, []string{unmarked, "your key", "isn't marked: there is no card beside it, and -card names none"})
	}
	a.table(rows...)
}

// briefly is a change in one line, with the beginning of a key's ID before its name.
func briefly(c ceremony.Change) string {
	text := c.What + ": "
	switch {
	case c.Key != nil && c.Was != "" && c.Is != "":
		return text + c.Is + ", was " + c.Was
	case c.Key != nil:
		id, name := whoCells(*c.Key)
		return text + id + " " + name
	}
	return text + strings.Join(values(c, pageWidth), " ")
}

func (a *app) showStep(n int, step ceremony.Step, holder reader) {
	a.title(fmt.Sprintf("%d. %s version %d", n, step.Role, step.Version))
	a.say("  good until %s, %s from now", step.Expires.Format("2006-01-02 15:04 UTC"), days(step.Expires.Sub(a.now())))
	switch {
	case step.Signed && step.Destroyed.IsZero():
		a.say("  signed already: you only see it here")
	case step.Signed:
		a.say("  signed already by one-time keys, destroyed %s:", step.Destroyed.UTC().Format("2006-01-02 15:04 UTC"))
		a.say("  you only see it here")
	}
	a.say("")
	roleWidth, whatWidth := 0, 0
	for _, c := range step.Changes {
		roleWidth, whatWidth = max(roleWidth, columns.Width(c.Role)), max(whatWidth, columns.Width(c.What))
	}
	left := a.width() - len("  "+unmarked+"  ") - roleWidth - len("  ") - whatWidth - len("  ")
	var rows [][]string
	for _, c := range step.Changes {
		mark := holder.mark(c)
		for i, value := range values(c, left) {
			if i == 0 {
				rows = append(rows, []string{mark, c.Role, c.What, value})
			} else {
				rows = append(rows, []string{"", "", "", value})
			}
		}
	}
	if len(rows) == 0 {
		rows = append(rows, []string{unmarked, "nothing changes but the version"})
	}
	a.table(rows...)
	a.say("\nWho can sign from then on:\n")
	a.showSigners(step.Signers, holder)
	for _, w := range step.Warnings {
		a.say("")
		a.hang("  BEWARE: ", w)
	}
}

// showSigners shows who signs each role, and marks the reader.
func (a *app) showSigners(all []ceremony.Signers, holder reader) {
	var rows [][]string
	for _, s := range all {
		for i, k := range s.Keys {
			id, name := whoCells(k)
			mark, role, quorum := unmarked, "", ""
			if holder.keys[k.KeyID] {
				mark = yours
			}
			if i == 0 {
				role, quorum = s.Role, fmt.Sprintf("any %d of %d", s.Threshold, len(s.Keys))
			}
			rows = append(rows, []string{mark, role, quorum, id, name})
		}
	}
	a.table(rows...)
}

// values says what is there then and what was before, in lines of so many columns. A key has its
// whole ID, before the name: whatever the name is, the ID is read first and from the left.
func values(c ceremony.Change, width int) []string {
	switch {
	case c.Key != nil:
		var lines []string
		for _, row := range keyRows("", c.Key.KeyID) {
			lines = append(lines, row[1])
		}
		if _, name := whoCells(*c.Key); columns.Width(lines[0]+"  "+name) <= width {
			lines[0] += "  " + name
		} else {
			lines = append(lines, name)
		}
		if c.Was != "" && c.Is != "" {
			lines = append(lines, "was "+c.Was)
		}
		return lines
	case c.Is == "":
		return []string{c.Was}
	case c.Was == "":
		return []string{c.Is}
	}
	return []string{c.Is + ", was " + c.Was}
}

// whoCells are the beginning of a key's ID, and its name.
func whoCells(w ceremony.Who) (id, name string) {
	if name = w.Name; name == "" {
		name = "(no name)"
	}
	return w.KeyID[:min(8, len(w.KeyID))], name
}

// documentRows are two rows of a table with the digest of a document, whose groups have numbers as
// they have on the record sheet.
func documentRows(first string, d ceremony.Digest) [][]string {
	lines := numbered(d, 0)
	return [][]string{{first, lines[0]}, {"", lines[1]}}
}

// numbered is a digest in two lines of numbered groups, without the hidden one.
func numbered(d ceremony.Digest, hide int) [2]string {
	var lines [2]string
	for i, g := range d.Groups() {
		if i+1 == hide {
			g = "________"
		}
		lines[i/4] += fmt.Sprintf("%d: %s   ", i+1, g)
	}
	return [2]string{strings.TrimSpace(lines[0]), strings.TrimSpace(lines[1])}
}

// digestRows are two rows of a table with a digest that nobody asks for by number.
func digestRows(first string, d ceremony.Digest) [][]string {
	groups := d.Groups()
	return [][]string{{first, strings.Join(groups[:4], " ")}, {"", strings.Join(groups[4:], " ")}}
}

// showDigest shows the digest in groups. The hidden one has to come from paper.
func (a *app) showDigest(d ceremony.Digest, hide int) {
	a.title("The digest of this request, to compare with your paper copy")
	for _, line := range numbered(d, hide) {
		a.say("   %s", line)
	}
}

// showProgress shows who signed and who is missing.
func (a *app) showProgress(p ceremony.Progress) {
	for _, d := range p.Documents {
		if len(d.Quorums) == 0 {
			continue
		}
		state := "incomplete"
		if d.Complete() {
			state = "complete"
		}
		a.title(fmt.Sprintf("%s version %d: %s", d.Role, d.Version, state))
		var rows [][]string
		for _, q := range d.Quorums {
			need := "enough"
			if n := q.Needed(); n > 0 {
				need = fmt.Sprintf("%d more needed", n)
			}
			rows = append(rows, []string{"for " + q.Of, fmt.Sprintf("%d of %d", len(q.Signed), q.Threshold), need})
			for _, w := range q.Signed {
				id, name := whoCells(w)
				rows = append(rows, []string{"", "signed", id, name})
			}
			if q.Needed() > 0 {
				for _, w := range q.Missing {
					id, name := whoCells(w)
					rows = append(rows, []string{"", "can sign", id, name})
				}
			}
		}
		a.table(rows...)
	}
}

// until says how long something is good.
func (a *app) until(t time.Time) string {
	left := t.Sub(a.now())
	if left <= 0 {
		return "EXPIRED " + t.Format("2006-01-02 15:04 UTC")
	}
	return fmt.Sprintf("until %s, %s", t.Format("2006-01-02 15:04 UTC"), days(left))
}

// days is a time in days, to the nearest: what is made for a year is good for 365 days a
// minute later too. Of less than two days each hour counts.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d < 2*day {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int((d+day/2)/day))
}
