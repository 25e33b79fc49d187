package roles

import (
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RootSpec is what a root says (TUF specification, 4.3): who may sign each of
// the top-level roles.
type RootSpec struct {
	Version int64
	Expires time.Time // UTC, whole seconds

	Root, Targets, Snapshot, Timestamp Authority
}

// NewRoot returns the root that spec describes, with consistent snapshots and
// without signatures. Equal specs give equal bytes. It refuses what
// Authority.ListIn refuses.
func NewRoot(spec RootSpec) (*Document[metadata.RootType], error) {
	root := metadata.RootType{
		Type:               metadata.ROOT,
		SpecVersion:        SpecVersion,
		ConsistentSnapshot: true,
		Version:            spec.Version,
		Expires:            spec.Expires,
		Keys:               make(map[string]*metadata.Key),
		Roles:              make(map[string]*metadata.Role),
	}
	for _, role := range []struct {
		name string
		Authority
	}{
		{metadata.ROOT, spec.Root},
		{metadata.TARGETS, spec.Targets},
		{metadata.SNAPSHOT, spec.Snapshot},
		{metadata.TIMESTAMP, spec.Timestamp},
	} {
		ids, err := role.ListIn(root.Keys)
		if err != nil {
			return nil, fmt.Errorf("root version %d: role %s: %w", spec.Version, role.name, err)
		}
		root.Roles[role.name] = &metadata.Role{KeyIDs: ids, Threshold: role.Threshold}
	}
	return New(root)
}

// VerifyRootUpdate returns nil if a client that trusts old would trust new next (TUF
// specification, 5.3). New must have the next version, and be signed by a threshold of
// old's keys and by a threshold of its own. Expiry doesn't matter: clients check only the
// last root's.
func VerifyRootUpdate(old, new *Document[metadata.RootType]) error {
	if new.Version() != old.Version()+1 {
		return fmt.Errorf("root version %d does not follow version %d: version %d must come next", new.Version(), old.Version(), old.Version()+1)
	}
	for _, trusted := range []*Document[metadata.RootType]{old, new} {
		a, err := RootAuthority(trusted, metadata.ROOT)
		if err != nil {
			return err
		}
		if err := a.Verify(new); err != nil {
			return fmt.Errorf("root version %d: by the keys of root version %d: %w", new.Version(), trusted.Version(), err)
		}
	}
	return nil
}
