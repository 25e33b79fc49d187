package repository

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/roles"
)

// judge asks go-tuf's client what it says to the documents: nothing may be
// published that it refuses, for reasons that roles doesn't share (FACTS: a role
// that lists one key it doesn't know, though the others suffice).
func (o *offline) judge() error {
	root, err := metadata.Root().FromBytes(o.root.Bytes())
	if err == nil {
		err = root.VerifyDelegate(metadata.ROOT, root)
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err == nil {
			err = judgeKeys(root.Signed.Keys, root.Signed.Roles[role].KeyIDs)
		}
	}
	if err != nil {
		return fmt.Errorf("root version %d: go-tuf clients refuse it: %w", o.root.Version(), err)
	}
	targets, err := metadata.Targets().FromBytes(o.targets.Bytes())
	if err == nil {
		err = root.VerifyDelegate(metadata.TARGETS, targets)
	}
	if err != nil {
		return fmt.Errorf("targets version %d: go-tuf clients refuse it: %w", o.targets.Version(), err)
	}
	bins, err := metadata.Targets().FromBytes(o.bins.Bytes())
	if err == nil {
		err = targets.VerifyDelegate(delegation.BinsRole, bins)
	}
	if err == nil {
		d := bins.Signed.Delegations
		if d.SuccinctRoles != nil {
			err = judgeKeys(d.Keys, d.SuccinctRoles.KeyIDs)
		} else {
			err = judgeKeys(d.Keys, d.Roles[0].KeyIDs) // all are the same
		}
	}
	if err != nil {
		return fmt.Errorf("bins version %d: go-tuf clients refuse it: %w", o.bins.Version(), err)
	}
	return nil
}

// judgeKeys makes sure that go-tuf understands every key of a role.
func judgeKeys(listed map[string]*metadata.Key, ids []string) error {
	for _, id := range ids {
		key, ok := listed[id]
		if !ok {
			return fmt.Errorf("key %q is not listed", id)
		}
		if _, err := key.ToPublicKey(); err != nil {
			return fmt.Errorf("key %q, keytype %q: %w", id, key.Type, err)
		}
	}
	return nil
}

// judgeNew refuses new documents that some client can't follow although go-tuf can:
// see judgeStrictly; and without consistent snapshots no client finds anything that is
// published here. Roots before version from are those that an operator brings along:
// clients have followed them, or not, already. Documents in force are not judged: what
// they are they stay, and Audit says so.
func judgeNew(files []file, from int64) error {
	for _, f := range files {
		var err error
		if strings.HasSuffix(f.Name, "."+metadata.ROOT+".json") {
			err = judgeNewRoot(f.Data, from)
		} else {
			var doc *roles.Document[metadata.TargetsType]
			if doc, err = roles.Parse[metadata.TargetsType](f.Data); err == nil {
				err = judgeStrictly(doc)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSuffix(f.Name, ".json"), err)
		}
	}
	return nil
}

func judgeNewRoot(data []byte, from int64) error {
	root, err := roles.Parse[metadata.RootType](data)
	if err != nil || root.Version() < from {
		return err
	}
	if !root.Signed().ConsistentSnapshot {
		return errors.New("consistent_snapshot is false: clients would look for files under names that nothing here has")
	}
	return judgeStrictly(root)
}

// judgeStrictly says why the strictest client refuses a document that go-tuf reads:
// python-tuf 7.0.1 refuses a whole file for a key of a kind that it doesn't know, used
// or not, for a fifth role in root, and for an expiry that isn't in whole seconds.
func judgeStrictly[T roles.Type](doc *roles.Document[T]) error {
	var listed map[string]*metadata.Key
	switch signed := any(doc.Signed()).(type) {
	case metadata.RootType:
		for _, role := range slices.Sorted(maps.Keys(signed.Roles)) {
			if !slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role) {
				return fmt.Errorf("role %q: python-tuf clients refuse a root with other roles than the four", role)
			}
		}
		listed = signed.Keys
	case metadata.TargetsType:
		if signed.Delegations != nil {
			listed = signed.Delegations.Keys
		}
	}
	if err := judgeKeys(listed, slices.Sorted(maps.Keys(listed))); err != nil {
		return fmt.Errorf("not all clients accept it: %w", err)
	}
	return judgeExpires(doc.Canonical(), doc.Expires())
}

// judgeExpires makes sure that an expiry is written as all clients read it.
func judgeExpires(canonical []byte, expires time.Time) error {
	want := expires.UTC().Format(`"2006-01-02T15:04:05Z"`)
	for m, err := range cjson.Members(canonical) {
		if err != nil {
			return err
		}
		if string(m.Key) == "expires" && string(m.Value) != want {
			return fmt.Errorf("it expires at %s: not all clients read that: it must be %s, in whole seconds", m.Value, want)
		}
	}
	return nil
}
