package repository

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bindery-tuf/bindery/roles"
)

// publisher owns everything that is written after an item was queued. It has no
// lock of its own: Repository lets one goroutine at a time use it.
type publisher struct {
	cfg     Config
	log     *slog.Logger
	leader  Leader
	clock   *clock
	state   *state
	offline *offline
	cache   *binCache

	snapshot *roles.Snapshot // of the committed generation, kept to be edited
	next     *roles.Snapshot // of the sealed one

	rebuild    *rebuilder    // of bins that the store lost
	quarantine map[int]error // bins whose stored bytes aren't what the journal says
	patience   time.Duration // until they are looked at again
	waiting    int           // pending items that touch them
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

// append makes records durable and only then part of the state.
func (p *publisher) append(ctx context.Context, recs ...Record) error {
	if err := p.leader.Append(ctx, recs...); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, r := range recs {
		p.logged += len(r.Body) + 100*len(r.Outcomes) + 200
		if err := p.state.apply(r); err != nil {
			return fatal(err)
		}
	}
	return nil
}

// writeDocuments writes accepted offline documents until all are durable. Those
// that must appear together with a timestamp are left to finish.
func (p *publisher) writeDocuments(ctx context.Context, atCommit bool) error {
	left := p.state.unwritten[:0:0]
	for _, f := range p.state.unwritten {
		if f.AtCommit && !atCommit {
			left = append(left, f)
			continue
		}
		if err := p.cfg.Store.Create(ctx, f.Name, f.Data); err != nil {
			return conflictIsFatal(fmt.Errorf("write %s: %w", f.Name, err))
		}
	}
	p.state.unwritten = left
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

// finish commits a sealed generation. Everything that it names is durable, so it
// is never given up: it is tried until it succeeds, also after a restart.
func (p *publisher) finish(ctx context.Context) error {
	s := p.state.sealed
	if s == nil {
		return nil
	}
	// A caller that stops waiting must not leave the outcome open.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := p.writeDocuments(ctx, true); err != nil {
		return fmt.Errorf("commit generation %d: %w", s.generation, err)
	}
	if err := p.cfg.Store.Swap(ctx, timestampName, p.state.timestamp, s.Timestamp); err != nil {
		return conflictIsFatal(fmt.Errorf("commit generation %d: %s: %w", s.generation, timestampName, err))
	}
	rec, err := p.state.record(KindCommit, s.generation, nil, nil)
	if err != nil {
		return fatal(err)
	}
	if err := p.append(ctx, rec); err != nil {
		return fmt.Errorf("commit generation %d: %w", s.generation, err)
	}
	p.snapshot, p.next = p.next, nil
	for _, b := range s.Bins {
		p.rebuild.forget(b.Index)
	}
	return nil
}

// binRecord is about how many bytes a checkpoint takes for each bin.
const binRecord = 150

// checkpoint lets a later Open read little, once much was logged.
func (p *publisher) checkpoint(ctx context.Context) error {
	// A large table is written more rarely. What the journal adds to it isn't counted:
	// it is little beside the bins that were written meanwhile.
	if p.logged < max(p.cfg.CheckpointBytes, 4*binRecord*len(p.state.bins)) || p.state.sealed != nil || len(p.state.unwritten) > 0 {
		return nil
	}
	rec, err := p.state.checkpoint()
	if err != nil {
		return fatal(err)
	}
	if err := p.append(ctx, rec); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	p.logged = 0
	return nil
}

// binSchedule and mustRenew say which bins are to be signed again.
func (p *publisher) binSchedule() schedule {
	return schedule{bins: p.offline.layout.Len(), lifetime: p.cfg.BinLifetime}
}

func (p *publisher) quarantined(bin int) bool { return p.quarantine[bin] != nil }

// mustRenew lists the bins that clients would refuse whatever their age: those
// never published, those whose files the store lost, and those signed by a key that
// the bins document in force doesn't name.
func (p *publisher) mustRenew(bins []binState) []int {
	trusted := p.trusted()
	var must []int
	for i, b := range bins {
		if p.refused(i, b, trusted) && !p.quarantined(i) {
			must = append(must, i)
		}
	}
	return must
}

// trusted tells of each of the state's keys whether the bins document in force names it.
func (p *publisher) trusted() []bool {
	trusted := make([]bool, len(p.state.keys))
	for i, name := range p.state.keys {
		for _, k := range p.offline.binKeys.Keys {
			trusted[i] = trusted[i] || keyName(k) == name
		}
	}
	return trusted
}

func (p *publisher) refused(i int, b binState, trusted []bool) bool {
	return b.Version == 0 || !trusted[b.Key] || p.rebuild.wants(i)
}

// How long a quarantined bin waits to be looked at again: it doubles from the
// first to the last.
const (
	firstRecheck = time.Second
	lastRecheck  = time.Minute
)

// dueAt returns when the next generation is due even if nobody adds anything: the
// zero time if something was left to do, or if an expiry is further away than it
// can be by the clock.
func (p *publisher) dueAt(now time.Time) time.Time {
	s := p.state
	if s.generation == 0 || s.sealed != nil || len(s.unwritten) > 0 || !s.docs.sameSnapshot(s.published) ||
		time.Unix(s.expiry.Snapshot, 0).Sub(now) > p.cfg.SnapshotLifetime ||
		time.Unix(s.expiry.Timestamp, 0).Sub(now) > p.cfg.TimestampLifetime {
		return time.Time{}
	}
	at := s.signed.Add(min(p.cfg.SnapshotLifetime, p.cfg.TimestampLifetime) / 2)
	// One walk over the table: this is asked for at every wake-up.
	schedule, trusted := p.binSchedule(), p.trusted()
	for i, b := range s.bins {
		if p.quarantined(i) {
			continue
		}
		if p.refused(i, b, trusted) || schedule.due(i, b, now) {
			return time.Time{}
		}
		if t := time.Unix(schedule.next(i, b.Signed), 0); t.Before(at) {
			at = t
		}
	}
	return at
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

// warnOffline logs, once a day, which offline documents expire within 30 days.
func (p *publisher) warnOffline(now time.Time) {
	if now.Sub(p.warned) < 24*time.Hour {
		return
	}
	for name, expires := range map[string]time.Time{
		"root": p.offline.root.Expires(), "targets": p.offline.targets.Expires(), "bins": p.offline.bins.Expires(),
	} {
		if left := expires.Sub(now); left < 30*24*time.Hour {
			p.warned = now
			p.log.Warn("an offline document expires soon: hold a ceremony",
				"role", name, "expires", expires, "days", int(left.Hours()/24))
		}
	}
}
