package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// Restoration is what an operator knows and neither store nor journal does. The
// zero value is right where only one of them was lost or restored.
type Restoration struct {
	// Past is the highest version of timestamp.json that clients may ever have
	// seen, by a mirror's or a log's account: what is published will be above it.
	// Config.Witness says the same with a signature. Zero: none
	// above what the store and the journal know.
	Past int64

	// Documents are the offline documents that were in force, where a backup is
	// older than they are: clients refuse earlier versions of them.
	Documents Documents

	// AcceptClock takes the present time for right, after an error that wraps
	// ErrClock: see Repository.AcceptClock.
	AcceptClock bool

	// Root is a root that the operator trusts, of any version, as a file.
	// RestoreJournal needs it if there is no journal to take it from.
	Root []byte
}

// RestoreStore opens a repository whose journal is right and whose store isn't:
// it was lost, it was restored from an older backup, or somebody else wrote
// a timestamp there. What the journal says is published and the store doesn't have
// is made again, from the journal's history, and all of it is published in a new
// generation, every bin too, above every version that clients may have seen. A
// generation that was sealed and not committed is given up, and its items are
// decided again. Nothing that was accepted or published is lost.
//
// It is also the way on when store and journal were restored together: then Past
// (or Config.Witness) is needed, and what was published since the backup is lost
// but for its versions.
//
// A store whose timestamp is newer than the journal, and rightly signed, is
// refused, unless Past says that its version is known: RestoreJournal keeps what
// it publishes. The Journal must be a Historian if anything is to be made again.
// Files of the store are never overwritten but for the timestamp: a name that holds
// other bytes than it must is an error that wraps ErrConflict and names it; move it
// away. The cost is that of Create, one more read of each bin, and some readings of
// the whole history if bins are to be made again. After an error repeat the call: Open
// completes the work only if it was in the journal already, and doesn't know Past. If
// store and journal are of one backup and there is no Witness, it would go on from them.
func RestoreStore(ctx context.Context, cfg Config, r Restoration) (*Repository, error) {
	p, log, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("restore store: %w", err)
	}
	if err := p.restoreStore(ctx, log, r); err != nil {
		return nil, errors.Join(fmt.Errorf("restore store: %w", err), release(p.leader))
	}
	return newRepository(p), nil
}

func (p *publisher) restoreStore(ctx context.Context, log Log, r Restoration) error {
	if len(log.Records) == 0 {
		return fmt.Errorf("%w: the journal is empty: use RestoreJournal", ErrNotRepository)
	}
	var err error
	if p.state, err = load(log); err != nil {
		return err
	}
	s := p.state
	history, err := replayHistory(ctx, p.cfg.Journal, s.chain, delegation.Bins{})
	if errors.Is(err, errors.ErrUnsupported) && s.sealed == nil {
		history, err = &replay{}, nil // perhaps nothing is missing
	}
	if err != nil {
		return err
	}
	s.unwritten = allFiles(history.files, s.unwritten)
	if err := p.loadDocuments(ctx); err != nil {
		return err
	}
	if r.AcceptClock {
		p.clock.accept()
	}
	now, err := p.clock.check(s.signed)
	if err != nil {
		return fmt.Errorf("%w: if this is right, set Restoration.AcceptClock", err)
	}
	if err := p.restoreDocuments(ctx, r.Documents, now); err != nil {
		return err
	}
	// By an older root the store's timestamp may look like somebody else's.
	if err := p.compareRoots(ctx); err != nil {
		return err
	}
	signers, err := p.offline.signers(p.cfg)
	if err != nil {
		return err
	}
	found, public, err := p.publicVersion(ctx, r)
	if err != nil {
		return err
	}
	if last, seen := s.last(), found.version; seen > last && seen > r.Past {
		return fmt.Errorf("%w: the store's timestamp is version %d, and by the journal %d is the last: "+
			"RestoreJournal keeps what the store publishes; to publish what the journal says instead, set Past to %d",
			ErrDiverged, seen, last, seen)
	}
	gen, err := p.unused(ctx, public)
	if err != nil {
		return err
	}
	lost, err := p.lostBins(ctx)
	if err != nil {
		return err
	}
	if err := p.reserve(ctx, gen); err != nil {
		return err
	}
	p.rebuild.want(s.chain, lost...)
	if err := p.rebuild.checkBases(ctx, lost); err != nil {
		return err
	}
	p.log.Info("restoring the store", "bins", len(lost), "generation", gen)

	s.sealed, s.timestamp = nil, found.data
	bins := p.table()
	plan, err := planner{
		layout: p.offline.layout, bins: bins, limit: binLimit(signers), blocked: func(int) bool { return false },
		load: func(i int) (*roles.Bin, error) { return p.loadBin(ctx, i, bins[i]) },
	}.plan(history.decided, gen)
	if err != nil {
		return fmt.Errorf("plan generation %d: %w", gen, err)
	}
	return p.restart(ctx, nil, gen, now, plan, signers)
}

