package delegation

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Tree is the delegations of root and the documents in force: which roles there are, who signs each,
// and in which of them clients look for a path. It never changes, keeps no document in memory, and is
// safe for concurrent use. Its methods may return slices of an Authority that it uses itself: don't
// write to them.
type Tree struct {
	nodes  []node // in pre-order, targets first
	sets   []set  // in the order of a search
	byName map[string]int32
}

// Role is one role of targets metadata.
type Role struct {
	Name      string
	Set, Bin  int             // which of Sets it belongs to, and its number there; Set is -1 for a role that is no bin
	Leaf      bool            // it delegates nothing
	Delegator string          // the role that delegates to it, the first in a search; "root" for targets
	Keys      roles.Authority // who signs it, by its delegator
}

// Set is one set of hashed bins. All of its bins are signed by the same keys.
type Set struct {
	Bins
	Delegator string
	Keys      roles.Authority
}

type node struct {
	Role
	edges []edge
	set   int // the bins that stand after edges, or -1
	depth int // delegations from targets, on the longest way
}

// edge is a delegation to a role that is not a bin.
type edge struct {
	to int32
	scope
}

type set struct {
	Set
	names string // of all bins, one after the other, so that naming one allocates nothing
}

func (s *set) bin(i int) Role {
	width := len(s.names) / s.Len()
	return Role{Name: s.names[i*width : (i+1)*width], Bin: i, Leaf: true, Delegator: s.Delegator, Keys: s.Keys}
}

// NewTree returns the tree of root and the documents, given by role: "targets" and every delegated role
// that has a document in force. A role that delegates must have a document. A delegated role without
// one is a leaf. Hashed bins have none here.
//
// It refuses what no client can read, and what clients read differently. The error names the role and
// the reason. It refuses
//
//   - a document that its delegator's keys didn't sign, that no role delegates to, or that has both
//     delegations and targets of its own;
//   - a role to which two roles delegate with different keys or thresholds, or which delegates to
//     itself, directly or not; a role more than 32 delegations deep; a role after a delegation that
//     ends every search;
//   - a name that has characters other than letters, digits, "_", "." and "-", begins with a dot, is
//     longer than 200 bytes, or differs from another only in case;
//   - a key that some client doesn't know, and a threshold that can't be met;
//   - a pattern with characters other than lower-case letters, digits, "-", "_", ".", "/", "+", "~",
//     "@", "=", "," and "*" within a segment; a hash prefix that isn't lower-case hexadecimal;
//   - bins other than those of New. Two or more roles in a row count as bins if they have
//     path_hash_prefixes and names that end in "-" and up to four hexadecimal digits. All of the set
//     must then be there, at the end of the list.
func NewTree(root *roles.Document[metadata.RootType], documents map[string]*roles.Document[metadata.TargetsType]) (*Tree, error) {
	if documents[metadata.TARGETS] == nil {
		return nil, fmt.Errorf("no document for the role %q", metadata.TARGETS)
	}
	keys, err := roles.RootAuthority(root, metadata.TARGETS)
	if err != nil {
		return nil, err
	}
	b := builder{
		documents: documents,
		byName:    make(map[string]int32),
		folded:    make(map[string]string),
	}
	err = checkAuthority(root.Signed().Keys, root.Signed().Roles[metadata.TARGETS].KeyIDs, keys)
	if err == nil {
		_, err = b.add(delegator{metadata.ROOT, root.Version(), 0}, metadata.TARGETS, keys)
	} else {
		err = fmt.Errorf("root version %d: role %q: %w", root.Version(), metadata.TARGETS, err)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		if _, ok := b.byName[name]; ok {
			continue
		}
		if role, ok := b.bin(name); ok {
			return nil, fmt.Errorf("role %q: a document for a hashed bin of %q", name, role.Delegator)
		}
		return nil, fmt.Errorf("role %q: no role delegates to it, but it has a document", name)
	}
	return b.tree()
}

// builder makes a tree, depth first.
type builder struct {
	documents map[string]*roles.Document[metadata.TargetsType]
	nodes     []*node
	open      []int32 // the way from targets to the role that is being added
	sets      []set
	byName    map[string]int32
	folded    map[string]string // the names of all roles and the prefixes of all bins by their lower-case spelling
}

type delegator struct {
	name    string
	version int64
	depth   int // of what it delegates to
}

// add adds a role and everything that it delegates to. It checks a role again that was added before.
func (b *builder) add(by delegator, name string, keys roles.Authority) (int32, error) {
	fail := func(err error) (int32, error) {
		return 0, fmt.Errorf("%s version %d: role %q: %w", by.name, by.version, name, err)
	}
	if i, ok := b.byName[name]; ok {
		n := b.nodes[i]
		switch {
		case slices.Contains(b.open, i):
			return fail(errors.New("it delegates to itself: " + b.cycle(i)))
		case !sameAuthority(n.Keys, keys):
			return fail(fmt.Errorf("other keys or another threshold than %q has for it", n.Delegator))
		}
		return i, b.deepen(i, by.depth)
	}
	if by.depth > maxDepth {
		return fail(errTooDeep)
	}
	if other, ok := b.folded[strings.ToLower(name)]; ok {
		return fail(fmt.Errorf("it differs from %q in case only", other))
	}

	i := int32(len(b.nodes))
	n := &node{Role: Role{Name: name, Set: -1, Leaf: true, Delegator: by.name, Keys: keys}, set: -1, depth: by.depth}
	b.nodes = append(b.nodes, n)
	b.byName[name] = i
	b.folded[strings.ToLower(name)] = name
	d := b.documents[name]
	if d == nil {
		return i, nil
	}
	if err := keys.Verify(d); err != nil {
		return fail(err)
	}
	n.Leaf = isLeaf(d.Signed())
	if n.Leaf {
		return i, nil
	}
	b.open = append(b.open, i)
	defer func() { b.open = b.open[:len(b.open)-1] }()
	return i, b.descend(n, d)
}

