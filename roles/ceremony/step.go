package ceremony

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// Step is one document of a request, in words.
type Step struct {
	Mark
	Expires time.Time `json:"expires"`

	// Signed reports that one-time keys already signed it completely.
	Signed bool `json:"signed"`

	// Destroyed is the time at which the last of the keys that signed it was destroyed, as the
	// request says; zero if the request doesn't say so of every key.
	Destroyed time.Time `json:"destroyed,omitzero"`

	// Changes are relative to the document of this role before it. If there is none, everything is a
	// change.
	Changes []Change `json:"changes"`

	// Signers are who can sign each role once the document is published.
	Signers []Signers `json:"signers"`

	// Warnings are risks that may be accepted. Warnings about names that look alike are with the
	// first document.
	Warnings []string `json:"warnings,omitempty"`
}

// Change is one line of a Step.
type Change struct {
	// Role is the role whose keys, threshold or expiry change.
	Role string `json:"role"`
	// What changes: "expires", "key added", "key removed", "key ID", "threshold",
	// "delegates to", "terminating", "spec_version", "consistent_snapshot", or
	// "other content" for what Bindery can't put into words.
	What string `json:"what"`
	// Key is the key that is added, removed or gets another ID; nil for other changes. Was and Is
	// have only the beginning of its ID.
	Key *Who `json:"key,omitempty"`
	// Was is the value before, if there was one. Is is the value after, if there is one.
	Was string `json:"was,omitempty"`
	Is  string `json:"is,omitempty"`
	// Grave says that fewer keys than before need to be stolen to deceive clients, or that Bindery
	// doesn't know what the change means.
	Grave bool `json:"grave,omitempty"`
}

// Signers are who signs a role, and how many of them must.
type Signers struct {
	Role      string `json:"role"`
	Threshold int    `json:"threshold"`
	Keys      []Who  `json:"keys"`
}

// Steps describes what each document of the request changes.
func (r *Request) Steps() []Step {
	var steps []Step
	shown := map[string]bool{} // roles
	for _, p := range r.parts {
		w := words{r: r, step: Step{Mark: p.Mark, Expires: p.doc.Expires(), Signed: p.signed}, from: map[string][]string{}}
		before, known := p.before.document(p.Role), targetsShape
		w.expiry(p, before)
		switch p.Role {
		case roleRoot:
			known = rootShape
			w.root(p)
		case roleTargets:
			w.targets(p)
		case roleBins:
			w.bins(p)
		}
		w.others(p.doc, before, known)
		w.warnOfUnusable()
		if !shown[p.Role] { // once for what may be in several versions
			w.warnOfIDs(p.doc)
			shown[p.Role] = true
		}
		if p.signed {
			w.destroyed(p)
		}
		steps = append(steps, w.step)
	}
	steps[0].Warnings = append(steps[0].Warnings, lookAlikes(keysIn(steps))...)
	return steps
}

// destroyed looks up the keys that signed a document.
func (w *words) destroyed(p part) {
	for _, s := range p.doc.Signatures() {
		i := slices.IndexFunc(w.r.proposal.Destroyed, func(d Destroyed) bool {
			return d.Role == p.Role && slices.Contains(d.KeyIDs, s.KeyID)
		})
		if i < 0 {
			w.step.Destroyed = time.Time{}
			w.warn("the request doesn't say that %s, which signed it already, is destroyed", w.r.who(s.KeyID))
			return
		}
		if at := w.r.proposal.Destroyed[i].At; at.After(w.step.Destroyed) {
			w.step.Destroyed = at
		}
	}
}

// document returns the document of a role in force, or nil.
func (s state) document(role string) document {
	switch {
	case role == roleRoot && s.root != nil:
		return s.root
	case role == roleTargets && s.targets != nil:
		return s.targets
	case role == roleBins && s.bins != nil:
		return s.bins
	}
	return nil
}

// words puts one document into words.
type words struct {
	r    *Request
	step Step

	unusable []roles.UnusableKey // that are removed
	from     map[string][]string // and the roles that they are removed from, by ID
}

func (w *words) change(c Change) { w.step.Changes = append(w.step.Changes, c) }

func (w *words) warn(format string, args ...any) {
	w.step.Warnings = append(w.step.Warnings, fmt.Sprintf(format, args...))
}

func (w *words) expiry(p part, before document) {
	c := Change{Role: p.Role, What: "expires", Is: dateOf(p.doc.Expires())}
	if before != nil {
		c.Was = dateOf(before.Expires())
	}
	if c.Was != c.Is {
		w.change(c)
	}
}

func dateOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// authority describes the changes in who signs a role. was has no keys for a new role.
func (w *words) authority(role string, was listing, is roles.Authority) {
	signers := Signers{Role: role, Threshold: is.Threshold, Keys: []Who{}}
	for _, k := range is.Keys {
		signers.Keys = append(signers.Keys, w.r.who(k.ID()))
	}
	slices.SortFunc(signers.Keys, byName)
	w.step.Signers = append(w.step.Signers, signers)
	for _, who := range w.r.without(is, was.Authority) {
		w.change(Change{Role: role, What: "key added", Is: who.String(), Key: &who})
	}
	for _, who := range w.r.without(was.Authority, is) {
		w.change(Change{Role: role, What: "key removed", Was: who.String(), Key: &who})
	}
	for _, k := range was.unusable {
		who := w.r.who(k.ID)
		w.change(Change{Role: role, What: "key removed", Was: who.String(), Key: &who})
		if len(w.from[k.ID]) == 0 {
			w.unusable = append(w.unusable, k)
		}
		w.from[k.ID] = append(w.from[k.ID], role)
	}
	for _, k := range is.Keys {
		i := slices.IndexFunc(was.Keys, k.Same)
		if i < 0 || was.Keys[i].ID() == k.ID() {
			continue
		}
		who := w.r.who(k.ID())
		w.change(Change{Role: role, What: "key ID", Was: w.r.who(was.Keys[i].ID()).String(), Is: who.String(), Key: &who})
	}
	c := Change{Role: role, What: "threshold", Is: ofKeys(is.Threshold, len(is.Keys)), Grave: is.Threshold < was.Threshold}
	if n := len(was.Keys) + len(was.unusable); n > 0 {
		c.Was = ofKeys(was.Threshold, n)
	}
	if c.Was != c.Is {
		w.change(c)
	}
}

// without returns the keys of a that b lacks.
func (r *Request) without(a, b roles.Authority) []Who {
	var rest []Who
	for _, k := range a.Keys {
		if !slices.ContainsFunc(b.Keys, k.Same) {
			rest = append(rest, r.who(k.ID()))
		}
	}
	slices.SortFunc(rest, byName)
	return rest
}

func ofKeys(threshold, n int) string { return fmt.Sprintf("%d of %d", threshold, n) }

func (w *words) root(p part) {
	for _, role := range []string{roleRoot, roleTargets, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		var was listing
		if p.before.root != nil {
			was, _ = listedInRoot(p.before.root, role) // none: all its keys are new
		}
		is, _ := roles.RootAuthority(p.after.root, role) // judged
		w.authority(role, was, is)
		// After a compromise a root may be published without it, and nothing that stays
		// need have signed.
		if role != roleRoot && role != roleTargets && was.gone(is) > 0 && !w.r.proposal.Compromise {
			w.warn("role %s: before this root is published, a generation must be published that a key signed which stays; the repository makes sure of that", role)
		}
		if role == roleRoot {
			w.warnOfHolders(is)
		}
	}
	w.warnOfShared(p.after.root)
}

// warnOfHolders warns of people who can do alone, or prevent alone, what several should decide.
func (w *words) warnOfHolders(root roles.Authority) {
	switch {
	case root.Threshold == 1:
		w.warn("any one holder of a root key can change everything alone")
	case root.Threshold == len(root.Keys):
		w.warn("when one root key is lost, there can never be another root: all %d must sign", root.Threshold)
	}
	seen := map[string]bool{}
	for _, k := range root.Keys {
		if name := w.r.proposal.Names[k.ID()]; name != "" && seen[name] {
			w.warn("%s has more than one of the root keys, and counts more than once", name)
		} else {
			seen[name] = true
		}
	}
}

// warnOfShared warns of online keys that could sign for roles that only people should sign.
func (w *words) warnOfShared(root rootDoc) {
	for _, offline := range []string{roleRoot, roleTargets} {
		people, _ := roles.RootAuthority(root, offline)
		for _, online := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
			machine, _ := roles.RootAuthority(root, online)
			for _, k := range machine.Keys {
				if slices.ContainsFunc(people.Keys, k.Same) {
					w.warn("%s signs both %s and %s, which is signed online", w.r.who(k.ID()), offline, online)
				}
			}
		}
	}
}

// warnOfUnusable warns of holders who lose their say, though some clients verify their keys.
func (w *words) warnOfUnusable() {
	for _, k := range w.unusable {
		why := errors.Unwrap(k.Err) // the ID is before it
		if why == nil {
			why = k.Err
		}
		w.warn("%s has no say any more (%s), because not all clients can verify it: %s", w.r.who(k.ID), strings.Join(w.from[k.ID], ", "), printable(why.Error()))
	}
}

