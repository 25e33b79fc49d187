package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// adders is how many goroutines call Add.
const adders = 64

// publishSides publishes uploads in a repository whose bins hold n targets.
func publishSides(n int) func(ctx context.Context, e *env) (*sides, error) {
	return func(ctx context.Context, e *env) (*sides, error) {
		s, _, err := e.site(ctx, strconv.Itoa(n), n)
		if err != nil {
			return nil, err
		}
		return &sides{
			bindery: func(ctx context.Context) (time.Duration, error) {
				d, err := s.publish(ctx, s.Uploads(e.uploads))
				if err == nil {
					err = settle(e.dir)
				}
				return d, err
			},
			limit: func(ctx context.Context) (time.Duration, error) {
				files, err := s.newest()
				if err == nil {
					err = settle(e.dir) // the files that it removed
				}
				if err != nil {
					return 0, err
				}
				uploads := s.Uploads(e.uploads)
				touched := map[int]string{}
				items := 0
				for _, t := range uploads {
					bin := s.Layout.Find(t.Path)
					touched[bin] = files[bin]
					n, err := queued(t, s.Now)
					if err != nil {
						return 0, err
					}
					items += n
				}
				files = files[:0]
				for _, name := range touched {
					files = append(files, name)
				}
				l, err := s.limits()
				if err != nil {
					return 0, err
				}
				return e.inNewDir(func(dir string) (time.Duration, error) {
					start := time.Now()
					err := s.limitGeneration(ctx, dir, files, nil, l, items, sealed(len(files), len(uploads)))
					return time.Since(start), err
				})
			},
		}, nil
	}
}

// publish adds targets and waits until all are published.
func (s *site) publish(ctx context.Context, targets []roles.Target) (took time.Duration, err error) {
	r, err := s.open(ctx, func(c *repository.Config) { c.MaxBatch = len(targets) })
	if err != nil {
		return 0, err
	}
	var running errgroup.Group
	defer func() { err = errors.Join(err, r.Close(), running.Wait()) }()

	start := time.Now()
	receipts := make([]*repository.Receipt, len(targets))
	err = add(ctx, r, targets, receipts)
	if err != nil {
		return 0, err
	}
	// One generation: it begins after the last item has arrived.
	running.Go(func() error { return r.Run(ctx) })
	generation := int64(0)
	for _, receipt := range receipts {
		o, err := receipt.Wait(ctx)
		if err != nil {
			return 0, err
		}
		if generation != 0 && generation != o.Generation {
			return 0, fmt.Errorf("published in generation %d and in %d", generation, o.Generation)
		}
		generation = o.Generation
	}
	return time.Since(start), nil
}

// add adds each target from one of many goroutines.
func add(ctx context.Context, r *repository.Repository, targets []roles.Target, receipts []*repository.Receipt) error {
	g, gctx := errgroup.WithContext(ctx)
	for n := range adders {
		g.Go(func() error {
			for i := n; i < len(targets); i += adders {
				receipt, err := r.Add(gctx, targets[i])
				if err != nil {
					return err
				}
				if receipts != nil {
					receipts[i] = receipt
				}
			}
			return nil
		})
	}
	return g.Wait()
}
