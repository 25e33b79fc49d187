package delegation

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// listing is what one document delegates: roles, and bins after them.
type listing struct {
	roles []listed
	bins  Bins            // none: the zero value
	keys  roles.Authority // of the bins
}

type listed struct {
	name string
	keys roles.Authority
	scope
}

// scope says which paths are delegated.
type scope struct {
	paths, prefixes []string // one of them
	terminating     bool
}

// everything are the hash prefixes that match each path. Patterns don't do it:
// a "*" ends at a "/", and clients disagree about "**".
func everything() []string { return []string{""} }

// endsSearch reports whether no client asks a role that is listed after this one.
func (s scope) endsSearch() bool { return s.terminating && slices.Contains(s.prefixes, "") }

// read reads what d delegates. It is strict, as NewTree says.
func read(d *metadata.Delegations) (l listing, err error) {
	if s := d.SuccinctRoles; s != nil {
		if len(d.Roles) > 0 {
			return listing{}, errors.New("it delegates to succinct bins and to other roles")
		}
		if l.bins, err = parseSuccinct(s); err == nil {
			l.keys, err = readAuthority(d, s.KeyIDs, s.Threshold)
		}
		if err != nil {
			return listing{}, fmt.Errorf("bins named %q: %w", s.NamePrefix, err)
		}
		return l, nil
	}

	first, end := findBins(d.Roles)
	for _, role := range d.Roles[:first] {
		if n := len(l.roles); n > 0 && l.roles[n-1].endsSearch() {
			return listing{}, fmt.Errorf("role %q: no client asks for it: the delegation to %q, which stands before it, ends every search", role.Name, l.roles[n-1].name)
		}
		r, err := readRole(d, role)
		if err != nil {
			return listing{}, fmt.Errorf("role %q: %w", role.Name, err)
		}
		l.roles = append(l.roles, r)
	}
	if first == end {
		return l, nil
	}
	bins := d.Roles[first:end]
	if l.bins, err = parseExplicit(bins, first); err == nil {
		l.keys, err = readAuthority(d, bins[0].KeyIDs, bins[0].Threshold)
	}
	if err != nil {
		return listing{}, fmt.Errorf("roles %q to %q: %w", bins[0].Name, bins[len(bins)-1].Name, err)
	}
	before := ""
	switch n := len(l.roles); {
	case end < len(d.Roles):
		before, bins = bins[len(bins)-1].Name, d.Roles[end:]
	case n > 0 && l.roles[n-1].endsSearch():
		before = l.roles[n-1].name
	default:
		return l, nil
	}
	return listing{}, fmt.Errorf("role %q: no client asks for it: the delegation to %q, which stands before it, ends every search", bins[0].Name, before)
}

// findBins returns where the bins of the explicit form begin and end in a list of
// roles: two or more in a row that look like bins of one prefix. Without bins both
// are the length of the list.
func findBins(all []metadata.DelegatedRole) (first, end int) {
	for first < len(all) {
		prefix := binPrefix(all[first])
		end = first + 1
		for prefix != "" && end < len(all) && binPrefix(all[end]) == prefix {
			end++
		}
		if end-first > 1 {
			return first, end
		}
		first = end
	}
	return len(all), len(all)
}

// binPrefix is what the names of the bins begin with, if role looks like a bin.
func binPrefix(role metadata.DelegatedRole) string {
	i := strings.LastIndexByte(role.Name, '-')
	if i < 0 || len(role.PathHashPrefixes) == 0 || slices.Contains(role.PathHashPrefixes, "") {
		return ""
	}
	if number := role.Name[i+1:]; number == "" || len(number) > maxDigits || strings.Trim(number, hexDigits) != "" {
		return ""
	}
	return role.Name[:i]
}

func readRole(d *metadata.Delegations, role metadata.DelegatedRole) (listed, error) {
	if err := checkName(role.Name); err != nil {
		return listed{}, err
	}
	keys, err := readAuthority(d, role.KeyIDs, role.Threshold)
	if err != nil {
		return listed{}, err
	}
	s := scope{slices.Clone(role.Paths), slices.Clone(role.PathHashPrefixes), role.Terminating}
	return listed{role.Name, keys, s}, s.check()
}

// checkName refuses a role's name that some client quotes differently, or stores
// under the name of another role.
func checkName(name string) error {
	if name == "" {
		return errors.New("an empty name")
	}
	for _, top := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if strings.EqualFold(name, top) {
			return fmt.Errorf("the name of the top-level role %q", top)
		}
	}
	if err := checkCharacters(name); err != nil {
		return err
	}
	if len(name) > maxName {
		return fmt.Errorf("a name of %d bytes, at most %d", len(name), maxName)
	}
	return nil
}