// warnOfIDs warns of IDs that others made in another way, and that were kept.
func (w *words) warnOfIDs(d document) {
	var ids []string
	switch d := d.(type) {
	case rootDoc:
		ids = roles.OddKeyIDs(d)
	case targetsDoc:
		ids = roles.OddKeyIDs(d)
	}
	var names []string
	for _, id := range ids {
		names = append(names, w.r.who(id).String())
	}
	slices.Sort(names)
	if len(names) > 0 {
		w.warn("clients in Rust (tough) can't read this document: the IDs of these keys aren't the hash of what it says of them: %s", strings.Join(names, ", "))
	}
}

func (w *words) targets(p part) {
	var was listing
	if p.before.targets != nil {
		was, _ = listedByDelegation(p.before.targets, roleBins)
	}
	is, _ := roles.DelegatedAuthority(p.after.targets, roleBins)
	if p.before.targets == nil || delegation.CheckTargets(p.before.targets) != nil {
		w.change(Change{Role: roleTargets, What: "delegates to", Was: delegatesTo(p.before.targets), Is: "bins: every path"})
	}
	if before, after := ends(p.before.targets), ends(p.after.targets); before != after {
		w.change(Change{Role: roleBins, What: "terminating", Was: strconv.FormatBool(before), Is: strconv.FormatBool(after), Grave: true})
	}
	w.authority(roleBins, was, is)
}

// delegatesTo names the roles that targets of others delegate to, or is "".
func delegatesTo(d targetsDoc) string {
	if d == nil || d.Signed().Delegations == nil {
		return ""
	}
	var names []string
	for _, role := range d.Signed().Delegations.Roles {
		names = append(names, printable(role.Name))
	}
	if s := d.Signed().Delegations.SuccinctRoles; s != nil {
		names = append(names, printable(s.NamePrefix)+"-…")
	}
	return strings.Join(names, ", ")
}

// ends reports whether targets delegate to bins as Bindery does: no other role is asked
// for what the bins don't have.
func ends(d targetsDoc) bool {
	return d == nil || delegation.CheckTargets(d) != nil || d.Signed().Delegations.Roles[0].Terminating
}

func (w *words) bins(p part) {
	c := Change{Role: roleBins, What: "delegates to"}
	var was listing
	if p.before.bins != nil {
		if layout, l, err := layoutOf(p.before.bins); err == nil {
			c.Was, was = layoutWords(layout), l
		}
	}
	layout, each, _ := layoutOf(p.after.bins) // judged
	is := each.Authority
	if c.Is = layoutWords(layout); c.Was != c.Is {
		w.change(c)
	}
	w.authority(eachBin, was, is)
	if was.gone(is) > 0 {
		w.warn("the publisher must have one of the keys listed here before this document is published; all bins are then signed again at once")
	}
}

func layoutWords(b delegation.Bins) string {
	return fmt.Sprintf("%d bins, %s to %s (%s)", b.Len(), b.Name(0), b.Name(b.Len()-1), b.Form())
}

// plain are members that are shown as they are if they change.
var plain = []string{"spec_version", "consistent_snapshot"}

// others shows the rest, so that everything signed is shown.
func (w *words) others(d, before document, known shape) {
	for _, name := range plain {
		c := Change{Role: w.step.Role, What: name, Is: member(d, name)}
		if before != nil {
			c.Was = member(before, name)
		}
		if c.Was != c.Is && (before != nil || name == "spec_version") { // the other one is always true
			w.change(c)
		}
	}
	is, was := extras(d.Canonical(), known), map[string]string{}
	if before != nil {
		was = extras(before.Canonical(), known)
	}
	all := maps.Clone(is)
	maps.Copy(all, was)
	for _, place := range slices.Sorted(maps.Keys(all)) {
		if was[place] != is[place] {
			w.change(Change{Role: w.step.Role, What: "other content", Was: named(place, was), Is: named(place, is), Grave: true})
		}
	}
}

// member is one of the signed part, as it stands there, or "".
func member(d document, name string) string {
	members, err := membersOf(d.Canonical())
	if err != nil {
		return "" // can't be: it was parsed
	}
	return printable(string(members[name]))
}

func named(place string, values map[string]string) string {
	if v, ok := values[place]; ok {
		return place + ": " + printable(v)
	}
	return ""
}

// printable escapes what would move a cursor or hide itself.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if !hides(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}
