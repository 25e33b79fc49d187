package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// RestoreJournal opens a repository whose store is right and whose journal isn't:
// it was lost, and Config.Journal is a new one; or it was cut or restored from an
// older backup. The journal is made to agree with the published metadata, which is
// verified first, from a root that is trusted: Restoration.Root or the one that the
// journal knows. Then a new generation is published, every bin too, above every
// version that clients may have seen.
//
// What was accepted and is neither published nor in the journal is lost: an index
// submits again what it has no outcome for. Of the items that wait in an older
// journal it isn't known whether they were published and replaced since, so none
// of them is published now: one is Published if clients see just what it asked
// for, Superseded if later ones of them account for its paths, and otherwise set
// aside, with the reason.
//
// A store whose timestamp isn't newer than the journal is refused: see
// RestoreStore. So is a store in which anything is missing or isn't as it was
// signed; the error names it. Old targets of the store are not in the new journal:
// Rebuild needs the bins' files of this moment, or newer ones. The cost is that of Create, and one
// more read and verification of each bin. After an error the journal is as it was, but
// for the number of the generation, and the call can be repeated; or Open completes the
// work.
func RestoreJournal(ctx context.Context, cfg Config, r Restoration) (*Repository, error) {
	p, log, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	if err := p.restoreJournal(ctx, log, r); err != nil {
		return nil, errors.Join(fmt.Errorf("restore journal: %w", err), release(p.leader))
	}
	return newRepository(p), nil
}

func (p *publisher) restoreJournal(ctx context.Context, log Log, r Restoration) error {
	var err error
	if len(log.Records) > 0 {
		if p.state, err = load(log); err != nil {
			return err
		}
	}
	root, err := p.trustedRoot(ctx, r)
	if err != nil {
		return err
	}
	pub, err := readPublished(ctx, p.cfg, root)
	if err != nil {
		return err
	}
	if err := p.olderThan(pub); err != nil {
		return err
	}
	p.offline = pub.offline
	now := p.cfg.Now().UTC().Truncate(time.Second) // there is no earlier one to compare it with

	// The offline documents are made durable in the store before the journal
	// relies on them; that the journal has them too is for RestoreStore.
	next, files, err := p.withNewer(ctx, r.Documents, now)
	if err != nil {
		return err
	}
	files = slices.Concat(pub.files, files)
	p.state.unwritten = files
	if err := p.writeDocuments(ctx, true); err != nil {
		return err
	}
	p.offline = next
	signers, err := p.offline.signers(p.cfg)
	if err != nil {
		return err
	}
	_, public, err := p.publicVersion(ctx, r)
	if err != nil {
		return err
	}
	gen, err := p.unused(ctx, max(public, pub.timestamp.Version()))
	if err != nil {
		return err
	}
	if err := p.reserve(ctx, gen); err != nil {
		return err
	}
	items, committed, err := p.undecided(ctx, pub)
	if err != nil {
		return err
	}
	first, err := p.agree(pub, files, now, committed)
	if err != nil {
		return err
	}
	plan := plan{items: items, edits: map[int][]roles.TargetEdit{}}
	if plan.outcomes, err = p.restoredOutcomes(ctx, items, gen); err != nil {
		return err
	}
	p.log.Info("restoring the journal", "published", pub.timestamp.Version(), "generation", gen, "items", len(items))
	return p.restart(ctx, first, gen, now, plan, signers)
}

// trustedRoot returns the root from which everything is verified.
func (p *publisher) trustedRoot(ctx context.Context, r Restoration) ([]byte, error) {
	if r.Root != nil {
		return r.Root, nil
	}
	d := p.state.docs.Root
	if d.Version == 0 {
		return nil, errors.New("the journal knows no root: a trusted one must be given")
	}
	name := versioned(d.Version, metadata.ROOT)
	data, err := p.cfg.Store.Get(ctx, name)
	if err == nil && blobOf(data) != d.blob {
		err = errors.New("it isn't the one that the journal knows")
	}
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", name, err)
	}
	return data, nil
}

// olderThan makes sure that the journal knows nothing that isn't published, but
// for items.
func (p *publisher) olderThan(pub *published) error {
	s := p.state
	switch version := pub.timestamp.Version(); {
	case len(s.chain) == 0:
		return nil
	case bytes.Equal(pub.timestamp.Bytes(), s.timestamp) || s.sealed != nil && bytes.Equal(pub.timestamp.Bytes(), s.sealed.Timestamp):
		if version := pub.offline.root.Version(); version > s.docs.Root.Version {
			return fmt.Errorf("the journal agrees with the store but for root version %d: give it to RestoreStore (see Restoration.Documents)", version)
		}
		return errors.New("the journal agrees with the store: use Open")
	case version <= s.last():
		return fmt.Errorf("%w: the store's timestamp is version %d, and the journal knows %d: RestoreStore publishes what the journal says",
			ErrDiverged, version, s.last())
	}
	docs := pub.offline.docs()
	for _, d := range []struct {
		role               string
		journal, published doc
	}{{metadata.ROOT, s.docs.Root, docs.Root}, {metadata.TARGETS, s.docs.Targets, docs.Targets}, {"bins", s.docs.Bins, docs.Bins}} {
		if d.journal.Version > d.published.Version || d.journal.Version == d.published.Version && d.journal != d.published {
			return fmt.Errorf("%w: the journal knows %s version %d, and the store publishes version %d, which isn't newer",
				ErrDiverged, d.role, d.journal.Version, d.published.Version)
		}
	}
	return nil
}

