package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// errQuarantine is wrapped when a bin can't be read, or isn't what the journal
// recorded.
var errQuarantine = errors.New("its published bytes can't be had from the store")

// publish makes one generation of what is pending and due, and commits it. It
// first completes what is sealed. A failure before the seal leaves nothing but a
// burnt generation number behind; the items stay pending.
func (p *publisher) publish(ctx context.Context) error {
	if err := p.finish(ctx); err != nil {
		return err
	}
	for {
		quarantined := len(p.quarantine)
		err := p.generation(ctx)
		// A bin found altered is known now: go on without it and its items.
		if errors.Is(err, errQuarantine) && len(p.quarantine) > quarantined {
			continue
		}
		if err != nil {
			return err
		}
		return p.checkpoint(ctx)
	}
}

// generation is one attempt.
func (p *publisher) generation(ctx context.Context) error {
	start := time.Now()
	now, err := p.clock.check(p.state.signed)
	if err != nil {
		return err
	}
	p.warnOffline(now)
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	signers, err := p.offline.signers(p.cfg)
	if err != nil {
		return err
	}
	pending, err := p.leader.Pending(ctx, p.cfg.MaxBatch+p.waiting)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	gen := p.state.planned + 1
	bins := p.table()
	plan, err := planner{
		layout: p.offline.layout, bins: bins, limit: binLimit(signers), blocked: p.quarantined,
		load: func(i int) (*roles.Bin, error) {
			bin, err := p.loadBin(ctx, i, bins[i])
			p.noteQuarantine(i, err)
			return bin, err
		},
	}.plan(pending, gen)
	if err != nil {
		return fmt.Errorf("plan generation %d: %w", gen, err)
	}
	p.waiting = len(plan.waiting)
	plan.renew(p.mustRenew(bins)...)
	plan.renew(p.binSchedule().dueBins(bins, now, p.cfg.MaxRenew, p.quarantined)...)
	if len(plan.items) == 0 && len(plan.edits) == 0 && p.dueAt(now).After(now) {
		return nil // all that arrived waits for quarantined bins
	}

	intent, err := p.state.record(KindIntent, gen, nil, nil)
	if err != nil {
		return fatal(err)
	}
	if err := p.append(ctx, intent); err != nil {
		return fmt.Errorf("plan generation %d: %w", gen, err)
	}
	sealed, err := p.build(ctx, gen, now, bins, plan, signers)
	if err != nil {
		return fmt.Errorf("publish generation %d: %w", gen, err)
	}
	for _, it := range plan.items {
		p.logged += it.size()
	}
	rec, err := p.state.record(KindSeal, gen, sealed, plan.outcomes)
	if err != nil {
		return fatal(err)
	}
	// From the moment this is handed over, only the journal knows whether the
	// generation is sealed: don't stop waiting for its answer.
	sealCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := p.append(sealCtx, rec); err != nil {
		return fmt.Errorf("seal generation %d: %w", gen, err)
	}
	if err := p.finish(ctx); err != nil {
		return err
	}
	p.log.Info("published", "generation", gen, "items", len(plan.items), "bins", len(plan.edits),
		"waiting", p.waiting, "took", time.Since(start))
	return nil
}

// table is what is published of each bin: nothing, before the first generation.
func (p *publisher) table() []binState {
	if len(p.state.bins) == 0 {
		return make([]binState, p.offline.layout.Len())
	}
	return p.state.bins
}

// binLimit is how many bytes of a bin clients accept and its key signs.
func binLimit(s signers) int64 { return min(targetsLimit, int64(s.bins.MaxMessage())) }

