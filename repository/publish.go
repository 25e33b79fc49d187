package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// publisher owns everything that is written after an item was queued. It has no lock of its
// own: Repository lets one goroutine at a time use it. This file tells what it does in the
// order in which it happens: step, read, plan, intent, build, seal, commit, checkpoint.
type publisher struct {
	cfg   Config
	log   *slog.Logger
	lead  Lead
	epoch int64 // the lead's own; every record carries it
	clock *clock
	state *ledger.State
	docs  *documents
	cache *binCache

	// unwritten are the accepted documents that may not be in the store yet, and those of
	// online roles that no generation has signed yet.
	unwritten []ledger.File

	snapshot *roles.Snapshot // of the committed generation, kept to be edited
	next     *roles.Snapshot // of the sealed one

	// decided is told of outcomes that have become final.
	decided func([]ledger.ItemOutcome)

	began      time.Time     // of the last generation that published items
	rebuild    *rebuilder    // of bins that the store lost
	quarantine map[int]error // roles whose stored bytes aren't what the journal says
	patience   time.Duration // until they are looked at again
	waiting    int           // pending items that wait for them
	held       int64         // bytes of the bodies of those
	logged     int           // bytes of records and items since the last checkpoint
	warned     time.Time     // when expiring offline documents were last logged
}

// fatalError is an error after which the publisher must not go on: the
// repository has to be opened again, and Open decides.
type fatalError struct{ err error }

func (e fatalError) Error() string { return e.err.Error() }
func (e fatalError) Unwrap() error { return e.err }

func fatal(err error) error { return fatalError{err} }

func isFatal(err error) bool {
	var f fatalError
	return errors.As(err, &f) || errors.Is(err, ErrUnknown) || errors.Is(err, ErrFenced) || errors.Is(err, ErrClosed)
}

// append makes a record durable and only then part of the state.
func (p *publisher) append(ctx context.Context, generation int64, body ledger.Body) error {
	rec, err := p.record(generation, body)
	if err != nil {
		return fatal(err)
	}
	return p.appendAll(ctx, rec)
}

func (p *publisher) record(generation int64, body ledger.Body) (ledger.Record, error) {
	return p.state.Next(p.epoch, generation, p.cfg.Now(), body)
}

func (p *publisher) appendAll(ctx context.Context, recs ...ledger.Record) error {
	if err := p.lead.Append(ctx, recs...); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, r := range recs {
		p.logged += len(r.Bytes())
		if err := p.state.Apply(r); err != nil {
			return fatal(err)
		}
	}
	return nil
}

// step does what Run woke up for: a generation, if items arrived or something is
// due, or only a look at the quarantined bins.
func (p *publisher) step(ctx context.Context, arrived bool) error {
	released := p.recheck(ctx)
	if now := p.cfg.Now(); !arrived && !released && p.dueAt(now).After(now) {
		return nil
	}
	return p.publish(ctx)
}

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
	now, err := p.clock.check(p.state.Signed)
	if err != nil {
		return err
	}
	p.warnOffline(now)
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	signers, err := p.docs.signers(p.cfg)
	if err != nil {
		return err
	}
	batch, err := p.read(ctx)
	if err != nil {
		return err
	}
	gen := p.nextGeneration()
	plan, err := p.planner(ctx, batch, signers).plan(batch.items, gen)
	if err != nil {
		return fmt.Errorf("plan generation %d: %w", gen, err)
	}
	p.waiting, p.held = len(plan.waiting), plan.held
	plan.renew(p.mustRenew()...)
	plan.renew(p.schedule().dueRoles(p.row, now, p.cfg.MaxRenew, p.quarantined)...)
	if len(plan.edits) == 0 && p.dueAt(now).After(now) {
		return p.decide(ctx, plan) // nothing is to be signed
	}
	if len(batch.items) > 0 {
		p.began = start
	}
	changed := slices.Sorted(maps.Keys(plan.edits)) // in order, so that a run can be repeated
	if err := p.append(ctx, gen, p.docs.online.writes(changed)); err != nil {
		return fmt.Errorf("plan generation %d: %w", gen, err)
	}
	seal, err := p.build(ctx, gen, now, changed, plan, batch, signers)
	if err != nil {
		return fmt.Errorf("publish generation %d: %w", gen, err)
	}
	p.logged += plan.size()
	// From the moment this is handed over, only the journal knows whether the
	// generation is sealed: don't stop waiting for its answer.
	sealCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := p.append(sealCtx, gen, seal); err != nil {
		return fmt.Errorf("seal generation %d: %w", gen, err)
	}
	if err := p.finish(ctx); err != nil {
		return err
	}
	p.log.Info("published", "generation", gen, "items", len(plan.items), "roles", len(plan.edits),
		"waiting", p.waiting, "took", time.Since(start))
	return nil
}

