package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// writers is how many goroutines write the files of a limit: more gain nothing.
const writers = 64

// writeFiles writes n new files below dir, each durably, and then makes their names
// durable. What is in file i is computed on all processors while others are written.
func writeFiles(ctx context.Context, dir string, n int, file func(i int) (name string, data []byte, err error)) error {
	type made struct {
		name string
		data []byte
	}
	ready := make(chan made)
	next := make(chan int)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	compute, cctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		compute.Go(func() error {
			for i := range next {
				name, data, err := file(i)
				if err != nil {
					return err
				}
				select {
				case ready <- made{name, data}:
				case <-cctx.Done():
					return cctx.Err()
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(ready)
		return compute.Wait()
	})
	for range writers {
		g.Go(func() error {
			for m := range ready {
				if err := writeFile(filepath.Join(dir, m.name), m.data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	return appendDurably(f, data)
}

func appendDurably(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// swapFile replaces name durably.
func swapFile(name string, data []byte) error {
	temp := name + ".tmp"
	if err := writeFile(temp, data); err != nil {
		return err
	}
	if err := os.Rename(temp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}