// readAuthority is who may sign a role, if all clients agree about it.
func readAuthority(d *metadata.Delegations, ids []string, threshold int) (roles.Authority, error) {
	a := roles.NewAuthority(d.Keys, ids, threshold)
	return a, checkAuthority(d.Keys, ids, a)
}

// checkAuthority says which of the keys not all clients know, and why.
func checkAuthority(all map[string]*metadata.Key, ids []string, a roles.Authority) error {
	for i, id := range ids {
		if i == len(a.Keys) || a.Keys[i].ID() != id { // those are in order
			key, ok := all[id]
			if !ok {
				return fmt.Errorf("key %s: it is not among the keys of this document", id)
			}
			_, err := keys.ParsePublicKey(id, key.Type, key.Scheme, key.Value.PublicKey)
			return fmt.Errorf("not every client knows it: %w", err)
		}
	}
	return a.Check()
}

func (s scope) check() error {
	if len(s.paths)+len(s.prefixes) == 0 {
		return errors.New("it is delegated no paths")
	}
	if len(s.paths) > 0 && len(s.prefixes) > 0 {
		return errors.New("both paths and hash prefixes")
	}
	for _, pattern := range s.paths {
		if err := checkPattern(pattern); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	for _, prefix := range s.prefixes {
		if len(prefix) > 2*sha256.Size || strings.Trim(prefix, hexDigits) != "" {
			return fmt.Errorf("hash prefix %q: not the beginning of a SHA-256 in lower-case hexadecimal", prefix)
		}
	}
	return nil
}

// checkPattern refuses a pattern that some client matches differently: go-tuf with
// filepath.Match, python-tuf with fnmatch, tuf-js with minimatch. What is left they
// differ on is for Tree.CheckPath. tough 0.24 goes its own way: its "*" matches a "/"
// too, and no delegation is terminating to it.
func checkPattern(pattern string) error {
	const literals = "abcdefghijklmnopqrstuvwxyz0123456789-_.+~@=,"
	for segment := range strings.SplitSeq(pattern, "/") {
		switch {
		case segment == "":
			return errors.New("an empty segment")
		case segment == "." || segment == "..":
			return fmt.Errorf("a segment %q", segment)
		case strings.Contains(segment, "**"):
			return errors.New(`"**", which clients read differently`)
		}
		for _, r := range segment {
			switch {
			case r >= 'A' && r <= 'Z':
				return fmt.Errorf("%q, which some clients take for the small letter on some systems", r)
			case r != '*' && !strings.ContainsRune(literals, r):
				return fmt.Errorf("%q, which clients may read differently", r)
			}
		}
	}
	return nil
}

// match reports whether path matches pattern, in which a "*" stands for any number of
// characters other than "/".
func match(pattern, path string) bool {
	star, from := -1, 0 // the last "*", and what stands after the text that it took so far
	p, i := 0, 0
	for i < len(path) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == path[i]:
			p++
			i++
		case star >= 0 && path[from] != '/':
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// hides returns a pattern that path matches, if tuf-js finds none that it does: there a
// "*" at the beginning of a segment doesn't stand for a dot.
func (s scope) hides(path string) (string, bool) {
	hiding := ""
	for _, pattern := range s.paths {
		if !match(pattern, path) {
			continue
		}
		if !dotForStar(pattern, path) {
			return "", false
		}
		hiding = pattern
	}
	return hiding, hiding != ""
}

// dotForStar reports whether a segment of path begins with a dot and that of the pattern
// with a "*". They have equally many segments.
func dotForStar(pattern, path string) bool {
	segments := strings.Split(path, "/")
	for i, segment := range strings.Split(pattern, "/") {
		if strings.HasPrefix(segment, "*") && strings.HasPrefix(segments[i], ".") {
			return true
		}
	}
	return false
}

const hexDigits = "0123456789abcdef"

// hasPrefix reports whether sum in hexadecimal begins with prefix.
func hasPrefix(sum *[sha256.Size]byte, prefix string) bool {
	for i := range len(prefix) {
		digit := sum[i/2] >> 4
		if i%2 == 1 {
			digit = sum[i/2] & 15
		}
		if hexDigits[digit] != prefix[i] {
			return false
		}
	}
	return true
}
