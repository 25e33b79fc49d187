package repository

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// SweptFile is what a sweep says about one file of the store.
type SweptFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Delete bool   `json:"delete"` // whether the sweep deletes it; or would, in a dry run
	Why    string `json:"why"`    // "published", "superseded by generation 41, kept until …", …
}

// sweepChunk is how many files are looked at in a row: publishing waits meanwhile.
const sweepChunk = 1000

// Sweep lists the whole store, and deletes the superseded files in it. Run deletes those that the journal
// lists, and needs no sweep. A sweep finds the others: of a restoration, of a journal that listed more
// than it can (see CollectionStatus.Unlisted), of a publisher that was killed long ago. It yields every
// file, with the reason why it stays or goes. A name that Bindery didn't make is left alone. So is every
// root.
//
// If dryRun is true, nothing is deleted, and Delete says what would be. Otherwise Sweep yields a file
// once it is deleted. Uploads are published meanwhile, between chunks of 1,000 files. A caller may stop
// early. The sweep is complete only if the iteration ends by itself and without an error.
//
// Sweep is refused while clients may need files that no list has: for a grace period (see
// Config.CacheAge) after Open, and after the clock was set. The error says until when. A dry run isn't
// refused. An error ends the iteration. Otherwise it is the context's, the store's, the journal's, or the
// repository's: if another publisher took over, it wraps ErrFenced.
func (r *Repository) Sweep(ctx context.Context, dryRun bool) iter.Seq2[SweptFile, error] {
	return func(yield func(SweptFile, error) bool) {
		if err := r.sweep(ctx, dryRun, yield); err != nil {
			yield(SweptFile{}, fmt.Errorf("sweep: %w", r.orEnded(err)))
		}
	}
}

func (r *Repository) sweep(ctx context.Context, dryRun bool, yield func(SweptFile, error) bool) error {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	var s sweeper
	err := r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
		s = sweeper{left: func(generation int64, _ time.Time) time.Duration { return p.graceLeft(generation) }, now: p.cfg.Now}
		if dryRun {
			return nil
		}
		if err := p.finish(ctx); err != nil {
			return err
		}
		s.swept = p.state.Generation
		return p.maySweep(ctx)
	})
	if err != nil {
		return err
	}
	all, err := s.chunks(ctx, r.cfg.Store, func(files []SweptFile) error {
		return r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
			s.judge(p.state, files)
			if dryRun {
				return nil
			}
			return p.sweepFiles(ctx, files)
		})
	}, yield)
	if err != nil || !all || dryRun {
		return err
	}
	return r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
		return p.append(ctx, p.state.Generation, &ledger.Collected{Through: p.state.Collected, Swept: s.swept})
	})
}

// maySweep refuses a sweep that could delete what clients need.
func (p *publisher) maySweep(ctx context.Context) error {
	if _, err := p.checkClock(); err != nil {
		return err
	}
	left, why := p.stepLeft(), "the clock was set"
	if opened := p.cfg.grace() - passed(p.clock.opened, p.clock.look()); opened > left {
		left, why = opened, "the repository was opened"
	}
	if unlisted := p.graceLeft(p.state.Unlisted); p.state.Unlisted > 0 && unlisted > left {
		left, why = unlisted, fmt.Sprintf("generation %d superseded more files than the journal lists", p.state.Unlisted)
	}
	if left > 0 {
		return fmt.Errorf("it is refused until %s: %s less than a grace period of %v ago, and clients may need files that no list has",
			p.cfg.Now().Add(left).Round(time.Second).UTC().Format(time.RFC3339), why, p.cfg.grace())
	}
	return p.checkOwn(ctx)
}

// sweepFiles deletes those files that the sweeper condemned.
func (p *publisher) sweepFiles(ctx context.Context, files []SweptFile) error {
	if p.state.Sealed != nil {
		return fmt.Errorf("generation %d is sealed and not committed: sweep once Run has committed it", p.state.Last())
	}
	if err := p.checkOwn(ctx); err != nil {
		return err
	}
	return parallel.All(ctx, p.cfg.Workers, files, func(ctx context.Context, f SweptFile) error {
		if !f.Delete {
			return nil
		}
		return deleteFile(ctx, p.cfg.Store, f.Name)
	})
}

