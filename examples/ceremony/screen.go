package main

import (
	"fmt"
	"strings"
	"time"

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

// showOptions say what else the screen of a request has.
type showOptions struct {
	trusted *ceremony.Mark // what the holder trusts
	hide    int            // the group of the digest that has to be typed, or 0
}

// showRequest shows a request in words.
func (a *app) showRequest(r *ceremony.Request, o showOptions) {
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
		rows = append(rows, digestRows("", based.Digest)...)
	} else {
		rows = append(rows, []string{"based on", "nothing: this is the first root"})
	}
	if o.trusted != nil {
		rows = append(rows, []string{"you trust", fmt.Sprintf("root version %d, and this follows from it", o.trusted.Version)})
	}
	a.table(rows...)
	for i, step := range r.Steps() {
		a.showStep(i+1, step)
	}
	a.showDigest(r.Digest(), o.hide)
}

func (a *app) showStep(n int, step ceremony.Step) {
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
	var rows [][]string
	for _, c := range step.Changes {
		mark := ""
		if c.Grave {
			mark = "!!"
		}
		for i, value := range values(c) {
			if i == 0 {
				rows = append(rows, []string{mark, c.Role, c.What, value})
			} else {
				rows = append(rows, []string{"", "", "", value})
			}
		}
	}
	if len(rows) == 0 {
		rows = append(rows, []string{"", "nothing changes but the version"})
	}
	a.table(rows...)
	a.say("\n  who can sign from then on")
	rows = nil
	for _, s := range step.Signers {
		for i, k := range s.Keys {
			id, name := whoCells(k)
			if i == 0 {
				rows = append(rows, []string{"", s.Role, fmt.Sprintf("any %d of %d", s.Threshold, len(s.Keys)), id, name})
			} else {
				rows = append(rows, []string{"", "", "", id, name})
			}
		}
	}
	a.table(rows...)
	for _, w := range step.Warnings {
		a.say("\n  BEWARE: %s", w)
	}
}

// values says what is there then and what was before, in lines. A key has its whole ID,
// before the name: whatever the name is, the ID is read first and from the left.
func values(c ceremony.Change) []string {
	switch {
	case c.Key != nil:
		var lines []string
		for _, row := range keyRows("", c.Key.KeyID) {
			lines = append(lines, row[1])
		}
		_, name := whoCells(*c.Key)
		lines[0] += "  " + name
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

// digestRows are two rows of a table with a digest.
func digestRows(first string, d ceremony.Digest) [][]string {
	groups := d.Groups()
	return [][]string{{first, strings.Join(groups[:4], " ")}, {"", strings.Join(groups[4:], " ")}}
}

// showDigest shows the digest in groups. The hidden one has to come from paper.
func (a *app) showDigest(d ceremony.Digest, hide int) {
	a.title("The digest, to compare with your paper copy")
	groups := d.Groups()
	for row := range 2 {
		var line strings.Builder
		for i := 4 * row; i < 4*row+4; i++ {
			g := groups[i]
			if i+1 == hide {
				g = "________"
			}
			fmt.Fprintf(&line, "   %d: %s", i+1, g)
		}
		a.say("%s", line.String())
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
