package repository

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/clients"
	"github.com/bindery-tuf/bindery/roles"
)

// Severity says how bad a Problem is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // clients or uploads fail, or wait for an operator, now
	SeverityWarning Severity = "warning" // they will, unless somebody does something
)

// Problem is something that an operator should do something about.
type Problem struct {
	Severity Severity  `json:"severity"`
	What     string    `json:"what"`
	Advice   string    `json:"advice"`
	From     time.Time `json:"from,omitzero"` // since when, or from when on; zero: now
}

// What is worth a problem.
const (
	soonOffline = 60 * day        // documents that people sign expire
	longInQueue = 5 * time.Minute // an item waits
)

// health is what the problems depend on in addition to the Status itself.
type health struct {
	now       time.Time
	publisher bool  // whether the fields below are known
	attempt   error // why the last attempt failed
	queue     error // why the queue can't be read
	ended     error // why the repository can't be used any longer
	running   bool
	cfg       Config
}

// problems returns what an operator should act on, the worst first.
func (s Status) problems(h health) []Problem {
	var all []Problem
	add := func(severity Severity, from time.Time, advice, format string, args ...any) {
		all = append(all, Problem{severity, fmt.Sprintf(format, args...), advice, from})
	}
	for _, role := range slices.SortedFunc(maps.Keys(s.Roles), topLevelFirst) {
		s.roleProblem(role, h, add)
	}
	if at := s.FirstBinExpires; !at.IsZero() {
		switch left := at.Sub(h.now); {
		case left <= 0:
			add(SeverityError, at, whyNotRenewed, "a bin %v %s: clients refuse every target in it", ErrExpired, clients.Ago(at, h.now))
		case h.publisher && left < (h.cfg.BinLifetime-h.cfg.BinRenewal)/2:
			add(SeverityWarning, at, whyNotRenewed, "a bin is not renewed: it expires at %s", at.Format(time.RFC3339))
		}
	}
	if n := len(s.Quarantined); n > 0 {
		q := s.Quarantined[0]
		add(SeverityError, time.Time{}, "put the files back into the store, or call Rebuild for each bin",
			"%d bins are quarantined, and their items wait: %s: %s", n, q.Bin, q.Reason)
	}
	if len(s.Fullest) > 0 && s.Fullest[0].Bytes > roles.MaxTargetsWithLength/10*9 {
		f := s.Fullest[0]
		add(SeverityWarning, time.Time{}, "remove targets from it, or have less custom data in them: see Status.Fullest",
			"bin %s is nearly full: it has %d bytes, and what would make it pass %d is set aside", f.Bin, f.Bytes, roles.MaxTargetsWithLength)
	}
	if old := s.Queue.Oldest; !old.IsZero() && h.now.Sub(old) > longInQueue {
		add(SeverityError, old, "see the other problems and the publisher's log; if there are none, the publisher doesn't run or doesn't keep up",
			"an item waits since %s, with %d others", old.Format(time.RFC3339), s.Queue.Pending-1)
	}
	if !h.publisher && s.Signed.Sub(h.now) > backTolerance { // one that leads has ErrClock
		add(SeverityWarning, time.Time{}, "set the clock of this machine or of the publisher's, whichever is wrong",
			"it is %s by this machine's clock, and the last generation was signed at %s: a publisher on this machine would sign nothing",
			h.now.UTC().Format(time.RFC3339), s.Signed.Format(time.RFC3339))
	}
	for _, r := range s.risks {
		if r.lasting {
			add(SeverityWarning, time.Time{}, r.advice, "%s", r.what)
		}
	}
	if h.publisher {
		s.publisherProblems(h, add)
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(a.Severity, b.Severity) })
	return all
}

const whyNotRenewed = "Run renews it: make sure that it runs, and see why publishing fails"

// roleProblem is about when a role expires.
func (s Status) roleProblem(role string, h health, add func(Severity, time.Time, string, string, ...any)) {
	r := s.Roles[role]
	advice := whyNotRenewed
	soon := soonOffline
	switch {
	case role == metadata.SNAPSHOT || role == metadata.TIMESTAMP:
		soon = r.Expires.Sub(s.Signed) / 4 // it is renewed after half of it, unless configured otherwise
		if h.publisher && role == metadata.SNAPSHOT {
			soon = (h.cfg.SnapshotLifetime - h.cfg.SnapshotRenewal) / 2
		} else if h.publisher {
			soon = (h.cfg.TimestampLifetime - h.cfg.TimestampRenewal) / 2
		}
	case s.online[role]:
		soon = (h.cfg.BinLifetime - h.cfg.BinRenewal) / 2
	default:
		advice = "hold a ceremony, and install the next version"
	}
	if err := r.expired(role, h.now); err != nil {
		add(SeverityError, r.Expires, advice, "%v", err)
	} else if r.Version > 0 && r.Expires.Sub(h.now) < soon {
		add(SeverityWarning, r.Expires, advice, "%s version %d expires at %s", role, r.Version, r.Expires.Format(time.RFC3339))
	}
}

