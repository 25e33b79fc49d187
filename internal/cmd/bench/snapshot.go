package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/roles"
)

// snapshotJob gives some bins of a snapshot a new version.
type snapshotJob struct {
	key      key
	layout   delegation.Bins
	changed  []int
	snapshot *roles.Snapshot // of the last generation
	file     []byte
}

// lastGeneration and thisGeneration are typical versions after a year or two.
const lastGeneration, thisGeneration = 123_456, 123_457

func snapshotSides(ctx context.Context, e *env) (*sides, error) {
	k, err := p256Key()
	if err != nil {
		return nil, err
	}
	layout, err := delegation.New("bins", e.bins, delegation.Succinct)
	if err != nil {
		return nil, err
	}
	j := &snapshotJob{key: k, layout: layout}
	edits := []roles.MetaEdit{{Role: metadata.TARGETS, Version: 1}, {Role: delegation.BinsRole, Version: 1}}
	for i := range e.bins {
		edits = append(edits, roles.MetaEdit{Role: layout.Name(i), Version: lastGeneration - int64(i%100_000)})
	}
	if j.snapshot, err = roles.NewSnapshot().Edit(lastGeneration, benchmark.Expires, edits); err != nil {
		return nil, err
	}
	if j.file, err = j.snapshot.Sign(ctx, k.signer); err != nil {
		return nil, err
	}
	for i := range e.changed {
		j.changed = append(j.changed, i*e.bins/e.changed)
	}
	ours, err := j.bindery(ctx)
	if err != nil {
		return nil, err
	}
	theirs, err := j.gotuf()
	if err != nil {
		return nil, err
	}
	if err := sameSigned[metadata.SnapshotType](ours, theirs); err != nil {
		return nil, err
	}
	s := &sides{
		bindery: repeated(e.small, func(ctx context.Context) error {
			_, err := j.bindery(ctx)
			return err
		}),
		gotuf: repeated(e.small, func(context.Context) error {
			_, err := j.gotuf()
			return err
		}),
		limit: repeated(e.small, j.limit),
	}
	if e.python != nil {
		names := make([]string, len(j.changed))
		for i, bin := range j.changed {
			names[i] = layout.Name(bin) + ".json"
		}
		s.python, err = e.python.side(e, pythonJob{Kind: "snapshot", Expires: benchmark.Expires, Version: thisGeneration, Names: names}, k, j.file,
			func(theirs []byte) error { return sameSigned[metadata.SnapshotType](ours, theirs) })
	}
	return s, err
}

func (j *snapshotJob) bindery(ctx context.Context) ([]byte, error) {
	edits := make([]roles.MetaEdit, 0, len(j.changed))
	for _, i := range j.changed {
		edits = append(edits, roles.MetaEdit{Role: j.layout.Name(i), Version: thisGeneration})
	}
	next, err := j.snapshot.Edit(thisGeneration, benchmark.Expires, edits)
	if err != nil {
		return nil, err
	}
	file, err := next.Sign(ctx, j.key.signer)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(file)
	_ = hex.EncodeToString(sum[:])
	return file, nil
}

func (j *snapshotJob) gotuf() ([]byte, error) {
	m, err := metadata.Snapshot().FromBytes(j.file)
	if err != nil {
		return nil, err
	}
	for _, i := range j.changed {
		m.Signed.Meta[j.layout.Name(i)+".json"] = metadata.MetaFile(thisGeneration)
	}
	m.Signed.Version, m.Signed.Expires = thisGeneration, benchmark.Expires
	return signTheirs(m, j.key)
}

// limit does what it does for any file, except hashing what was read: the snapshot is in memory.
func (j *snapshotJob) limit(context.Context) error {
	file := append(make([]byte, 0, len(j.file)), j.file...)
	if err := j.key.limitSign(file); err != nil {
		return err
	}
	sha256.Sum256(file)
	return nil
}
