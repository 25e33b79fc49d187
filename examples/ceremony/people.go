package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
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
		return roles.Authority{}, errors.New("give at least one card: the flag can be repeated")
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
		return nil, fmt.Errorf("%s: the key of %s is already that of %s: each key belongs to one person, so give the right card", arg, h.Name, other)
	}
	p.names[h.Key.ID()] = h.Name
	return h.Key, nil
}

// listed is who a document lists for a role: the keys, and those that no next document can list.
type listed struct {
	roles.Authority
	unusable []roles.UnusableKey
}

// ids are the IDs of all listed keys.
func (l listed) ids() []string {
	var ids []string
	for _, k := range l.Keys {
		ids = append(ids, k.ID())
	}
	for _, k := range l.unusable {
		ids = append(ids, k.ID)
	}
	return ids
}

// find returns the ID of the listed key that a person means: by name, by at least the first eight
// digits of its ID, or as it is shown, with both.
func (p *people) find(l listed, who string) (string, error) {
	var found, there []string
	for _, id := range l.ids() {
		shown := ceremony.Who{Name: p.names[id], KeyID: id}.String()
		if p.names[id] == who || id == who || shown == who || len(who) >= 8 && strings.HasPrefix(id, strings.ToLower(who)) {
			found = append(found, id)
		}
		there = append(there, shown)
	}
	slices.Sort(there)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("nobody there is %q: name one of %s, or give the first eight digits of the key ID", who, strings.Join(there, ", "))
	default:
		return "", fmt.Errorf("%d keys are those of %q: give the first eight digits of the key ID, of one of %s", len(found), who, strings.Join(there, ", "))
	}
}

// remove takes a key out of what is listed.
func (p *people) remove(l *listed, who string) error {
	id, err := p.find(*l, who)
	if err != nil {
		return err
	}
	l.Keys = slices.DeleteFunc(slices.Clone(l.Keys), func(k *keys.PublicKey) bool { return k.ID() == id })
	l.unusable = slices.DeleteFunc(slices.Clone(l.unusable), func(k roles.UnusableKey) bool { return k.ID == id })
	return nil
}

// checkUsable refuses to go on while keys are listed that the next document can't list. how is
// what removes a key, such as "-remove".
func (p *people) checkUsable(role string, l listed, how string) error {
	if len(l.unusable) == 0 {
		return nil
	}
	text := ""
	for _, k := range l.unusable {
		text += fmt.Sprintf("\n  %s: %s\n    %v", role, ceremony.Who{Name: p.names[k.ID], KeyID: k.ID}, k.Err)
	}
	return fmt.Errorf("not all clients can verify these keys, and the next document can't list them. To go on without them, give %s for each:%s", how, text)
}

// authorities are all that the documents name.
func authorities(docs ceremony.Documents) ([]roles.Authority, error) {
	var all []roles.Authority
	for _, file := range docs.Roots {
		root, err := roles.Parse[metadata.RootType](file)
		if err != nil {
			return nil, err
		}
		for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
			a, err := roles.RootAuthority(root, role)
			if err != nil {
				return nil, err
			}
			all = append(all, a)
		}
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
		doc, err := roles.Parse[metadata.TargetsType](docs.Bins)
		if err != nil {
			return nil, err
		}
		if _, a, err := parseBins(doc); err == nil {
			all = append(all, a.Authority)
		}
	}
	return all, nil
}

// parseBins returns the layout of the bins, and who is listed for each.
func parseBins(doc *roles.Document[metadata.TargetsType]) (delegation.Bins, listed, error) {
	layout, err := delegation.Parse(doc)
	if err != nil {
		return layout, listed{}, err
	}
	a, err := roles.DelegatedAuthority(doc, layout.Name(0))
	return layout, listed{a, roles.DelegatedUnusable(doc, layout.Name(0))}, err
}

// lifetimes are for how many days documents are good.
type lifetimes struct{ all, root, targets, bins int }

func (l *lifetimes) flags(flags *flag.FlagSet) {
	flags.IntVar(&l.all, "days", 365, "for how many `days` the new documents are good")
	flags.IntVar(&l.root, "root-days", 0, "the same for root, in `days`; as -days if not given")
	flags.IntVar(&l.targets, "targets-days", 0, "the same for targets, in `days`; as -days if not given")
	flags.IntVar(&l.bins, "bins-days", 0, "the same for bins, in `days`; as -days if not given")
}

// maxDays is a hundred years.
const maxDays = 36_500

// check refuses times that are none, or that clients can't read.
func (l lifetimes) check(now time.Time) error {
	for i, days := range []int{l.all, l.root, l.targets, l.bins} {
		name := []string{"-days", "-root-days", "-targets-days", "-bins-days"}[i]
		switch {
		case days < 0 || days == 0 && i == 0:
			return fmt.Errorf("%s must be at least 1", name)
		case days > maxDays:
			return fmt.Errorf("%s %d: it must be at most %d, a hundred years", name, days, maxDays)
		case l.expiry(now, days).Year() > 9999:
			return fmt.Errorf("%s %d: the document would be good beyond the year 9999, and clients can't read that", name, days)
		}
	}
	return nil
}

// expiry is when a document made now expires that is good for so many days, or for -days if 0.
func (l lifetimes) expiry(now time.Time, days int) time.Time {
	return now.AddDate(0, 0, cmp.Or(days, l.all))
}

// once is what one-time keys shall sign: targets and bins.
type once struct {
	n       int // keys of each role
	good    lifetimes
	now     time.Time
	targets *roles.Document[metadata.TargetsType] // the ones before; nil for none
	bins    *roles.Document[metadata.TargetsType]
	layout  delegation.Bins
	perBin  roles.Authority
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
	targets, err := delegation.NewTargets(versionAfter(o.targets), o.good.expiry(o.now, o.good.targets), binsKeys.Authority())
	if err == nil {
		targets, err = signAfter(ctx, targetsKeys, o.targets, targets)
	}
	if err != nil {
		return out, err
	}
	bins, err := o.layout.NewRole(versionAfter(o.bins), o.good.expiry(o.now, o.good.bins), o.perBin)
	if err == nil {
		bins, err = signAfter(ctx, binsKeys, o.bins, bins)
	}
	if err != nil {
		return out, err
	}
	out.docs = []ceremony.Document{{Role: metadata.TARGETS, File: targets.Bytes()}, {Role: delegation.BinsRole, File: bins.Bytes()}}
	out.authority = targetsKeys.Authority()
	out.destroyed = []ceremony.Destroyed{targetsKeys.Destroy(o.now), binsKeys.Destroy(o.now)}
	return out, nil
}

// versionAfter is the version that follows a document, or nothing.
func versionAfter(last *roles.Document[metadata.TargetsType]) int64 {
	if last == nil {
		return 1
	}
	return last.Version() + 1
}

// signAfter has one-time keys sign a document, with what others wrote in the one before.
func signAfter(ctx context.Context, by *ceremony.OneTime, last, fresh *roles.Document[metadata.TargetsType]) (*roles.Document[metadata.TargetsType], error) {
	if last != nil {
		var err error
		if fresh, err = ceremony.NextTargets(last, fresh); err != nil {
			return nil, err
		}
	}
	return by.Sign(ctx, fresh)
}
