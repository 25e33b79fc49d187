package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// What happened, as the journal tells it: one generation after the other, what two of them differ in, and
// the life of one path. The readers here need a Reader of the journal and no lead, so they work while a
// publisher runs. They read no file of the store.

// Generation is what a journal tells of one committed generation.
type Generation struct {
	Number    int64     `json:"generation"`
	Signed    time.Time `json:"signed"`    // by the publisher's clock
	Committed time.Time `json:"committed"` // when clients could see it

	// Items is how many items it decided, those included that were decided while clients saw it and
	// needed no generation. Outcomes counts them by state, By by who asked for them.
	Items    int            `json:"items"`
	Outcomes map[State]int  `json:"outcomes,omitempty"`
	By       map[string]int `json:"by,omitempty"`

	Bins  int      `json:"bins"`            // hashed bins that were signed, changed or only renewed
	Roles []string `json:"roles,omitempty"` // other roles of targets metadata that were signed online

	// Documents are the documents that people signed and that no generation before had, by role, "root"
	// too, with their versions.
	Documents map[string]int64 `json:"documents,omitempty"`

	// SignedBy are the keys that signed the timestamp, the snapshot and the targets, by role. RoleKeys
	// are those that signed the bins and the other online roles of this generation. A key is named by its
	// ID and the SHA-256 of its material.
	SignedBy ledger.SignedBy `json:"signed_by"`
	RoleKeys []string        `json:"role_keys,omitempty"`
}

// ReadGenerations yields the generations that clients could see, oldest first. A number that is missing was
// burnt: an attempt failed, and clients never saw it. If older history was dropped, the first generation is
// the first that was committed after that.
//
// An error ends it: the journal's, the context's, or one that wraps ErrNotRepository for a journal that is
// empty. The cost is that of reading the whole history. Memory is that of the queue at its longest.
func ReadGenerations(ctx context.Context, journal Reader) iter.Seq2[Generation, error] {
	return func(yield func(Generation, error) bool) {
		var h ledger.History
		var g *Generation // what is decided without a generation belongs to the one that clients see
		published := map[string]ledger.Doc{}
		for e, err := range events(ctx, journal, &h) {
			if err != nil {
				yield(Generation{}, fmt.Errorf("generations: %w", err))
				return
			}
			if e.Record == nil {
				continue
			}
			switch b := e.Record.Body.(type) {
			case *ledger.Commit:
				if g != nil && !yield(*g, nil) {
					return
				}
				g = generationOf(&h.State, e.seal, published)
			case *ledger.Decided:
				if g != nil {
					g.count(b.Outcomes)
				}
			case *ledger.Checkpoint:
				if e.gap && g != nil {
					if !yield(*g, nil) {
						return
					}
					g = nil
				}
			}
			published = h.State.Published
		}
		if g != nil {
			yield(*g, nil)
		}
	}
}

// generationOf describes the generation that was committed by a seal just now. Before are the documents of
// the generation before it.
func generationOf(s *ledger.State, seal *ledger.Seal, before map[string]ledger.Doc) *Generation {
	g := &Generation{
		Number: s.Generation, Signed: s.Signed, Committed: s.Committed, SignedBy: seal.SignedBy,
		Outcomes: map[State]int{}, By: map[string]int{}, Documents: map[string]int64{},
	}
	g.count(seal.Outcomes)
	isBin := binNames(&s.Table)
	used := map[int32]bool{}
	for _, r := range seal.Rows {
		used[r.Row.Key] = true
		if _, bin := isBin(r.Role); bin {
			g.Bins++
		} else {
			g.Roles = append(g.Roles, r.Role)
		}
	}
	slices.Sort(g.Roles)
	for _, k := range slices.Sorted(maps.Keys(used)) {
		g.RoleKeys = append(g.RoleKeys, seal.Keys[k])
	}
	for role, d := range s.Published {
		if before[role] != d {
			g.Documents[role] = d.Version
		}
	}
	return g
}

func (g *Generation) count(outcomes []ledger.ItemOutcome) {
	for _, o := range outcomes {
		g.Items++
		g.Outcomes[o.State]++
		g.By[o.By]++
	}
}

