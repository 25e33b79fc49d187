package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Somebody else may have published: see "After a compromise" in the package comment. There are three
// sources for what is published, or should be. Each is a View, and Compare compares any two:
//
//	ClientView   a store, as a client finds it: the attacked store, or a known-good copy
//	LedgerView   the journal; the store is asked only for what has the journal's digest
//	View         the same for a store that is as the journal says

// errRefused is wrapped when clients refuse the file of a role.
var errRefused = errors.New("clients can't use it")

// ClientView returns what a client finds in a store that it has never visited. Other software may have
// published it. The client trusts root, a root's file of any version, and follows the roots after
// it. Expiry doesn't count, so an old copy of a repository has a View too. The store must have the
// names of consistent snapshots.
//
// ClientView reads and verifies root, timestamp, snapshot and every role that delegates. If a client
// would fail at one of them, so does ClientView: the error names the file. The leaves, bins for
// example, are read and verified when they are asked for. Generation is the version of the timestamp.
func ClientView(ctx context.Context, store Getter, root []byte) (*View, error) {
	p := &published{docs: &documents{
		roles: map[string]*roles.Document[metadata.TargetsType]{}, installed: map[string]ledger.Doc{},
	}}
	trusted, err := parseTrusted(root)
	if err == nil {
		err = p.followRoots(ctx, store, trusted)
	}
	if err == nil {
		err = p.readTimestamp(ctx, store)
	}
	var versions map[string]int64
	if err == nil {
		versions, err = p.readSnapshot(ctx, store)
	}
	if err == nil {
		// Leaves are not kept in memory, neither those of people nor those of the index.
		err = p.readDocuments(ctx, store, func(string) bool { return true }, versions)
	}
	if err != nil {
		return nil, fmt.Errorf("client view: %w", err)
	}
	v := &View{generation: p.timestamp.Version(), store: store, tree: p.docs.online.tree, readers: usualReaders}
	v.read = func(ctx context.Context, role delegation.Role) (*roles.Bin, error) {
		return readAsClient(ctx, store, role, versions[role.Name], p.lengths[role.Name])
	}
	return v, nil
}

// readAsClient reads a leaf of which the snapshot gives the version, and perhaps the length.
func readAsClient(ctx context.Context, store Getter, role delegation.Role, version, length int64) (*roles.Bin, error) {
	if version == 0 {
		return nil, fmt.Errorf("%w: it isn't in the snapshot", errRefused)
	}
	name := ledger.Name(version, role.Name)
	data, err := store.Get(ctx, name)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var bin *roles.Bin
	if err == nil {
		bin, err = roles.ParseBin(data)
	}
	switch {
	case err != nil:
	case length > 0 && int64(len(data)) != length:
		err = fmt.Errorf("%d bytes, and the snapshot says %d", len(data), length)
	case length == 0 && len(data) > roles.MaxTargets:
		err = fmt.Errorf("%d bytes, and clients accept %d unless the snapshot says more", len(data), roles.MaxTargets)
	case bin.Version() != version:
		err = fmt.Errorf("it is version %d", bin.Version())
	default:
		err = role.Keys.Verify(bin)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, errRefused, err)
	}
	return bin, nil
}

// LedgerView returns what the journal says is published, whatever the store holds now. It needs no
// lead. A file of the store counts only if it has the digest in the journal. What is missing or
// altered is made again from the journal's history, as RestoreStore would. If the history begins too
// late for that, the error names the file of which the store needs a copy: here if it is a document,
// in Lookup and Targets if it is a bin.
//
// The cost is one reading of the history, and of every bin of the store. Lookup and Targets cost
// another reading of the history for each 64 MiB of bins that are made again. These are in memory at
// the same time.
func LedgerView(ctx context.Context, store Store, journal Reader) (*View, error) {
	v, err := ledgerView(ctx, store, journal)
	if err != nil {
		return nil, fmt.Errorf("ledger view: %w", err)
	}
	return v, nil
}