// writeDocuments writes accepted offline documents until all are durable. Those
// that must appear together with a timestamp are left to finish, and those of online roles
// to the next generation.
func (p *publisher) writeDocuments(ctx context.Context, atCommit bool) error {
	var left []ledger.File
	for _, f := range p.unwritten {
		if f.Online || f.AtCommit && !atCommit {
			left = append(left, f)
			continue
		}
		if err := p.cfg.Store.Create(ctx, f.Name(), f.Data); err != nil {
			return conflictIsFatal(fmt.Errorf("write %s: %w", f.Name(), err))
		}
	}
	p.unwritten = left
	return nil
}

// conflictIsFatal makes an unexpected content in the store an error to stop at:
// somebody else writes there, or store and journal don't belong together.
func conflictIsFatal(err error) error {
	if errors.Is(err, ErrConflict) {
		return fatal(err)
	}
	return err
}

// batch is what one generation decides about.
type batch struct {
	items     []queued
	published map[string]*roles.Target // of each path that the items name; nil where nothing is
	bins      map[int]*roles.Bin       // that were read, as far as memory allows
}

// queued is an entry and the item that it encodes, or why it encodes none.
type queued struct {
	entry ledger.Entry
	item  Item
	roles []int // in which its paths are published
	err   error // why it can't be
}

// read takes the oldest pending items and reads the bins that they touch, in parallel. The
// batch ends before the item whose bins would exceed the cache. An item that waits for a
// quarantined bin takes no place from others; the planner leaves it pending.
func (p *publisher) read(ctx context.Context) (batch, error) {
	entries, err := p.lead.Pending(ctx, p.cfg.MaxBatch+p.waiting, p.cfg.MaxBatchBytes+p.held)
	if err == nil && p.waiting > 0 && len(entries) == p.waiting {
		// The first one that doesn't wait may have any size.
		entries, err = p.lead.Pending(ctx, p.waiting+1, math.MaxInt64)
	}
	if err != nil {
		return batch{}, fmt.Errorf("journal: %w", err)
	}
	b := batch{published: map[string]*roles.Target{}, bins: map[int]*roles.Bin{}}
	paths := map[int][]string{} // by role
	held := holding{}
	var size int64
	for _, e := range entries {
		q := p.interpret(e)
		if held.takes(q, p.quarantined) {
			b.items = append(b.items, q)
			continue
		}
		var more int64
		for _, i := range q.roles {
			if paths[i] == nil {
				more += int64(p.row(i).Length)
			}
		}
		if len(paths) > 0 && p.cfg.CacheBytes > 0 && size+more > p.cfg.CacheBytes {
			break
		}
		size += more
		b.items = append(b.items, q)
		if q.err == nil {
			for path := range q.item.Paths {
				i, _ := p.docs.online.owner(path)
				paths[i] = append(paths[i], path)
			}
		}
	}
	return b, p.lookUp(ctx, &b, paths)
}

// interpret reads an entry. Others may fill a shared journal with what isn't an item.
func (p *publisher) interpret(e ledger.Entry) queued {
	q := queued{entry: e}
	if q.item, q.err = e.Item(); q.err != nil {
		return q
	}
	if q.err = q.item.Validate(); q.err != nil {
		return q
	}
	seen := map[int]bool{}
	for path := range q.item.Paths {
		i, err := p.docs.online.owner(path)
		if err != nil {
			q.err = err
			return q
		}
		if !seen[i] {
			seen[i] = true
			q.roles = append(q.roles, i)
		}
	}
	return q
}

// lookUp reads roles and looks up paths in them.
func (p *publisher) lookUp(ctx context.Context, b *batch, paths map[int][]string) error {
	var mu sync.Mutex
	var kept int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Workers)
	var readable []int
	for i := range paths {
		if !p.quarantined(i) {
			readable = append(readable, i)
		}
	}
	for _, i := range readable {
		g.Go(func() error {
			bin, err := p.loadBin(gctx, i)
			if gctx.Err() != nil {
				return gctx.Err()
			}
			found := make([]*roles.Target, len(paths[i]))
			for k, path := range paths[i] {
				if err != nil {
					break
				}
				var t roles.Target
				var ok bool
				if t, ok, err = bin.Lookup(path); ok {
					found[k] = &t
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if errors.Is(err, errQuarantine) {
					p.noteQuarantine(i, err)
					return nil
				}
				return fmt.Errorf("%s: %w", p.name(i), err)
			}
			for k, path := range paths[i] {
				b.published[path] = found[k]
			}
			if size := int64(len(bin.Canonical())); kept+size <= max(p.cfg.CacheBytes, 0) {
				b.bins[i], kept = bin, kept+size
			}
			return nil
		})
	}
	return g.Wait()
}