// withNewer returns the documents in force once d is installed, and the new files.
func (p *publisher) withNewer(ctx context.Context, d Documents, now time.Time) (*offline, []file, error) {
	var err error
	if d.Roots, err = p.newRoots(ctx, d.Roots); err != nil {
		return nil, nil, err
	}
	return p.offline.with(d, now)
}

// undecided returns the items of the journal of which it isn't known what became,
// and whether the generation with which it ends, if it is sealed, was committed. Later
// ones are published, but it may have been given up, by RestoreStore, which leaves no
// bin of that version.
func (p *publisher) undecided(ctx context.Context, pub *published) (items []Item, committed bool, err error) {
	if s := p.state.sealed; s != nil {
		committed = slices.ContainsFunc(s.Bins, func(b binChange) bool {
			return b.Index >= 0 && b.Index < len(pub.bins) && sameBin(b.binState, pub.bins[b.Index])
		})
		if !committed {
			history, err := replayHistory(ctx, p.cfg.Journal, p.state.chain, delegation.Bins{})
			if err != nil {
				return nil, false, err
			}
			items = history.decided
		}
	}
	pending, err := p.leader.Pending(ctx, math.MaxInt)
	if err != nil {
		return nil, false, fmt.Errorf("journal: %w", err)
	}
	return slices.Concat(items, pending), committed, nil
}

// agree makes the state that of what is published, and returns the records that the
// journal needs before a checkpoint of it.
func (p *publisher) agree(pub *published, files []file, now time.Time, committed bool) ([]Record, error) {
	s := p.state
	recs := batch{state: s}
	if committed {
		if err := recs.add(s.record(KindCommit, s.sealed.generation, nil, nil)); err != nil {
			return nil, err
		}
	}
	body := documentsBody{Docs: p.offline.docs(), Files: files}
	if err := recs.add(s.record(KindDocuments, pub.timestamp.Version(), body, nil)); err != nil {
		return nil, err
	}
	signed := pub.timestamp.Expires().Add(-p.cfg.TimestampLifetime)
	if signed.After(now) {
		signed = now // the lifetime was longer then
	}
	p.state = &state{
		epoch: s.epoch, chain: s.chain, planned: s.planned, generation: pub.timestamp.Version(), signed: signed,
		expiry:    expiry{Snapshot: pub.expires.Unix(), Timestamp: pub.timestamp.Expires().Unix()},
		timestamp: pub.timestamp.Bytes(), snapshot: pub.snapshot,
		docs: p.offline.docs(), published: pub.offline.docs(), keys: pub.keys, bins: pub.bins,
	}
	return recs.records, nil
}

const unknownFate = "the journal was restored from a backup: whether this was published isn't known, and what is published now is another; if it is still wanted, submit it again with another ID"

// restoredOutcomes says what became of the items that an older journal holds, by
// what is published.
func (p *publisher) restoredOutcomes(ctx context.Context, items []Item, gen int64) ([]ItemOutcome, error) {
	outcomes := make([]ItemOutcome, len(items))
	later := map[string]bool{} // paths accounted for by a later item
	for n, it := range slices.Backward(items) {
		outcome := Outcome{State: Superseded, Generation: gen}
		for e := range it.edits {
			if later[e.Path] {
				continue
			}
			same, err := p.isPublished(ctx, e)
			if err != nil {
				return nil, err
			}
			if !same {
				outcome = Outcome{State: SetAside, Generation: gen, Reason: unknownFate}
				break
			}
			outcome.State = Published
		}
		if outcome.State != SetAside {
			for path := range it.paths {
				later[path] = true
			}
		}
		outcomes[n] = ItemOutcome{ID: it.ID, Outcome: outcome}
	}
	return outcomes, nil
}

// isPublished tells whether clients see what an edit asks for.
func (p *publisher) isPublished(ctx context.Context, e roles.TargetEdit) (bool, error) {
	if e.Target != nil && e.Target.Validate() != nil {
		return false, nil // others may fill a shared journal
	}
	i := p.offline.layout.Find(e.Path)
	bin, err := p.loadBin(ctx, i, p.state.bins[i])
	if err != nil {
		return false, err
	}
	published, found, err := bin.Lookup(e.Path)
	if err != nil || e.Target == nil || !found {
		return !found && e.Target == nil, err
	}
	a, err := bin.Edit(1, time.Unix(0, 0), []roles.TargetEdit{e})
	if err != nil {
		return false, err
	}
	b, err := bin.Edit(1, time.Unix(0, 0), []roles.TargetEdit{{Path: e.Path, Target: &published}})
	if err != nil {
		return false, err
	}
	return bytes.Equal(a.Canonical(), b.Canonical()), nil
}
