package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

// What frees space. A publisher that runs collects by itself. This finds what it doesn't know of.

// swept is the result of a sweep: how many files there are of each reason.
type swept struct {
	Deleted bool                   `json:"deleted"` // false: it was a dry run
	Reasons []reason               `json:"reasons"`
	Files   []repository.SweptFile `json:"files,omitempty"` // with -list
}

type reason struct {
	Delete bool   `json:"delete"`
	Why    string `json:"why"` // with … instead of numbers and times
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
}

func collect(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	where, s := newFolderFlags(flags, false), newSigners(flags)
	list := flags.Bool("list", false, "show every file")
	del := flags.Bool("delete", false, "publish until the grace period is over, and then delete; it needs the keys, and the publisher must be stopped")
	cacheAge := flags.Duration("cache-age", time.Hour, "the publisher's Config.CacheAge: how long a cache may serve a timestamp")
	clientRun := flags.Duration("client-run", time.Hour, "the publisher's Config.ClientRun: the longest run of a client")
	yes := flags.Bool("yes", false, "don't ask")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 1:
		return nil, fmt.Errorf("want one folder, there are %d arguments", flags.NArg())
	case *cacheAge < 0 || *clientRun < 0:
		return nil, errors.New("-cache-age and -client-run must not be negative")
	}
	p, err := where.locate(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	grace := *cacheAge + *clientRun
	r := swept{Deleted: *del}
	if !*del {
		journal, err := p.reader()
		if err != nil {
			return nil, err
		}
		store, err := p.files()
		if err != nil {
			return nil, err
		}
		err = a.sweep(&r, *list, repository.ReadSweep(ctx, store, journal, grace))
		return r, err
	}

	cfg, err := s.config(ctx, a)
	defer s.close()
	if err != nil {
		return nil, err
	}
	// Zero is the default there, and not none.
	cfg.CacheAge, cfg.ClientRun = cmp.Or(*cacheAge, -1), cmp.Or(*clientRun, -1)
	a.text("", fmt.Sprintf("A sweep deletes nothing until a grace period (%s) after the publisher was opened. Until then this program is the publisher: it renews what is due and publishes what waits. An index that uses this journal can't submit meanwhile.", grace))
	if !*yes {
		if err := a.confirm(ctx, "The publisher must be stopped."); err != nil {
			return nil, err
		}
	}
	repo, err := p.lead(ctx, cfg)
	if err != nil {
		return nil, err
	}
	ran := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { ran <- repo.Run(running) }()
	err = a.wait(ctx, grace, ran)
	if err == nil {
		err = a.sweep(&r, *list, repo.Sweep(ctx, false))
	}
	stop()
	err = errors.Join(err, repo.Close())
	return r, err
}

// wait lets a publisher run for a time. It ends early if the publisher does.
func (a *app) wait(ctx context.Context, d time.Duration, ran <-chan error) error {
	seconds := int((d + time.Second - 1) / time.Second)
	bar := a.progress("seconds of grace", seconds)
	defer bar.end()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range seconds {
		select {
		case <-tick.C:
			bar.step()
		case err := <-ran:
			return cmp.Or(err, errors.New("the publisher ended"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// varying are the numbers and times in a reason.
var varying = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z|\d+`)

// sweep shows what a sweep says, and adds it to r.
func (a *app) sweep(r *swept, list bool, files iter.Seq2[repository.SweptFile, error]) error {
	kinds := map[reason]*reason{}
	done := func() {}
	if !list {
		done = a.working("listing the store")
	}
	defer done()
	for f, err := range files {
		if err != nil {
			return err
		}
		kind := reason{Delete: f.Delete, Why: varying.ReplaceAllString(f.Why, "…")}
		if kinds[kind] == nil {
			kinds[kind] = &reason{Delete: kind.Delete, Why: kind.Why}
		}
		kinds[kind].Files++
		kinds[kind].Bytes += f.Bytes
		if list {
			r.Files = append(r.Files, f)
			a.say("%s  %s: %s", verdict(f.Delete, r.Deleted), f.Name, f.Why)
		}
	}
	done()
	r.Reasons = []reason{}
	for _, k := range kinds {
		r.Reasons = append(r.Reasons, *k)
	}
	slices.SortFunc(r.Reasons, func(x, y reason) int {
		return cmp.Or(cmp.Compare(verdict(y.Delete, false), verdict(x.Delete, false)), -cmp.Compare(x.Bytes, y.Bytes), cmp.Compare(x.Why, y.Why))
	})
	rows := [][]string{{"", ">files", ">bytes", "why"}}
	for _, k := range r.Reasons {
		rows = append(rows, []string{verdict(k.Delete, r.Deleted), number(k.Files), byteSize(k.Bytes), k.Why})
	}
	if list {
		a.say("")
	}
	a.table(rows...)
	return nil
}

func verdict(del, deleted bool) string {
	switch {
	case !del:
		return "keep"
	case deleted:
		return "deleted"
	}
	return "delete"
}

// archive puts older history of the journal away.
func archive(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	where, s := newFolderFlags(flags, false), newSigners(flags)
	to := flags.String("to", "", "the `folder` that the journal's older files go to; it must exist")
	yes := flags.Bool("yes", false, "don't ask")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 1:
		return nil, fmt.Errorf("want one folder, there are %d arguments", flags.NArg())
	case *to == "":
		return nil, errors.New("name the folder for older history with -to")
	}
	p, err := where.locate(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	cfg, err := s.config(ctx, a)
	defer s.close()
	if err != nil {
		return nil, err
	}
	cfg.CollectPerMinute = 0 // Archive deletes the bases of the call before: nobody else does. Nothing runs that collects.
	repo, err := p.lead(ctx, cfg)
	if err != nil {
		return nil, err
	}
	done := a.working("reading every bin")
	result, err := repo.Archive(ctx, repository.Archive{To: *to, DryRun: true})
	done()
	if err == nil {
		for line := range strings.Lines(result.String()) {
			a.hanging(line)
		}
		if !*yes {
			err = a.confirm(ctx, "Shall they go?")
		}
	}
	if err == nil {
		done := a.working("archiving")
		result, err = repo.Archive(ctx, repository.Archive{To: *to})
		done()
	}
	if err = errors.Join(err, repo.Close()); err != nil {
		return nil, err
	}
	return result, nil
}
