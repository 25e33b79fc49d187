package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/roles"
)

// binJob replaces one target in a bin.
type binJob struct {
	key     key
	targets []roles.Target // of the bin
	file    []byte
	sum     [sha256.Size]byte // of file
	next    int               // the target to replace
}

// binSides makes the sides for a bin of n targets.
func binSides(newKey func() (key, error), n int) func(context.Context, *env) (*sides, error) {
	return func(ctx context.Context, e *env) (*sides, error) {
		j := &binJob{}
		var err error
		if j.key, err = newKey(); err != nil {
			return nil, err
		}
		bin, targets, err := benchmark.MakeBin(n, 1)
		if err != nil {
			return nil, err
		}
		if j.file, err = bin.Sign(ctx, j.key.signer); err != nil {
			return nil, err
		}
		j.targets, j.sum = targets, sha256.Sum256(j.file)
		ours, err := j.bindery(ctx)
		if err != nil {
			return nil, err
		}
		theirs, err := j.gotuf()
		if err != nil {
			return nil, err
		}
		if err := sameSigned[metadata.TargetsType](ours, theirs); err != nil {
			return nil, err
		}
		s := &sides{
			bindery: repeated(e.small, func(ctx context.Context) error {
				j.next++
				_, err := j.bindery(ctx)
				return err
			}),
			gotuf: repeated(e.small, func(context.Context) error {
				j.next++
				_, err := j.gotuf()
				return err
			}),
			limit: repeated(e.small, func(context.Context) error { return j.key.limit(j.file) }),
		}
		if e.python != nil {
			t := j.replacement()
			s.python, err = e.python.side(e, pythonJob{
				Kind: "bin", Expires: benchmark.Expires, Version: 2, Path: t.Path, SHA256: t.Hashes["sha256"], Length: t.Length,
			}, j.key, j.file, func(theirs []byte) error { return sameSigned[metadata.TargetsType](ours, theirs) })
		}
		return s, err
	}
}

// replacement returns another target for the path that is next.
func (j *binJob) replacement() roles.Target {
	t := j.targets[(j.next*7919)%len(j.targets)] // all over the bin
	t.Length++
	return t
}

func (j *binJob) bindery(ctx context.Context) ([]byte, error) {
	if sha256.Sum256(j.file) != j.sum {
		return nil, errors.New("it was altered")
	}
	bin, err := roles.OpenBin(j.file)
	if err != nil {
		return nil, err
	}
	t := j.replacement()
	if bin, err = bin.Edit(2, benchmark.Expires, []roles.TargetEdit{{Path: t.Path, Target: &t}}); err != nil {
		return nil, err
	}
	file, err := bin.Sign(ctx, j.key.signer)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(file)
	_ = hex.EncodeToString(sum[:]) // as the journal has it
	return file, nil
}

func (j *binJob) gotuf() ([]byte, error) {
	m, err := metadata.Targets().FromBytes(j.file)
	if err != nil {
		return nil, err
	}
	t := j.replacement()
	digest, err := hex.DecodeString(t.Hashes["sha256"])
	if err != nil {
		return nil, err
	}
	m.Signed.Targets[t.Path] = &metadata.TargetFiles{Length: t.Length, Hashes: metadata.Hashes{"sha256": digest}}
	m.Signed.Version, m.Signed.Expires = 2, benchmark.Expires
	return signTheirs(m, j.key)
}
