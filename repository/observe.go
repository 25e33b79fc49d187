package repository

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Stage is a step of publishing that Config.Observe is told of. See the package comment.
type Stage string

// The stages, in the order in which a generation goes through them.
const (
	StageRead       Stage = "read"       // Items, and Roles and Bytes of the bins that were read and kept
	StagePlan       Stage = "plan"       // Items that are decided, Roles that are to be signed; calls of Config.Approve included
	StageDecide     Stage = "decide"     // Items whose outcomes were recorded without a generation
	StageIntent     Stage = "intent"     // Roles that may be written
	StageSign       Stage = "sign"       // one signature: Role, Key, and Bytes that were signed; attempts that a signer repeated included
	StageWrite      Stage = "write"      // one file of the store: Role and Bytes
	StageSeal       Stage = "seal"       // Items and Roles
	StageCommit     Stage = "commit"     // Items; the swap, the record and documents that are written with them
	StageCheckpoint Stage = "checkpoint" // Roles in the table
	StageGeneration Stage = "generation" // the whole, commit included, or up to what failed: Cause, Items and Roles
)

// Causes of a generation. If there are several, the first of these counts.
const (
	CauseCreate    = "create"    // the first generation
	CauseDocuments = "documents" // documents that people signed
	CauseRebuild   = "rebuild"   // bins that the store had lost
	CauseRestore   = "restore"   // RestoreStore or RestoreJournal
	CauseItems     = "items"     // uploads and removals
	CauseRotation  = "rotation"  // roles that go over to another key: see Rotate
	CauseRenewal   = "renewal"   // what would expire
)

// Event says that a stage ended.
type Event struct {
	Stage      Stage
	Generation int64  // the one that is made, or would be; for decide and checkpoint the committed one
	Cause      string // for StageGeneration only
	Start      time.Time
	Took       time.Duration

	Items, Roles int
	Bytes        int64
	Role, Key    string // the key's ID
	Err          error  // why the stage failed; nil if it succeeded
}

// LogSignatures returns a function for Config.Observe that logs every online signature: key ID, role, version and
// generation, which is the version, at the level Info. A signature that failed is logged with its error. If
// the generation is given up, a line "burnt" at the level Warn says so: its signatures are in no generation
// that clients see. "unknown" means that the journal's answer to the seal was lost: whether the generation will be
// published shows once the repository is opened again. A generation that is neither published nor one of these was
// made by a process that was killed.
//
// One generation may have several signatures of a role: some roles failed, and it was made without them. Signatures of probes,
// by which a new key is tried, are not logged. A lost line means nothing for what is published.
func LogSignatures(l *slog.Logger) func(Event) {
	var mu sync.Mutex
	var sealed int64 // the newest generation with a seal, or of which that isn't known
	return func(e Event) {
		switch e.Stage {
		case StageSign:
			attrs := []any{"key", e.Key, "role", e.Role, "version", e.Generation, "generation", e.Generation, "bytes", e.Bytes}
			if e.Err != nil {
				l.Error("signature failed", append(attrs, "err", e.Err)...)
				return
			}
			l.Info("signed", attrs...)
		case StageSeal:
			mu.Lock()
			defer mu.Unlock()
			switch {
			case e.Err == nil:
				sealed = e.Generation
			case isFatal(e.Err):
				sealed = e.Generation
				l.Warn("unknown", "generation", e.Generation, "err", e.Err)
			}
		case StageGeneration:
			mu.Lock()
			defer mu.Unlock()
			if e.Err != nil && sealed != e.Generation {
				l.Warn("burnt", "generation", e.Generation, "err", e.Err)
			}
		}
	}
}

// begins returns when a stage begins, for observe. It is the zero time if nobody observes.
func (p *publisher) begins() time.Time {
	if p.cfg.Observe == nil {
		return time.Time{}
	}
	return time.Now()
}

// observe tells that a stage ended. No lock is held that the observer might need.
func (p *publisher) observe(start time.Time, e Event) {
	if p.cfg.Observe == nil {
		return
	}
	e.Start, e.Took = start, time.Since(start)
	p.cfg.Observe(e)
}

// signed tells of one signature.
func (p *publisher) signed(start time.Time, generation int64, role string, by keys.Signer, size int, err error) {
	if start.IsZero() {
		return
	}
	p.observe(start, Event{Stage: StageSign, Generation: generation, Role: role, Key: by.Public().ID(), Bytes: int64(size), Err: err})
}

// storeFile makes a file durable in the store.
func (p *publisher) storeFile(ctx context.Context, name string, data []byte) error {
	start := p.begins()
	err := p.cfg.Store.Create(ctx, name, data)
	if !start.IsZero() {
		_, role, _ := ledger.ParseName(name)
		p.observe(start, Event{Stage: StageWrite, Generation: p.state.Planned, Role: role, Bytes: int64(len(data)), Err: err})
	}
	return err
}

// cause says why a generation is made, before it is.
func (p *publisher) cause(plan plan) string {
	switch {
	case p.state.Generation == 0:
		return CauseCreate
	case p.documentsWait():
		return CauseDocuments
	case len(p.rebuild.wanted) > 0:
		return CauseRebuild
	}
	for _, edits := range plan.edits {
		if len(edits) > 0 {
			return CauseItems
		}
	}
	over := p.goesOver()
	for i := range plan.edits {
		if over(i, p.row(i)) {
			return CauseRotation
		}
	}
	if p.topGoesOver() {
		return CauseRotation
	}
	return CauseRenewal
}