var errTooDeep = fmt.Errorf("more than %d delegations deep", maxDepth)

// isLeaf reports whether a role delegates nothing. A role with an empty list of delegations and no
// targets is not a leaf: the paths that it doesn't delegate belong to other roles.
func isLeaf(targets metadata.TargetsType) bool {
	d := targets.Delegations
	return d == nil || d.SuccinctRoles == nil && len(d.Roles) == 0 && len(targets.Targets) > 0
}

// descend adds everything that the document of n delegates to.
func (b *builder) descend(n *node, d *roles.Document[metadata.TargetsType]) error {
	signed := d.Signed()
	if err := checkOwnTargets(signed); err != nil {
		return fmt.Errorf("%s version %d: %w", n.Name, d.Version(), err)
	}
	listed, err := read(signed.Delegations)
	if err != nil {
		return fmt.Errorf("%s version %d: %w", n.Name, d.Version(), err)
	}
	by := delegator{n.Name, d.Version(), n.depth + 1}
	for _, role := range listed.roles {
		to, err := b.add(by, role.name, role.keys)
		if err != nil {
			return err
		}
		n.edges = append(n.edges, edge{to, role.scope})
	}
	if listed.bins.Len() > 0 {
		n.set = len(b.sets)
		if err := b.addSet(by, listed.bins, listed.keys); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) addSet(by delegator, bins Bins, keys roles.Authority) error {
	fail := func(err error) error {
		return fmt.Errorf("%s version %d: bins named %q: %w", by.name, by.version, bins.Prefix(), err)
	}
	if by.depth > maxDepth {
		return fail(errTooDeep)
	}
	for _, other := range b.sets {
		if strings.EqualFold(other.Prefix(), bins.Prefix()) {
			return fail(fmt.Errorf("%q delegates to bins named %q", other.Delegator, other.Prefix()))
		}
	}
	var names strings.Builder
	names.Grow(bins.Len() * len(bins.Name(0)))
	for i := range bins.Len() {
		names.WriteString(bins.Name(i))
	}
	b.sets = append(b.sets, set{Set{bins, by.name, keys}, names.String()})
	return nil
}

// deepen records a longer way to a role that was added before.
func (b *builder) deepen(i int32, depth int) error {
	n := b.nodes[i]
	if depth <= n.depth {
		return nil
	}
	n.depth = depth
	if depth > maxDepth || depth == maxDepth && n.set >= 0 {
		return fmt.Errorf("role %q: %w", n.Name, errTooDeep)
	}
	for _, e := range n.edges {
		if err := b.deepen(e.to, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// cycle returns the way from a role that is being added back to itself.
func (b *builder) cycle(i int32) string {
	var names []string
	for _, k := range b.open[slices.Index(b.open, i):] {
		names = append(names, b.nodes[k].Name)
	}
	return strings.Join(append(names, b.nodes[i].Name), " → ")
}

// bin returns the bin of this name, ignoring case.
func (b *builder) bin(name string) (Role, bool) {
	for i := range b.sets {
		folded := b.sets[i].Bins
		folded.prefix = strings.ToLower(folded.prefix)
		if k, ok := folded.Index(strings.ToLower(name)); ok {
			return b.sets[i].bin(k), true
		}
	}
	return Role{}, false
}

// tree returns the tree, unless a role and a bin share a name.
func (b *builder) tree() (*Tree, error) {
	t := &Tree{sets: b.sets, byName: b.byName}
	for _, n := range b.nodes {
		if bin, ok := b.bin(n.Name); ok {
			return nil, fmt.Errorf("role %q: %q delegates to a bin of that name", n.Name, bin.Delegator)
		}
		t.nodes = append(t.nodes, *n)
	}
	return t, nil
}

// sameAuthority reports whether a and b list the same keys, each under the same ID,
// with the same threshold.
func sameAuthority(a, b roles.Authority) bool {
	byID := func(a, b *keys.PublicKey) int { return cmp.Compare(a.ID(), b.ID()) }
	same := func(a, b *keys.PublicKey) bool { return a.ID() == b.ID() && a.Same(b) }
	return a.Threshold == b.Threshold &&
		slices.EqualFunc(slices.SortedFunc(slices.Values(a.Keys), byID), slices.SortedFunc(slices.Values(b.Keys), byID), same)
}

// Role returns the role of this name: targets, a delegated role, or a bin.
func (t *Tree) Role(name string) (Role, bool) {
	if i, ok := t.byName[name]; ok {
		return t.nodes[i].Role, true
	}
	for i := range t.sets {
		if k, ok := t.sets[i].Index(name); ok {
			return t.bin(i, k), true
		}
	}
	return Role{}, false
}

func (t *Tree) bin(set, i int) Role {
	role := t.sets[set].bin(i)
	role.Set = set
	return role
}

// Roles returns every role but the bins, each once, in pre-order: targets first.
func (t *Tree) Roles() []Role {
	all := make([]Role, len(t.nodes))
	for i, n := range t.nodes {
		all[i] = n.Role
	}
	return all
}

// Sets returns the sets of hashed bins, in the order of a search.
func (t *Tree) Sets() []Set {
	all := make([]Set, len(t.sets))
	for i, s := range t.sets {
		all[i] = s.Set
	}
	return all
}
