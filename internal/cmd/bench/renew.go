package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"golang.org/x/sync/errgroup"
)

// renewSides renews all bins of a repository.
func renewSides(ctx context.Context, e *env) (*sides, error) {
	s, _, err := e.site(ctx, "610", 610)
	if err != nil {
		return nil, err
	}
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) {
			d, err := s.renew(ctx)
			if err == nil {
				_, err = s.newest()
			}
			if err == nil {
				err = settle(e.dir)
			}
			return d, err
		},
		limit: func(ctx context.Context) (time.Duration, error) {
			files, err := s.newest()
			if err != nil {
				return 0, err
			}
			l, err := s.limits()
			if err != nil {
				return 0, err
			}
			return e.inNewDir(func(dir string) (time.Duration, error) {
				var took time.Duration
				for group := 0; len(files) > 0; group++ {
					n := min(len(files), 1024) // the default of Config.MaxRenew
					dir := fmt.Sprintf("%s/%d", dir, group)
					if err := os.Mkdir(dir, 0o755); err != nil {
						return 0, err
					}
					start := time.Now()
					if err := s.limitGeneration(ctx, dir, files[:n], nil, l, 0, sealed(n, 0)); err != nil {
						return 0, err
					}
					took += time.Since(start)
					files = files[n:]
				}
				return took, nil
			})
		},
	}, nil
}

// renew advances the clock by half the lifetime of bins, after which all are due, and waits until all are
// renewed.
func (s *site) renew(ctx context.Context) (took time.Duration, err error) {
	const lifetime = 7 * 24 * time.Hour // the default of Config.BinLifetime
	s.Now = s.Now.Add(lifetime / 2)
	r, err := s.open(ctx, nil)
	if err != nil {
		return 0, err
	}
	var running errgroup.Group
	defer func() { err = errors.Join(err, r.Close(), running.Wait()) }()
	start := time.Now()
	running.Go(func() error { return r.Run(ctx) })
	for {
		status, err := r.Status(ctx)
		switch {
		case err != nil:
			return 0, err
		case status.Err != nil && !errors.Is(status.Err, repository.ErrExpired): // two days have passed at once
			return 0, status.Err
		case status.FirstBinExpires.Equal(s.Now.Add(lifetime)):
			return time.Since(start), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
