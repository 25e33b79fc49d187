package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// changes are the flags of request.
type changes struct {
	dir, reason              string
	add, remove, swap        list
	threshold, days, oneTime int
	addOnline, dropOnline    list
	addBins, dropBins        list
	lower                    list
	compromise, giveUp       bool
	clockIsRight             bool
}

func request(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	var c changes
	flags.StringVar(&c.dir, "dir", "", "the `folder` of the ceremonies")
	flags.StringVar(&c.reason, "reason", "", "what holders are told, one line of `text`")
	flags.Var(&c.add, "add", "the `card` of a new holder of a root key")
	flags.Var(&c.remove, "remove", "a `holder` to remove: a name, or the beginning of a key ID")
	flags.Var(&c.swap, "replace", "the key of a holder to replace, as `HOLDER=CARD`")
	flags.IntVar(&c.threshold, "threshold", 0, "how many holders must sign; as before if not given")
	flags.IntVar(&c.days, "days", 365, "for how many `days` the new documents are good")
	flags.IntVar(&c.oneTime, "new-one-time", 0, "replace the one-time keys by so many for each of targets and bins")
	flags.Var(&c.addOnline, "add-online", "the `card` of a new key for snapshot and timestamp")
	flags.Var(&c.dropOnline, "drop-online", "a `key` for snapshot and timestamp to drop")
	flags.Var(&c.addBins, "add-online-bins", "the `card` of a new key for the bins; needs -new-one-time")
	flags.Var(&c.dropBins, "drop-online-bins", "a `key` for the bins to drop; needs -new-one-time")
	flags.Var(&c.lower, "lower", "declare that the threshold of this `role` goes down")
	flags.BoolVar(&c.compromise, "compromise", false, "a key is in wrong hands: drop keys without an overlap")
	flags.BoolVar(&c.clockIsRight, "clock-is-right", false, "don't ask about a clock that looks wrong")
	flags.BoolVar(&c.giveUp, "give-up", false, "give up the request that is open now")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	f, err := openFolder(c.dir)
	if err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("%q is too much: every change has a flag", flags.Arg(0))
	case len(f.docs.Roots) == 0:
		return nil, errors.New("the first root is not complete yet: see ceremony status")
	case f.isComplete():
		return nil, errors.New("the open request has all its signatures, and its documents are not all written: run ceremony merge once more")
	case f.open != nil && !c.giveUp:
		return nil, fmt.Errorf("the request of %s is still open: finish it (ceremony status says who is missing), or give it up with -give-up", f.open.request.Marks()[0].String())
	case c.days < 1:
		return nil, errors.New("-days must be at least 1")
	case (len(c.addBins) > 0 || len(c.dropBins) > 0) && c.oneTime == 0:
		return nil, errors.New("other keys for the bins need a new document of bins, signed by new one-time keys: add -new-one-time 2")
	}
	p, names, err := a.propose(ctx, f, c)
	if err != nil {
		return nil, err
	}
	r, err := ceremony.NewRequest(p)
	if err != nil {
		return nil, err
	}
	if err := a.checkClock(ctx, r, c.clockIsRight); err != nil {
		return nil, err
	}
	if err := replace(f.path("names.json"), encodeNames(names)); err != nil {
		return nil, err
	}
	if f.open != nil {
		where, err := f.closeOpen("given-up")
		if err != nil {
			return nil, err
		}
		a.say("The open request was given up, and is in %s now.", where)
	}
	if err := writeOpen(f.path("open"), r); err != nil {
		return nil, err
	}
	warnings, err := a.leftBehind(f.docs, r)
	if err != nil {
		return nil, err
	}
	return a.prepared(c.dir, r, warnings...)
}

// aDay is by how much documents that were made together, or one after the other on one day, may
// differ in their expiry.
const aDay = 24 * time.Hour

// leftBehind warns of documents that expire a day or more before the root that is asked for, and
// that the request doesn't renew.
func (a *app) leftBehind(docs ceremony.Documents, r *ceremony.Request) ([]string, error) {
	all, err := newest(docs)
	if err != nil {
		return nil, err
	}
	renewed := map[string]bool{}
	var root ceremony.Step
	for _, step := range r.Steps() {
		renewed[step.Role] = true
		if step.Role == metadata.ROOT {
			root = step
		}
	}
	var warnings []string
	for _, d := range all {
		if !renewed[d.Role] && root.Expires.Sub(d.Expires) >= aDay {
			warnings = append(warnings, fmt.Sprintf("%s is good %s only, and this request doesn't renew it: -new-one-time 2 does. Clients fail once it expires, whatever root says.",
				d.String(), a.until(d.Expires)))
		}
	}
	return warnings, nil
}

