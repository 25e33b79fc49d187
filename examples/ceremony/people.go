package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// people are the names of keys.
type people struct{ names map[string]string }

// authority reads cards; a threshold of 0 is more than half of them.
func (p *people) authority(cards []string, threshold int) (roles.Authority, error) {
	if len(cards) == 0 {
		return roles.Authority{}, errors.New("give at least one")
	}
	if threshold == 0 {
		threshold = len(cards)/2 + 1
	}
	a := roles.Authority{Threshold: threshold}
	for _, arg := range cards {
		key, err := p.add(arg)
		if err != nil {
			return a, err
		}
		a.Keys = append(a.Keys, key)
	}
	return a, nil
}

// add reads a card and remembers the name.
func (p *people) add(arg string) (*keys.PublicKey, error) {
	h, err := readCard(arg)
	if err != nil {
		return nil, err
	}
	if other, ok := p.names[h.Key.ID()]; ok && other != h.Name {
		return nil, fmt.Errorf("%s: the key of %s is already that of %s", arg, h.Name, other)
	}
	p.names[h.Key.ID()] = h.Name
	return h.Key, nil
}

// find returns the key of an authority that a person means: by name, or by at least
// the first eight digits of its ID.
func (p *people) find(a roles.Authority, who string) (*keys.PublicKey, error) {
	var found []*keys.PublicKey
	for _, k := range a.Keys {
		if p.names[k.ID()] == who || len(who) >= 8 && strings.HasPrefix(k.ID(), strings.ToLower(who)) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fmt.Errorf("nobody there is %q: name a holder, or the first eight digits of a key ID", who)
	default:
		return nil, fmt.Errorf("%d keys are those of %q: give the first eight digits of the key ID", len(found), who)
	}
}

// remove takes a key out of an authority.
func (p *people) remove(a *roles.Authority, who string) error {
	key, err := p.find(*a, who)
	if err != nil {
		return err
	}
	a.Keys = slices.DeleteFunc(slices.Clone(a.Keys), key.Same)
	return nil
}

// authorities are all that the documents name.
func authorities(docs ceremony.Documents) ([]roles.Authority, error) {
	var all []roles.Authority
	for _, file := range docs.Roots {
		root, err := roles.Parse[metadata.RootType](file)
		if err != nil {
			return nil, err
		}
		spec, err := ceremony.RootSpec(root)
		if err != nil {
			return nil, err
		}
		all = append(all, spec.Root, spec.Targets, spec.Snapshot, spec.Timestamp)
	}
	if docs.Targets != nil {
		targets, err := roles.Parse[metadata.TargetsType](docs.Targets)
		if err != nil {
			return nil, err
		}
		if a, err := roles.DelegatedAuthority(targets, delegation.BinsRole); err == nil {
			all = append(all, a)
		}
	}
	if docs.Bins != nil {
		_, a, err := parseBins(docs.Bins)
		if err == nil {
			all = append(all, a)
		}
	}
	return all, nil
}

// parseBins returns the layout of the bins, and who signs each.
func parseBins(file []byte) (delegation.Bins, roles.Authority, error) {
	doc, err := roles.Parse[metadata.TargetsType](file)
	if err != nil {
		return delegation.Bins{}, roles.Authority{}, err
	}
	layout, err := delegation.Parse(doc)
	if err != nil {
		return layout, roles.Authority{}, err
	}
	a, err := roles.DelegatedAuthority(doc, layout.Name(0))
	return layout, a, err
}

// once is what one-time keys shall sign: targets and bins of these versions.
type once struct {
	n             int // keys of each role
	expires, now  time.Time
	targets, bins int64
	layout        delegation.Bins
	perBin        roles.Authority
}

// signedOnce is what they signed.
type signedOnce struct {
	authority roles.Authority // of targets
	docs      []ceremony.Document
	destroyed []ceremony.Destroyed
}

// signOnce makes one-time keys, has them sign, and destroys them.
func signOnce(ctx context.Context, names map[string]string, o once) (signedOnce, error) {
	var out signedOnce
	targetsKeys, err := ceremony.NewOneTime(metadata.TARGETS, o.n)
	if err != nil {
		return out, err
	}
	defer targetsKeys.Destroy(o.now)
	binsKeys, err := ceremony.NewOneTime(delegation.BinsRole, o.n)
	if err != nil {
		return out, err
	}
	defer binsKeys.Destroy(o.now)
	for role, of := range map[string]*ceremony.OneTime{metadata.TARGETS: targetsKeys, delegation.BinsRole: binsKeys} {
		for i, k := range of.Authority().Keys {
			names[k.ID()] = fmt.Sprintf("one-time key %d of %s, %s", i+1, role, o.now.Format(time.DateOnly))
		}
	}
	targets, err := delegation.NewTargets(o.targets, o.expires, binsKeys.Authority())
	if err == nil {
		targets, err = targetsKeys.Sign(ctx, targets)
	}
	if err != nil {
		return out, err
	}
	bins, err := o.layout.NewRole(o.bins, o.expires, o.perBin)
	if err == nil {
		bins, err = binsKeys.Sign(ctx, bins)
	}
	if err != nil {
		return out, err
	}
	out.docs = []ceremony.Document{{Role: metadata.TARGETS, File: targets.Bytes()}, {Role: delegation.BinsRole, File: bins.Bytes()}}
	out.authority = targetsKeys.Authority()
	out.destroyed = []ceremony.Destroyed{targetsKeys.Destroy(o.now), binsKeys.Destroy(o.now)}
	return out, nil
}
