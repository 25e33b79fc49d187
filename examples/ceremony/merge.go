package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// merged is the result of merge and status for scripts.
type merged struct {
	Request  string            `json:"request,omitempty"`
	Progress ceremony.Progress `json:"progress"`
	Refused  []string          `json:"refused,omitempty"`
	// Publish are the files of the finished documents, in the order of their
	// publishing: those of one step belong together.
	Publish [][]string `json:"publish,omitempty"`
}

func merge(_ context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	dir := flags.String("dir", "", "the `folder` of the ceremonies")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	f, err := openFolder(*dir)
	if err != nil {
		return nil, err
	}
	if f.open == nil {
		return nil, errors.New("no request is open: all responses that were needed are merged")
	}
	result := merged{Request: f.path("open", "request.json")}
	files := flags.Args()
	if f.isComplete() {
		// One signature more, and a document that is written already would be another.
		files = nil
	}
	for _, name := range files {
		if err := f.take(name); err != nil {
			result.Refused = append(result.Refused, err.Error())
		}
	}
	if f, err = openFolder(*dir); err != nil {
		return nil, err
	}
	result.Progress = f.open.progress
	a.showProgress(result.Progress)
	for _, why := range result.Refused {
		a.say("\nREFUSED: %s", why)
	}
	if result.Progress.Complete() {
		request := f.open.request
		how, together := howToPublish(request)
		if result.Publish, err = f.finish(); err != nil {
			return result, err
		}
		if together {
			result.Publish = [][]string{slices.Concat(result.Publish...)}
		}
		a.showFinished(how, result.Publish, *dir, f.path("done", called(request)))
	}
	switch {
	case len(result.Refused) > 0:
		return result, refusedFiles(len(result.Refused), flags.NArg())
	case !result.Progress.Complete():
		return result, stillOpen(f)
	}
	return result, nil
}

func refusedFiles(n, of int) error {
	switch {
	case of == 1:
		return errors.New("the file was refused; nothing was merged")
	case n == of:
		return fmt.Errorf("all %d files were refused; nothing was merged", n)
	case n == 1:
		return fmt.Errorf("1 of %d files was refused; the others are merged", of)
	}
	return fmt.Errorf("%d of %d files were refused; the others are merged", n, of)
}

// take verifies a response and keeps it.
func (f *folder) take(name string) error {
	response, err := readResponse(name)
	if err != nil {
		return err
	}
	if _, err := f.open.request.Merge(response); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	// By content, so that the same again is the same, and others don't collide.
	digest := ceremony.Digest(sum(response.Bytes()))
	return writeNew(f.path("open", "responses", digest.Groups()[0]+digest.Groups()[1]+".json"), response.Bytes())
}

// finish writes the documents of an open request that is complete, and closes it.
func (f *folder) finish() ([][]string, error) {
	docs := f.open.progress.Files()
	names, err := f.writeDocuments(docs, f.open.request.Marks())
	if err != nil {
		return nil, err
	}
	var publish [][]string
	for i, d := range docs {
		// A root is published on its own; targets and bins are in one generation.
		if i > 0 && d.Role != metadata.ROOT && docs[i-1].Role != metadata.ROOT {
			last := &publish[len(publish)-1]
			*last = append(*last, names[i])
		} else {
			publish = append(publish, []string{names[i]})
		}
	}
	_, err = f.closeOpen("done")
	return publish, err
}

// howToPublish names the function of package repository that takes the documents,
// and reports whether it takes all of them at once.
func howToPublish(r *ceremony.Request) (function string, together bool) {
	switch {
	case r.Based() == nil:
		return "Create", true
	case r.Proposal().Compromise:
		return "InstallAfterCompromise", true
	}
	return "Install", false
}

// showFinished says how to publish.
func (a *app) showFinished(how string, publish [][]string, dir, done string) {
	a.title("All documents are complete")
	for i, step := range publish {
		a.say("  %d. repository.%s with", i+1, how)
		for _, name := range step {
			a.say("        %s", name)
		}
	}
	if len(publish) > 1 {
		a.say("\n  In this order. Wait between two steps for as long as a client may take to update. If online keys are dropped, the publisher must have published by a key that stays before the last step.")
	}
	a.say("\n  Before that, verify them; and print the sheet once more, for the record:\n")
	a.table([]string{"ceremony verify -dir " + dir}, []string{"ceremony sheet -done " + done + " -out " + filepath.Base(done) + ".txt"})
}