// allFiles are the files ever accepted. Those that wait for a timestamp which verifies
// under them still do.
func allFiles(ever, unwritten []file) []file {
	var all []file
	for _, f := range ever {
		if !slices.ContainsFunc(unwritten, func(u file) bool { return u.Name == f.Name }) {
			f.AtCommit = false
			all = append(all, f)
		}
	}
	return append(all, unwritten...)
}

// restoreDocuments makes all offline documents durable in the store, the given ones
// first in the journal, but for those that must appear together with a timestamp.
func (p *publisher) restoreDocuments(ctx context.Context, d Documents, now time.Time) error {
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	next, files, err := p.withNewer(ctx, d, now)
	if err != nil || len(files) == 0 {
		return err
	}
	if err := p.acceptDocuments(ctx, next, files); err != nil {
		return err
	}
	return p.writeDocuments(ctx, false)
}

// foundTimestamp is what the store holds.
type foundTimestamp struct {
	data    []byte // nil if there is none
	version int64  // 0 unless clients accept its signature
}

// publicVersion returns the store's timestamp, and the highest version of one that
// clients may have seen.
func (p *publisher) publicVersion(ctx context.Context, r Restoration) (found foundTimestamp, public int64, err error) {
	found.data, err = p.cfg.Store.Get(ctx, timestampName)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return found, 0, fmt.Errorf("store: %w", err)
	}
	if t, err := roles.Parse[metadata.TimestampType](found.data); err == nil && p.offline.timestampKeys.Verify(t) == nil {
		found.version = t.Version()
	}
	public = max(found.version, r.Past)
	if p.cfg.Witness != nil {
		t, err := p.witness(ctx)
		if err != nil {
			return found, 0, err
		}
		public = max(public, t.Version())
	}
	return found, public, nil
}

// unused returns the first generation above public, and all that the journal knows,
// whose names were never in the store as far as the store knows.
func (p *publisher) unused(ctx context.Context, public int64) (int64, error) {
	gen := max(public, p.state.planned, p.state.generation)
	for info, err := range p.cfg.Store.List(ctx) {
		if err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
		n, role, ok := parseVersioned(info.Name)
		if _, isBin := p.offline.layout.Index(role); !ok || !isBin && role != metadata.SNAPSHOT {
			continue
		}
		if n > maxGeneration {
			return 0, fmt.Errorf("store: %s: nothing could be published after such a version: move it away", info.Name)
		}
		gen = max(gen, n)
	}
	if gen > maxGeneration {
		return 0, fmt.Errorf("version %d: at most %d leaves room for more", gen, maxGeneration)
	}
	return gen + 1, nil
}

// maxGeneration leaves room for generations up to 2^53-1, the largest version that
// all clients read.
const maxGeneration int64 = 1 << 52

// lostBins lists the bins whose files in the store aren't the published ones.
func (p *publisher) lostBins(ctx context.Context) ([]int, error) {
	var mu sync.Mutex
	var lost []int
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Workers)
	for i, b := range p.state.bins {
		g.Go(func() error {
			name := versioned(b.Version, p.offline.layout.Name(i))
			data, err := p.cfg.Store.Get(gctx, name)
			switch {
			case errors.Is(err, ErrNotExist), err == nil && blobOf(data) != b.blob:
				mu.Lock()
				defer mu.Unlock()
				lost = append(lost, i)
			case err != nil:
				return fmt.Errorf("read %s: %w", name, err)
			}
			return nil
		})
	}
	err := g.Wait()
	slices.Sort(lost)
	return lost, err
}

