package roles

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Authority says who may sign a role: any Threshold of Keys.
type Authority struct {
	Keys      []*keys.PublicKey
	Threshold int

	unusable []UnusableKey // that a document lists too, for what Verify says
}

// Signed is what Authority.Verify verifies: a Document, a Bin or a Snapshot.
type Signed interface {
	Canonical() []byte // what the signatures are over
	Signatures() []Signature
}

// Verify returns nil if at least Threshold of the keys signed d. It counts distinct key
// material: two signatures of one key count once, even under two key IDs. Invalid
// signatures, and those of other keys, are ignored. The error says what was wrong with
// each key's signature, and why keys that a document lists were left out (see RootAuthority). The caller checks whether d has expired.
func (a Authority) Verify(d Signed) error {
	if a.Threshold < 1 {
		return fmt.Errorf("a threshold of %d, it must be at least 1", a.Threshold)
	}
	if n := a.distinct(); n < a.Threshold {
		short := fmt.Errorf("a threshold of %d can't be met with %d usable keys", a.Threshold, n)
		if len(a.unusable) == 0 {
			return short
		}
		var why []string
		for _, k := range a.unusable {
			why = append(why, k.Err.Error())
		}
		return fmt.Errorf("%w: %s", short, strings.Join(why, "; "))
	}
	message, signatures := d.Canonical(), d.Signatures()
	valid := make(map[string]bool)
	var missing []string
	for _, key := range a.Keys {
		if err := verifyOne(key, message, signatures); err != nil {
			missing = append(missing, err.Error())
			continue
		}
		valid[key.Fingerprint()] = true
	}
	if len(valid) < a.Threshold {
		for _, k := range a.unusable {
			if slices.ContainsFunc(signatures, func(s Signature) bool { return s.KeyID == k.ID }) {
				missing = append(missing, "signed, but not counted: "+k.Err.Error())
			}
		}
		return fmt.Errorf("%d of %d signatures: %s", len(valid), a.Threshold, strings.Join(missing, "; "))
	}
	return nil
}

// verifyOne returns an error that names the key, once.
func verifyOne(key *keys.PublicKey, message []byte, signatures []Signature) error {
	i := slices.IndexFunc(signatures, func(s Signature) bool { return s.KeyID == key.ID() })
	switch {
	case i < 0:
		return fmt.Errorf("key %s: no signature", key.ID())
	case len(signatures[i].Sig) == 0:
		return fmt.Errorf("key %s: an empty signature", key.ID())
	}
	return key.Verify(message, signatures[i].Sig)
}

// distinct is the number of different keys.
func (a Authority) distinct() int {
	seen := make(map[string]bool)
	for _, key := range a.Keys {
		seen[key.Fingerprint()] = true
	}
	return len(seen)
}

// Check returns nil if clients agree on the authority and somebody can satisfy it.
// It refuses a threshold outside 1 to the number of keys, and a key that is listed
// twice, even under two IDs.
func (a Authority) Check() error {
	if a.Threshold < 1 || a.Threshold > len(a.Keys) {
		return fmt.Errorf("a threshold of %d with %d keys: it must be from 1 to the number of keys", a.Threshold, len(a.Keys))
	}
	for i, key := range a.Keys {
		for _, other := range a.Keys[:i] {
			switch {
			case key.ID() == other.ID() && key.Same(other):
				return fmt.Errorf("key %s: named twice: list it once", key.ID())
			case key.ID() == other.ID():
				return fmt.Errorf("key %s: another key has this ID", key.ID())
			case key.Same(other):
				return fmt.Errorf("key %s: the same as key %s: list it once", key.ID(), other.ID())
			}
		}
	}
	return nil
}

// ListIn adds the keys to those that a document lists, by their IDs, and returns the
// IDs in order: with the threshold, that is what the document says of a. It refuses
// what Check refuses, and a key whose ID another key has in the list. An entry has the members
// that the specification defines. If others listed the key with more, and made its ID of them,
// take their entry over: NextRoot and NextTargets of package ceremony do.
func (a Authority) ListIn(listed map[string]*metadata.Key) (ids []string, err error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	for _, k := range a.Keys {
		key := &metadata.Key{Type: k.Type(), Scheme: k.Scheme(), Value: metadata.KeyVal{PublicKey: k.Value()}}
		if other, ok := listed[k.ID()]; ok && (key.Type != other.Type || key.Scheme != other.Scheme || key.Value.PublicKey != other.Value.PublicKey) {
			return nil, fmt.Errorf("key %s: another key has this ID", k.ID())
		}
		listed[k.ID()] = key
		ids = append(ids, k.ID())
	}
	slices.Sort(ids)
	return ids, nil
}

