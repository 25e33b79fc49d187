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

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// changes are the flags of request.
type changes struct {
	dir, reason           string
	add, remove, swap     list
	threshold, oneTime    int
	good                  lifetimes
	firstBins             int
	prefix, form          string
	emptyTargets          bool
	addOnline, dropOnline list
	addBins, dropBins     list
	lower                 list
	compromise, giveUp    bool
	clockIsRight          bool
}

func request(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	var c changes
	flags.StringVar(&c.dir, "dir", "", "the `folder` of the ceremonies")
	flags.StringVar(&c.reason, "reason", "", "what holders are told, one line of `text`")
	flags.Var(&c.add, "add", "the `card` of a new holder of a root key")
	flags.Var(&c.remove, "remove", "a `holder` to remove: a name, or the beginning of a key ID")
	flags.Var(&c.swap, "replace", "the key of a holder to replace, as `HOLDER=CARD`")
	flags.IntVar(&c.threshold, "threshold", 0, "how many holders must sign; as before if not given")
	c.good.flags(flags)
	flags.IntVar(&c.oneTime, "new-one-time", 0, "replace the one-time keys by so many for each of targets and bins")
	flags.Var(&c.addOnline, "add-online", "the `card` of a new key for snapshot and timestamp")
	flags.Var(&c.dropOnline, "drop-online", "a `key` for snapshot and timestamp to drop")
	flags.Var(&c.addBins, "add-online-bins", "the `card` of a new key for the bins; needs -new-one-time")
	flags.Var(&c.dropBins, "drop-online-bins", "a `key` for the bins to drop; needs -new-one-time")
	flags.IntVar(&c.firstBins, "first-bins", 0, "make the first bins of a repository that has none: how `many`, a power of two; needs -new-one-time and -add-online-bins")
	flags.StringVar(&c.prefix, "prefix", "bins", "with -first-bins: what the names of the bins begin with")
	flags.StringVar(&c.form, "form", "succinct", "with -first-bins: how bins are described: succinct or explicit")
	flags.BoolVar(&c.emptyTargets, "empty-targets", false, "with -first-bins: leave out the files and roles that targets lists now")
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
	case c.reason == "":
		return nil, errors.New("say with -reason what the holders are told")
	case len(f.docs.Roots) == 0:
		return nil, errors.New("the first root is not complete yet: see ceremony status -dir " + c.dir)
	case f.isComplete():
		return nil, errors.New("the open request has all its signatures, and its documents are not all written: run ceremony merge once more")
	case f.open != nil && !c.giveUp:
		return nil, fmt.Errorf("the request of %s is still open: finish it (ceremony status -dir %s says who is missing), or give it up: add -give-up to this command", f.open.request.Marks()[0].String(), c.dir)
	case (len(c.addBins) > 0 || len(c.dropBins) > 0) && c.oneTime == 0:
		return nil, errors.New("other keys for the bins need a new document of bins, signed by new one-time keys: add -new-one-time 2")
	case (c.good.targets != 0 || c.good.bins != 0 || c.firstBins != 0) && c.oneTime == 0:
		return nil, errors.New("new targets and bins are signed by new one-time keys: add -new-one-time 2")
	}
	if c.compromise && len(c.remove)+len(c.swap)+len(c.dropOnline)+len(c.dropBins) == 0 && c.oneTime == 0 {
		return nil, errors.New("-compromise, and no key goes: name the one in wrong hands with -drop-online, -drop-online-bins, -remove or -replace")
	}
	if err := c.good.check(a.now()); err != nil {
		return nil, err
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
	var dropped []string // whether all may go is checked below
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		for _, k := range roles.RootUnusable(last, role) {
			dropped = append(dropped, k.ID)
		}
	}
	before, err := ceremony.RootSpec(last, dropped...)
	if err != nil {
		return proposal, nil, err
	}
	before.Expires = c.good.expiry(a.now(), c.good.root)
	final := before
	if err := c.root(p, last, &final); err != nil {
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
func (c changes) root(p *people, last *roles.Document[metadata.RootType], spec *roles.RootSpec) error {
	before := spec.Root
	holders := listed{before, roles.RootUnusable(last, metadata.ROOT)}
	for _, who := range c.remove {
		if err := p.remove(&holders, who); err != nil {
			return fmt.Errorf("-remove: %w", err)
		}
	}
	add := slices.Clone(c.add)
	for _, arg := range c.swap {
		who, card, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("-replace %q is not HOLDER=CARD", arg)
		}
		if err := p.remove(&holders, who); err != nil {
			return fmt.Errorf("-replace: %w", err)
		}
		add = append(add, card)
	}
	if err := p.checkUsable(metadata.ROOT, holders, "-remove KEYID, or -replace KEYID=CARD,"); err != nil {
		return err
	}
	spec.Root = holders.Authority
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
	if c.oneTime == 0 { // else all keys of targets are replaced
		targets := listed{spec.Targets, roles.RootUnusable(last, metadata.TARGETS)}
		if err := p.checkUsable(metadata.TARGETS, targets, "-new-one-time 2, once"); err != nil {
			return err
		}
	}
	return c.online(p, last, spec)
}

