package ceremony

import (
	"errors"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// eachBin is the name of the bins themselves in "lowers".
const eachBin = "each bin"

// targets takes a targets document into force. bins reports whether a bins document comes next: the two
// are then published together.
func (j *judge) targets(p *part, file []byte, bins bool) error {
	d, err := roles.Parse[metadata.TargetsType](file)
	if err != nil {
		return err
	}
	p.set(roleTargets, d)
	if j.state.root == nil {
		return errors.New("targets without a root before it: add the roots that are published (Current.Roots), or the first one")
	}
	if err := j.followsTargets(roleTargets, d, j.state.targets); err != nil {
		return err
	}
	err = j.judgeTargets(p, d, bins)
	if err == nil {
		err = roles.CheckKeys(d) // as Install does
	}
	if err != nil {
		return ofVersion(roleTargets, d, err)
	}
	j.state.targets = d
	return nil
}

func (j *judge) judgeTargets(p *part, d targetsDoc, bins bool) error {
	a, err := roles.RootAuthority(j.state.root, roleTargets)
	if err != nil {
		return err
	}
	p.quorums = []quorum{{fmt.Sprintf("targets, by root %d", j.state.root.Version()), a}}
	if err := delegation.CheckTargets(d); err != nil {
		return err
	}
	is, err := delegated(d, roleBins)
	if err == nil {
		err = j.checkIDs(d, is)
	}
	if err != nil {
		return fmt.Errorf("role bins: %w", err)
	}
	if j.state.targets == nil {
		return nil
	}
	was, err := listedByDelegation(j.state.targets, roleBins)
	if err != nil {
		// Others made it: it delegates to no bins.
		switch {
		case j.state.bins != nil:
			return err
		case !bins:
			return errors.New("it is the first one that delegates to bins, and no document of bins comes after it")
		}
		return nil
	}
	if err := j.lowers(roleBins, was.Authority, is); err != nil {
		return err
	}
	if bins || j.proposal.Compromise {
		return nil
	}
	switch {
	case j.state.bins != nil:
		return holds(roleBins, j.state.bins, was, is)
	case !covers(was, is):
		return errors.New("it changes who signs bins, and the request doesn't hold the bins that are published now: add them (Current.Bins)")
	}
	return nil
}

func (j *judge) bins(p *part, file []byte) error {
	d, err := roles.Parse[metadata.TargetsType](file)
	if err != nil {
		return fmt.Errorf("bins: %w", err)
	}
	p.set(roleBins, d)
	if j.state.targets == nil {
		return errors.New("bins without targets before it: add the targets that are published (Current.Targets), or the first ones")
	}
	if err := j.followsTargets(roleBins, d, j.state.bins); err != nil {
		return err
	}
	err = j.judgeBins(p, d)
	if err == nil {
		err = roles.CheckKeys(d) // as Install does
	}
	if err != nil {
		return ofVersion(roleBins, d, err)
	}
	j.state.bins = d
	return nil
}

func (j *judge) judgeBins(p *part, d targetsDoc) error {
	a, err := roles.DelegatedAuthority(j.state.targets, roleBins)
	if err != nil {
		return err
	}
	p.quorums = []quorum{{fmt.Sprintf("bins, by targets %d", j.state.targets.Version()), a}}
	layout, each, err := layoutOf(d)
	is := each.Authority
	if err == nil {
		err = each.sound()
	}
	if err == nil {
		err = j.checkIDs(d, is)
	}
	if err != nil {
		return err
	}
	if err := checkOnline(eachBin, is); err != nil {
		return err
	}
	if j.state.bins == nil {
		return nil
	}
	old, err := delegation.Parse(j.state.bins)
	if err != nil {
		return fmt.Errorf("the bins that are published now: %w", err)
	}
	if old.Len() != layout.Len() || old.Prefix() != layout.Prefix() {
		return fmt.Errorf("%d bins named %s-…, and there are %d named %s-…: bins can't be resized by a new document",
			layout.Len(), layout.Prefix(), old.Len(), old.Prefix())
	}
	was, err := roles.DelegatedAuthority(j.state.bins, old.Name(0))
	if err != nil {
		return err
	}
	// Other keys lock no client out: the generation that makes this document known signs all
	// bins again.
	return j.lowers(eachBin, was, is)
}

// followsTargets refuses d unless it is the next version of its role. The version before must be in
// the request, unless there is none: the repository is new, or has had no bins.
func (j *judge) followsTargets(role string, d, before targetsDoc) error {
	if before != nil {
		return follows(role, d, before.Version())
	}
	if len(j.proposal.Current.Roots) > 0 && !(role == roleBins && j.firstBins) {
		return fmt.Errorf("%s version %d: the request doesn't hold the one that is published now: add it (Current)", role, d.Version())
	}
	return follows(role, d, 0)
}

// checkDestroyed refuses a request that lists destroyed keys which signed nothing.
func checkDestroyed(destroyed []Destroyed, parts []part) error {
	for i, d := range destroyed {
		for _, id := range d.KeyIDs {
			signs := func(p part) bool {
				return p.Role == d.Role && p.signed && slices.ContainsFunc(p.doc.Signatures(), func(s roles.Signature) bool { return s.KeyID == id })
			}
			if !slices.ContainsFunc(parts, signs) {
				return fmt.Errorf("destroyed[%d]: key %s signed no %s of this request", i, id, d.Role)
			}
		}
	}
	return nil
}
