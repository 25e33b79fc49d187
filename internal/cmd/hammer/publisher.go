package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// publisherDir is the variable that makes this program the publisher of a site.
const publisherDir = "BINDERY_HAMMER_PUBLISHER"

// orders are what a publisher reads as it starts, as JSON on its standard input. The input then stays
// open for as long as its parent lives.
type orders struct {
	Lanes []laneOrders
	// Settle: submit one more item for each lane, wait for all, and end.
	Settle bool
}

type laneOrders struct {
	Next int   // the item to submit first
	Ask  []int // earlier items whose outcome is to be told again
}

// waiting is the most receipts that are awaited at once in one lane.
const waiting = 12

// publish opens the site and carries out its orders, until it is killed or all is settled. It prints
//
//	o                     when the repository is open
//	a LANE N              when item N of LANE was accepted
//	p LANE N GENERATION   when the receipt resolved: the item is published in GENERATION
//
// Each line is one write, so that a kill leaves whole lines.
func publish(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	var o orders
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		os.Exit(3) // the reader of the lines is gone
	}()
	repo, err := repotest.OpenSite(ctx, dir, siteConfig())
	if err != nil {
		return err
	}
	targets, err := dirstore.OpenTargets(filepath.Join(dir, targetsDir))
	if err != nil {
		return err
	}
	tell := &teller{out: out}
	tell.tell("o")
	d, err := readDocuments(dir)
	if err != nil {
		return err
	}
	if err := repo.Install(ctx, d); err != nil {
		return err
	}
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return repo.Run(runCtx) })
	var working sync.WaitGroup
	for lane, order := range o.Lanes {
		working.Add(1)
		g.Go(func() error {
			defer working.Done()
			newest := make(chan int)
			g, ctx := errgroup.WithContext(gctx)
			g.Go(func() error { return ask(ctx, repo, dir, newest, lane) })
			g.Go(func() error {
				defer close(newest)
				return work(ctx, repo, targets, tell, newest, lane, order, o.Settle)
			})
			return g.Wait()
		})
	}
	working.Wait()
	cancel()
	return errors.Join(g.Wait(), repo.Close())
}

type teller struct {
	mu  sync.Mutex
	out io.Writer
}

func (t *teller) tell(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

// work runs one lane: a goroutine that submits, and one that waits for receipts. If newest is read, it
// gets each item that was submitted.
func work(ctx context.Context, repo *repository.Repository, targets *dirstore.Targets, tell *teller, newest chan<- int, lane int, order laneOrders, settle bool) error {
	type submitted struct {
		n       int
		receipt *repository.Receipt
	}
	receipts := make(chan submitted, waiting)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for s := range receipts {
			o, err := s.receipt.Wait(ctx)
			if err != nil {
				return fmt.Errorf("lane %d, item %d: %w", lane, s.n, err)
			}
			tell.tell("p %d %d %d", lane, s.n, o.Generation)
		}
		return nil
	})
	g.Go(func() error {
		defer close(receipts)
		submit := func(n int, isNew bool) error {
			if err := store(ctx, targets, item(lane, n), n); err != nil {
				return err
			}
			r, err := repo.Submit(ctx, item(lane, n))
			for errors.Is(err, repository.ErrBusy) {
				time.Sleep(5 * time.Millisecond)
				r, err = repo.Submit(ctx, item(lane, n))
			}
			if err != nil {
				return fmt.Errorf("lane %d, item %d: %w", lane, n, err)
			}
			if isNew {
				tell.tell("a %d %d", lane, n)
			}
			select {
			case newest <- n:
			default:
			}
			select {
			case receipts <- submitted{n, r}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// Accepted items are submitted again, which changes nothing.
		for _, n := range order.Ask {
			if err := submit(n, false); err != nil {
				return err
			}
		}
		for n := order.Next; ; n++ {
			if err := submit(n, true); err != nil {
				return err
			}
			if settle {
				return nil
			}
		}
	})
	return g.Wait()
}

// store keeps the downloadable files of an item.
func store(ctx context.Context, targets *dirstore.Targets, it repository.Item, n int) error {
	for _, t := range it.Add {
		if !isStored(t.Path) {
			continue
		}
		if _, err := targets.Put(ctx, t.Path, strings.NewReader(content(t.Path, n))); err != nil {
			return err
		}
	}
	return nil
}