// name, row and quarantined are of role i.
func (p *publisher) name(i int) string      { return p.docs.online.name(i) }
func (p *publisher) row(i int) ledger.Row   { return p.docs.online.row(&p.state.Table, i) }
func (p *publisher) quarantined(i int) bool { return p.quarantine[i] != nil }
func (p *publisher) schedule() schedule {
	return schedule{roles: p.docs.online.len(), lifetime: p.cfg.BinLifetime}
}
func (p *publisher) fileName(i int) string { return ledger.Name(p.row(i).Version, p.name(i)) }

// loadBin returns the published content of role i, checked against the journal.
func (p *publisher) loadBin(ctx context.Context, i int) (*roles.Bin, error) {
	name := p.name(i)
	for _, f := range slices.Backward(p.unwritten) {
		if f.Online && f.Role == name {
			return roles.ParseBin(f.Data)
		}
	}
	row := p.row(i)
	if row.Version == 0 {
		if doc := p.docs.roles[name]; doc != nil { // people signed it until now
			return roles.ParseBin(doc.Bytes())
		}
		return roles.NewBin(), nil
	}
	if p.rebuild.wants(i) {
		return p.rebuild.bin(ctx, i)
	}
	data := p.cache.get(i, row.Version)
	if data == nil {
		name := ledger.Name(row.Version, name)
		var err error
		data, err = p.cfg.Store.Get(ctx, name)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fmt.Errorf("read %s: %w", name, err)
		case err != nil:
			return nil, fmt.Errorf("%s: %w: %w", name, errQuarantine, err)
		case ledger.BlobOf(data) != row.Blob():
			return nil, fmt.Errorf("%s: %w: it was altered", name, errQuarantine)
		}
	}
	return roles.OpenBin(data)
}

// planner decides about a batch.
func (p *publisher) planner(ctx context.Context, b batch, s signers) planner {
	return planner{
		owner: p.docs.online.owner, name: p.name, published: b.published, blocked: p.quarantined, limit: s.limit,
		length: func(i int) int64 { return int64(p.row(i).Length) },
		load: func(i int) (*roles.Bin, error) {
			bin, err := p.loadBin(ctx, i)
			p.noteQuarantine(i, err)
			return bin, err
		},
	}
}

// decide makes outcomes final for which nothing is to be signed.
func (p *publisher) decide(ctx context.Context, plan plan) error {
	if len(plan.outcomes) == 0 {
		return nil // all that arrived waits for quarantined bins
	}
	for n := range plan.outcomes {
		plan.outcomes[n].Generation = p.state.Generation
	}
	p.logged += plan.size()
	outcomes := plan.settled()
	if err := p.append(ctx, p.state.Generation, &ledger.Decided{Outcomes: outcomes}); err != nil {
		return fmt.Errorf("decide %d items: %w", len(outcomes), err)
	}
	p.tell(outcomes)
	return nil
}

func (p *publisher) tell(outcomes []ledger.ItemOutcome) {
	if p.decided != nil {
		p.decided(outcomes)
	}
}