// batch are records for one Append. They are applied to the state as they are made,
// each being chained to the one before it.
type batch struct {
	state   *state
	records []Record
}

func (b *batch) add(rec Record, err error) error {
	if err == nil {
		err = b.state.apply(rec)
	}
	b.records = append(b.records, rec)
	return err
}

// reserve makes it known that the store will have files of generation gen, before it
// has: should this fail, another attempt takes another one.
func (p *publisher) reserve(ctx context.Context, gen int64) error {
	rec, err := p.state.record(KindIntent, gen, nil, nil)
	if err != nil {
		return err
	}
	return p.append(ctx, rec)
}

// restart publishes generation gen, which is reserved, on top of the state, which the
// journal doesn't know yet: first and then a checkpoint of it are appended together with
// the seal. Until then nothing has changed but that the store has new files.
func (p *publisher) restart(ctx context.Context, first []Record, gen int64, now time.Time, plan plan, signers signers) error {
	recs := batch{p.state, first}
	atCommit := p.state.unwritten // a checkpoint has none
	if err := recs.add(p.state.checkpoint()); err != nil {
		return err
	}
	if len(atCommit) > 0 {
		if err := recs.add(p.state.record(KindDocuments, gen, documentsBody{Docs: p.offline.docs(), Files: atCommit}, nil)); err != nil {
			return err
		}
	}
	var err error
	if p.snapshot, err = p.publishedSnapshot(); err != nil {
		return err
	}
	// Which versions of the bins clients have seen is not known for sure.
	for i := range p.table() {
		plan.renew(i)
	}
	sealed, err := p.build(ctx, gen, now, p.table(), plan, signers)
	if err != nil {
		return fmt.Errorf("publish generation %d: %w", gen, err)
	}
	if err := recs.add(p.state.record(KindSeal, gen, sealed, plan.outcomes)); err != nil {
		return err
	}
	if err := p.leader.Append(ctx, recs.records...); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return p.finish(ctx)
}

// witness returns the configured timestamp, if it is one that clients accepted: by
// the root in force or, because the online key may have changed since, by one before
// it that the store has.
func (p *publisher) witness(ctx context.Context) (*roles.Document[metadata.TimestampType], error) {
	t, err := roles.Parse[metadata.TimestampType](p.cfg.Witness)
	if err == nil {
		err = p.offline.timestampKeys.Verify(t)
	}
	for version := p.offline.root.Version() - 1; err != nil && t != nil && version >= 1; version-- {
		data, getErr := p.cfg.Store.Get(ctx, versioned(version, metadata.ROOT))
		if errors.Is(getErr, ErrNotExist) {
			break // the repository was made from the one after it on
		}
		if getErr != nil {
			return nil, fmt.Errorf("store: %w", getErr)
		}
		root, parseErr := roles.Parse[metadata.RootType](data)
		if parseErr == nil && verifyRole(root, t, metadata.TIMESTAMP) == nil {
			return t, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the witness is no timestamp by root version %d, the newest that is known here, or one before it: "+
			"it isn't this repository's, or a newer root was lost (see Restoration.Documents): %w", ErrDiverged, p.offline.root.Version(), err)
	}
	return t, nil
}

// compareWitness makes sure that clients have seen nothing that store and journal,
// which agree, don't know.
func (p *publisher) compareWitness(ctx context.Context) error {
	if p.cfg.Witness == nil {
		return nil
	}
	t, err := p.witness(ctx)
	if err != nil {
		return err
	}
	last, data := p.state.last(), p.state.timestamp
	if s := p.state.sealed; s != nil {
		data = s.Timestamp
	}
	switch {
	case t.Version() > last:
		return fmt.Errorf("%w with the witness: clients have seen version %d of the timestamp, and %d is the last one known here: "+
			"both were restored from a backup. Restore newer ones, or publish above all that was seen with RestoreStore",
			ErrDiverged, t.Version(), last)
	case t.Version() == last && !bytes.Equal(t.Bytes(), data):
		return fmt.Errorf("%w with the witness: clients have seen another timestamp of version %d: "+
			"both were restored from a backup, or there are two publishers. RestoreStore publishes above it", ErrDiverged, last)
	}
	return nil
}