// ReadSweep is a dry run of Sweep for a process that isn't the publisher: it says of every file in the
// store whether a sweep would delete it now, if grace is the grace period of the publisher. It goes by
// the newest generation whose commit the journal records, and by the commits' times in the journal. It
// may run alongside a publisher. Then it can say of a file that was written meanwhile that a generation
// is under way.
//
// Errors wrap ErrNotRepository, or ErrDiverged if store and journal belong to different repositories (see Belong), or are the
// store's or the journal's.
func ReadSweep(ctx context.Context, store Store, journal Reader, grace time.Duration) iter.Seq2[SweptFile, error] {
	return func(yield func(SweptFile, error) bool) {
		h, err := readHistory(ctx, journal)
		if err == nil {
			err = hasDocuments(&h.State)
		}
		if belongs := belong(ctx, store, journal); err == nil && errors.Is(belongs, errAnother) {
			err = belongs // by another's journal, most files would seem to be superseded
		}
		if err == nil {
			s := sweeper{left: func(_ int64, at time.Time) time.Duration { return grace - time.Since(at) }, now: time.Now}
			_, err = s.chunks(ctx, store, func(files []SweptFile) error {
				s.judge(&h.State, files)
				return nil
			}, yield)
		}
		if err != nil {
			yield(SweptFile{}, fmt.Errorf("sweep: %w", err))
		}
	}
}

// sweeper decides about files.
type sweeper struct {
	// left is how long it is until the grace of what a generation superseded ends, whose commit record is
	// of the time given. It is asked for each file: a clock that is set during the sweep changes nothing.
	left  func(generation int64, at time.Time) time.Duration
	now   func() time.Time // for words only
	swept int64            // the committed generation when the sweep began

	listed    map[string]int64    // garbage, by name: the generation that superseded it
	committed map[int64]time.Time // the time of that generation's commit record
	newest    int64               // generation whose garbage is in listed
}

// chunks lists the store. It has each chunk of files judged, and then yields it. It reports whether it
// came to the end.
func (s *sweeper) chunks(ctx context.Context, store Store, judge func([]SweptFile) error, yield func(SweptFile, error) bool) (all bool, err error) {
	var files []SweptFile
	flush := func() (bool, error) {
		if err := judge(files); err != nil {
			return false, err
		}
		for _, f := range files {
			if !yield(f, nil) {
				return false, nil
			}
		}
		files = files[:0]
		return true, nil
	}
	for info, err := range store.List(ctx) {
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		files = append(files, SweptFile{Name: info.Name, Bytes: info.Size})
		if len(files) == sweepChunk {
			if ok, err := flush(); !ok {
				return false, err
			}
		}
	}
	return flush()
}

// judge decides about files by the present state.
func (s *sweeper) judge(state *ledger.State, files []SweptFile) {
	if s.listed == nil {
		s.listed, s.committed = map[string]int64{}, map[int64]time.Time{}
	}
	// What was collected meanwhile stays in the list. That does no harm: it is gone.
	for _, g := range state.Garbage {
		if g.Generation <= s.newest {
			continue
		}
		for name := range g.Names {
			s.listed[name] = g.Generation
		}
		s.newest, s.committed[g.Generation] = g.Generation, g.Time
	}
	for n := range files {
		files[n].Delete, files[n].Why = s.verdict(state, files[n].Name)
	}
}

// verdict says whether a file is to be deleted, and why or why not.
func (s *sweeper) verdict(state *ledger.State, name string) (del bool, why string) {
	if why := keeps(state, name); why != "" {
		return false, why
	}
	if by, ok := s.listed[name]; ok {
		if left := s.left(by, s.committed[by]); left > 0 {
			return false, fmt.Sprintf("superseded by generation %d, kept until %s", by, s.now().Add(left).Round(time.Second).UTC().Format(time.RFC3339))
		}
		return true, fmt.Sprintf("superseded by generation %d", by)
	}
	version, role, _ := ledger.ParseName(name)
	row, online := state.Table.Row(role)
	published, byPeople := state.Published[role]
	switch {
	case role == metadata.SNAPSHOT:
		return true, fmt.Sprintf("a snapshot before generation %d", state.Generation)
	case online && version < row.Version:
		return true, fmt.Sprintf("superseded: version %d is published", row.Version)
	case online:
		return true, fmt.Sprintf("of a generation that was given up: version %d is published", row.Version)
	case byPeople && version < published.Version:
		return true, fmt.Sprintf("superseded: version %d is published", published.Version)
	case byPeople:
		return false, fmt.Sprintf("nobody accepted it: version %d is published", published.Version)
	}
	return false, "no role of this name is known"
}