// build signs and writes everything of a generation but what is swapped, which it returns in
// the seal.
func (p *publisher) build(ctx context.Context, gen int64, now time.Time, changed []int, plan plan, b batch, s signers) (*ledger.Seal, error) {
	out := &ledger.Seal{
		Signed: now.Unix(), Keys: p.state.Table.Keys, Documents: p.docs.installed,
		Expires: ledger.Expires{Snapshot: now.Add(p.cfg.SnapshotLifetime).Unix(), Timestamp: now.Add(p.cfg.TimestampLifetime).Unix()},
		Rows:    make([]ledger.RoleRow, len(changed)), Outcomes: plan.settled(),
		Superseded: p.supersedes(changed), Removed: plan.removed,
	}
	if !p.hasSets() {
		out.Sets = p.docs.online.sizes()
	}
	for role := range p.state.Table.Roles {
		if p.peopleTookOver(role) {
			out.Dropped = append(out.Dropped, role)
		}
	}
	slices.Sort(out.Dropped)
	signing := make([]int32, len(changed)) // which key
	for n, i := range changed {
		out.Keys, signing[n] = keyIndex(out.Keys, keyName(s.of(i).Public()))
	}
	expires := now.Add(p.cfg.BinLifetime)

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
	if n := len(timestamp.Bytes()); n > roles.MaxTimestamp {
		return nil, fmt.Errorf("timestamp: %d bytes, and clients accept %d", n, roles.MaxTimestamp)
	}

	var mu sync.Mutex // guards p.quarantine
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Workers)
	for n, i := range changed {
		bin := b.bins[i]
		delete(b.bins, i)
		g.Go(func() (err error) {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			row := ledger.Row{Version: gen, Signed: now.Unix(), Expires: expires.Unix(), Key: signing[n]}
			if bin == nil { // it is renewed only, or there was no room to keep it
				bin, err = p.loadBin(gctx, i)
			}
			if err == nil {
				err = p.buildBin(gctx, i, bin, plan.edits[i], s, &row)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				p.noteQuarantine(i, err)
				return fmt.Errorf("bin %s: %w", p.name(i), err)
			}
			out.Rows[n] = ledger.RoleRow{Role: p.name(i), Row: row}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	name := ledger.Name(gen, metadata.SNAPSHOT)
	if err := p.cfg.Store.Create(ctx, name, snapshotFile); err != nil {
		return nil, conflictIsFatal(fmt.Errorf("write %s: %w", name, err))
	}
	meta := timestamp.Signed().Meta[metadata.SNAPSHOT+".json"]
	out.Snapshot = ledger.Blob{SHA256: meta.Hashes["sha256"].String(), Length: meta.Length}
	out.Swaps = []ledger.Swap{{Name: ledger.Timestamp, Old: p.state.Timestamp(), New: timestamp.Bytes()}}
	p.next = snapshot
	return out, nil
}

// hasSets reports whether the table has the sets of bins that the documents have.
func (p *publisher) hasSets() bool {
	for _, s := range p.docs.online.sizes() {
		if set := p.state.Table.Set(s.Prefix); set == nil || len(set.Rows) != s.Bins {
			return false
		}
	}
	return true
}

// supersedes names the files to which the generation is the last to refer: those
// that the changed roles had, the snapshot before, and documents that were replaced.
func (p *publisher) supersedes(changed []int) []string {
	if p.state.Generation == 0 {
		return nil
	}
	var names []string
	for _, i := range changed {
		if p.row(i).Version > 0 {
			names = append(names, p.fileName(i))
		}
	}
	names = append(names, ledger.Name(p.state.Generation, metadata.SNAPSHOT))
	for _, role := range slices.Sorted(maps.Keys(p.state.Published)) {
		old := p.state.Published[role]
		_, online := p.docs.online.index(role)
		if role != metadata.ROOT && !online && p.docs.installed[role] != old {
			names = append(names, ledger.Name(old.Version, role))
		}
	}
	return names
}

// buildBin applies edits to a bin, signs it, makes it durable, and completes its row.
func (p *publisher) buildBin(ctx context.Context, i int, bin *roles.Bin, edits []roles.TargetEdit, s signers, row *ledger.Row) error {
	bin, err := bin.Edit(row.Version, time.Unix(row.Expires, 0), edits)
	if err != nil {
		return err
	}
	data, err := bin.Sign(ctx, s.of(i))
	if err != nil {
		return err
	}
	if len(data) > roles.MaxTargets {
		return fmt.Errorf("it would have %d bytes, and clients accept %d", len(data), roles.MaxTargets)
	}
	name := ledger.Name(row.Version, p.name(i))
	if err := p.cfg.Store.Create(ctx, name, data); err != nil {
		return conflictIsFatal(fmt.Errorf("write %s: %w", name, err))
	}
	p.cache.put(i, row.Version, data)
	p.rebuild.drop(i)
	row.SHA256, row.Length = sha256.Sum256(data), int32(len(data))
	return nil
}

// editSnapshot returns the snapshot of a generation in which roles changed.
func (p *publisher) editSnapshot(gen int64, expires time.Time, changed []int) (*roles.Snapshot, error) {
	edits := make([]roles.MetaEdit, 0, len(changed)+2)
	for _, i := range changed {
		edits = append(edits, roles.MetaEdit{Role: p.name(i), Version: gen})
	}
	signedByPeople := maps.Clone(p.docs.installed)
	for role := range signedByPeople {
		_, published := p.state.Table.Roles[role]
		if _, online := p.docs.online.index(role); online || published && !p.peopleTookOver(role) {
			delete(signedByPeople, role)
		}
	}
	edits = append(edits, documentMeta(signedByPeople)...)
	return p.snapshot.Edit(gen, expires, edits)
}

// peopleTookOver reports whether people sign a role from the next generation on that was
// signed online.
func (p *publisher) peopleTookOver(role string) bool {
	_, online := p.docs.online.index(role)
	return !online && p.docs.installed[role].Version > p.state.Table.Roles[role].Version
}

// nextGeneration is the number of the next attempt. A role that people signed and that is
// signed online from now on has the version of the generation: that must be a higher one.
func (p *publisher) nextGeneration() int64 {
	gen := p.state.Planned + 1
	for _, r := range p.docs.online.others {
		if _, published := p.state.Table.Roles[r.Name]; !published {
			gen = max(gen, p.state.Published[r.Name].Version+1)
		}
	}
	return gen
}

// documentMeta is what a snapshot says of the offline documents. A length is
// given only where clients would otherwise refuse the size; for all bins it
// would make the snapshot itself too large.
func documentMeta(docs map[string]ledger.Doc) []roles.MetaEdit {
	var edits []roles.MetaEdit
	for role, d := range docs {
		if role == metadata.ROOT {
			continue
		}
		e := roles.MetaEdit{Role: role, Version: d.Version}
		if d.Length > roles.MaxTargets {
			e.Length = d.Length
		}
		edits = append(edits, e)
	}
	return edits
}

// publishedSnapshot makes the snapshot of the committed state from the table. It keeps the
// names of roles to which nobody delegates any more: clients refuse a snapshot from which
// a name vanished.
func (p *publisher) publishedSnapshot() (*roles.Snapshot, error) {
	edits := make([]roles.MetaEdit, 0, p.state.Table.Len()+len(p.state.Published))
	published := maps.Clone(p.state.Published)
	for role, row := range p.state.Table.All() {
		edits = append(edits, roles.MetaEdit{Role: role, Version: row.Version})
		delete(published, role)
	}
	edits = append(edits, documentMeta(published)...)
	return roles.NewSnapshot().Edit(p.state.Generation, p.state.Signed, edits)
}

// finish commits a sealed generation. Everything that it names is durable, so it
// is never given up: it is tried until it succeeds, also after a restart.
func (p *publisher) finish(ctx context.Context) error {
	s, gen := p.state.Sealed, p.state.Last()
	if s == nil {
		return nil
	}
	// A caller that stops waiting must not leave the outcome open.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := p.writeDocuments(ctx, true); err != nil {
		return fmt.Errorf("commit generation %d: %w", gen, err)
	}
	for _, swap := range s.Swaps {
		if err := p.cfg.Store.Swap(ctx, swap.Name, swap.Old, swap.New); err != nil {
			return conflictIsFatal(fmt.Errorf("commit generation %d: %s: %w", gen, swap.Name, err))
		}
	}
	if err := p.append(ctx, gen, &ledger.Commit{}); err != nil {
		return fmt.Errorf("commit generation %d: %w", gen, err)
	}
	p.snapshot, p.next = p.next, nil
	p.unwritten = slices.Clone(p.state.Unwritten) // what was accepted before the seal is written
	for _, r := range s.Rows {
		if i, ok := p.docs.online.index(r.Role); ok {
			p.rebuild.forget(i)
		}
	}
	p.tell(s.Outcomes)
	return nil
}

// rowRecord is about how many bytes a checkpoint takes for each row.
const rowRecord = 110

// checkpoint lets a later Open read little, once much was logged.
func (p *publisher) checkpoint(ctx context.Context) error {
	// A large table is written more rarely. What the journal adds to it isn't counted:
	// it is little compared with the bins that were written meanwhile.
	if p.logged < max(p.cfg.CheckpointBytes, 4*rowRecord*p.state.Table.Len()) || p.state.Sealed != nil || len(p.unwritten) > 0 {
		return nil
	}
	if err := p.append(ctx, p.state.Generation, p.state.Checkpoint()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	p.logged = 0
	return nil
}

// keyName names a key by its ID and its material: a document may list another
// key under the same ID, or the same one under another, and both make a difference
// to clients.
func keyName(k *keys.PublicKey) string { return k.ID() + " " + k.Fingerprint() }

// keyIndex returns the index of a name in names, adding it if need be.
func keyIndex(names []string, name string) ([]string, int32) {
	if i := slices.Index(names, name); i >= 0 {
		return names, int32(i)
	}
	return append(slices.Clip(names), name), int32(len(names))
}