func status(_ context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	dir := flags.String("dir", "", "the `folder` of the ceremonies")
	soon := flags.Int("soon", 60, "warn so many `days` before a document expires")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	f, err := openFolder(*dir)
	if err != nil {
		return nil, err
	}
	headers, err := newest(f.docs)
	if err != nil {
		return nil, err
	}
	a.title("In force")
	var rows [][]string
	for _, h := range headers {
		good := a.until(h.Expires)
		if h.Expires.Before(a.now().AddDate(0, 0, *soon)) {
			good += "  PREPARE THE NEXT ONE"
		}
		rows = append(rows, []string{h.Role, fmt.Sprintf("version %d", h.Version), good})
	}
	if len(rows) == 0 {
		rows = append(rows, []string{"nothing: the first root is not complete"})
	}
	a.table(rows...)
	signers, err := f.signers()
	if err != nil {
		return nil, err
	}
	if len(signers) > 0 {
		a.say("\nWho can sign now:\n")
		a.showSigners(signers, reader{})
	}
	if f.open == nil {
		a.say("\nNo request is open.")
		return map[string]any{"documents": headers, "signers": signers}, nil
	}
	a.showProgress(f.open.progress)
	result := map[string]any{"documents": headers, "signers": signers, "open": merged{Request: f.path("open", "request.json"), Progress: f.open.progress}}
	if f.isComplete() {
		return result, stillOpen(f)
	}
	return result, errIncomplete // the screen says whose
}

// signers are who can sign what the documents in force name, as far as Bindery can use their keys.
func (f *folder) signers() ([]ceremony.Signers, error) {
	var all []ceremony.Signers
	add := func(role string, authority roles.Authority, err error) {
		if err != nil {
			return // others made it; verify says what is wrong
		}
		s := ceremony.Signers{Role: role, Threshold: authority.Threshold, Keys: []ceremony.Who{}}
		for _, k := range authority.Keys {
			s.Keys = append(s.Keys, ceremony.Who{Name: f.names[k.ID()], KeyID: k.ID()})
		}
		slices.SortFunc(s.Keys, func(a, b ceremony.Who) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.KeyID, b.KeyID)) })
		all = append(all, s)
	}
	n := len(f.docs.Roots)
	if n == 0 {
		return nil, nil
	}
	root, err := roles.Parse[metadata.RootType](f.docs.Roots[n-1])
	if err != nil {
		return nil, err
	}
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		authority, err := roles.RootAuthority(root, role)
		add(role, authority, err)
	}
	if f.docs.Bins != nil {
		bins, err := roles.Parse[metadata.TargetsType](f.docs.Bins)
		if err != nil {
			return nil, err
		}
		if layout, err := delegation.Parse(bins); err == nil {
			authority, err := roles.DelegatedAuthority(bins, layout.Name(0))
			add("each bin", authority, err)
		}
	}
	return all, nil
}

// inForce is a document and how long it is good.
type inForce struct {
	ceremony.Mark
	Expires time.Time `json:"expires"`
}

func sheet(_ context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	dir := flags.String("dir", "", "the `folder` of the ceremonies: of the open request")
	done := flags.String("done", "", "the `folder` of a ceremony that is complete, below DIR/done")
	html := flags.Bool("html", false, "make an HTML page")
	out := flags.String("out", "", "the new `file` for the sheet; \"\" for the standard output")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	open, err := sheetOf(*dir, *done)
	if err != nil {
		return nil, err
	}
	s := ceremony.Sheet{Request: open.request, Made: a.now(), Progress: open.progress}
	if where, err := filepath.Abs(*done); err == nil && *done != "" {
		s.GivenUp = filepath.Base(filepath.Dir(where)) == "given-up"
	}
	var b strings.Builder
	write := s.WriteText
	if *html {
		write = s.WriteHTML
	}
	if err := write(&b); err != nil {
		return nil, err
	}
	if *out != "" {
		if err := writeNew(*out, []byte(b.String())); err != nil {
			if _, lerr := os.Lstat(*out); lerr == nil {
				err = fmt.Errorf("%w (a sheet has the minute in which it was made): name another file", err)
			}
			return nil, err
		}
		a.say("The sheet is in %s.", *out)
		return map[string]string{"sheet": *out}, nil
	}
	if a.json {
		return map[string]string{"text": b.String()}, nil
	}
	a.screen.WriteString(b.String()) // page by page where somebody reads it
	return nil, nil
}

func sheetOf(dir, done string) (*openRequest, error) {
	if done != "" {
		return readOpen(done)
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	if f.open == nil {
		entries, _ := os.ReadDir(f.path("done"))
		return nil, fmt.Errorf("no request is open; name one of the %d ceremonies in %s with -done", len(entries), f.path("done"))
	}
	return f.open, nil
}
