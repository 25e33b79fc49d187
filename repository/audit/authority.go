package audit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/clients"
	"github.com/bindery-tuf/bindery/internal/material"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// authority is who may sign a role.
type authority struct {
	roles.Authority
	distinct int  // keys that some client verifies with, each counted once
	usable   bool // whether signatures can be judged: if not, that was reported

	// goTUF lists the role's keys where go-tuf verifies with one that package keys doesn't know. It
	// decides then, and not Authority. Nil: Authority decides.
	goTUF *metadata.Metadata[metadata.RootType]

	// doubtful is the file that lists the keys, if that is refused itself; else "".
	doubtful string
}

// soleRole is the name of the one role in authority.goTUF.
const soleRole = metadata.TARGETS

// verify returns nil if enough keys of auth signed doc.
func verify[T roles.Type](auth authority, doc *roles.Document[T]) error {
	err := auth.Verify(doc)
	if err == nil || auth.goTUF == nil {
		return err
	}
	parsed, parseErr := (&metadata.Metadata[T]{}).FromBytes(doc.Bytes())
	if parseErr != nil {
		return parseErr
	}
	if auth.goTUF.VerifyDelegate(soleRole, parsed) != nil {
		return fmt.Errorf("go-tuf, which knows all keys of the role, finds fewer than %d valid signatures", auth.Threshold)
	}
	return nil
}

// oddKey is a key of a role that not all clients verify with.
type oddKey struct {
	id     string
	reason string
	kind   oddity
}

type oddity int

const (
	refusedKey  oddity = iota // go-tuf refuses it, and with it the role
	unsoundKey                // go-tuf takes it, and should not
	disputedKey               // it is of a kind that go-tuf knows and tough doesn't, such as ECDSA P-384
)

// newAuthority reads who may sign a role. It also returns which of the keys are odd, and which pairs of IDs
// name the same key.
func newAuthority(listed map[string]*metadata.Key, ids []string, threshold int) (out authority, odd []oddKey, same [][2]string) {
	out.Authority.Threshold = threshold
	seen := map[string]string{} // key IDs by the keys' material
	note := func(id string, key *metadata.Key) {
		of := material.Of(key.Value.PublicKey)
		if other, twice := seen[of]; twice {
			same = append(same, [2]string{other, id})
		}
		seen[of] = id
	}
	for _, id := range ids {
		key, ok := listed[id]
		if !ok {
			odd = append(odd, oddKey{id, "it is not listed", refusedKey})
			continue
		}
		public, err := keys.ParsePublicKey(id, key.Type, key.Scheme, key.Value.PublicKey)
		if err != nil {
			o := oddKey{id, strings.TrimPrefix(err.Error(), fmt.Sprintf("public key %q: ", id)), refusedKey}
			if clients.CheckKeys(listed, []string{id}) == nil {
				o.kind = unsoundKey
			}
			if o.kind == unsoundKey && errors.Is(err, keys.ErrUnsupported) {
				o.kind = disputedKey
				note(id, key)
				out.goTUF = &metadata.Metadata[metadata.RootType]{}
			}
			odd = append(odd, o)
			continue
		}
		note(id, key)
		out.Keys = append(out.Keys, public)
	}
	if out.goTUF != nil {
		out.goTUF.Signed = metadata.RootType{Keys: listed, Roles: map[string]*metadata.Role{soleRole: {KeyIDs: ids, Threshold: threshold}}}
	}
	out.distinct = len(seen)
	out.usable = threshold > 0 && out.distinct >= threshold
	return out, odd, same
}

// authorityFrom reads who may sign role from the file name, and reports what
// clients can't make use of. It is pure but for that.
func (a *auditor) authorityFrom(name, role string, listed map[string]*metadata.Key, ids []string, threshold int) authority {
	out, odd, same := newAuthority(listed, ids, threshold)
	var reasons []string
	for _, o := range odd {
		switch o.kind {
		case disputedKey:
			a.warnf(checkKeys, name, "role %q: clients differ about key %s: go-tuf verifies with it, tough refuses the whole file: %s", role, o.id, o.reason)
			continue
		case unsoundKey:
			a.errorf(checkKeys, name, "role %q: key %s isn't sound, though go-tuf takes it: %s", role, o.id, o.reason)
		default:
			a.errorf(checkKeys, name, "role %q: go-tuf and tough refuse the role, whoever signed it: key %s: %s", role, o.id, o.reason)
		}
		reasons = append(reasons, fmt.Sprintf("key %s: %s", o.id, o.reason))
	}
	for _, pair := range same {
		a.warnf(checkKeys, name, "role %q: keys %s and %s are the same: some clients count its signature twice", role, pair[0], pair[1])
		reasons = append(reasons, fmt.Sprintf("key %s: it is the same as key %s", pair[1], pair[0]))
	}
	if out.usable {
		return out
	}
	if len(reasons) == 0 {
		reasons = append(reasons, fmt.Sprintf("it names %d", len(ids)))
	}
	a.errorf(checkKeys, name, "role %q: a threshold of %d can't be met with %d usable keys: %s", role, threshold, out.distinct, strings.Join(reasons, "; "))
	return out
}

// topLevel returns who signs each top-level role.
func (a *auditor) topLevel(root rootDocument) map[string]authority {
	name, signed := ledger.Name(root.Version(), metadata.ROOT), root.Signed()
	out := map[string]authority{}
	for _, role := range slices.Sorted(maps.Keys(signed.Roles)) {
		r := signed.Roles[role]
		out[role] = a.authorityFrom(name, role, signed.Keys, r.KeyIDs, r.Threshold)
	}
	return out
}

// rootAuthority is who may sign a top-level role. It reports nothing.
func rootAuthority(root rootDocument, role string) (authority, error) {
	signed := root.Signed()
	r, ok := signed.Roles[role]
	if !ok {
		return authority{}, fmt.Errorf("it has no role %q", role)
	}
	out, _, _ := newAuthority(signed.Keys, r.KeyIDs, r.Threshold)
	return out, nil
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

// keyIDs warns of keys whose ID isn't the SHA-256 of their entry.
func keyIDs[T roles.Type](a *auditor, name string, doc *roles.Document[T]) {
	var wrong []string
	n := 0
	for id, want := range roles.OddKeys(doc) {
		if n++; n <= maxNamed {
			wrong = append(wrong, fmt.Sprintf("key %s should be %s", id, want))
		}
	}
	if n > maxNamed {
		wrong = append(wrong, fmt.Sprintf("and %d more", n-maxNamed))
	}
	if n > 0 {
		a.warnf(checkKeys, name, "tough clients refuse the file: a key ID must be the SHA-256 of the key's entry: %s", strings.Join(wrong, "; "))
	}
}

// maxNamed is how many of many like things a finding names.
const maxNamed = 5
