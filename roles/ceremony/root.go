package ceremony

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/roles"
)

// RootSpec returns the contents of root, as a start for the next one. It leaves out keys that not all
// clients can verify.
func RootSpec(root *roles.Document[metadata.RootType]) (roles.RootSpec, error) {
	spec := roles.RootSpec{Version: root.Version(), Expires: root.Expires().Truncate(time.Second)}
	for _, r := range authoritiesOf(&spec) {
		a, err := roles.RootAuthority(root, r.role)
		if err != nil {
			return roles.RootSpec{}, err
		}
		*r.authority = a
	}
	return spec, nil
}

type namedAuthority struct {
	role      string
	authority *roles.Authority
}

func authoritiesOf(spec *roles.RootSpec) []namedAuthority {
	return []namedAuthority{
		{roleRoot, &spec.Root},
		{roleTargets, &spec.Targets},
		{metadata.SNAPSHOT, &spec.Snapshot},
		{metadata.TIMESTAMP, &spec.Timestamp},
	}
}

// Overlap returns the root to publish between before and after, if after lists other keys for
// targets, snapshot or timestamp. It says what after says, except that it accepts what the
// keys of either sign. No client fails at any moment if this root is published first, then
// what the new keys sign, and then after. If keys are only removed, no root is needed between
// the two, and Overlap returns after.
func Overlap(before, after roles.RootSpec) roles.RootSpec {
	between := after
	for i, r := range authoritiesOf(&between) {
		was := authoritiesOf(&before)[i].authority
		if r.role == roleRoot || common(*r.authority, *was) == len(r.authority.Keys) {
			continue // root's own holders overlap by both thresholds
		}
		both := roles.Authority{Keys: slices.Clone(was.Keys), Threshold: min(was.Threshold, r.authority.Threshold)}
		for _, k := range r.authority.Keys {
			if !slices.ContainsFunc(both.Keys, k.Same) {
				both.Keys = append(both.Keys, k)
			}
		}
		*r.authority = both
	}
	return between
}

// NextRoot returns the unsigned root after last that says what spec says. The version of spec
// is ignored. Members of last that Bindery doesn't know are kept: those of the signed part, of
// the four roles, and of the keys that stay. It refuses what roles.NewRoot refuses.
func NextRoot(last *roles.Document[metadata.RootType], spec roles.RootSpec) (*roles.Document[metadata.RootType], error) {
	spec.Version = last.Version() + 1
	fresh, err := roles.NewRoot(spec)
	if err != nil {
		return nil, err
	}
	signed, err := graft(last.Canonical(), fresh.Canonical())
	if err != nil {
		return nil, fmt.Errorf("root %d: %w", spec.Version, err)
	}
	return roles.Parse[metadata.RootType](slices.Concat([]byte(`{"signatures":[],"signed":`), cjson.AppendJSON(nil, signed), []byte("}")))
}

// graft returns the signed part of the old root, with the contents of the fresh one.
func graft(old, fresh []byte) ([]byte, error) {
	was, err := membersOf(old)
	if err != nil {
		return nil, err
	}
	is, err := membersOf(fresh)
	if err != nil {
		return nil, err
	}
	keys, err := eachMember(was["keys"], is["keys"], keepKey)
	if err != nil {
		return nil, err
	}
	listed, err := eachMember(was["roles"], is["roles"], overlay)
	if err != nil {
		return nil, err
	}
	is["keys"], is["roles"] = keys, listed
	return splice(old, is)
}

// eachMember returns fresh, after both has merged each member that old has too.
func eachMember(old, fresh []byte, both func(old, fresh []byte) ([]byte, error)) ([]byte, error) {
	was, err := membersOf(old)
	if err != nil {
		return nil, err
	}
	is, err := membersOf(fresh)
	if err != nil {
		return nil, err
	}
	for name, value := range is {
		if before, ok := was[name]; ok {
			if is[name], err = both(before, value); err != nil {
				return nil, err
			}
		}
	}
	return splice(fresh, is)
}

// keepKey returns the old entry of a key with all its members, unless fresh has another key under that
// ID.
func keepKey(old, fresh []byte) ([]byte, error) {
	kept, err := overlay(old, fresh)
	if err != nil || !bytes.Equal(kept, old) {
		return fresh, err
	}
	return old, nil
}

// overlay returns old with the members of fresh in it.
func overlay(old, fresh []byte) ([]byte, error) {
	is, err := membersOf(fresh)
	if err != nil {
		return nil, err
	}
	return splice(old, is)
}

func splice(object []byte, members map[string][]byte) ([]byte, error) {
	var edits []cjson.Edit
	for name, value := range members {
		edits = append(edits, cjson.Edit{Key: name, Value: value})
	}
	slices.SortFunc(edits, func(a, b cjson.Edit) int { return slices.Compare([]byte(a.Key), []byte(b.Key)) })
	return cjson.Splice(nil, object, edits)
}

func membersOf(object []byte) (map[string][]byte, error) {
	members := make(map[string][]byte)
	for m, err := range cjson.Members(object) {
		if err != nil {
			return nil, err
		}
		members[cjson.DecodeString(m.Key)] = m.Value
	}
	return members, nil
}
