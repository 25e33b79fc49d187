package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// maxDelay is how long an upload waits for others to share its generation.
const maxDelay = 100 * time.Millisecond

// batches is in how many parts the files are published, so that there is more
// than one generation to see.
const batches = 3

// publish hands all files to the index.
func (x *index) publish(p *printer, files []file) error {
	if err := x.untilFresh(); err != nil {
		return err
	}
	rows := [][]string{{"", ">generation", ">bins signed", ">snapshot", ">timestamp", ">time"}}
	n := min(batches, len(files))
	for i := range n {
		part := files[i*len(files)/n : (i+1)*len(files)/n]
		row, err := x.measure(func() (int64, error) { return x.upload(part) })
		if err != nil {
			return err
		}
		rows = append(rows, append([]string{count(len(part), "file") + " added"}, row...))
	}
	p.table(rows)
	p.blank()
	p.line("A generation is one swap of timestamp.json: clients see all of it, or nothing. A receipt told")
	p.line("the index of each upload once it had happened. The columns count signatures.")
	p.blank()
	return x.printSizes(x.ctx, p)
}

// upload does what an index does when files arrive: serve each under HASH.name,
// then queue it, and tell the uploader once clients can see it.
func (x *index) upload(files []file) (generation int64, err error) {
	var targets []roles.Target
	for _, f := range files {
		target, err := x.store(f)
		if err != nil {
			return 0, x.reason(err)
		}
		targets = append(targets, target)
	}
	var receipts []*repository.Receipt
	for _, target := range targets {
		receipt, err := x.repo.Add(x.ctx, target)
		if err != nil {
			return 0, x.reason(err)
		}
		receipts = append(receipts, receipt)
	}
	for _, receipt := range receipts {
		outcome, err := receipt.Wait(x.ctx)
		if err != nil {
			return 0, x.reason(err)
		}
		generation = max(generation, outcome.Generation)
	}
	return generation, nil
}

func (x *index) store(f file) (roles.Target, error) {
	content, err := f.open()
	if err != nil {
		return roles.Target{}, err
	}
	defer content.Close()
	return x.targets.Put(x.ctx, f.path, content)
}

// revoke takes a file back: clients no longer find it.
func (x *index) revoke(f file) (generation int64, err error) {
	receipt, err := x.repo.Remove(x.ctx, f.path)
	if err != nil {
		return 0, x.reason(err)
	}
	outcome, err := receipt.Wait(x.ctx)
	return outcome.Generation, x.reason(err)
}

// measure returns the generation that change ended in, what was signed, and the time.
func (x *index) measure(change func() (int64, error)) ([]string, error) {
	start, bins, snapshot, timestamp := time.Now(), x.signed.bins.Load(), x.signed.snapshot.Load(), x.signed.timestamp.Load()
	generation, err := change()
	if err != nil {
		return nil, err
	}
	return []string{
		number(generation), number(x.signed.bins.Load() - bins), number(x.signed.snapshot.Load() - snapshot),
		number(x.signed.timestamp.Load() - timestamp), seconds(time.Since(start)),
	}, nil
}

// untilFresh waits, after a long pause, until everything expired is signed again.
func (x *index) untilFresh() error {
	tick := time.NewTicker(maxDelay)
	defer tick.Stop()
	for {
		s, err := x.repo.Status(x.ctx)
		if err != nil {
			return x.reason(err)
		}
		now := time.Now()
		if s.FirstBinExpires.After(now) && s.Roles["snapshot"].Expires.After(now) && s.Roles["timestamp"].Expires.After(now) {
			return nil
		}
		select {
		case <-x.ctx.Done():
			return x.reason(x.ctx.Err())
		case <-tick.C:
		}
	}
}

// reason is why publishing ended, if that caused err.
func (x *index) reason(err error) error {
	if err == nil || x.ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, context.Cause(x.ctx))
}
