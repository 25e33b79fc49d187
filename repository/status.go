package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Status is what an operator watches.
type Status struct {
	Generation int64     `json:"generation"`      // the one that clients see; 0 before the first
	Signed     time.Time `json:"signed,omitzero"` // when it was

	// Leads reports whether this process is the publisher. Epoch is that of the newest lead that is known here: it
	// grows with each publisher that takes over or starts.
	Leads bool  `json:"leads"`
	Epoch int64 `json:"epoch"`

	// Queue is what no seal has decided yet. If Pending is 0, the last items may still be sealed
	// and not committed. An item is published once Receipt.Wait returns or Outcome says so, and not
	// before.
	Queue ledger.Backlog `json:"queue"`

	// Roles are all roles but the hashed bins, by name.
	Roles map[string]RoleStatus `json:"roles"`

	// BinCount is the number of hashed bins. FirstBinExpires is when the first of them
	// expires if it isn't renewed.
	BinCount        int       `json:"bin_count"`
	FirstBinExpires time.Time `json:"first_bin_expires,omitzero"`

	// Fullest are the three bins with the most bytes, the fullest first. An item is set aside if
	// its bin would pass 10,000,000 bytes, or the size that its key signs.
	Fullest []FullBin `json:"fullest"`

	// Quarantined are the bins whose stored bytes are not the published ones.
	// They and their items wait; all others are published.
	Quarantined []QuarantinedBin `json:"quarantined"`

	// Rotations are those that Rotate began and that are under way, by role.
	Rotations []Rotation `json:"rotations"`

	// Collection is what is superseded and waits to be deleted.
	Collection CollectionStatus `json:"collection"`

	// Err is why the last attempt to publish failed, or why it left out some bins: they could not
	// be read, signed or written, and are tried again. It also says what has expired: see Expired.
	// It is nil if that attempt succeeded and clients accept what is published.
	Err error `json:"-"` // in JSON: the text, as "error"

	// Problems are what an operator should do something about, now or soon, the worst first.
	// None: all is well.
	Problems []Problem `json:"problems"`

	online        map[string]bool // which of Roles are targets metadata that is signed online
	documentsWait bool            // some are accepted and not published
	unread        error           // why the public timestamp couldn't be read
	risks         []risk
}

// RoleStatus is the version of a role in force, and when it expires.
type RoleStatus struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

// FullBin is a hashed bin, how large its file is, and what fills it. The publisher looks into a bin
// once an hour at most, and only from 2,500,000 bytes on. Targets is 0 as long as it hasn't looked,
// and always in what ReadStatus returns. JSON leaves out what isn't known.
type FullBin struct {
	Bin          string `json:"bin"`
	Bytes        int64  `json:"bytes"`
	Targets      int    `json:"targets,omitzero"` // how many there are
	Largest      string `json:"largest,omitzero"` // path of the target that takes the most bytes
	LargestBytes int64  `json:"largest_bytes,omitzero"`
}

// QuarantinedBin is a bin that can't be changed, with the reason.
type QuarantinedBin struct {
	Bin    string `json:"bin"`
	Reason string `json:"reason"`
}

// CollectionStatus is what is superseded and not deleted yet: because the grace period isn't over, or
// because deleting is slow or fails. ReadStatus doesn't know the last four.
type CollectionStatus struct {
	Files   int       `json:"files"`           // files in the store; some may not be there
	Targets int       `json:"targets"`         // target files: see Config.DeleteTarget
	Oldest  time.Time `json:"oldest,omitzero"` // when the oldest of those files was superseded
	// Unlisted, unless it is zero, says that the store may have superseded files of generations up to
	// this one that are not counted here: only Sweep finds them. The journal lists at most 1,000,000
	// files, and knows none of those that a restoration found.
	Unlisted int64 `json:"unlisted,omitempty"`

	Overdue    time.Time `json:"overdue,omitzero"`      // since when the oldest could have been deleted; zero: it can't yet
	Error      string    `json:"error,omitempty"`       // why the last deletion failed; it is tried again
	GivenBack  int       `json:"given_back,omitempty"`  // target files that Config.DeleteTarget did not delete
	GivenError string    `json:"given_error,omitempty"` // why it did not, for the last of them
}