// binNames returns a function that says whether a role is a hashed bin of the table, and of which set.
func binNames(t *ledger.Table) func(role string) (prefix string, ok bool) {
	var layouts []delegation.Bins
	for _, s := range t.Sets {
		if layout, err := delegation.New(s.Prefix, len(s.Rows), delegation.Succinct); err == nil {
			layouts = append(layouts, layout)
		}
	}
	return func(role string) (string, bool) {
		for _, l := range layouts {
			if _, ok := l.Index(role); ok {
				return l.Prefix(), true
			}
		}
		return "", false
	}
}

// event is one step of a journal's history, and what it brings to an end.
type event struct {
	ledger.Step
	seal    *ledger.Seal   // of a commit: what it commits
	entries []ledger.Entry // of a commit: those that the seal decided, in its order
	// gap is true for a checkpoint of a generation of which no record before it tells: with it the history
	// begins, or Adopt or RestoreJournal took from the store what was published then.
	gap bool
}

// events yields the history of a journal from the beginning. Each step is folded into h when it is yielded.
func events(ctx context.Context, journal Reader, h *ledger.History) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		for step, err := range journal.Read(ctx, ledger.FromBeginning) {
			e := event{Step: step}
			before := h.State.Generation
			if err == nil && step.Record != nil && step.Record.Kind() == ledger.KindCommit {
				e.seal, e.entries = h.State.Sealed, h.Sealed()
			}
			if err == nil {
				err = h.Apply(step)
			}
			if err != nil {
				yield(event{}, fmt.Errorf("journal: %w", err))
				return
			}
			e.gap = step.Record != nil && step.Record.Kind() == ledger.KindCheckpoint && h.State.Generation != before
			if !yield(e, nil) {
				return
			}
		}
		if h.State.Chain == "" {
			yield(event{}, fmt.Errorf("%w: %s", ErrNotRepository, emptyJournal))
		}
	}
}