func ledgerView(ctx context.Context, store Store, journal Reader) (*View, error) {
	h, err := readHistory(ctx, journal)
	if err == nil {
		err = hasDocuments(&h.State)
	}
	if err != nil {
		return nil, err
	}
	p := &publisher{cfg: Config{Store: store, Workers: usualReaders}, state: &h.State}
	all, err := p.replay().run(ctx, journal, h.State.Chain)
	if err != nil {
		return nil, err
	}
	v := viewOf(store, &h.State, usualReaders)
	if v.generation == 0 {
		return v, nil
	}
	kept, err := documentsOf(all.files, v.published)
	if err != nil {
		return nil, err
	}
	docs, err := v.readDocuments(ctx, kept)
	if err != nil {
		return nil, err
	}
	if docs.online, err = newOnline(docs.online.tree, docs.roles, func(role string) bool {
		_, ok := v.table.Roles[role]
		return ok
	}); err != nil {
		return nil, err
	}
	docs.installed = v.published
	if err := v.complete(ctx, nil, docs); err != nil {
		return nil, err
	}
	p.docs, p.rebuild = docs, newRebuilder(p, journal)
	lost, err := p.lostBins(ctx)
	if err != nil {
		return nil, err
	}
	p.rebuild.want(h.State.Chain, lost...)
	v.later = func(role string) bool {
		i, online := docs.online.index(role)
		return online && p.rebuild.wants(i)
	}
	v.read = func(ctx context.Context, role delegation.Role) (*roles.Bin, error) {
		i, online := docs.online.index(role.Name)
		switch {
		case !online:
			return v.documents[role.Name], nil
		case p.rebuild.wants(i):
			return p.rebuild.only(ctx, i)
		}
		return p.loadPublished(ctx, i)
	}
	return v, nil
}

// loadPublished reads a role's published file from the store.
func (p *publisher) loadPublished(ctx context.Context, i int) (*roles.Bin, error) {
	data, err := getPublished(ctx, p.cfg.Store, p.fileName(i), p.row(i).Blob())
	if err != nil {
		return nil, err
	}
	bin, err := roles.OpenBin(data)
	if err == nil {
		err = p.checkSigned(i, bin)
	}
	if err != nil {
		return nil, err
	}
	return bin, nil
}

// documentsOf are those of the published documents that are among files. A history may begin after
// some were accepted.
func documentsOf(files []ledger.File, published map[string]ledger.Doc) (*documents, error) {
	o := &documents{roles: map[string]*roles.Document[metadata.TargetsType]{}, installed: map[string]ledger.Doc{}}
	for _, f := range files {
		if published[f.Role] != f.Doc {
			continue
		}
		var err error
		if f.Role == metadata.ROOT {
			o.root, err = roles.Parse[metadata.RootType](f.Data)
		} else {
			o.roles[f.Role], err = roles.Parse[metadata.TargetsType](f.Data)
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %s: %w", f.Name(), err)
		}
		o.installed[f.Role] = f.Doc
	}
	return o, nil
}

// Difference is a path at which clients find another target than they should, or a role of which they
// find nothing. Its JSON encoding is stable.
type Difference struct {
	// Path is empty if the role's file can't be used.
	Path string `json:"path,omitempty"`

	// Role is what lists the path, in what is published if it is there.
	Role string `json:"role"`

	// Published and Known are the target here and there; nil: there is none.
	Published *roles.Target `json:"published,omitempty"`
	Known     *roles.Target `json:"known,omitempty"`

	// Refused says why clients refuse the published file of Role. They find none of its paths, which
	// have no Differences of their own.
	Refused string `json:"refused,omitempty"`
}

// String says in words what differs.
func (d Difference) String() string {
	switch {
	case d.Path == "":
		return fmt.Sprintf("%s: no target of this role can be found: %s", d.Role, d.Refused)
	case d.Known == nil:
		return fmt.Sprintf("%s: published, and not known: %s", d.Path, describeTarget(d.Published))
	case d.Published == nil:
		return fmt.Sprintf("%s: known, and not published: %s", d.Path, describeTarget(d.Known))
	case d.Published.Length == d.Known.Length && maps.Equal(d.Published.Hashes, d.Known.Hashes):
		return fmt.Sprintf("%s: the same file with other custom data: published %s, known %s",
			d.Path, cmp.Or(string(d.Published.Custom), "none"), cmp.Or(string(d.Known.Custom), "none"))
	}
	return fmt.Sprintf("%s: published %s, known %s", d.Path, describeTarget(d.Published), describeTarget(d.Known))
}

