package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// limits are the files that every generation of a site has, apart from its bins.
type limits struct{ snapshot, timestamp []byte }

// limits reads them as they are now.
func (s *site) limits() (l limits, err error) {
	if l.timestamp, err = os.ReadFile(filepath.Join(s.metadata(), "timestamp.json")); err != nil {
		return l, err
	}
	timestamp, err := roles.Parse[metadata.TimestampType](l.timestamp)
	if err != nil {
		return l, err
	}
	l.snapshot, err = os.ReadFile(filepath.Join(s.metadata(), fmt.Sprintf("%d.snapshot.json", timestamp.Version())))
	return l, err
}

// sealed returns roughly how many bytes a generation's seal takes in the journal.
func sealed(bins, items int) int { return 1000 + 180*bins + 160*items }

// limitGeneration does the least that one generation with changed bins must do. files are the bins as
// they were; "" is a new bin, with the bytes of empty. items and seal are the bytes that these take in
// the journal. It writes below dir, a new directory.
func (s *site) limitGeneration(ctx context.Context, dir string, files []string, empty []byte, l limits, items, seal int) error {
	journal, err := os.Create(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	defer journal.Close()
	if items > 0 {
		if err := appendDurably(journal, make([]byte, items)); err != nil {
			return err
		}
	}
	err = writeFiles(ctx, dir, len(files)+1, func(i int) (string, []byte, error) {
		if i == len(files) {
			file := append(make([]byte, 0, len(l.snapshot)), l.snapshot...)
			if err := s.online.limitSign(file); err != nil {
				return "", nil, err
			}
			sha256.Sum256(file)
			return "snapshot.json", file, nil
		}
		old := empty
		if files[i] != "" {
			var err error
			if old, err = os.ReadFile(files[i]); err != nil {
				return "", nil, err
			}
			sha256.Sum256(old)
		}
		file := append(make([]byte, 0, len(old)), old...)
		if err := s.bins.limitSign(file); err != nil {
			return "", nil, err
		}
		sha256.Sum256(file)
		return fmt.Sprintf("%d.json", i), file, nil
	})
	if err != nil {
		return err
	}
	if err := appendDurably(journal, make([]byte, seal)); err != nil {
		return err
	}
	if err := s.online.limitSign(l.timestamp); err != nil {
		return err
	}
	return swapFile(filepath.Join(dir, "timestamp.json"), l.timestamp)
}
