package repository

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// ErrNotPublished is wrapped by View.Lookup for a path that clients don't find.
var ErrNotPublished = errors.New("not published")

// View is what one generation publishes, as clients find it. It never changes, and is safe for
// concurrent use. Each lookup reads the store, so a View works as long as the store keeps the
// generation's files: for a grace period (see Config.CacheAge) after another generation is committed. It
// works after Close too. Whatever it reads from the store is checked against
// the digest in the journal.
type View struct {
	generation int64
	store      Getter
	table      ledger.Table
	published  map[string]ledger.Doc // what tree is made of
	tree       *delegation.Tree      // nil before the first generation
	documents  map[string]*roles.Bin // of the leaves that people sign

	// read returns what a leaf lists, if that isn't in store as table says it. Nil: it is.
	read func(ctx context.Context, role delegation.Role) (*roles.Bin, error)
	// later reports whether read makes what a leaf lists from the history: it isn't read ahead, because many
	// leaves that follow one another are made together. Nil: no leaf is.
	later func(role string) bool

	readers int // how many files are read at a time
}

// View returns what clients see now. It doesn't wait for a generation under way. The first call
// after a commit copies the table of bins, 60 bytes for each. Later calls return the same View. While
// new documents are accepted and not yet published, it reads the published ones from the store. The
// error is the store's, or the repository's once that has ended.
func (r *Repository) View(ctx context.Context) (*View, error) {
	if err := context.Cause(r.alive); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	before := r.view.Load()
	p := r.pub
	p.stateMu.Lock()
	if before != nil && before.generation == p.state.Generation {
		p.stateMu.Unlock()
		return before, nil
	}
	v, docs := viewOf(p.cfg.Store, p.state, p.cfg.Workers), p.docs
	p.stateMu.Unlock()

	if err := v.complete(ctx, before, docs); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	r.view.Store(v)
	return v, nil
}

// ReadView returns what clients see, for a process that isn't the publisher. It shows the newest
// generation whose commit the journal records. It needs no lead, and may be called while a publisher
// runs. Cost and errors are those of ReadStatus.
func ReadView(ctx context.Context, store Store, journal Reader) (*View, error) {
	h, err := readHistory(ctx, journal)
	if err == nil {
		err = hasDocuments(&h.State)
	}
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	v := viewOf(store, &h.State, usualReaders)
	if err := v.complete(ctx, nil, nil); err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	return v, nil
}

// viewOf copies what later generations change.
func viewOf(store Store, s *ledger.State, readers int) *View {
	return &View{generation: s.Generation, store: store, table: s.Table.Clone(), published: s.Published, readers: readers}
}

// complete reads the documents that the generation was published with. What an earlier view or the
// publisher has in memory is not read again.
func (v *View) complete(ctx context.Context, before *View, docs *documents) error {
	switch {
	case v.generation == 0:
		return nil
	case before != nil && before.tree != nil && maps.Equal(before.published, v.published) && sameRoles(before.table.Roles, v.table.Roles):
		v.tree, v.documents = before.tree, before.documents
		return nil
	case docs == nil || !maps.Equal(docs.installed, v.published):
		var err error
		if docs, err = v.readDocuments(ctx, docs); err != nil {
			return err
		}
	}
	v.tree, v.documents = docs.online.tree, map[string]*roles.Bin{}
	for _, role := range v.tree.Roles() {
		doc := docs.roles[role.Name]
		if _, online := v.table.Roles[role.Name]; online || doc == nil || !role.Leaf {
			continue
		}
		listed, err := roles.ParseBin(doc.Bytes())
		if err != nil {
			return fmt.Errorf("%s: %w", role.Name, err)
		}
		v.documents[role.Name] = listed
	}
	return nil
}

func sameRoles(a, b map[string]ledger.Row) bool {
	for role := range a {
		if _, ok := b[role]; !ok {
			return false
		}
	}
	return len(a) == len(b)
}

