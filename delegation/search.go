package delegation

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Clients visit at most maxVisited roles in a search, targets among them: the default of
// go-tuf, python-tuf and tuf-js (TUF specification, 5.6.7). So no client gets further down
// than maxDepth delegations.
const (
	maxVisited = 33
	maxDepth   = maxVisited - 1
)

// Search returns the names of the roles that a client asks for path, in order, if none of
// them has it (TUF specification, 5.6.7): depth first in pre-order, each role once, nothing
// after a terminating delegation, and at most 33.
func (t *Tree) Search(path string) []string {
	s := search{Tree: t, path: path, all: true}
	s.visit(0)
	return s.names
}

// SearchByAny returns the names of all roles that some client asks for path: those of Search, and
// after them those that only tuf-js asks, where CheckPath says that clients differ. It is for what
// must be found wherever it is listed, such as a target that is to be removed.
func (t *Tree) SearchByAny(path string) []string {
	names := t.Search(path)
	if !hasDotSegment(path) {
		return names
	}
	s := search{Tree: t, path: path, all: true, dots: true}
	s.visit(0)
	for _, name := range s.names {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Owner returns the role that a target at path is published in: the first leaf that
// a client asks for it. There is none if no leaf is responsible for path. Its cost
// is a SHA-256 of path and one match for each delegation on the way; it allocates
// nothing for paths of usual length.
func (t *Tree) Owner(path string) (Role, bool) {
	s := search{Tree: t, path: path}
	s.visit(0)
	return s.owner, s.found
}

// CheckPath returns nil if every client asks the same roles for path. It refuses a path in
// which a segment that begins with a dot would have to match a "*": tuf-js, like a shell,
// says that it doesn't, and other clients say that it does. The error names the role and
// the pattern.
func (t *Tree) CheckPath(path string) error {
	if !hasDotSegment(path) {
		return nil
	}
	s := search{Tree: t, path: path, all: true, check: true}
	s.visit(0)
	return s.differs
}

// hasDotSegment reports whether a segment of path begins with a dot.
func hasDotSegment(path string) bool {
	return strings.HasPrefix(path, ".") || strings.Contains(path, "/.")
}

// search is one client's way through the tree.
type search struct {
	*Tree
	path   string
	sum    [sha256.Size]byte
	hashed bool // sum is that of path

	visited [maxVisited]int32
	n       int // of visited

	all   bool // collect the names, don't end at the first leaf
	names []string
	owner Role
	found bool

	dots    bool // a "*" doesn't stand for a dot that begins a segment, as for tuf-js
	check   bool // for a delegation that clients read differently
	differs error
}

// visit asks a role and what it delegates to, and reports whether the search ends.
func (s *search) visit(i int32) bool {
	if slices.Contains(s.visited[:s.n], i) {
		return false
	}
	if s.n == maxVisited {
		return true
	}
	s.visited[s.n] = i
	s.n++
	n := &s.nodes[i]
	if s.all {
		s.names = append(s.names, n.Name)
	} else if n.Leaf {
		s.owner, s.found = n.Role, true
		return true
	}
	for k := range n.edges {
		e := &n.edges[k]
		if s.check {
			if pattern, ok := e.hides(s.path); ok {
				s.differs = fmt.Errorf("target %q: path: a segment that begins with a dot, which clients differ on where %q delegates %q to %q",
					s.path, n.Name, pattern, s.nodes[e.to].Name)
				return true
			}
		}
		if s.matches(&e.scope) && (s.visit(e.to) || e.terminating) {
			return true
		}
	}
	if n.set < 0 {
		return false
	}
	if s.n < maxVisited {
		bin := s.bin(n.set, s.sets[n.set].find(s.digest()))
		if s.all {
			s.names = append(s.names, bin.Name)
		} else {
			s.owner, s.found = bin, true
		}
	}
	return true // bins are terminating
}

func (s *search) matches(of *scope) bool {
	for _, pattern := range of.paths {
		if match(pattern, s.path) && !(s.dots && dotForStar(pattern, s.path)) {
			return true
		}
	}
	for _, prefix := range of.prefixes {
		if prefix == "" || hasPrefix(s.digest(), prefix) {
			return true
		}
	}
	return false
}

// digest is the SHA-256 of the path, made once and only if it is needed.
func (s *search) digest() *[sha256.Size]byte {
	if !s.hashed {
		s.sum, s.hashed = digest(s.path), true
	}
	return &s.sum
}