// online changes who signs snapshot and timestamp. A key to drop is one of either.
func (c changes) online(p *people, last *roles.Document[metadata.RootType], spec *roles.RootSpec) error {
	both := []*listed{
		{spec.Snapshot, roles.RootUnusable(last, metadata.SNAPSHOT)},
		{spec.Timestamp, roles.RootUnusable(last, metadata.TIMESTAMP)},
	}
	// each fails if f fails for both roles.
	each := func(f func(l *listed) error) error {
		first, second := f(both[0]), f(both[1])
		if first != nil && second != nil {
			return first
		}
		return nil
	}
	for _, card := range c.addOnline {
		if err := each(func(l *listed) error { return p.addAll(&l.Authority, []string{card}) }); err != nil {
			return fmt.Errorf("-add-online: %w", err)
		}
	}
	for _, who := range c.dropOnline {
		if err := each(func(l *listed) error { return p.remove(l, who) }); err != nil {
			return fmt.Errorf("-drop-online: %w", err)
		}
	}
	if slices.ContainsFunc(both, func(l *listed) bool { return len(l.Keys) == 0 }) && len(c.dropOnline) > 0 {
		return errors.New("-drop-online: no key is left for snapshot and timestamp: give the new one with -add-online CARD")
	}
	for i, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if err := p.checkUsable(role, *both[i], "-drop-online KEYID"); err != nil {
			return err
		}
	}
	spec.Snapshot, spec.Timestamp = both[0].Authority, both[1].Authority
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

// replaceOnce has new one-time keys sign new targets and bins. Keys of the bins need
// no overlap: all bins are signed again in the generation that publishes the two.
func (a *app) replaceOnce(ctx context.Context, f *folder, p *people, c changes) (signedOnce, error) {
	o := once{n: c.oneTime, good: c.good, now: a.now()}
	if f.docs.Targets == nil {
		return signedOnce{}, fmt.Errorf("%s has no targets to follow: copy the newest VERSION.targets.json of the repository there", f.path("documents"))
	}
	var err error
	if o.targets, err = roles.Parse[metadata.TargetsType](f.docs.Targets); err != nil {
		return signedOnce{}, err
	}
	var perBin listed
	if f.docs.Bins == nil {
		if o.layout, err = c.beginBins(f, o.targets); err != nil {
			return signedOnce{}, err
		}
		perBin.Threshold = 1
	} else {
		if c.firstBins != 0 {
			return signedOnce{}, fmt.Errorf("-first-bins: %s has bins already", f.path("documents"))
		}
		if o.bins, err = roles.Parse[metadata.TargetsType](f.docs.Bins); err != nil {
			return signedOnce{}, err
		}
		if o.layout, perBin, err = parseBins(o.bins); err != nil {
			return signedOnce{}, err
		}
	}
	if err := p.addAll(&perBin.Authority, c.addBins); err != nil {
		return signedOnce{}, fmt.Errorf("-add-online-bins: %w", err)
	}
	for _, who := range c.dropBins {
		if err := p.remove(&perBin, who); err != nil {
			return signedOnce{}, fmt.Errorf("-drop-online-bins: %w", err)
		}
	}
	if err := p.checkUsable("each bin", perBin, "-drop-online-bins KEYID"); err != nil {
		return signedOnce{}, err
	}
	o.perBin = perBin.Authority
	return signOnce(ctx, p.names, o)
}

// beginBins is the layout of the first bins of a repository whose targets delegate to none.
func (c changes) beginBins(f *folder, targets *roles.Document[metadata.TargetsType]) (delegation.Bins, error) {
	var none delegation.Bins
	if _, err := roles.DelegatedAuthority(targets, delegation.BinsRole); err == nil {
		return none, fmt.Errorf("targets version %d delegates to bins, and %s has none: copy the newest VERSION.bins.json of the repository there", targets.Version(), f.path("documents"))
	}
	if c.firstBins == 0 || len(c.addBins) == 0 {
		return none, fmt.Errorf("%s has no bins. The first ones are made with: -first-bins 16384 -add-online-bins CARD", f.path("documents"))
	}
	signed := targets.Signed()
	files, delegations := len(signed.Targets), 0
	if d := signed.Delegations; d != nil {
		delegations = len(d.Roles)
		if d.SuccinctRoles != nil {
			delegations++
		}
	}
	if files+delegations > 0 && !c.emptyTargets {
		return none, fmt.Errorf("targets version %d lists files (%d) or delegates to other roles (%d). The new one delegates every path to bins and lists nothing else, so clients find those files only if they are published again, in bins. If that is meant, add -empty-targets",
			targets.Version(), files, delegations)
	}
	return layoutOf(c.prefix, c.firstBins, c.form)
}

func sameKeys(a, b roles.RootSpec) bool {
	return sameAuthority(a.Targets, b.Targets) && sameAuthority(a.Snapshot, b.Snapshot) && sameAuthority(a.Timestamp, b.Timestamp)
}

func sameAuthority(a, b roles.Authority) bool {
	has := func(keys []*keys.PublicKey, k *keys.PublicKey) bool { return slices.ContainsFunc(keys, k.Same) }
	return a.Threshold == b.Threshold && len(a.Keys) == len(b.Keys) &&
		!slices.ContainsFunc(a.Keys, func(k *keys.PublicKey) bool { return !has(b.Keys, k) })
}