// readDocuments returns the published documents that clients come to. It takes from known, which may be nil,
// those that are the same there, and reads the others.
func (v *View) readDocuments(ctx context.Context, known *documents) (*documents, error) {
	isKnown := func(role string) bool { return known != nil && known.installed[role] == v.published[role] }
	o := &documents{roles: map[string]*roles.Document[metadata.TargetsType]{}}
	if isKnown(metadata.ROOT) {
		o.root = known.root
	} else {
		data, err := getPublished(ctx, v.store, ledger.Name(v.published[metadata.ROOT].Version, metadata.ROOT), v.published[metadata.ROOT].Blob)
		if err == nil {
			o.root, err = roles.Parse[metadata.RootType](data)
		}
		if err != nil {
			return nil, fmt.Errorf("root: %w", err)
		}
	}
	read := func(ctx context.Context, role string) fetched {
		if isKnown(role) && known.roles[role] != nil {
			return fetched{}
		}
		// A role with a row was signed online: see publisher.loadDocument.
		published := v.published[role]
		name, blob := ledger.Name(published.Version, role), published.Blob
		if row, online := v.table.Roles[role]; online {
			name, blob = ledger.Name(row.Version, role), row.Blob()
		}
		data, err := getPublished(ctx, v.store, name, blob)
		return fetched{data, err}
	}
	// Level by level: the roles to which those of one level delegate are read together.
	for level := []string{metadata.TARGETS}; len(level) > 0; {
		level = slices.DeleteFunc(level, func(role string) bool {
			_, ok := v.published[role]
			return !ok || o.roles[role] != nil
		})
		var next []string
		for role, f := range parallel.InOrder(ctx, v.readers, slices.Values(level), read) {
			doc, err := (*roles.Document[metadata.TargetsType])(nil), f.err
			if isKnown(role) {
				doc = known.roles[role]
			}
			if doc == nil && err == nil {
				doc, err = roles.Parse[metadata.TargetsType](f.data)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", role, err)
			}
			o.roles[role] = doc
			if d := doc.Signed().Delegations; d != nil {
				for _, r := range d.Roles {
					next = append(next, r.Name)
				}
			}
		}
		level = next
	}
	var err error
	o.online.tree, err = delegation.NewTree(o.root, o.roles)
	return o, err
}

// listed returns what a leaf lists; nil is nothing.
func (v *View) listed(ctx context.Context, role delegation.Role) (*roles.Bin, error) {
	if v.read != nil {
		return v.read(ctx, role)
	}
	row, online := v.table.Row(role.Name)
	if !online {
		return v.documents[role.Name], nil
	}
	data, err := getPublished(ctx, v.store, ledger.Name(row.Version, role.Name), row.Blob())
	if err != nil {
		return nil, err
	}
	return roles.OpenBin(data)
}

// reading is what a leaf lists; nil is nothing. Or it isn't known, because of err.
type reading struct {
	listed *roles.Bin
	err    error
}

// ahead yields leaves with what they list, and reads some of them ahead.
func (v *View) ahead(ctx context.Context, leaves iter.Seq[delegation.Role]) iter.Seq2[delegation.Role, reading] {
	isLater := func(role string) bool { return v.later != nil && v.later(role) }
	read := func(ctx context.Context, role delegation.Role) (r reading) {
		r.listed, r.err = v.listed(ctx, role)
		return r
	}
	return func(yield func(delegation.Role, reading) bool) {
		for role, r := range parallel.InOrder(ctx, v.readers, leaves, func(ctx context.Context, role delegation.Role) reading {
			if isLater(role.Name) {
				return reading{}
			}
			return read(ctx, role)
		}) {
			if isLater(role.Name) {
				r = read(ctx, role)
			}
			if !yield(role, r) {
				return
			}
		}
	}
}

// Generation is the number of the generation; 0 before the first.
func (v *View) Generation() int64 { return v.generation }

// Lookup returns the target that clients find at path. Clients take it from the first role in their
// order that lists it, whether that is signed online or by people. The error wraps ErrNotPublished
// if there is none. Any other error says nothing about path: it is the context's or the store's, or
// it names a file that is missing or altered. For a missing file it wraps ErrNotExist.
//
// The cost is one read of the store for each online role that a client would ask. Nearly always that
// is one bin.
func (v *View) Lookup(ctx context.Context, path string) (roles.Target, error) {
	for role := range v.search(path) {
		listed, err := v.listed(ctx, role)
		if err != nil {
			return roles.Target{}, fmt.Errorf("look up %q: %w", path, err)
		}
		if listed == nil {
			continue
		}
		if t, ok, err := listed.Lookup(path); err != nil || ok {
			if err != nil {
				err = fmt.Errorf("look up %q: %s: %w", path, role.Name, err)
			}
			return t, err
		}
	}
	return roles.Target{}, fmt.Errorf("target %q: %w", path, ErrNotPublished)
}

