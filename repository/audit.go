package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Files is the half of a Store that changes nothing. ReadFS makes one of any
// folder.
type Files interface {
	Get(ctx context.Context, name string) ([]byte, error)
	List(ctx context.Context) iter.Seq2[Info, error]
}

// AuditConfig says what Audit looks at beside the metadata. The zero value is a
// good default.
type AuditConfig struct {
	// Targets is where the target files are, as Handler serves them. Every file
	// is read, under each of its names. Nil: they aren't looked at.
	Targets fs.FS

	// Log is what the journal says, as a Reader returns it, to be
	// compared with what is published. It must have been read before Audit is
	// called. Nil: there is no journal, or it is no concern.
	Log *Log

	// Soon is how long before it expires a document that people sign is warned
	// of: root, targets, and what they delegate to but for hashed bins. Zero: 30
	// days.
	Soon time.Duration

	// SoonOnline is that for timestamp, snapshot and hashed bins, which a
	// publisher renews in time while all is well. Zero: 6 hours.
	SoonOnline time.Duration

	// Now tells the time. Nil: time.Now.
	Now func() time.Time
}

// Audit checks all the metadata that clients can come to, whoever published it,
// and yields what is wrong with it. It goes the way of a client, from the oldest
// root there is to the newest, by the timestamp to the snapshot, and then to
// every delegated role and bin, and unlike a client it goes on behind what it
// finds wrong. A file that clients refuse yields one finding, of the first reason
// in their order; expiry and what is in the file have findings of their own.
// Then it lists the store for names that nothing refers to.
//
// It changes nothing. With a publisher at work it judges the generation whose
// timestamp it reads, and notes names of later ones as orphans. Files of earlier
// generations are what clients that paused may ask for; they aren't read.
//
// An error ends it and means that the audit could not be done: the context's, one
// from listing the store, or one that wraps ErrNotRepository where there is no
// root at all. A file that can't be read is a finding.
//
// Cost: every file in use is read and verified once. Memory is that of the names,
// of the snapshot and of one document for each level of delegation.
func Audit(ctx context.Context, store Files, cfg AuditConfig) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		a := &auditor{ctx: ctx, store: store, cfg: cfg, yield: yield, used: map[string]bool{}}
		if a.cfg.Soon == 0 {
			a.cfg.Soon = 30 * 24 * time.Hour
		}
		if a.cfg.SoonOnline == 0 {
			a.cfg.SoonOnline = 6 * time.Hour
		}
		if a.cfg.Now == nil {
			a.cfg.Now = time.Now
		}
		a.now = a.cfg.Now()
		err := a.audit()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !a.stopped {
			yield(Finding{}, fmt.Errorf("audit: %w", err))
		}
	}
}

// auditor is one run of Audit.
type auditor struct {
	ctx   context.Context
	store Files
	cfg   AuditConfig
	now   time.Time
	yield func(Finding, error) bool

	stopped bool            // yield returned false: it must not be called again
	listed  []string        // all names in the store
	used    map[string]bool // names that clients ask for
	partial bool            // something wasn't followed, so unused names may be in use

	consistent bool // versions are in the names
	journal    journalView
	snapshot   metadata.SnapshotType
	current    map[string]int64 // versions of all roles that the snapshot names, and its own
}

func (a *auditor) audit() error {
	if err := a.list(); err != nil {
		return err
	}
	root, err := a.roots()
	if err != nil || root == nil {
		return err
	}
	a.consistent = root.Signed().ConsistentSnapshot
	authorities := a.topLevel(root)
	a.readLog()
	if a.timestampAndSnapshot(authorities) {
		a.walk(authorities[metadata.TARGETS])
		a.unreachable()
		a.succession(authorities[metadata.SNAPSHOT])
	}
	a.leftovers()
	return nil
}

// done tells that nobody waits for more findings.
func (a *auditor) done() bool { return a.stopped || a.ctx.Err() != nil }

func (a *auditor) report(f Finding) {
	if !a.done() && !a.yield(f, nil) {
		a.stopped = true
	}
}

func (a *auditor) errorf(check, name, format string, args ...any) {
	a.report(Finding{Severity: SeverityError, Check: check, Name: name, Problem: fmt.Sprintf(format, args...)})
}

func (a *auditor) warnf(check, name, format string, args ...any) {
	a.report(Finding{Severity: SeverityWarning, Check: check, Name: name, Problem: fmt.Sprintf(format, args...)})
}

func (a *auditor) notef(check, name, format string, args ...any) {
	a.report(Finding{Severity: SeverityNote, Check: check, Name: name, Problem: fmt.Sprintf(format, args...)})
}

func (a *auditor) list() error {
	for info, err := range a.store.List(a.ctx) {
		if err != nil {
			return err
		}
		a.listed = append(a.listed, info.Name)
	}
	return nil
}

// get returns a file, or reports that it isn't there.
func (a *auditor) get(name string) ([]byte, bool) {
	if a.done() {
		return nil, false
	}
	a.used[name] = true
	data, err := a.store.Get(a.ctx, name)
	switch {
	case err == nil:
		return data, true
	case a.ctx.Err() != nil:
	case errors.Is(err, ErrNotExist):
		a.errorf(checkMissing, name, "clients ask for it, and it does not exist")
	default:
		a.errorf(checkUnreadable, name, "it can't be read: %v", err)
	}
	return nil, false
}

// fileName is the name of a role's file (TUF specification, 6.2).
func (a *auditor) fileName(role string, version int64) string {
	if a.consistent {
		return versioned(version, role)
	}
	return role + ".json"
}

// timestampAndSnapshot tells whether there is a snapshot to go on from.
func (a *auditor) timestampAndSnapshot(authorities map[string]authority) bool {
	timestamp := fetch[metadata.TimestampType](a, expected{
		name: timestampName, authority: authorities[metadata.TIMESTAMP],
		limit: timestampLimit,
	})
	if timestamp == nil {
		a.partial = true
		return false
	}
	a.expiry(timestampName, timestamp.Expires(), a.cfg.SoonOnline)
	a.compareTimestamp(timestamp)
	meta := timestamp.Signed().Meta["snapshot.json"]
	name := a.fileName(metadata.SNAPSHOT, meta.Version)
	snapshot := fetch[metadata.SnapshotType](a, expected{
		name: name, authority: authorities[metadata.SNAPSHOT], meta: *meta, limit: snapshotLimit,
	})
	if snapshot == nil {
		a.partial = true
		return false
	}
	a.expiry(name, snapshot.Expires(), a.cfg.SoonOnline)
	a.snapshot = snapshot.Signed()
	a.current = map[string]int64{metadata.SNAPSHOT: meta.Version}
	for file, m := range a.snapshot.Meta {
		role, ok := roleOf(file)
		if !ok {
			a.errorf(checkFormat, name, "it names %q, which is no metadata file", file)
			continue
		}
		a.current[role] = m.Version
	}
	return true
}

// snapshotLimit is what clients read of a snapshot whose length they aren't told.
const snapshotLimit = 2_000_000