func describeTarget(t *roles.Target) string {
	words := []string{fmt.Sprintf("%d bytes", t.Length)}
	for _, name := range slices.Sorted(maps.Keys(t.Hashes)) {
		words = append(words, name+" "+t.Hashes[name])
	}
	return strings.Join(words, ", ")
}

// Compare yields every path at which two Views differ: what clients find, and what is known to be
// good. Length, hashes and custom data are compared. An empty sequence means that clients find exactly
// the known targets. The order is not promised.
//
// A published role that clients refuse is yielded once, without a path. An error ends the sequence:
// the context's, a store's, or one that names a file of known that is missing or altered.
//
// Every bin of both is read once, or two or three times if they delegate differently. In memory are as many bins of
// each side as are read at a time (see View.Targets), and all targets of roles that are no bins.
func Compare(ctx context.Context, published, known *View) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		c := comparison{published: newFinder(published), known: newFinder(known), yield: yield}
		if err := c.run(ctx); err != nil && err != errEnough {
			yield(Difference{}, fmt.Errorf("compare: %w", err))
		}
	}
}

// errEnough ends a comparison whose caller wants no more.
var errEnough = errors.New("enough")

type comparison struct {
	published, known *finder
	yield            func(Difference, error) bool
}

// run compares both sides role by role. If they have the same bins, both directions are compared while a
// bin is in memory.
func (c *comparison) run(ctx context.Context) error {
	same := slices.EqualFunc(c.published.sets(), c.known.sets(), func(a, b delegation.Set) bool {
		return a.Prefix() == b.Prefix() && a.Len() == b.Len()
	})
	for _, f := range []*finder{c.published, c.known} {
		for role, r := range f.view.ahead(ctx, f.leaves(false)) {
			f.given[role.Name] = r
		}
	}
	for role := range c.published.leaves(false) {
		if err := c.fromPublished(ctx, role); err != nil {
			return err
		}
	}
	for role := range c.known.leaves(false) {
		if err := c.fromKnown(ctx, role); err != nil {
			return err
		}
	}
	// If both have the same bins, those of the same name are read at the same time.
	next, stop := iter.Pull2(c.known.view.ahead(ctx, c.known.leaves(true)))
	defer stop()
	for role, r := range c.published.view.ahead(ctx, c.published.leaves(true)) {
		c.published.given[role.Name] = r
		var known delegation.Role
		if same {
			known, r, _ = next() // its keys may be others
			c.known.given[known.Name] = r
		}
		err := c.fromPublished(ctx, role)
		if err == nil && same {
			err = c.fromKnown(ctx, known)
		}
		if err != nil {
			return err
		}
	}
	for !same {
		role, r, ok := next()
		if !ok {
			break
		}
		c.known.given[role.Name] = r
		if err := c.fromKnown(ctx, role); err != nil {
			return err
		}
	}
	return nil
}

// fromPublished compares what clients find in a published role.
func (c *comparison) fromPublished(ctx context.Context, role delegation.Role) error {
	l, err := c.published.listing(ctx, role)
	if err != nil {
		return err
	}
	if l.refused != nil {
		return c.report(Difference{Role: role.Name, Refused: l.refused.Error()})
	}
	for _, path := range c.known.inOrder(l.targets) {
		here, err := c.published.find(ctx, path)
		if err != nil {
			return err
		}
		if here.target == nil || here.role != role.Name {
			continue // clients find it elsewhere, or not at all
		}
		there, err := c.known.find(ctx, path)
		if err == nil {
			err = there.refused
		}
		if err != nil {
			return err
		}
		if !sameTarget(here.target, there.target) {
			if err := c.report(Difference{Path: path, Role: role.Name, Published: here.target, Known: there.target}); err != nil {
				return err
			}
		}
	}
	return nil
}

