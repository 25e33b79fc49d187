package main

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// writers is how many goroutines read, compute and write the files of a limit. More gain nothing.
const writers = 64

// writeFiles writes n new files below dir, each durably, and then makes their names durable. Contents are
// computed on all processors while other files are written.
func writeFiles(ctx context.Context, dir string, n int, file func(i int) (name string, data []byte, err error)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			name, data, err := file(i)
			if err != nil {
				return err
			}
			return writeFile(filepath.Join(dir, name), data)
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
