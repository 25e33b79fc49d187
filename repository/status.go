package repository

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Status is what an operator watches.
type Status struct {
	Generation int64     // the one that clients see; 0 before the first
	Signed     time.Time // when it was
	Queue      QueueStats

	Root, Targets, Bins, Snapshot, Timestamp RoleStatus

	// BinCount is the number of bins, FirstBinExpires when the first of them
	// expires if it isn't renewed.
	BinCount        int
	FirstBinExpires time.Time

	// Quarantined are the bins whose stored bytes are not the published ones.
	// They and their items wait; all others are published.
	Quarantined []QuarantinedBin

	// Err is why the last attempt to publish failed; nil if it succeeded.
	Err error
}

// RoleStatus is the version of a role in force, and when it expires.
type RoleStatus struct {
	Version int64
	Expires time.Time
}

// QuarantinedBin is a bin that can't be changed, with the reason.
type QuarantinedBin struct {
	Bin    string
	Reason string
}

// Status tells how the repository is. It does not wait for a generation under
// way, and reads nothing but the queue's figures.
func (r *Repository) Status(ctx context.Context) (Status, error) {
	queue, err := r.cfg.Journal.Stats(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("status: journal: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.published
	s.Queue, s.Err = queue, r.lastErr
	return s, nil
}

// status is the publisher's part of a Status.
func (p *publisher) status() Status {
	s := Status{
		Generation: p.state.generation,
		Signed:     p.state.signed,
		Root:       RoleStatus{p.offline.root.Version(), p.offline.root.Expires()},
		Targets:    RoleStatus{p.offline.targets.Version(), p.offline.targets.Expires()},
		Bins:       RoleStatus{p.offline.bins.Version(), p.offline.bins.Expires()},
		BinCount:   p.offline.layout.Len(),
	}
	if s.Generation > 0 {
		s.Snapshot = RoleStatus{s.Generation, time.Unix(p.state.expiry.Snapshot, 0).UTC()}
		s.Timestamp = RoleStatus{s.Generation, time.Unix(p.state.expiry.Timestamp, 0).UTC()}
	}
	if len(p.state.bins) > 0 {
		first := slices.MinFunc(p.state.bins, func(a, b binState) int { return cmp.Compare(a.Expires, b.Expires) })
		s.FirstBinExpires = time.Unix(first.Expires, 0).UTC()
	}
	for i, err := range p.quarantine {
		s.Quarantined = append(s.Quarantined, QuarantinedBin{p.offline.layout.Name(i), err.Error()})
	}
	slices.SortFunc(s.Quarantined, func(a, b QuarantinedBin) int { return cmp.Compare(a.Bin, b.Bin) })
	return s
}
