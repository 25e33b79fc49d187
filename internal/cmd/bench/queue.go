package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// addSides queues targets in a small repository.
func addSides(ctx context.Context, e *env) (*sides, error) {
	s, err := newSite("", 2)
	if err != nil {
		return nil, err
	}
	targets := s.Uploads(e.adds)
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) {
			return e.inNewDir(func(dir string) (time.Duration, error) {
				s.dir = dir
				r, err := s.create(ctx)
				if err != nil {
					return 0, err
				}
				start := time.Now()
				err = add(ctx, r, targets, nil)
				d := time.Since(start) / time.Duration(e.adds)
				return d, errors.Join(err, r.Close())
			})
		},
		limit: func(ctx context.Context) (time.Duration, error) {
			size, err := queued(targets[0], s.Now)
			if err != nil {
				return 0, err
			}
			frame := make([]byte, adders*size)
			return e.inNewDir(func(dir string) (time.Duration, error) {
				f, err := os.Create(filepath.Join(dir, "journal"))
				if err != nil {
					return 0, err
				}
				defer f.Close()
				start := time.Now()
				n := 0
				for ; n < e.adds; n += adders {
					if err := appendDurably(f, frame); err != nil {
						return 0, err
					}
				}
				return time.Since(start) / time.Duration(n), nil
			})
		},
	}, nil
}