// Status returns the state of the repository. It does not wait for a generation under way. It reads
// nothing but the length and size of the queue. If the journal fails, Queue is what was known last, and Err and a
// Problem give the reason.
func (r *Repository) Status(ctx context.Context) (Status, error) {
	queue, unread := r.cfg.Journal.Backlog(ctx)
	switch {
	case unread == nil:
	case ctx.Err() != nil, errors.Is(unread, ErrClosed):
		return Status{}, fmt.Errorf("status: journal: %w", unread)
	default:
		unread = fmt.Errorf("the queue can't be read: journal: %w", unread)
	}
	r.mu.Lock()
	if unread != nil {
		queue = r.queueThen
	}
	r.queueThen = queue
	s, attempt, running := r.published, r.lastErr, r.running
	r.mu.Unlock()
	attempt = cmp.Or(attempt, s.Err, unread)
	s.Leads = context.Cause(r.alive) == nil
	s.Queue, s.Err = queue, attempt
	now := r.cfg.Now()
	s.Rotations = rotationsAt(s.Rotations, now)
	if err := s.Expired(now); err != nil {
		s.Err = errors.Join(s.Err, err)
	}
	s.Problems = s.problems(health{now: now, publisher: true, attempt: attempt, queue: unread, ended: context.Cause(r.alive), running: running, cfg: r.cfg})
	return s, nil
}

// status is the publisher's part of a Status.
func (p *publisher) status() Status {
	s := Status{
		Generation: p.state.Generation,
		Signed:     p.state.Signed,
		Epoch:      max(p.epoch, p.state.Epoch),
		Roles:      map[string]RoleStatus{},
		BinCount:   p.docs.online.starts[len(p.docs.online.sets)],

		online: map[string]bool{}, documentsWait: p.documentsWait(), unread: p.unread, risks: p.docs.risks,
	}
	for role, expires := range p.docs.expiries() {
		s.Roles[role] = RoleStatus{p.docs.installed[role].Version, expires}
	}
	if s.Generation > 0 {
		s.Roles[metadata.SNAPSHOT] = RoleStatus{s.Generation, time.Unix(p.state.Expires.Snapshot, 0).UTC()}
		s.Roles[metadata.TIMESTAMP] = RoleStatus{s.Generation, time.Unix(p.state.Expires.Timestamp, 0).UTC()}
	}
	s.Fullest = p.fullest.of(p)
	var first int64
	for i := range p.docs.online.len() {
		row := p.row(i)
		switch {
		case row.Version == 0:
		case p.docs.online.set(i) < 0:
			s.online[p.name(i)] = true
			s.Roles[p.name(i)] = RoleStatus{row.Version, time.Unix(row.Expires, 0).UTC()}
		case first == 0 || row.Expires < first:
			first = row.Expires
			s.FirstBinExpires = time.Unix(first, 0).UTC()
		}
	}
	for i, q := range p.quarantine {
		s.Quarantined = append(s.Quarantined, QuarantinedBin{p.name(i), q.err.Error()})
	}
	s.Collection = p.collectionStatus()
	s.Err = p.leftOutErr()
	s.Rotations = p.rotations()
	slices.SortFunc(s.Quarantined, func(a, b QuarantinedBin) int { return cmp.Compare(a.Bin, b.Bin) })
	return s
}

// ReadStatus returns the state of a repository, for a process that isn't the publisher. It shows the
// newest generation whose commit the journal records. The publisher may be running, stopped or dead.
//
// Only the publisher knows Quarantined, and why an attempt to publish failed. Here Err says what has
// expired, by the system's clock, and nothing else. If a publisher makes no progress, Signed and
// Queue.Oldest show it, and a Problem says so. Until when a rotation waits for caches is reckoned with
// the default of Config.CacheAge and ClientRun.
//
// It reads what Open reads. Errors wrap ErrNotRepository, or ErrDiverged if the store doesn't have the
// offline documents in force, and then ErrNotExist too if a file is missing.
func ReadStatus(ctx context.Context, store Store, journal Reader) (Status, error) {
	p := publisher{cfg: Config{Store: store, CacheAge: time.Hour, ClientRun: time.Hour}}
	h, err := readHistory(ctx, journal)
	if err == nil {
		p.state, p.unwritten = &h.State, h.State.Unwritten
		// A reader has no signers: the table says which roles are signed online.
		err = p.loadDocuments(ctx, func(role string) bool {
			_, published := h.State.Table.Roles[role]
			_, installed := h.State.Documents[role]
			return published || !installed
		})
	}
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", orAnother(ctx, store, journal, journal, err))
	}
	s := p.status()
	s.Queue = h.Backlog()
	now := time.Now()
	s.Rotations = rotationsAt(s.Rotations, now)
	s.Err = s.Expired(now)
	s.Problems = s.problems(health{now: now})
	return s, nil
}

// emptyJournal says why there is no repository where nothing but the journal is read.
const emptyJournal = "the journal is empty: nothing was created in it yet, or it is not the repository's"

// readHistory folds what a journal says from its newest checkpoint on, with the queue.
func readHistory(ctx context.Context, journal Reader) (*ledger.History, error) {
	h := &ledger.History{}
	for step, err := range journal.Read(ctx, ledger.FromCheckpoint) {
		if err == nil {
			err = h.Apply(step)
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
	}
	if h.State.Chain == "" {
		return nil, fmt.Errorf("%w: %s", ErrNotRepository, emptyJournal)
	}
	return h, nil
}
