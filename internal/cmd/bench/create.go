package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/roles"
)

// createSides makes a new repository, again and again.
func createSides(ctx context.Context, e *env) (*sides, error) {
	s, err := newSite("", e.bins)
	if err != nil {
		return nil, err
	}
	bin, err := roles.NewBin().Edit(1, benchmark.Expires, nil)
	if err != nil {
		return nil, err
	}
	empty, err := bin.Sign(ctx, s.bins.signer)
	if err != nil {
		return nil, err
	}
	var g limits
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) {
			return e.inNewDir(func(dir string) (time.Duration, error) {
				s.dir = dir
				start := time.Now()
				r, err := s.create(ctx)
				d := time.Since(start)
				if err == nil {
					g, err = s.limits()
				}
				if r != nil {
					err = errors.Join(err, r.Close())
				}
				return d, err
			})
		},
		limit: func(ctx context.Context) (time.Duration, error) {
			return e.inNewDir(func(dir string) (time.Duration, error) {
				start := time.Now()
				err := s.limitGeneration(ctx, dir, make([]string, e.bins), empty, g, 0, sealed(e.bins, 0))
				return time.Since(start), err
			})
		},
	}, nil
}

// inNewDir calls f with a directory of its own, and removes the directory.
func (e *env) inNewDir(f func(dir string) (time.Duration, error)) (time.Duration, error) {
	dir, err := os.MkdirTemp(e.dir, "run-")
	if err != nil {
		return 0, err
	}
	d, err := f(dir)
	if rerr := os.RemoveAll(dir); err == nil {
		err = rerr
	}
	if err == nil {
		err = settle(e.dir) // so that no side pays for another's writing
	}
	return d, err
}

// settle waits until everything written and removed before is on disk.
func settle(dir string) error {
	name := filepath.Join(dir, "settle")
	if err := writeFile(name, []byte("x")); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return os.Remove(name)
}