// Diff is what two generations differ in. String says it in words.
type Diff struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`

	// Targets are the paths that items changed, by path. What people list in documents that they sign
	// themselves is not among them.
	Targets []TargetChange `json:"targets"`

	// Roles are the versions of the roles of targets metadata that are signed online, by name.
	Roles []VersionChange `json:"roles"`

	// Documents are the versions of the documents that people signed, by role, "root" too.
	Documents []VersionChange `json:"documents"`

	// Keys are the keys that began or ceased to sign something of what clients see, by role. All bins of a
	// set are one role here, named PREFIX-*.
	Keys []KeyChange `json:"keys"`

	// Delegations are the roles that other keys may sign, by name. Those that root lists are among
	// them, and all bins of a set are one role. If Unread is true, the journal doesn't have the documents of
	// one of the two generations any more, and Delegations is empty.
	Delegations []DelegationChange `json:"delegations"`
	Unread      bool               `json:"unread,omitempty"`

	// Gaps are the generations after From, up to To, that Adopt or RestoreJournal took from the store. The journal
	// doesn't tell which targets they changed, so Targets has only what items changed besides.
	Gaps []int64 `json:"gaps,omitempty"`
}

// TargetChange is a path that was published with other hashes, or not at all. Before and After are hashes in
// lower-case hexadecimal by algorithm; nil means that the path wasn't published. If they are the same, the
// length or the custom data differs.
type TargetChange struct {
	Path   string            `json:"path"`
	Before map[string]string `json:"before,omitempty"`
	After  map[string]string `json:"after,omitempty"`

	// Generation is the one that changed it last, for the item ID that By asked for.
	Generation int64  `json:"generation"`
	ID         string `json:"id"`
	By         string `json:"by,omitempty"`

	// Unsure means that the history before was dropped and doesn't tell Before: the path wasn't published,
	// or it was with the hashes that the first change gave it again.
	Unsure bool `json:"unsure,omitempty"`
}

// VersionChange is a role with another version. 0 is none.
type VersionChange struct {
	Role string `json:"role"`
	From int64  `json:"from"`
	To   int64  `json:"to"`
}

// KeyChange names keys of a role by their ID and the SHA-256 of their material.
type KeyChange struct {
	Role    string   `json:"role"`
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// DelegationChange is a role and who may sign it. Nil is nobody: there was no such role.
type DelegationChange struct {
	Role   string      `json:"role"`
	Before *Delegation `json:"before,omitempty"`
	After  *Delegation `json:"after,omitempty"`
}

// Delegation says who may sign a role.
type Delegation struct {
	Delegator string   `json:"delegator"` // the role that says so
	Threshold int      `json:"threshold"`
	Keys      []string `json:"keys"`           // named as in KeyChange
	Bins      int      `json:"bins,omitempty"` // how many bins the set has; 0 for a single role
}

// ReadDiff compares two generations that clients could see. From may be 0, which is nothing at all.
//
// The error says so if from is later than to, if clients never saw one of them, or if the history of one was
// dropped. Otherwise it is the journal's or the context's, or wraps ErrNotRepository.
//
// The cost is that of reading the history twice, up to the two generations. Memory is that of the table of
// bins, of the queue at its longest, and of the targets that changed.
func ReadDiff(ctx context.Context, journal Reader, from, to int64) (*Diff, error) {
	d, err := readDiff(ctx, journal, from, to)
	if err != nil {
		return nil, fmt.Errorf("diff of generations %d and %d: %w", from, to, err)
	}
	return d, nil
}

func readDiff(ctx context.Context, journal Reader, from, to int64) (*Diff, error) {
	switch {
	case from < 0:
		return nil, errors.New("a negative number: 0 is before the first generation")
	case from > to:
		return nil, errors.New("name the earlier one first")
	case to == 0:
		return &Diff{}, nil
	}
	d := &Diff{From: from, To: to}
	changed := map[string]*targetChange{}
	before, after, err := d.collect(ctx, journal, changed)
	if err != nil {
		return nil, err
	}
	if len(changed) > 0 {
		if err := d.lookBack(ctx, journal, changed); err != nil {
			return nil, err
		}
	}
	for path, c := range changed {
		if !c.same() {
			c.Path = path
			d.Targets = append(d.Targets, c.TargetChange)
		}
	}
	slices.SortFunc(d.Targets, func(a, b TargetChange) int { return cmp.Compare(a.Path, b.Path) })
	d.Roles = diffVersions(before.rows(), after.rows())
	d.Documents = diffVersions(before.documents(), after.documents())
	d.Keys = diffKeys(before.keys(), after.keys())
	a, b := before.delegations(), after.delegations()
	if d.Unread = a == nil || b == nil; !d.Unread {
		d.Delegations = diffDelegations(a, b)
	}
	return d, nil
}

// targetChange is a path while its changes are being read.
type targetChange struct {
	TargetChange
	now    *roles.Target // what the newest item asked for
	was    *roles.Target // what was published at From, if known
	known  bool          // whether it is
	gapped bool          // whether a gap lies between From and the first change
}

// same reports whether the path is published as it was.
func (c *targetChange) same() bool {
	switch {
	case c.Unsure:
		return false
	case c.known:
		return sameTarget(c.was, c.now)
	default:
		return maps.Equal(c.Before, c.After) // nil and nil
	}
}

// collect reads up to To, and gathers what items changed since From.
func (d *Diff) collect(ctx context.Context, journal Reader, changed map[string]*targetChange) (before, after asOf, err error) {
	var h ledger.History
	files := map[ledger.Doc][]byte{}
	last, seen := int64(0), d.From == 0
	before = asOf{files: files}
	for e, err := range events(ctx, journal, &h) {
		if err != nil {
			return before, after, err
		}
		if e.Record == nil {
			continue
		}
		if b, ok := e.Record.Body.(*ledger.Documents); ok {
			for _, f := range b.Files {
				files[f.Doc] = f.Data
			}
		}
		gen := h.State.Generation
		if gen == last {
			continue
		}
		switch {
		case e.gap && !seen && gen > d.From || e.gap && last == 0 && d.From == 0:
			return before, after, notKept(d.From, last, gen)
		case !seen && gen > d.From:
			return before, after, neverSeen(d.From, last, gen)
		case gen > d.To && e.gap:
			return before, after, notKept(d.To, last, gen)
		case gen > d.To:
			return before, after, neverSeen(d.To, last, gen)
		case e.gap && seen:
			d.Gaps = append(d.Gaps, gen)
		case seen:
			if err := d.apply(e, gen, changed); err != nil {
				return before, after, err
			}
		}
		if gen == d.From {
			before, seen = asOfNow(&h.State, files), true
		}
		if gen == d.To {
			return before, asOfNow(&h.State, files), nil
		}
		last = gen
	}
	return before, after, fmt.Errorf("there is no generation %d yet: the newest is %d", d.To, last)
}

// notKept is the error for a generation before a gap.
func notKept(wanted, last, begins int64) error {
	if last > 0 {
		return fmt.Errorf("generation %d is not in the history: Adopt or RestoreJournal made it go on from generation %d to %d, and doesn't tell what was between: "+
			"choose one of those", wanted, last, begins)
	}
	return fmt.Errorf("generation %d is before the history that is kept, which begins at generation %d: put the archived segments back, or choose that one",
		wanted, begins)
}

// neverSeen is the error for the number of a burnt generation.
func neverSeen(wanted, last, next int64) error {
	return fmt.Errorf("clients never saw generation %d, because that attempt failed: %d was followed by %d: choose one of them", wanted, last, next)
}

// apply adds what a commit published.
func (d *Diff) apply(e event, gen int64, changed map[string]*targetChange) error {
	fresh := map[string]bool{}
	err := e.edits(func(entry ledger.Entry, edit roles.TargetEdit) {
		c := changed[edit.Path]
		if c == nil {
			c = &targetChange{gapped: len(d.Gaps) > 0}
			changed[edit.Path] = c
			fresh[edit.Path] = true
		}
		c.now, c.After = edit.Target, nil
		if edit.Target != nil {
			c.After = edit.Target.Hashes
		}
		c.Generation, c.ID, c.By = gen, entry.ID, entry.By
	})
	for _, r := range e.seal.Removed {
		if fresh[r.Path] && changed[r.Path].Before == nil { // the first is what clients found
			changed[r.Path].Before = r.Hashes
		}
	}
	return err
}

// edits calls visit for each change that a commit published, in order.
func (e event) edits(visit func(ledger.Entry, roles.TargetEdit)) error {
	for n, entry := range e.entries {
		if s := e.seal.Outcomes[n].State; s != Published && s != Superseded {
			continue
		}
		it, err := entry.Item()
		if err != nil {
			return fmt.Errorf("journal: item %q was published: %w", entry.ID, err)
		}
		for edit := range it.Edits {
			visit(entry, edit)
		}
	}
	return nil
}

// lookBack finds out what was published of the changed paths at From.
func (d *Diff) lookBack(ctx context.Context, journal Reader, changed map[string]*targetChange) error {
	whole := true
	if d.From > 0 {
		var h ledger.History
		for e, err := range events(ctx, journal, &h) {
			if err != nil {
				return err
			}
			switch {
			case e.gap:
				whole = false
				for _, c := range changed {
					c.was, c.known = nil, false
				}
			case e.seal != nil:
				err = e.edits(func(_ ledger.Entry, edit roles.TargetEdit) {
					if c := changed[edit.Path]; c != nil {
						c.was, c.known = edit.Target, true
					}
				})
			}
			if err != nil {
				return err
			}
			if h.State.Generation == d.From {
				break
			}
		}
	}
	for _, c := range changed {
		switch {
		case c.known:
			c.Before = nil
			if c.was != nil {
				c.Before = c.was.Hashes
			}
		case whole:
			c.known, c.Before = true, nil
		case c.Before == nil, c.gapped:
			c.Unsure = true
		}
	}
	return nil
}

// asOf is what was published in one generation.
type asOf struct {
	table     ledger.Table
	published map[string]ledger.Doc
	signedBy  ledger.SignedBy
	files     map[ledger.Doc][]byte // of documents
	began     bool                  // false before the first generation
}

func asOfNow(s *ledger.State, files map[ledger.Doc][]byte) asOf {
	m := asOf{table: s.Table.Clone(), published: s.Published, files: files, began: true}
	if n := len(s.Signings); n > 0 && s.Signings[n-1].Superseded.IsZero() {
		m.signedBy = s.Signings[n-1].SignedBy
	}
	return m
}

func (m asOf) rows() map[string]int64 {
	out := map[string]int64{}
	for role, row := range m.table.All() {
		out[role] = row.Version
	}
	return out
}

func (m asOf) documents() map[string]int64 {
	out := map[string]int64{}
	for role, d := range m.published {
		out[role] = d.Version
	}
	return out
}

// keys are those that signed what clients see, by role.
func (m asOf) keys() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	note := func(role, key string) {
		if out[role] == nil {
			out[role] = map[string]bool{}
		}
		out[role][key] = true
	}
	for role, all := range m.signedBy {
		for _, key := range all {
			note(role, key)
		}
	}
	for _, s := range m.table.Sets {
		for _, row := range s.Rows {
			if row.Version > 0 {
				note(setName(s.Prefix), m.table.Keys[row.Key])
			}
		}
	}
	for role, row := range m.table.Roles {
		note(role, m.table.Keys[row.Key])
	}
	return out
}

// delegations are all roles that have keys, or nil if the journal doesn't have a document.
func (m asOf) delegations() map[string]Delegation {
	out := map[string]Delegation{}
	if !m.began {
		return out
	}
	docs := documents{roles: map[string]*roles.Document[metadata.TargetsType]{}}
	for role, d := range m.published {
		data, err := m.files[d], error(nil)
		if role == metadata.ROOT {
			docs.root, err = roles.Parse[metadata.RootType](data)
		} else {
			docs.roles[role], err = roles.Parse[metadata.TargetsType](data)
		}
		if err != nil {
			return nil
		}
	}
	docs.dropUnreached()
	if docs.root == nil {
		return nil
	}
	tree, err := delegation.NewTree(docs.root, docs.roles)
	if err != nil {
		return nil
	}
	note := func(role, delegator string, a roles.Authority, bins int) {
		d := Delegation{Delegator: delegator, Threshold: a.Threshold, Bins: bins}
		for _, k := range a.Keys {
			d.Keys = append(d.Keys, keyName(k))
		}
		slices.Sort(d.Keys)
		out[role] = d
	}
	for _, role := range []string{metadata.ROOT, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		a, err := roles.RootAuthority(docs.root, role)
		if err != nil {
			return nil
		}
		note(role, metadata.ROOT, a, 0)
	}
	for _, r := range tree.Roles() {
		note(r.Name, r.Delegator, r.Keys, 0)
	}
	for _, s := range tree.Sets() {
		note(setName(s.Prefix()), s.Delegator, s.Keys, s.Len())
	}
	return out
}

// keysOf are the keys of both maps, sorted.
func keysOf[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}

func diffVersions(a, b map[string]int64) (out []VersionChange) {
	for _, role := range keysOf(a, b) {
		if a[role] != b[role] {
			out = append(out, VersionChange{role, a[role], b[role]})
		}
	}
	return out
}

func diffKeys(a, b map[string]map[string]bool) (out []KeyChange) {
	for _, role := range keysOf(a, b) {
		c := KeyChange{Role: role}
		for _, key := range keysOf(a[role], b[role]) {
			switch {
			case !a[role][key]:
				c.Added = append(c.Added, key)
			case !b[role][key]:
				c.Removed = append(c.Removed, key)
			}
		}
		if len(c.Added)+len(c.Removed) > 0 {
			out = append(out, c)
		}
	}
	return out
}

func diffDelegations(a, b map[string]Delegation) (out []DelegationChange) {
	for _, role := range keysOf(a, b) {
		before, had := a[role]
		after, has := b[role]
		if had && has && before.equal(after) {
			continue
		}
		c := DelegationChange{Role: role}
		if had {
			c.Before = &before
		}
		if has {
			c.After = &after
		}
		out = append(out, c)
	}
	return out
}

func (d Delegation) equal(other Delegation) bool {
	return d.Delegator == other.Delegator && d.Threshold == other.Threshold && d.Bins == other.Bins && slices.Equal(d.Keys, other.Keys)
}

// String says in words what differs, a line for each target, document, key and delegation. Of the online
// roles it gives the number.
func (d *Diff) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("from generation %d to %d:", d.From, d.To)
	for _, g := range d.Gaps {
		line("generation %d was taken from the store by Adopt or RestoreJournal: the journal doesn't tell which targets it changed", g)
	}
	for _, t := range d.Targets {
		line("%s", t)
	}
	if n := len(d.Roles); n == 1 {
		line("1 online role was signed again")
	} else if n > 1 {
		line("%d online roles were signed again", n)
	}
	for _, c := range d.Documents {
		line("document %s", c)
	}
	for _, c := range d.Keys {
		for _, key := range c.Added {
			line("%s: signed by key %s now", c.Role, shortKey(key))
		}
		for _, key := range c.Removed {
			line("%s: no longer signed by key %s", c.Role, shortKey(key))
		}
	}
	if d.Unread {
		line("delegations: not compared, because the journal doesn't have all documents of both generations any more")
	}
	for _, c := range d.Delegations {
		for _, words := range c.words() {
			line("%s: %s", c.Role, words)
		}
	}
	return b.String()
}

// String says in words what changed.
func (t TargetChange) String() string {
	var what string
	switch {
	case t.Unsure && t.After == nil:
		what = "not published now; the history doesn't tell whether it was before"
	case t.Unsure:
		what = fmt.Sprintf("published with %s; the history doesn't tell with what before, if at all", shortHash(t.After))
	case t.Before == nil:
		what = "added with " + shortHash(t.After)
	case t.After == nil:
		what = "removed, was " + shortHash(t.Before)
	case maps.Equal(t.Before, t.After):
		what = "length or custom data changed, still " + shortHash(t.After)
	default:
		what = fmt.Sprintf("changed from %s to %s", shortHash(t.Before), shortHash(t.After))
	}
	return fmt.Sprintf("target %q: %s (generation %d, item %s%s)", t.Path, what, t.Generation, t.ID, by(t.By))
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return fmt.Sprintf(" by %q", who)
}

// String says in words what changed.
func (c VersionChange) String() string {
	switch {
	case c.From == 0:
		return fmt.Sprintf("%s: version %d is new", c.Role, c.To)
	case c.To == 0:
		return fmt.Sprintf("%s: version %d is gone", c.Role, c.From)
	}
	return fmt.Sprintf("%s: version %d, was %d", c.Role, c.To, c.From)
}

func (c DelegationChange) words() (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch a, b := c.Before, c.After; {
	case a == nil:
		say("new: %s", b)
	case b == nil:
		say("no longer delegated; was %s", a)
	default:
		if a.Delegator != b.Delegator {
			say("delegated by %s, was %s", b.Delegator, a.Delegator)
		}
		if a.Threshold != b.Threshold {
			say("threshold %d, was %d", b.Threshold, a.Threshold)
		}
		if a.Bins != b.Bins {
			say("%d bins, was %d", b.Bins, a.Bins)
		}
		for _, key := range b.Keys {
			if !slices.Contains(a.Keys, key) {
				say("key %s may sign it now", shortKey(key))
			}
		}
		for _, key := range a.Keys {
			if !slices.Contains(b.Keys, key) {
				say("key %s may not sign it any more", shortKey(key))
			}
		}
	}
	return out
}

// String says in words who may sign.
func (d Delegation) String() string {
	var names []string
	for _, key := range d.Keys {
		names = append(names, shortKey(key))
	}
	text := fmt.Sprintf("delegated by %s, threshold %d of keys %s", d.Delegator, d.Threshold, strings.Join(names, ", "))
	if d.Bins > 0 {
		text += fmt.Sprintf(", %d bins", d.Bins)
	}
	return text
}

// shortKey is the beginning of a key's ID, as people compare it.
func shortKey(name string) string { return fmt.Sprintf("%.12s", name) }

func shortHash(hashes map[string]string) string { return fmt.Sprintf("sha256 %.12s", hashes["sha256"]) }

// Life is what a journal tells of one path. String says it in words.
type Life struct {
	Path  string     `json:"path"`
	Items []LifeItem `json:"items"` // that named it, in the order in which they were decided; those that wait come last

	// Gaps are generations up to which the journal doesn't tell all: history before the first was
	// dropped, or Adopt or RestoreJournal took the generation from the store. The path may have been changed before.
	Gaps []int64 `json:"gaps,omitempty"`
}

// LifeItem is an item that named the path.
type LifeItem struct {
	ID       string    `json:"id"`
	By       string    `json:"by,omitempty"`
	Accepted time.Time `json:"accepted"`

	// Target is what the item asked to publish at the path; nil: to remove it.
	Target *roles.Target `json:"target,omitempty"`

	// Outcome is that of the whole item, which may name other paths too. An item that is Published
	// may have been replaced at this path by the one after it, if both have the same Generation.
	Outcome
	Decided time.Time `json:"decided,omitzero"` // when that was final, by the publisher's clock; zero while Accepted
}

// ReadLife returns all that the journal tells of a path: every item that named it, and what became of it. A
// path that no item named has a Life without items.
//
// The error is the journal's or the context's, or wraps ErrNotRepository. The cost is that of reading the
// whole history. Memory is that of the path's items and of the queue at its longest.
func ReadLife(ctx context.Context, journal Reader, path string) (*Life, error) {
	life := &Life{Path: path}
	var h ledger.History
	waiting := map[string]LifeItem{} // by ID
	for e, err := range events(ctx, journal, &h) {
		if err != nil {
			return nil, fmt.Errorf("life of %q: %w", path, err)
		}
		if e.Entry != nil {
			if item, named := lifeItem(*e.Entry, path); named {
				waiting[item.ID] = item
			}
			continue
		}
		decided := e.Record.Outcomes()
		switch e.Record.Kind() {
		case ledger.KindSeal:
			continue
		case ledger.KindCommit:
			decided = e.seal.Outcomes
		case ledger.KindCheckpoint:
			if e.gap {
				life.Gaps = append(life.Gaps, h.State.Generation)
			}
		}
		for _, o := range decided {
			item, ok := waiting[o.ID]
			if !ok {
				continue
			}
			item.Outcome, item.Decided = o.Outcome, e.Record.Time
			life.Items = append(life.Items, item)
			delete(waiting, o.ID)
		}
	}
	for _, e := range slices.Concat(h.Sealed(), h.Queue()) {
		if item, ok := waiting[e.ID]; ok {
			life.Items = append(life.Items, item)
		}
	}
	return life, nil
}

// lifeItem returns an entry as an item that named the path, if it did. Others may fill a shared journal, so
// an entry need not be an item.
func lifeItem(e ledger.Entry, path string) (LifeItem, bool) {
	if !mayName(e.Body, path) {
		return LifeItem{}, false
	}
	it, err := e.Item()
	if err != nil {
		return LifeItem{}, false
	}
	for edit := range it.Edits {
		if edit.Path == path {
			return LifeItem{ID: e.ID, By: e.By, Accepted: e.Accepted, Target: edit.Target, Outcome: Outcome{State: Accepted}}, true
		}
	}
	return LifeItem{}, false
}

// mayName reports false only for a body that surely doesn't name the path. It is much cheaper than to
// read the item. JSON has two forms of a text only where a backslash is.
func mayName(body []byte, path string) bool {
	return bytes.Contains(body, []byte(path)) || bytes.IndexByte(body, '\\') >= 0
}

// String says in words what became of the path, a line for each item.
func (l *Life) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("target %q:", l.Path)
	for _, g := range l.Gaps {
		line("before generation %d the journal doesn't tell all: that history was dropped, or Adopt or RestoreJournal began anew: "+
			"put archived segments back to see it", g)
	}
	if len(l.Items) == 0 {
		line("no item named it")
	}
	for _, i := range l.Items {
		what := "remove"
		if i.Target != nil {
			what = fmt.Sprintf("publish %d bytes with %s", i.Target.Length, shortHash(i.Target.Hashes))
		}
		fate := string(i.State)
		if i.Generation > 0 {
			fate += fmt.Sprintf(" in generation %d", i.Generation)
		}
		if i.Reason != "" {
			fate += ": " + i.Reason
		}
		line("%s item %s%s: %s: %s", i.Accepted.UTC().Format(time.RFC3339), i.ID, by(i.By), what, fate)
	}
	return b.String()
}
