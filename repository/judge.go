package repository

import (
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
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
		err = targets.VerifyDelegate(delegation.Role, bins)
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
			return fmt.Errorf("key %q: %w", id, err)
		}
	}
	return nil
}
