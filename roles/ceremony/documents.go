package ceremony

import (
	"errors"
	"fmt"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// Documents are complete offline documents, as files.
type Documents struct {
	Roots   [][]byte // consecutive, oldest first
	Targets []byte   // or nil
	Bins    []byte   // or nil: the role "bins"
}

// Verify returns nil if a client that trusts any of the roots reaches the last one, and
// accepts targets and bins under it, expiry apart. The first root is verified against its own
// keys only: the caller decides whether to trust it.
func (d Documents) Verify() error {
	if len(d.Roots) == 0 {
		return errors.New("no root: give root version 1 and all later ones")
	}
	_, _, err := d.parse()
	return err
}

// The roles of documents.
const (
	roleRoot    = metadata.ROOT
	roleTargets = metadata.TARGETS
	roleBins    = delegation.BinsRole
)

type (
	rootDoc    = *roles.Document[metadata.RootType]
	targetsDoc = *roles.Document[metadata.TargetsType]
)

// state is the documents in force at one moment; nil for those that don't exist.
type state struct {
	root          rootDoc
	targets, bins targetsDoc
}

// parse parses and verifies the documents, and returns all roots too.
func (d Documents) parse() (s state, chain []rootDoc, err error) {
	for i, file := range d.Roots {
		root, err := roles.Parse[metadata.RootType](file)
		if err != nil {
			return s, nil, fmt.Errorf("root %d of %d: %w", i+1, len(d.Roots), err)
		}
		if s.root != nil {
			err = roles.VerifyRootUpdate(s.root, root)
		} else {
			err = verify(roles.RootAuthority(root, roleRoot))(root)
		}
		if err != nil {
			return s, nil, ofVersion(roleRoot, root, err)
		}
		s.root = root
		chain = append(chain, root)
	}
	if d.Targets != nil {
		if s.root == nil {
			return s, nil, errors.New("targets without a root: give root version 1 and all later ones too")
		}
		if s.targets, err = roles.Parse[metadata.TargetsType](d.Targets); err != nil {
			return s, nil, err
		}
		if err := verify(roles.RootAuthority(s.root, roleTargets))(s.targets); err != nil {
			return s, nil, fmt.Errorf("targets version %d under root version %d: %w", s.targets.Version(), s.root.Version(), err)
		}
	}
	if d.Bins != nil {
		if s.targets == nil {
			return s, nil, errors.New("bins without targets: give the targets that delegate to them too")
		}
		if s.bins, err = roles.Parse[metadata.TargetsType](d.Bins); err != nil {
			return s, nil, fmt.Errorf("bins: %w", err)
		}
		if err := verify(roles.DelegatedAuthority(s.targets, roleBins))(s.bins); err != nil {
			return s, nil, fmt.Errorf("bins version %d under targets version %d: %w", s.bins.Version(), s.targets.Version(), err)
		}
	}
	return s, chain, nil
}

// entriesIn returns the keys that the documents list.
func entriesIn(s state, chain []rootDoc) (map[entry]bool, error) {
	var docs []document
	for _, root := range chain {
		docs = append(docs, root)
	}
	for _, d := range []targetsDoc{s.targets, s.bins} {
		if d != nil {
			docs = append(docs, d)
		}
	}
	all := make(map[entry]bool)
	for _, d := range docs {
		listed, err := entriesOf(d)
		if err != nil {
			return nil, err
		}
		for _, e := range listed {
			all[e] = true
		}
	}
	return all, nil
}

// verify returns the function that verifies a document under an authority.
func verify(a roles.Authority, err error) func(roles.Signed) error {
	return func(d roles.Signed) error {
		if err != nil {
			return err
		}
		return a.Verify(d)
	}
}

// ofVersion says in which document a fault is. Packages roles and delegation say it for some faults.
func ofVersion(role string, d document, err error) error {
	where := fmt.Sprintf("%s version %d", role, d.Version())
	if strings.HasPrefix(err.Error(), where+":") || strings.HasPrefix(err.Error(), where+" ") {
		return err
	}
	return fmt.Errorf("%s: %w", where, err)
}
