package delegation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// NewTargets returns the unsigned document of targets. It has no targets of its own and
// delegates every path to the role "bins", which the given authority signs. It refuses
// what Authority.ListIn refuses.
func NewTargets(version int64, expires time.Time, bins roles.Authority) (*roles.Document[metadata.TargetsType], error) {
	return NewRole(metadata.TARGETS, version, expires, []Delegation{
		{Name: BinsRole, Keys: bins, HashPrefixes: everything(), Terminating: true},
	})
}

// CheckTargets returns nil if targets delegates as a document of NewTargets does. A target
// of its own, or a second delegation, is an error: clients would find it before the bin.
func CheckTargets(targets *roles.Document[metadata.TargetsType]) error {
	if err := checkTargets(targets.Signed()); err != nil {
		return fmt.Errorf("targets version %d: %w", targets.Version(), err)
	}
	return nil
}

func checkTargets(targets metadata.TargetsType) error {
	if err := checkOwnTargets(targets); err != nil {
		return err
	}
	d := targets.Delegations
	switch {
	case d == nil:
		return errNothing
	case d.SuccinctRoles != nil:
		return fmt.Errorf("it delegates to bins itself, not to the role %q", BinsRole)
	case len(d.Roles) != 1 || d.Roles[0].Name != BinsRole:
		return fmt.Errorf("it must delegate to the role %q and no other", BinsRole)
	case !slices.Equal(d.Roles[0].PathHashPrefixes, everything()):
		return fmt.Errorf("it must delegate every path to %q by the hash prefix \"\"", BinsRole)
	}
	return nil
}

var errNothing = errors.New("it delegates nothing")

// checkOwnTargets refuses targets in the document of a role that delegates: clients
// would find them in the place of what a leaf says.
func checkOwnTargets(targets metadata.TargetsType) error {
	if n := len(targets.Targets); n > 0 {
		return fmt.Errorf("it has %d targets of its own", n)
	}
	return nil
}

func newTargets(version int64, expires time.Time, delegations *metadata.Delegations) metadata.TargetsType {
	return metadata.TargetsType{
		Type:        metadata.TARGETS,
		SpecVersion: roles.SpecVersion,
		Version:     version,
		Expires:     expires,
		Targets:     make(map[string]*metadata.TargetFiles),
		Delegations: delegations,
	}
}