// RootAuthority returns who may sign a top-level role, as root says. It leaves out keys
// of types that package keys doesn't know, and key IDs without a key: the other keys may
// meet the threshold. RootUnusable names them. The error is for a role that root doesn't list.
func RootAuthority(root *Document[metadata.RootType], role string) (Authority, error) {
	listed, ok := root.signed.Roles[role]
	if !ok {
		return Authority{}, fmt.Errorf("root version %d: no role %q", root.Version(), role)
	}
	return NewAuthority(root.signed.Keys, listed.KeyIDs, listed.Threshold), nil
}

// DelegatedAuthority returns who may sign role, as targets says. The document is that of
// any role that delegates, in either form. It leaves out the keys that RootAuthority
// leaves out, and DelegatedUnusable names them. The error is for a role that targets doesn't
// delegate to.
func DelegatedAuthority(targets *Document[metadata.TargetsType], role string) (Authority, error) {
	ids, threshold, err := delegatedIDs(targets, role)
	if err != nil {
		return Authority{}, err
	}
	return NewAuthority(targets.signed.Delegations.Keys, ids, threshold), nil
}

// delegatedIDs returns the key IDs and the threshold that targets lists for role.
func delegatedIDs(targets *Document[metadata.TargetsType], role string) (ids []string, threshold int, err error) {
	if d := targets.signed.Delegations; d != nil {
		for _, r := range d.Roles {
			if r.Name == role {
				return r.KeyIDs, r.Threshold, nil
			}
		}
		if s := d.SuccinctRoles; s != nil && isBin(s, role) {
			return s.KeyIDs, s.Threshold, nil
		}
	}
	return nil, 0, fmt.Errorf("targets version %d: no delegation to %q", targets.Version(), role)
}

// NewAuthority returns the authority that a document describes with the keys it
// lists, the IDs it names and a threshold: the inverse of Authority.ListIn. Which
// keys are left out is as for RootAuthority.
func NewAuthority(listed map[string]*metadata.Key, ids []string, threshold int) Authority {
	usable, rest := sortOut(listed, ids)
	return Authority{Keys: usable, Threshold: threshold, unusable: rest}
}

// UnusableKey is a key ID that a document lists for a role and whose signatures don't count
// here, though they may count with some clients.
type UnusableKey struct {
	ID string
	// Err says why. It names the ID, and wraps keys.ErrUnsupported for a kind of key that not all
	// clients verify.
	Err error
}

// RootUnusable returns the key IDs that root lists for a top-level role and that RootAuthority
// leaves out, in the document's order.
func RootUnusable(root *Document[metadata.RootType], role string) []UnusableKey {
	listed, ok := root.signed.Roles[role]
	if !ok {
		return nil
	}
	_, rest := sortOut(root.signed.Keys, listed.KeyIDs)
	return rest
}

// DelegatedUnusable returns the key IDs that targets lists for role and that DelegatedAuthority
// leaves out, in the document's order.
func DelegatedUnusable(targets *Document[metadata.TargetsType], role string) []UnusableKey {
	ids, _, err := delegatedIDs(targets, role)
	if err != nil {
		return nil
	}
	_, rest := sortOut(targets.signed.Delegations.Keys, ids)
	return rest
}

// sortOut returns the keys that count, and the IDs of the others.
func sortOut(listed map[string]*metadata.Key, ids []string) (usable []*keys.PublicKey, rest []UnusableKey) {
	for _, id := range ids {
		key, ok := listed[id]
		if !ok {
			rest = append(rest, UnusableKey{id, fmt.Errorf("key %s is not listed", id)})
			continue
		}
		public, err := keys.ParsePublicKey(id, key.Type, key.Scheme, key.Value.PublicKey)
		if err != nil {
			rest = append(rest, UnusableKey{id, err})
			continue
		}
		usable = append(usable, public)
	}
	return usable, rest
}

// isBin reports whether name is that of a bin of s (TAP 15). go-tuf's
// IsDelegatedRole also takes other spellings of the number.
func isBin(s *metadata.SuccinctRoles, name string) bool {
	suffix, ok := strings.CutPrefix(name, s.NamePrefix+"-")
	i, err := strconv.ParseUint(suffix, 16, s.BitLength)
	width := (s.BitLength + 3) / 4
	return ok && err == nil && suffix == fmt.Sprintf("%0*x", width, i)
}