// search yields the leaves in which clients look for path, in their order.
func (v *View) search(path string) iter.Seq[delegation.Role] {
	return func(yield func(delegation.Role) bool) {
		if v.tree == nil {
			return
		}
		for _, name := range v.tree.Search(path) {
			if role, _ := v.tree.Role(name); role.Leaf && !yield(role) {
				return
			}
		}
	}
}

// Targets yields all that clients find, each path once, as Lookup returns it. The targets of one
// role follow one another, in the byte order of their paths. The order of the roles is not promised.
// An error ends it: one like Lookup's, with the role's name.
//
// It reads every bin once, Config.Workers of them at a time (32 if the View isn't a Repository's), and keeps as
// many in memory. If clients ask other online roles before the bins, it also keeps the paths of those
// roles. (Of other sets of bins it keeps one bin at a time.)
func (v *View) Targets(ctx context.Context) iter.Seq2[roles.Target, error] {
	return func(yield func(roles.Target, error) bool) {
		earlier := earlier{view: v, others: map[string]map[string]bool{}}
		for role, r := range v.ahead(ctx, v.leaves()) {
			listed, err := r.listed, r.err
			var hidden map[string]bool
			if err == nil {
				hidden, err = earlier.hidden(ctx, role, listed)
			}
			if err != nil {
				yield(roles.Target{}, fmt.Errorf("targets of %s: %w", role.Name, err))
				return
			}
			if listed == nil {
				continue
			}
			for t, err := range listed.Targets() {
				if err != nil {
					yield(roles.Target{}, fmt.Errorf("targets of %s: %w", role.Name, err))
					return
				}
				if !hidden[t.Path] && !yield(t, nil) {
					return
				}
			}
		}
	}
}

// leaves yields every role that may have targets.
func (v *View) leaves() iter.Seq[delegation.Role] {
	return func(yield func(delegation.Role) bool) {
		if v.tree == nil {
			return
		}
		for _, role := range v.tree.Roles() {
			if role.Leaf && !yield(role) {
				return
			}
		}
		for _, set := range v.tree.Sets() {
			for i := range set.Len() {
				if role, ok := v.tree.Role(set.Name(i)); ok && !yield(role) {
					return
				}
			}
		}
	}
}

// earlier knows which paths the roles list that clients ask before others.
type earlier struct {
	view   *View
	others map[string]map[string]bool // of roles that are no bins
	bin    string                     // the last bin that was asked for
	paths  map[string]bool            // of it
}

// hidden returns the paths that role lists and that clients don't find there. Either clients don't
// ask role for the path, or an earlier role lists it too.
func (a *earlier) hidden(ctx context.Context, role delegation.Role, listed *roles.Bin) (map[string]bool, error) {
	hidden := map[string]bool{}
	before := map[string][]string{} // paths, by roles that are asked first
	if listed == nil {
		return hidden, nil
	}
	for t, err := range listed.Targets() {
		if err != nil {
			return nil, err
		}
		if first, ok := a.view.tree.Owner(t.Path); ok && first.Name == role.Name {
			continue
		}
		hidden[t.Path] = true
		for other := range a.view.search(t.Path) {
			if other.Name == role.Name {
				delete(hidden, t.Path)
				break
			}
			before[other.Name] = append(before[other.Name], t.Path)
		}
	}
	for name, paths := range before {
		lists, err := a.pathsOf(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if lists[path] {
				hidden[path] = true
			}
		}
	}
	return hidden, nil
}

func (a *earlier) pathsOf(ctx context.Context, name string) (map[string]bool, error) {
	if paths := a.others[name]; paths != nil {
		return paths, nil
	}
	if a.bin == name {
		return a.paths, nil
	}
	role, _ := a.view.tree.Role(name)
	listed, err := a.view.listed(ctx, role)
	if err != nil {
		return nil, err
	}
	paths := map[string]bool{}
	if listed != nil {
		for t, err := range listed.Targets() {
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			paths[t.Path] = true
		}
	}
	if role.Set >= 0 {
		a.bin, a.paths = name, paths
	} else {
		a.others[name] = paths
	}
	return paths, nil
}
