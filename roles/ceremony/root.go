package ceremony

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/roles"
)

// RootSpec returns the contents of root, as a start for the next one. A key that not all clients
// can verify has no place in the next root, and leaving it out takes its holder's say away. So it
// is an error that names the key, and wraps keys.ErrUnsupported or says that the key isn't listed,
// unless dropped has its ID. roles.RootUnusable returns such keys. Other IDs in dropped are ignored.
func RootSpec(root *roles.Document[metadata.RootType], dropped ...string) (roles.RootSpec, error) {
	spec := roles.RootSpec{Version: root.Version(), Expires: root.Expires().Truncate(time.Second)}
	for _, r := range authoritiesOf(&spec) {
		a, err := roles.RootAuthority(root, r.role)
		if err != nil {
			return roles.RootSpec{}, err
		}
		for _, k := range roles.RootUnusable(root, r.role) {
			if !slices.Contains(dropped, k.ID) {
				return roles.RootSpec{}, fmt.Errorf("root version %d: role %s: %w: the next root can't list this key: drop it by its ID, %s", root.Version(), r.role, k.Err, k.ID)
			}
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
// the four roles, and of the keys that stay. So a key that stays has the ID that others gave it and
// the very entry that the ID was made of. NextRoot refuses what roles.NewRoot refuses.
func NextRoot(last *roles.Document[metadata.RootType], spec roles.RootSpec) (*roles.Document[metadata.RootType], error) {
	spec.Version = last.Version() + 1
	fresh, err := roles.NewRoot(spec)
	if err != nil {
		return nil, err
	}
	next, err := graft(last, fresh, graftRoot)
	if err != nil {
		return nil, fmt.Errorf("root version %d: %w", spec.Version, err)
	}
	return next, nil
}

// NextTargets returns fresh, an unsigned document of targets or of the role "bins", with what last
// has in it that Bindery doesn't know: members of the signed part, of the delegations, of a role
// that both delegate to, and of the keys that both list. last is the document in force that fresh
// follows. One-time keys sign what NextTargets returns, and not fresh. It refuses another version
// than the next one, and a document that has signatures.
func NextTargets(last, fresh *roles.Document[metadata.TargetsType]) (*roles.Document[metadata.TargetsType], error) {
	if fresh.Version() != last.Version()+1 {
		return nil, fmt.Errorf("targets version %d doesn't follow version %d: version %d must come next", fresh.Version(), last.Version(), last.Version()+1)
	}
	if len(fresh.Signatures()) > 0 {
		return nil, fmt.Errorf("targets version %d: already has signatures, which would not verify any more: give it without any", fresh.Version())
	}
	next, err := graft(last, fresh, graftTargets)
	if err != nil {
		return nil, fmt.Errorf("targets version %d: %w", fresh.Version(), err)
	}
	return next, nil
}

// graft returns the fresh document with what keep takes over from the old one. Both trees are
// those of signed parts; numbers in them are exact.
func graft[T roles.Type](old, fresh *roles.Document[T], keep func(was, is map[string]any)) (*roles.Document[T], error) {
	was, err := treeOf(old.Canonical())
	if err != nil {
		return nil, err
	}
	is, err := treeOf(fresh.Canonical())
	if err != nil {
		return nil, err
	}
	keep(was, is)
	signed, err := cjson.Canonicalize(encode(is))
	if err != nil {
		return nil, err
	}
	return roles.Parse[T](slices.Concat([]byte(`{"signatures":[],"signed":`), cjson.AppendJSON(nil, signed), []byte("}")))
}

// treeOf decodes a signed part.
func treeOf(canonical []byte) (map[string]any, error) {
	tree, err := cjson.Decode(cjson.AppendJSON(nil, canonical))
	if err != nil {
		return nil, err
	}
	return objectOf(tree), nil
}

// objectOf is v as an object. It is empty for a value that is none.
func objectOf(v any) map[string]any {
	object, _ := v.(map[string]any)
	return object
}

func graftRoot(was, is map[string]any) {
	keepUnknown(was, is, rootShape)
	keepEntries(was["keys"], is["keys"])
	for name, role := range objectOf(is["roles"]) {
		keepUnknown(objectOf(objectOf(was["roles"])[name]), objectOf(role), byWhom)
	}
}

func graftTargets(was, is map[string]any) {
	keepUnknown(was, is, targetsShape)
	before, after := objectOf(was["delegations"]), objectOf(is["delegations"])
	if after == nil {
		return
	}
	shapes := targetsShape["delegations"]
	keepUnknown(before, after, shapes)
	keepEntries(before["keys"], after["keys"])
	if bins := objectOf(after["succinct_roles"]); bins != nil {
		keepUnknown(objectOf(before["succinct_roles"]), bins, shapes["succinct_roles"])
	}
	known := maps.Clone(shapes["roles"][""])
	known["paths"] = nil // in the place of which a fresh role may have hash prefixes
	named := map[any]map[string]any{}
	roles, _ := before["roles"].([]any)
	for _, role := range roles {
		named[objectOf(role)["name"]] = objectOf(role)
	}
	roles, _ = after["roles"].([]any)
	for _, role := range roles {
		keepUnknown(named[objectOf(role)["name"]], objectOf(role), known)
	}
}

// keepUnknown adds the members of an old object that have no place in known.
func keepUnknown(was, is map[string]any, known shape) {
	for name, v := range was {
		if _, ok := known[name]; !ok {
			is[name] = v
		}
	}
}

// keepEntries puts the old entry of a key with all its members in the place of the fresh one,
// unless fresh has another key under that ID.
func keepEntries(was, is any) {
	old, fresh := objectOf(was), objectOf(is)
	for id, entry := range fresh {
		if before, ok := old[id]; ok && sameKey(objectOf(before), objectOf(entry)) {
			fresh[id] = before
		}
	}
}

func sameKey(a, b map[string]any) bool {
	return a["keytype"] == b["keytype"] && a["scheme"] == b["scheme"] && objectOf(a["keyval"])["public"] == objectOf(b["keyval"])["public"]
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
