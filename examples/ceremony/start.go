package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// startOptions are the flags of init.
type startOptions struct {
	dir, from, reason       string
	holders, online, perBin list
	threshold               int
	good                    lifetimes
	bins, oneTime           int
	prefix, form            string
	clockIsRight            bool
}

func start(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	var o startOptions
	flags.StringVar(&o.dir, "dir", "", "the new `folder`")
	flags.Var(&o.holders, "holder", "the `card` of a holder of a root key; once for each")
	flags.Var(&o.online, "online", "the `card` of the key that signs snapshot and timestamp, or NAME=FILE with its public key (PEM, DER, AWS's base64, OpenSSH)")
	flags.Var(&o.perBin, "online-bins", "the same for the key that signs the bins; that of -online if not given")
	flags.IntVar(&o.threshold, "threshold", 0, "how many holders must sign; more than half if not given")
	o.good.flags(flags)
	flags.IntVar(&o.bins, "bins", 16384, "how many bins, a power of two")
	flags.StringVar(&o.prefix, "prefix", "bins", "what the names of the bins begin with")
	flags.StringVar(&o.form, "form", "succinct", "how bins are described: succinct or explicit")
	flags.IntVar(&o.oneTime, "one-time", 2, "how many one-time keys sign targets, and how many bins")
	flags.StringVar(&o.reason, "reason", "The first root of a new repository.", "what holders are told")
	flags.BoolVar(&o.clockIsRight, "clock-is-right", false, "don't ask about a clock that looks wrong")
	flags.StringVar(&o.from, "from", "", "take over the repository whose metadata is in this `folder`; -holder then names keys that it has")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case o.dir == "":
		return nil, errors.New("name the new folder with -dir")
	case flags.NArg() > 0:
		return nil, fmt.Errorf("%q is too much: every card follows its flag", flags.Arg(0))
	case o.from != "":
		return a.takeOver(o)
	}
	return a.begin(ctx, o)
}

// begin starts a new repository: one-time keys sign targets and bins, and the root
// that names them is what the holders are asked to sign.
func (a *app) begin(ctx context.Context, o startOptions) (any, error) {
	p := &people{names: map[string]string{}}
	root, err := p.authority(o.holders, o.threshold)
	if err != nil {
		return nil, fmt.Errorf("-holder: %w", err)
	}
	online, err := p.authority(o.online, 1)
	if err != nil {
		return nil, fmt.Errorf("-online: %w", err)
	}
	perBin := online
	if len(o.perBin) > 0 {
		if perBin, err = p.authority(o.perBin, 1); err != nil {
			return nil, fmt.Errorf("-online-bins: %w", err)
		}
	}
	layout, err := layoutOf(o.prefix, o.bins, o.form)
	if err != nil {
		return nil, err
	}
	if err := o.good.check(a.now()); err != nil {
		return nil, err
	}
	offline, err := signOnce(ctx, p.names, once{n: o.oneTime, good: o.good, now: a.now(), layout: layout, perBin: perBin})
	if err != nil {
		return nil, err
	}
	doc, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: o.good.expiry(a.now(), o.good.root),
		Root: root, Targets: offline.authority, Snapshot: online, Timestamp: online,
	})
	if err != nil {
		return nil, err
	}
	r, err := ceremony.NewRequest(ceremony.Proposal{
		Reason: o.reason, Names: p.names, Destroyed: offline.destroyed,
		New: append([]ceremony.Document{{Role: metadata.ROOT, File: doc.Bytes()}}, offline.docs...),
	})
	if err != nil {
		return nil, err
	}
	if err := a.checkClock(ctx, r, o.clockIsRight); err != nil {
		return nil, err
	}
	err = makeDir(o.dir, func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "documents"), 0o755); err != nil {
			return err
		}
		if err := writeNew(filepath.Join(dir, "names.json"), encodeNames(p.names)); err != nil {
			return err
		}
		return writeOpen(filepath.Join(dir, "open"), r)
	})
	if err != nil {
		return nil, err
	}
	return a.prepared(o.dir, r)
}

func layoutOf(prefix string, bins int, formName string) (delegation.Bins, error) {
	form := delegation.Succinct
	if formName == delegation.Explicit.String() {
		form = delegation.Explicit
	} else if formName != form.String() {
		return delegation.Bins{}, fmt.Errorf("-form %q: it can be succinct or explicit", formName)
	}
	return delegation.New(prefix, bins, form)
}

