package repository

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// authority is who may sign a role. It isn't usable if nothing could satisfy it.
type authority struct {
	roles.Authority
	usable bool
}

// authorityFrom reads who may sign role from the file name, and reports what
// clients can't make use of. It is pure but for that.
func (a *auditor) authorityFrom(name, role string, listed map[string]*metadata.Key, ids []string, threshold int) authority {
	out := authority{Authority: roles.Authority{Threshold: threshold}}
	seen := map[string]string{} // key IDs by the keys' material
	for _, id := range ids {
		key, ok := listed[id]
		if !ok {
			a.errorf(checkKeys, name, "role %q: key %s is not listed: go-tuf and tough refuse the role, whoever signed it", role, id)
			continue
		}
		public, err := keys.ParsePublicKey(id, key.Type, key.Scheme, key.Value.PublicKey)
		if err != nil {
			a.errorf(checkKeys, name, "role %q: go-tuf and tough refuse the role, whoever signed it: %v", role, err)
			continue
		}
		if other, twice := seen[public.Fingerprint()]; twice {
			a.warnf(checkKeys, name, "role %q: keys %s and %s are the same: some clients count its signature twice", role, other, id)
		}
		seen[public.Fingerprint()] = id
		out.Keys = append(out.Keys, public)
	}
	out.usable = len(seen) >= threshold
	if !out.usable {
		a.errorf(checkKeys, name, "role %q: a threshold of %d can't be met with %d usable keys", role, threshold, len(seen))
	}
	return out
}

// topLevel returns who signs each top-level role.
func (a *auditor) topLevel(root *roles.Document[metadata.RootType]) map[string]authority {
	name, signed := versioned(root.Version(), metadata.ROOT), root.Signed()
	if !signed.ConsistentSnapshot {
		a.warnf(checkFormat, name, "consistent_snapshot is false: while metadata is published, clients may see a half of it")
	}
	out := map[string]authority{}
	for _, role := range slices.Sorted(maps.Keys(signed.Roles)) {
		r := signed.Roles[role]
		out[role] = a.authorityFrom(name, role, signed.Keys, r.KeyIDs, r.Threshold)
	}
	return out
}

// authorityCache keeps what authorityFrom said of one document, in which all
// bins have the same keys.
type authorityCache map[string]authority

func (c authorityCache) get(a *auditor, name, role string, listed map[string]*metadata.Key, ids []string, threshold int) authority {
	key := fmt.Sprint(threshold, " ", strings.Join(ids, " "))
	if _, ok := c[key]; !ok {
		c[key] = a.authorityFrom(name, role, listed, ids, threshold)
	}
	return c[key]
}
