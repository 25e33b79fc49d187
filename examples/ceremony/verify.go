package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

func verify(_ context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	dir := flags.String("dir", "", "the `folder` of the ceremonies, whose finished documents are verified")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *dir == "" && flags.NArg() == 0 {
		return nil, errors.New("name a folder with -dir, or cards")
	}
	result := map[string]any{}
	var open error // about a request that is, too
	if *dir != "" {
		f, err := openFolder(*dir)
		if err != nil {
			return nil, err
		}
		if len(f.docs.Roots) == 0 {
			return nil, fmt.Errorf("%w of the first root; ceremony status -dir %s says whose", errIncomplete, *dir)
		}
		documents, err := a.verifyDocuments(f)
		if err != nil {
			return nil, err
		}
		result["documents"] = documents
		if open = stillOpen(f); open != nil {
			a.say("\n  NOT AMONG THEM is what is being signed now: %s.", marksOf(f.open.request))
		}
	}
	var cards []card
	for _, name := range flags.Args() {
		h, err := readAs(name, parseCard)
		if err != nil {
			return nil, err
		}
		a.title("The author of this card has the private key")
		a.showCard(cardOf(h, name))
		cards = append(cards, cardOf(h, name))
	}
	if cards != nil {
		result["cards"] = cards
	}
	return result, open
}

// verifyDocuments verifies by this project's code, and by that of go-tuf's client
// beginning at each root.
func (a *app) verifyDocuments(f *folder) ([]inForce, error) {
	if err := f.docs.Verify(); err != nil {
		return nil, err
	}
	for i := range f.docs.Roots {
		if err := judge(f.docs, i); err != nil {
			return nil, fmt.Errorf("go-tuf's client, from root %d of %d: %w", i+1, len(f.docs.Roots), err)
		}
	}
	all, err := newest(f.docs)
	if err != nil {
		return nil, err
	}
	title := "Verified"
	if f.open != nil {
		title = "Verified, but for the request that is open"
	}
	a.title(title)
	who := "the root"
	if n := len(f.docs.Roots); n > 1 {
		who = fmt.Sprintf("any of the %d roots", n)
	}
	a.say("  A client that trusts %s comes to these documents, by Bindery's own code and by go-tuf's:\n", who)
	var rows [][]string
	for _, d := range all {
		rows = append(rows, []string{d.String(), "good " + a.until(d.Expires)})
		rows = append(rows, documentRows("", d.Digest)...)
	}
	a.table(rows...)
	return all, nil
}

// stillOpen returns an error if the folder has a request whose documents aren't verified yet.
func stillOpen(f *folder) error {
	switch {
	case f.open == nil:
		return nil
	case f.isComplete():
		return fmt.Errorf("all signatures are there of %s, and its documents are not written: run ceremony merge once more, without files", marksOf(f.open.request))
	}
	var missing []string
	for _, d := range f.open.progress.Documents {
		if !d.Complete() {
			missing = append(missing, fmt.Sprintf("%s version %d", d.Role, d.Version))
		}
	}
	return fmt.Errorf("%w of %s; ceremony status -dir %s says whose", errIncomplete, strings.Join(missing, ", "), f.dir)
}

// marksOf are the documents of a request, in words.
func marksOf(r *ceremony.Request) string {
	var all []string
	for _, m := range r.Marks() {
		all = append(all, m.String())
	}
	return strings.Join(all, ", ")
}

// judge has go-tuf follow the roots from one on, and verify targets and bins under
// the last. Expiry plays no part: that of the online roles decides with clients too.
func judge(d ceremony.Documents, from int) error {
	trusted, err := trustedmetadata.New(d.Roots[from])
	if err != nil {
		return err
	}
	for _, file := range d.Roots[from+1:] {
		if _, err := trusted.UpdateRoot(file); err != nil {
			return err
		}
	}
	if d.Targets == nil {
		return nil
	}
	targets, err := metadata.Targets().FromBytes(d.Targets)
	if err == nil {
		err = trusted.Root.VerifyDelegate(metadata.TARGETS, targets)
	}
	if err != nil || d.Bins == nil {
		return err
	}
	if _, err := roles.Parse[metadata.TargetsType](d.Bins); err != nil {
		return err
	}
	bins, err := metadata.Targets().FromBytes(d.Bins)
	if err != nil {
		return err
	}
	return targets.VerifyDelegate(delegation.BinsRole, bins)
}