// prepared shows a request that was just made, and says how it goes on.
func (a *app) prepared(dir string, r *ceremony.Request, warnings ...string) (any, error) {
	a.showRequest(r)
	for _, w := range warnings {
		a.say("")
		a.hang("  BEWARE: ", w)
	}
	file := filepath.Join(dir, "open", "request.json")
	a.title("What now")
	a.table(
		[]string{"1. Print the record sheet:", fmt.Sprintf("ceremony sheet -dir %s -out sheet-%d.txt", dir, r.Marks()[0].Version)},
		[]string{"2. Give each holder a copy, and", file},
		[]string{"3. Each holder runs:", "ceremony sign -key KEYFILE request.json"},
		[]string{"4. Bring back the responses:", "ceremony merge -dir " + dir + " RESPONSE..."},
	)
	view := viewRequest(r, file)
	view.Warnings = warnings
	return view, nil
}

// takeOver makes a folder from the metadata of a repository that exists.
func (a *app) takeOver(o startOptions) (any, error) {
	docs, err := readDocuments(o.from)
	if err == nil {
		err = docs.Verify()
	}
	if err != nil {
		return nil, fmt.Errorf("-from %s: %w", o.from, err)
	}
	root, err := roles.Parse[metadata.RootType](docs.Roots[len(docs.Roots)-1])
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, arg := range append(append(o.holders, o.online...), o.perBin...) {
		h, err := readCard(arg)
		if err != nil {
			return nil, err
		}
		if err := nameKeys(names, h, docs); err != nil {
			return nil, err
		}
	}
	err = makeDir(o.dir, func(dir string) error {
		if err := os.Mkdir(filepath.Join(dir, "documents"), 0o755); err != nil {
			return err
		}
		if err := writeNew(filepath.Join(dir, "names.json"), encodeNames(names)); err != nil {
			return err
		}
		return copyDocuments(filepath.Join(dir, "documents"), docs)
	})
	if err != nil {
		return nil, err
	}
	a.say("%s holds %s of %s. The root in force is version %d, and expires %s.",
		o.dir, held(docs), o.from, root.Version(), root.Expires().Format(time.DateOnly))
	a.warnOfUnusable(root, names)
	return map[string]any{"dir": o.dir, "root": root.Version()}, nil
}

// warnOfUnusable says which keys the next root can't list.
func (a *app) warnOfUnusable(root *roles.Document[metadata.RootType], names map[string]string) {
	var all []roles.UnusableKey
	in := map[string][]string{} // roles, by ID
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		for _, k := range roles.RootUnusable(root, role) {
			if in[k.ID] == nil {
				all = append(all, k)
			}
			in[k.ID] = append(in[k.ID], role)
		}
	}
	for _, k := range all {
		a.say("")
		a.hang("  BEWARE: ", fmt.Sprintf("the next root can't list %s (%s), because not all clients can verify it: %v",
			ceremony.Who{Name: names[k.ID], KeyID: k.ID}, strings.Join(in[k.ID], ", "), k.Err))
	}
}

// held says which documents there are.
func held(docs ceremony.Documents) string {
	text := fmt.Sprintf("%d roots", len(docs.Roots))
	if len(docs.Roots) == 1 {
		text = "1 root"
	}
	switch {
	case docs.Targets == nil:
		return text + ", no targets and no bins,"
	case docs.Bins == nil:
		return text + " and targets, and no bins,"
	}
	return text + ", targets and bins"
}

func copyDocuments(dir string, docs ceremony.Documents) error {
	for i, files := range [][][]byte{docs.Roots, {docs.Targets}, {docs.Bins}} {
		for _, file := range files {
			if file == nil {
				continue
			}
			h, err := roles.Peek(file)
			if err != nil {
				return err
			}
			role := []string{metadata.ROOT, metadata.TARGETS, delegation.BinsRole}[i]
			if err := writeNew(filepath.Join(dir, versioned(h.Version, role)), file); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameKeys gives a name to every key of the documents that is the holder's.
func nameKeys(names map[string]string, h ceremony.Holder, docs ceremony.Documents) error {
	found := false
	all, err := authorities(docs)
	for _, authority := range all {
		for _, k := range authority.Keys {
			if k.Same(h.Key) {
				names[k.ID()], found = h.Name, true
			}
		}
	}
	if err == nil && !found {
		err = fmt.Errorf("%s has none of the keys of this repository: leave that card away, or give the right one", strings.TrimSpace(h.Name))
	}
	return err
}