// build signs and writes everything of a generation but its timestamp, which it
// returns in the seal.
func (p *publisher) build(ctx context.Context, gen int64, now time.Time, bins []binState, plan plan, s signers) (*seal, error) {
	out := &seal{
		Signed: now.Unix(), Items: digestOf(plan.items), Keys: p.state.keys,
		Expires: expiry{now.Add(p.cfg.SnapshotLifetime).Unix(), now.Add(p.cfg.TimestampLifetime).Unix()},
		Docs:    p.offline.docs(), Bins: make([]binChange, 0, len(plan.edits)),
	}
	var key int
	out.Keys, key = keyIndex(out.Keys, keyName(s.bins.Public()))
	expires := now.Add(p.cfg.BinLifetime)
	changed := slices.Sorted(maps.Keys(plan.edits)) // in order, so that a run can be repeated

	// The snapshot names versions only, so it can be signed before the bins: while
	// a key service is down, nothing is written in vain.
	snapshot, err := p.editSnapshot(gen, time.Unix(out.Expires.Snapshot, 0), changed)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	snapshotFile, err := snapshot.Sign(ctx, s.snapshot)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	timestamp, err := roles.NewTimestamp(gen, time.Unix(out.Expires.Timestamp, 0), gen, snapshotFile)
	if err == nil {
		timestamp, err = timestamp.Sign(ctx, s.timestamp)
	}
	if err != nil {
		return nil, fmt.Errorf("timestamp: %w", err)
	}
	if n := len(timestamp.Bytes()); n > timestampLimit {
		return nil, fmt.Errorf("timestamp: %d bytes, and clients accept %d", n, timestampLimit)
	}

	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Workers)
	unread, allRead := len(changed), make(chan struct{})
	read := func() {
		mu.Lock()
		defer mu.Unlock()
		if unread--; unread == 0 {
			close(allRead)
		}
	}
	if unread == 0 {
		close(allRead)
	}
	for _, i := range changed {
		edits := plan.edits[i]
		g.Go(func() error {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			var built blob
			bin, err := p.loadBin(gctx, i, bins[i])
			if err == nil {
				read()
				built, err = p.buildBin(gctx, i, bin, gen, expires, edits, s)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				p.noteQuarantine(i, err)
				return fmt.Errorf("bin %s: %w", p.offline.layout.Name(i), err)
			}
			out.Bins = append(out.Bins, binChange{Index: i, binState: binState{
				Version: gen, blob: built, Signed: now.Unix(), Expires: expires.Unix(), Key: key,
			}})
			return nil
		})
	}
	// Beside the last bins, since only the timestamp makes clients look at it. But a
	// generation that is given up because a bin can't be read leaves none behind.
	g.Go(func() error {
		select {
		case <-allRead:
		case <-gctx.Done():
			return gctx.Err()
		}
		name := versioned(gen, metadata.SNAPSHOT)
		if err := p.cfg.Store.Create(gctx, name, snapshotFile); err != nil {
			return conflictIsFatal(fmt.Errorf("write %s: %w", name, err))
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(out.Bins, func(a, b binChange) int { return a.Index - b.Index })
	meta := timestamp.Signed().Meta[metadata.SNAPSHOT+".json"]
	out.Snapshot = blob{meta.Hashes["sha256"].String(), meta.Length}
	out.Timestamp, p.next = timestamp.Bytes(), snapshot
	return out, nil
}

// buildBin applies edits to a bin, signs it and makes it durable.
func (p *publisher) buildBin(ctx context.Context, i int, bin *roles.Bin, gen int64, expires time.Time, edits []roles.TargetEdit, s signers) (blob, error) {
	bin, err := bin.Edit(gen, expires, edits)
	if err != nil {
		return blob{}, err
	}
	data, err := bin.Sign(ctx, s.bins)
	if err != nil {
		return blob{}, err
	}
	if len(data) > targetsLimit {
		return blob{}, fmt.Errorf("it would have %d bytes, and clients accept %d", len(data), targetsLimit)
	}
	name := versioned(gen, p.offline.layout.Name(i))
	if err := p.cfg.Store.Create(ctx, name, data); err != nil {
		return blob{}, conflictIsFatal(fmt.Errorf("write %s: %w", name, err))
	}
	p.cache.put(i, gen, data)
	p.rebuild.drop(i)
	sum := sha256.Sum256(data)
	return blob{hex.EncodeToString(sum[:]), int64(len(data))}, nil
}

// loadBin returns the published content of a bin, checked against the journal.
func (p *publisher) loadBin(ctx context.Context, i int, b binState) (*roles.Bin, error) {
	if b.Version == 0 {
		return roles.NewBin(), nil
	}
	if p.rebuild.wants(i) {
		return p.rebuild.bin(ctx, i)
	}
	data := p.cache.get(i, b.Version)
	if data == nil {
		name := versioned(b.Version, p.offline.layout.Name(i))
		var err error
		data, err = p.cfg.Store.Get(ctx, name)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		case err != nil:
			return nil, fmt.Errorf("%s: %w: %w", name, errQuarantine, err)
		case blobOf(data) != b.blob:
			return nil, fmt.Errorf("%s: %w: it was altered", name, errQuarantine)
		}
	}
	return roles.OpenBin(data)
}

// noteQuarantine remembers a bin whose stored bytes can't be used.
func (p *publisher) noteQuarantine(i int, err error) {
	if errors.Is(err, errQuarantine) {
		p.quarantine[i] = err
		p.log.Error("bin quarantined: it and its items wait, all others are published",
			"bin", p.offline.layout.Name(i), "err", err)
	}
}

// recheck releases the bins whose stored bytes can be had again, and tells
// whether there were any.
func (p *publisher) recheck(ctx context.Context) (released bool) {
	for i := range p.quarantine {
		if _, err := p.loadBin(ctx, i, p.state.bins[i]); err == nil {
			delete(p.quarantine, i)
			p.log.Info("bin released from quarantine", "bin", p.offline.layout.Name(i))
			released = true
		}
	}
	p.patience = min(2*p.patience, lastRecheck)
	if released || len(p.quarantine) == 0 {
		p.patience = firstRecheck
	}
	return released
}

// editSnapshot returns the snapshot of a generation in which bins changed.
func (p *publisher) editSnapshot(gen int64, expires time.Time, changed []int) (*roles.Snapshot, error) {
	edits := make([]roles.MetaEdit, 0, len(changed)+2)
	for _, i := range changed {
		edits = append(edits, roles.MetaEdit{Role: p.offline.layout.Name(i), Version: gen})
	}
	edits = append(edits, documentMeta(p.offline.docs())...)
	return p.snapshot.Edit(gen, expires, edits)
}

// documentMeta is what a snapshot says of the offline documents. A length is
// given only where clients would otherwise refuse the size; for all bins it
// would make the snapshot itself too large.
func documentMeta(d docs) []roles.MetaEdit {
	edits := []roles.MetaEdit{
		{Role: metadata.TARGETS, Version: d.Targets.Version},
		{Role: delegation.BinsRole, Version: d.Bins.Version},
	}
	for i, length := range []int64{d.Targets.Length, d.Bins.Length} {
		if length > targetsLimit {
			edits[i].Length = length
		}
	}
	return edits
}

// publishedSnapshot makes the snapshot of the committed state from the table.
func (p *publisher) publishedSnapshot() (*roles.Snapshot, error) {
	edits := make([]roles.MetaEdit, 0, len(p.state.bins)+2)
	for i, b := range p.state.bins {
		edits = append(edits, roles.MetaEdit{Role: p.offline.layout.Name(i), Version: b.Version})
	}
	if p.state.generation > 0 {
		edits = append(edits, documentMeta(p.state.published)...)
	}
	return roles.NewSnapshot().Edit(p.state.generation, p.state.signed, edits)
}
