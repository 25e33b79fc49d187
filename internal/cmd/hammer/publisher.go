package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// publisherDir is the variable that makes this program the publisher of a site.
const publisherDir = "BINDERY_HAMMER_PUBLISHER"

// orders are what a publisher reads as it starts, as JSON on its standard input. The input then stays
// open for as long as its parent lives.
type orders struct {
	Keys []seed // of online keys, the newest first
	// Begin: begin the rotation of all online roles to the newest key.
	Begin bool
	// Rotate: the rotation is under way; tell when it is ready.
	Rotate bool
	Lanes  []laneOrders
	// Settle: submit one more item for each lane, wait for all and for the rotation, and end.
	Settle bool
	// Collect: wait until all that is superseded is deleted, and end.
	Collect bool
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
//	d                     when a file was deleted, of the store or of a target
//	i                     when the documents are installed, and the rotation has begun
//	r                     when the rotation is ready
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
	store, err := dirstore.Open(filepath.Join(dir, repotest.SiteStore))
	if err != nil {
		return err
	}
	targets, err := dirstore.OpenTargets(filepath.Join(dir, targetsDir))
	if err != nil {
		return err
	}
	tell := &teller{out: out}
	cfg := siteConfig()
	if o.Collect {
		cfg = idleConfig()
	}
	signers, err := online(o.Keys)
	if err != nil {
		return err
	}
	cfg.Signers = map[string][]keys.Signer{}
	for _, role := range rotated {
		cfg.Signers[role] = signers
	}
	cfg.Store = &deleting{store, tell}
	cfg.DeleteTarget = func(ctx context.Context, t ledger.RemovedTarget) error {
		return deleteTarget(ctx, targets, filepath.Join(dir, targetsDir), t, tell)
	}
	repo, err := repotest.OpenSite(ctx, dir, cfg)
	if err != nil {
		return err
	}
	tell.tell("o")
	d, err := readDocuments(dir)
	if err != nil {
		return err
	}
	// Documents that drop keys may come a little early for this process: the time before it began counts
	// for no cache.
	for err = repo.Install(ctx, d); errors.Is(err, repository.ErrLocksOut) && ctx.Err() == nil; err = repo.Install(ctx, d) {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if o.Begin {
		for _, role := range rotated {
			if err := repo.Rotate(ctx, role); err != nil {
				return err
			}
		}
	}
	tell.tell("i")
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return repo.Run(runCtx) })
	var working sync.WaitGroup
	await := func(f func() error) {
		working.Add(1)
		g.Go(func() error {
			defer working.Done()
			return f()
		})
	}
	for lane, order := range o.Lanes {
		await(func() error {
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
	if o.Rotate {
		await(func() error { return awaitRotation(gctx, repo, tell) })
	}
	if o.Collect {
		await(func() error { return awaitCollection(gctx, repo) })
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
			if isNew {
				if err := store(ctx, targets, item(lane, n), n); err != nil {
					return err
				}
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
		// Accepted items are submitted again, which changes nothing. Their files may be deleted by now.
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

// deleting tells of each file that the store deletes.
type deleting struct {
	*dirstore.Store
	tell *teller
}

func (d *deleting) Delete(ctx context.Context, name string) error {
	err := d.Store.Delete(ctx, name)
	if err == nil {
		d.tell.tell("d")
	}
	return err
}

// deleteTarget deletes the file of a target in dir. It needs not wait for uploads, as dirstore does:
// no file is stored a second time.
func deleteTarget(ctx context.Context, targets *dirstore.Targets, dir string, t ledger.RemovedTarget, tell *teller) error {
	if !isStored(t.Path) {
		return nil
	}
	name := filepath.Join(dir, fileName(t.Path, t.Hashes))
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(name, old, old); errors.Is(err, fs.ErrNotExist) {
		return nil // a publisher deleted it, and was killed before it recorded that
	} else if err != nil {
		return err
	}
	if err := targets.Delete(ctx, t); err != nil {
		return err
	}
	tell.tell("d")
	return nil
}

// awaitRotation waits until the rotation of all online roles is ready, and tells.
func awaitRotation(ctx context.Context, repo *repository.Repository, tell *teller) error {
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		s, err := repo.Status(ctx)
		if err != nil {
			return err
		}
		if len(s.Rotations) != len(rotated) {
			return fmt.Errorf("rotations of %d roles were begun, and of %d are under way", len(rotated), len(s.Rotations))
		}
		if !slices.ContainsFunc(s.Rotations, func(r repository.Rotation) bool { return r.State != repository.RotationReady }) {
			tell.tell("r")
			return nil
		}
	}
	return nil
}

// awaitCollection waits until all that is superseded is deleted. After a minute it gives up without an
// error: what is left is the parent's to find.
func awaitCollection(ctx context.Context, repo *repository.Repository) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		s, err := repo.Status(ctx)
		if err != nil {
			return err
		}
		if c := s.Collection; c.Targets == 0 && c.Oldest.IsZero() {
			return nil
		}
	}
	return nil
}