// propose makes the documents of a request.
func (a *app) propose(ctx context.Context, f *folder, c changes) (ceremony.Proposal, map[string]string, error) {
	p := &people{names: f.names}
	proposal := ceremony.Proposal{
		Reason: c.reason, Names: p.names, Compromise: c.compromise, Lowers: c.lower, Current: f.docs,
	}
	last, err := roles.Parse[metadata.RootType](f.docs.Roots[len(f.docs.Roots)-1])
	if err != nil {
		return proposal, nil, err
	}
	before, err := ceremony.RootSpec(last)
	if err != nil {
		return proposal, nil, err
	}
	before.Expires = a.now().AddDate(0, 0, c.days)
	final := before
	if err := c.root(p, &final); err != nil {
		return proposal, nil, err
	}
	var offline signedOnce
	if c.oneTime == 0 {
		// Who signs targets stays, so the request can be small.
		proposal.Current.Targets, proposal.Current.Bins = nil, nil
	} else {
		if offline, err = a.replaceOnce(ctx, f, p, c); err != nil {
			return proposal, nil, err
		}
		final.Targets = offline.authority
		proposal.Destroyed = offline.destroyed
	}
	// The first root trusts old and new keys. What the new ones signed is published
	// next, and the second root drops the old ones.
	first := final
	if !c.compromise {
		first = ceremony.Overlap(before, final)
	}
	root, err := ceremony.NextRoot(last, first)
	if err != nil {
		return proposal, nil, err
	}
	proposal.New = append(proposal.New, ceremony.Document{Role: metadata.ROOT, File: root.Bytes()})
	proposal.New = append(proposal.New, offline.docs...)
	if !sameKeys(first, final) {
		if root, err = ceremony.NextRoot(root, final); err != nil {
			return proposal, nil, err
		}
		proposal.New = append(proposal.New, ceremony.Document{Role: metadata.ROOT, File: root.Bytes()})
	}
	return proposal, p.names, nil
}

// root makes the changes of who signs what root names, but for targets.
func (c changes) root(p *people, spec *roles.RootSpec) error {
	before := spec.Root
	for _, who := range c.remove {
		if err := p.remove(&spec.Root, who); err != nil {
			return fmt.Errorf("-remove: %w", err)
		}
	}
	add := slices.Clone(c.add)
	for _, arg := range c.swap {
		who, card, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("-replace %q is not HOLDER=CARD", arg)
		}
		if err := p.remove(&spec.Root, who); err != nil {
			return fmt.Errorf("-replace: %w", err)
		}
		add = append(add, card)
	}
	for _, card := range add {
		h, err := readCard(card)
		if err == nil && slices.ContainsFunc(before.Keys, h.Key.Same) && !slices.ContainsFunc(spec.Root.Keys, h.Key.Same) {
			err = fmt.Errorf("%s has the key that is to be removed: make another with keygen", card)
		}
		if err != nil {
			return fmt.Errorf("-add, -replace: %w", err)
		}
	}
	if err := p.addAll(&spec.Root, add); err != nil {
		return fmt.Errorf("-add: %w", err)
	}
	if c.threshold != 0 {
		spec.Root.Threshold = c.threshold
	}
	for _, a := range []*roles.Authority{&spec.Snapshot, &spec.Timestamp} {
		if err := p.change(a, c.addOnline, c.dropOnline); err != nil {
			return fmt.Errorf("-add-online, -drop-online: %w", err)
		}
	}
	return nil
}

func (p *people) addAll(a *roles.Authority, cards []string) error {
	for _, arg := range cards {
		key, err := p.add(arg)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(a.Keys, key.Same) {
			return fmt.Errorf("%s: the key of %s is there already", arg, p.names[key.ID()])
		}
		a.Keys = append(slices.Clone(a.Keys), key)
	}
	return nil
}

// change adds first, so that a key can be named that replaces the last one.
func (p *people) change(a *roles.Authority, add, drop []string) error {
	if err := p.addAll(a, add); err != nil {
		return err
	}
	for _, who := range drop {
		if err := p.remove(a, who); err != nil {
			return err
		}
	}
	return nil
}

// replaceOnce has new one-time keys sign new targets and bins. Keys of the bins need
// no overlap: all bins are signed again in the generation that publishes the two.
func (a *app) replaceOnce(ctx context.Context, f *folder, p *people, c changes) (signedOnce, error) {
	if f.docs.Targets == nil || f.docs.Bins == nil {
		return signedOnce{}, fmt.Errorf("%s has no targets and bins to replace", f.path("documents"))
	}
	targets, err := roles.Parse[metadata.TargetsType](f.docs.Targets)
	if err != nil {
		return signedOnce{}, err
	}
	bins, err := roles.Parse[metadata.TargetsType](f.docs.Bins)
	if err != nil {
		return signedOnce{}, err
	}
	layout, perBin, err := parseBins(f.docs.Bins)
	if err != nil {
		return signedOnce{}, err
	}
	if err := p.change(&perBin, c.addBins, c.dropBins); err != nil {
		return signedOnce{}, fmt.Errorf("-add-online-bins, -drop-online-bins: %w", err)
	}
	return signOnce(ctx, p.names, once{
		n: c.oneTime, expires: a.now().AddDate(0, 0, c.days), now: a.now(),
		targets: targets.Version() + 1, bins: bins.Version() + 1, layout: layout, perBin: perBin,
	})
}

func sameKeys(a, b roles.RootSpec) bool {
	return sameAuthority(a.Targets, b.Targets) && sameAuthority(a.Snapshot, b.Snapshot) && sameAuthority(a.Timestamp, b.Timestamp)
}

func sameAuthority(a, b roles.Authority) bool {
	has := func(keys []*keys.PublicKey, k *keys.PublicKey) bool { return slices.ContainsFunc(keys, k.Same) }
	return a.Threshold == b.Threshold && len(a.Keys) == len(b.Keys) &&
		!slices.ContainsFunc(a.Keys, func(k *keys.PublicKey) bool { return !has(b.Keys, k) })
}
