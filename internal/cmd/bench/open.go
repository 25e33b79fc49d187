package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// openTail is the number of generations of publish-1000 in the journal after its newest checkpoint: nearly as
// many as the default of Config.CheckpointBytes lets in before the next one.
const openTail = 12

// openSides opens a large repository.
func openSides(ctx context.Context, e *env) (*sides, error) {
	s, made, err := e.site(ctx, "open", 140)
	if err != nil {
		return nil, err
	}
	for n := 0; made && n < openTail; n++ {
		if _, err := s.publish(ctx, s.Uploads(e.uploads)); err != nil {
			return nil, err
		}
	}
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) {
			start := time.Now()
			r, err := s.open(ctx, nil)
			d := time.Since(start)
			if err == nil {
				err = r.Close()
			}
			return d, err
		},
		limit: func(context.Context) (time.Duration, error) {
			l, err := s.limits()
			if err != nil {
				return 0, err
			}
			segments, err := filepath.Glob(filepath.Join(s.journal(), "*.seg"))
			if err != nil {
				return 0, err
			}
			tail, err := readFrom(segments)
			if err != nil {
				return 0, err
			}
			files := append(tail, filepath.Join(s.metadata(), "2.root.json"),
				filepath.Join(s.metadata(), "1.targets.json"), filepath.Join(s.metadata(), "2.bins.json"), filepath.Join(s.metadata(), "timestamp.json"))
			return e.inNewDir(func(dir string) (time.Duration, error) {
				start := time.Now()
				for _, name := range files {
					data, err := os.ReadFile(name)
					if err != nil {
						return 0, err
					}
					sha256.Sum256(data)
				}
				// One new segment, since what is there may not be durable, and the
				// timestamp, for the same reason.
				if err := writeFile(filepath.Join(dir, "segment"), make([]byte, 64)); err != nil {
					return 0, err
				}
				if err := syncDir(dir); err != nil {
					return 0, err
				}
				if err := swapFile(filepath.Join(dir, "timestamp.json"), l.timestamp); err != nil {
					return 0, err
				}
				return time.Since(start), nil
			})
		},
	}, nil
}

// readFrom returns the segments that the last one says must be read.
func readFrom(segments []string) ([]string, error) {
	f, err := os.Open(segments[len(segments)-1])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var header [64]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return nil, err
	}
	base := fmt.Sprintf("%012d.seg", binary.BigEndian.Uint64(header[36:]))
	for len(segments) > 0 && filepath.Base(segments[0]) < base {
		segments = segments[1:]
	}
	return segments, nil
}
