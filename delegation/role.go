package delegation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// NewRole returns the unsigned role "bins", which delegates to the bins in their
// form. All bins are signed by the same authority. It refuses what
// Authority.Metadata refuses. Clients read 5,000,000 bytes of it unless the snapshot
// tells its length, which it must for more than 16,384 bins in the explicit form.
func (b Bins) NewRole(version int64, expires time.Time, online roles.Authority) (*roles.Document[metadata.TargetsType], error) {
	keys, ids, err := online.Metadata()
	if err != nil {
		return nil, fmt.Errorf("%s %d: %w", BinsRole, version, err)
	}
	delegations := &metadata.Delegations{Keys: keys}
	switch b.form {
	case Succinct:
		delegations.SuccinctRoles = &metadata.SuccinctRoles{
			KeyIDs:     ids,
			Threshold:  online.Threshold,
			BitLength:  b.bits(),
			NamePrefix: b.prefix,
		}
	case Explicit:
		for i := range b.n {
			delegations.Roles = append(delegations.Roles, metadata.DelegatedRole{
				Name:             b.Name(i),
				KeyIDs:           ids,
				Threshold:        online.Threshold,
				Terminating:      true,
				PathHashPrefixes: b.hashPrefixes(i),
			})
		}
	}
	return roles.New(newTargets(version, expires, delegations))
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

// Parse returns the bins that the role "bins" delegates to. It accepts exactly
// what NewRole writes in either form, whoever wrote it: the error says what about
// it would send clients elsewhere than Find does.
func Parse(bins *roles.Document[metadata.TargetsType]) (Bins, error) {
	b, err := parse(bins.Signed())
	if err != nil {
		return Bins{}, fmt.Errorf("%s %d: %w", BinsRole, bins.Version(), err)
	}
	return b, nil
}

func parse(bins metadata.TargetsType) (Bins, error) {
	d := bins.Delegations
	switch {
	case len(bins.Targets) > 0:
		return Bins{}, fmt.Errorf("it has %d targets of its own", len(bins.Targets))
	case d == nil:
		return Bins{}, errors.New("it delegates nothing")
	case d.SuccinctRoles != nil:
		if d.SuccinctRoles.BitLength > 16 { // before the shift, that it fits an int
			return Bins{}, fmt.Errorf("a bit_length of %d, at most 16", d.SuccinctRoles.BitLength)
		}
		return New(d.SuccinctRoles.NamePrefix, 1<<d.SuccinctRoles.BitLength, Succinct)
	}
	return parseExplicit(d.Roles)
}

func parseExplicit(listed []metadata.DelegatedRole) (Bins, error) {
	if len(listed) == 0 {
		return Bins{}, errors.New("it delegates nothing")
	}
	// The first name tells the prefix: what is in front of "-" and zeros.
	digits := Bins{n: len(listed)}.digits()
	first := listed[0].Name
	b, err := New(first[:max(0, len(first)-digits-1)], len(listed), Explicit)
	if err != nil {
		return Bins{}, err
	}
	for i, role := range listed {
		if err := b.checkBin(i, role, listed[0]); err != nil {
			return Bins{}, fmt.Errorf("delegations.roles[%d] (%q): %w", i, role.Name, err)
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