// publisherProblems are those that only the publisher knows of.
func (s Status) publisherProblems(h health, add func(Severity, time.Time, string, string, ...any)) {
	switch {
	case errors.Is(h.ended, ErrDiverged):
		add(SeverityError, time.Time{}, "find out who else writes into the store, and stop that; then open the repository again: Open says what can be done",
			"nothing is published: %v", h.ended)
	case h.ended != nil:
		add(SeverityError, time.Time{}, "close the repository and open it again", "nothing is published: %v", h.ended)
	case !h.running && s.Queue.Pending > 0:
		add(SeverityError, time.Time{}, "call Run", "Run isn't running: nothing is published or renewed")
	case !h.running:
		add(SeverityWarning, s.Roles[metadata.TIMESTAMP].Expires, "call Run", "Run isn't running: nothing is published or renewed")
	}
	if h.queue != nil && h.ended == nil {
		add(SeverityError, time.Time{}, "see whether the journal's disk or database works and can be reached; it is tried again", "%v", h.queue)
	}
	if h.attempt != nil && h.ended == nil && h.attempt != h.queue {
		add(SeverityError, time.Time{}, adviceFor(h.attempt), "publishing fails: %v", h.attempt)
	}
	if s.unread != nil && h.attempt == nil && h.ended == nil {
		add(SeverityWarning, time.Time{}, "see whether the store works; it is read again each minute", "the public timestamp can't be read: %v", s.unread)
	}
	s.collectionProblems(h, add)
	const advice = "slow down, or raise Config.MaxPending or MaxPendingBytes"
	switch q := s.Queue; {
	case q.Pending >= h.cfg.MaxPending || q.Bytes >= h.cfg.MaxPendingBytes:
		add(SeverityError, time.Time{}, advice, "the queue is full: %d items of %d bytes are pending, and Submit refuses more", q.Pending, q.Bytes)
	case q.Pending >= h.cfg.MaxPending/5*4 || q.Bytes >= h.cfg.MaxPendingBytes/5*4:
		add(SeverityWarning, time.Time{}, advice, "the queue is nearly full: %d items of %d bytes are pending", q.Pending, q.Bytes)
	}
	for _, x := range s.Rotations {
		if x.elsewhere && x.State == RotationSigning {
			add(SeverityWarning, time.Time{}, "configure this key, or let a publisher that has it go on",
				"the rotation of %s waits: it goes to key %s, which isn't configured here", x.Role, x.To)
		}
	}
	if s.documentsWait && h.attempt == nil && h.ended == nil && !h.running {
		add(SeverityWarning, time.Time{}, "call Run, or Install again", "documents are accepted, and not yet published")
	}
}

// collectionProblems are about what should have been deleted.
func (s Status) collectionProblems(h health, add func(Severity, time.Time, string, string, ...any)) {
	c := s.Collection
	if h.cfg.CollectPerMinute < 0 || h.ended != nil {
		return
	}
	switch {
	case c.Error != "":
		add(SeverityWarning, time.Time{}, "see whether the store deletes files, and allows it; it is tried again", "superseded files can't be deleted: %s", c.Error)
	case !c.Overdue.IsZero() && h.now.Sub(c.Overdue) > lateCollection && h.running:
		add(SeverityWarning, c.Overdue, "raise Config.CollectPerMinute, or have fewer generations: raise Config.MaxDelay",
			"superseded files are not deleted fast enough: %d wait", c.Files)
	}
	if c.GivenBack > 0 {
		add(SeverityWarning, time.Time{}, "see why Config.DeleteTarget fails; it is tried again", "%d target files can't be deleted: %s", c.GivenBack, c.GivenError)
	}
	if c.Unlisted > 0 {
		add(SeverityWarning, time.Time{}, "call Sweep once",
			"the store may have superseded files, of generations up to %d, that only a sweep finds", c.Unlisted)
	}
}

// adviceFor says what can be done about a failed attempt.
func adviceFor(err error) string {
	switch {
	case errors.Is(err, ErrClock):
		return "set the machine's clock, or call AcceptClock if it is right"
	case errors.Is(err, ErrNotNow):
		return "it is tried again; see why Config.Approve can't say"
	case errors.Is(err, ErrWrongKey):
		return "configure the key that the documents in force name, or install documents that name this one"
	case errors.Is(err, syscall.ENOSPC):
		return "make room on the disk; it is tried again"
	case errors.As(err, new(signError)):
		return "see whether the key's service works; it is tried again"
	}
	return "it is tried again, after pauses that grow to a minute; see whether the store and the keys' services work"
}

// MarshalJSON encodes the whole Status, for a health endpoint. Names are in lower case with "_", times
// as in RFC 3339, errors as text. Empty lists are included. Zero times are not.
func (s Status) MarshalJSON() ([]byte, error) {
	type plain Status
	out := struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain: plain(s)}
	if s.Err != nil {
		out.Error = strings.ToValidUTF8(s.Err.Error(), "?")
	}
	out.Fullest = append([]FullBin{}, s.Fullest...)
	out.Quarantined = append([]QuarantinedBin{}, s.Quarantined...)
	out.Rotations = append([]Rotation{}, s.Rotations...)
	out.Problems = append([]Problem{}, s.Problems...)
	if out.Roles == nil {
		out.Roles = map[string]RoleStatus{}
	}
	return json.Marshal(out)
}
