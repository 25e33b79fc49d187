package delegation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Delegation is what a document says of one role that it delegates to.
type Delegation struct {
	Name string
	Keys roles.Authority // who signs it

	// Which paths are delegated. Paths are patterns; HashPrefixes are the beginnings
	// of SHA-256(path) in hexadecimal, of which "" stands for every path. One of the
	// two is empty.
	Paths, HashPrefixes []string

	// Terminating ends a client's search with this role and what it delegates to.
	Terminating bool
}

// NewRole returns the unsigned document of a role, "targets" or a delegated one, that
// delegates in the order given. Without delegations, it is the document of a role that may
// delegate later, such as PEP 480's "recently-claimed" before it has projects. NewRole
// refuses what NewTree refuses in a single document.
func NewRole(name string, version int64, expires time.Time, delegations []Delegation) (*roles.Document[metadata.TargetsType], error) {
	d, err := delegated(delegations)
	if err == nil {
		_, err = read(d)
	}
	if err != nil {
		return nil, fmt.Errorf("%s version %d: %w", name, version, err)
	}
	return roles.New(newTargets(version, expires, d))
}

// delegated is how a document says delegations.
func delegated(delegations []Delegation) (*metadata.Delegations, error) {
	all := &metadata.Delegations{Keys: make(map[string]*metadata.Key), Roles: []metadata.DelegatedRole{}}
	var last roles.Authority
	var ids []string // of last
	for _, d := range delegations {
		if ids == nil || d.Keys.Threshold != last.Threshold || !slices.Equal(d.Keys.Keys, last.Keys) {
			var err error
			if ids, err = d.Keys.ListIn(all.Keys); err != nil {
				return nil, fmt.Errorf("role %q: %w", d.Name, err)
			}
			last = d.Keys
		}
		all.Roles = append(all.Roles, metadata.DelegatedRole{
			Name:             d.Name,
			KeyIDs:           ids,
			Threshold:        d.Keys.Threshold,
			Terminating:      d.Terminating,
			Paths:            d.Paths,
			PathHashPrefixes: d.HashPrefixes,
		})
	}
	return all, nil
}

// NewRole returns the unsigned document of a role that delegates to the bins and to
// nothing else: of "bins", or of "targets" where no role stands between. All bins are
// signed by the same authority. It refuses what Authority.ListIn refuses. Unless the
// snapshot states its length, clients read roles.MaxTargets bytes of it: more than 16,384
// bins in the explicit form need the length.
func (b Bins) NewRole(version int64, expires time.Time, online roles.Authority) (*roles.Document[metadata.TargetsType], error) {
	d, err := b.delegated(online)
	if err != nil {
		return nil, fmt.Errorf("%s version %d: %w", BinsRole, version, err)
	}
	return roles.New(newTargets(version, expires, d))
}

func (b Bins) delegated(online roles.Authority) (*metadata.Delegations, error) {
	if b.form == Explicit {
		return delegated(b.Delegations(online))
	}
	keys := make(map[string]*metadata.Key)
	ids, err := online.ListIn(keys)
	if err != nil {
		return nil, err
	}
	return &metadata.Delegations{Keys: keys, SuccinctRoles: &metadata.SuccinctRoles{
		KeyIDs:     ids,
		Threshold:  online.Threshold,
		BitLength:  b.bits(),
		NamePrefix: b.prefix,
	}}, nil
}

// Delegations returns the bins one by one, all signed by the same authority, for a
// NewRole in which other roles stand in front of them. A document has them in the
// explicit form then: a document with the succinct one can list no other role.
func (b Bins) Delegations(online roles.Authority) []Delegation {
	all := make([]Delegation, b.n)
	for i := range all {
		all[i] = Delegation{Name: b.Name(i), Keys: online, HashPrefixes: b.hashPrefixes(i), Terminating: true}
	}
	return all
}

// hashPrefixes are the beginnings of the hexadecimal hashes that fall into bin i,
// all of the length of the bin's number.
func (b Bins) hashPrefixes(i int) []string {
	each := 1 << (4*b.digits() - b.bits())
	var prefixes []string
	for p := i * each; p < (i+1)*each; p++ {
		prefixes = append(prefixes, b.hex(p))
	}
	return prefixes
}

// Parse returns the bins that the role "bins" delegates to. It accepts exactly what
// NewRole writes, in either form. Otherwise the error says what would send clients to
// another bin than Find returns.
func Parse(bins *roles.Document[metadata.TargetsType]) (Bins, error) {
	b, err := parse(bins.Signed())
	if err != nil {
		return Bins{}, fmt.Errorf("%s version %d: %w", BinsRole, bins.Version(), err)
	}
	return b, nil
}

func parse(bins metadata.TargetsType) (Bins, error) {
	if err := checkOwnTargets(bins); err != nil {
		return Bins{}, err
	}
	d := bins.Delegations
	switch {
	case d == nil || d.SuccinctRoles == nil && len(d.Roles) == 0:
		return Bins{}, errNothing
	case d.SuccinctRoles != nil:
		return parseSuccinct(d.SuccinctRoles)
	}
	return parseExplicit(d.Roles, 0)
}

func parseSuccinct(s *metadata.SuccinctRoles) (Bins, error) {
	if s.BitLength > 16 { // before the shift, that it fits an int
		return Bins{}, fmt.Errorf("a bit_length of %d, at most 16", s.BitLength)
	}
	return New(s.NamePrefix, 1<<s.BitLength, Succinct)
}

// parseExplicit parses one or more roles, the first of which stands at the given place in
// its document's list.
func parseExplicit(listed []metadata.DelegatedRole, place int) (Bins, error) {
	// The first name tells the prefix: what is in front of "-" and zeros.
	digits := Bins{n: len(listed)}.digits()
	first := listed[0].Name
	b, err := New(first[:max(0, len(first)-digits-1)], len(listed), Explicit)
	if err != nil {
		return Bins{}, err
	}
	for i, role := range listed {
		if err := b.checkBin(i, role, listed[0]); err != nil {
			return Bins{}, fmt.Errorf("delegations.roles[%d] (%q): %w", place+i, role.Name, err)
		}
	}
	return b, nil
}

func (b Bins) checkBin(i int, role, first metadata.DelegatedRole) error {
	switch {
	case role.Name != b.Name(i):
		return fmt.Errorf("it should be %q", b.Name(i))
	case !slices.Equal(role.PathHashPrefixes, b.hashPrefixes(i)):
		return fmt.Errorf("path_hash_prefixes %q instead of %q", role.PathHashPrefixes, b.hashPrefixes(i))
	case !role.Terminating:
		return errors.New("it is not terminating")
	case role.Threshold != first.Threshold || !slices.Equal(role.KeyIDs, first.KeyIDs):
		return errors.New("others sign it than the first bin")
	}
	return nil
}