// fromKnown finds what is known and not published.
func (c *comparison) fromKnown(ctx context.Context, role delegation.Role) error {
	l, err := c.known.listing(ctx, role)
	if err == nil {
		err = l.refused
	}
	if err != nil {
		return fmt.Errorf("%s: %w", role.Name, err)
	}
	for _, path := range c.published.inOrder(l.targets) {
		here, err := c.known.find(ctx, path)
		if err == nil {
			err = here.refused
		}
		if err != nil {
			return err
		}
		if here.target == nil || here.role != role.Name {
			continue
		}
		there, err := c.published.find(ctx, path)
		if err != nil {
			return err
		}
		if there.target == nil && there.refused == nil {
			if err := c.report(Difference{Path: path, Role: role.Name, Known: here.target}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *comparison) report(d Difference) error {
	if !c.yield(d, nil) {
		return errEnough
	}
	return nil
}

// finder finds targets in a View as Lookup does. It keeps what it read last.
type finder struct {
	view   *View
	bins   map[int]listing    // the bin of each set that was read last
	others map[string]listing // of roles that are no bins
	given  map[string]reading // what was read ahead, until it is asked for
}

// listing is what a role lists. If clients refuse its file, refused says why.
type listing struct {
	role    string
	targets map[string]*roles.Target
	refused error
}

// found is the target that clients find, and the role that lists it. If they refuse a role that they
// would ask before that, refused says why.
type found struct {
	role    string
	target  *roles.Target
	refused error
}

func newFinder(v *View) *finder {
	return &finder{view: v, bins: map[int]listing{}, others: map[string]listing{}, given: map[string]reading{}}
}

// leaves yields either the bins, or the other leaves.
func (f *finder) leaves(bins bool) iter.Seq[delegation.Role] {
	return func(yield func(delegation.Role) bool) {
		for role := range f.view.leaves() {
			if role.Set >= 0 == bins && !yield(role) {
				return
			}
		}
	}
}

func (f *finder) sets() []delegation.Set {
	if f.view.tree == nil {
		return nil
	}
	return f.view.tree.Sets()
}

func (f *finder) listing(ctx context.Context, role delegation.Role) (listing, error) {
	l, ok := f.others[role.Name]
	if role.Set >= 0 {
		l = f.bins[role.Set]
		ok = l.role == role.Name
	}
	if ok {
		return l, nil
	}
	l = listing{role: role.Name, targets: map[string]*roles.Target{}}
	r, ok := f.given[role.Name]
	if delete(f.given, role.Name); !ok {
		r.listed, r.err = f.view.listed(ctx, role)
	}
	listed, err := r.listed, r.err
	switch {
	case errors.Is(err, errRefused), errors.Is(err, errQuarantine):
		l.refused = err
	case err != nil:
		return l, fmt.Errorf("%s: %w", role.Name, err)
	case listed != nil:
		for t, err := range listed.Targets() {
			if err != nil {
				return l, fmt.Errorf("%s: %w", role.Name, err)
			}
			l.targets[t.Path] = &t
		}
	}
	if role.Set >= 0 {
		f.bins[role.Set] = l
	} else {
		f.others[role.Name] = l
	}
	return l, nil
}

func (f *finder) find(ctx context.Context, path string) (found, error) {
	for role := range f.view.search(path) {
		l, err := f.listing(ctx, role)
		if err != nil {
			return found{}, err
		}
		if t := l.targets[path]; t != nil || l.refused != nil {
			return found{role.Name, t, l.refused}, nil
		}
	}
	return found{}, nil
}

// inOrder returns the paths of targets such that those of one bin follow one another.
func (f *finder) inOrder(targets map[string]*roles.Target) []string {
	owners := make(map[string]string, len(targets))
	for path := range targets {
		if f.view.tree != nil {
			owner, _ := f.view.tree.Owner(path)
			owners[path] = owner.Name
		}
	}
	return slices.SortedFunc(maps.Keys(targets), func(a, b string) int {
		return cmp.Or(cmp.Compare(owners[a], owners[b]), cmp.Compare(a, b))
	})
}
