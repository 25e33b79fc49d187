package repository

import (
	"context"
	"errors"
	"iter"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// A Journal keeps a repository's ledger: the queue of entries, and the publisher's
// records. It is the one truth: from a Journal the whole repository can be made again, and
// what is not in it never happened. Package ledger specifies what is kept; a journal keeps
// the bytes of entries and records as they are.
//
// Implementations are safe for concurrent use and pass the suite in repository/storetest.
type Journal interface {
	Queue

	// Lead makes the caller the publisher, under an epoch higher than any before it. From
	// then on every record of an earlier epoch is refused. While another process holds the
	// lead the error wraps ErrLocked.
	Lead(ctx context.Context) (lead Lead, epoch int64, err error)

	// Close releases everything, the lead too. What was acknowledged stays durable. Calls
	// under way end with an error that wraps ErrClosed.
	Close() error
}

// Queue is what an index needs of a Journal: to submit, to ask, and to wait. Any process
// that can reach the journal may use it; it takes no lead.
type Queue interface {
	// Enqueue makes entries durable and pending, in this order, all or none. An entry whose
	// ID the journal remembers is not queued again: if it means the same as the remembered
	// one (ledger.Entry.Means) that is success, and known reports true for it; if it
	// means something else the error wraps ErrIDReused and nothing is queued. Concurrent
	// calls may share one sync. An error that wraps ErrUnknown means that the entries may
	// have become durable; any other, that they were not queued.
	Enqueue(ctx context.Context, entries ...ledger.Entry) (known []bool, err error)

	// Outcomes returns what became of the entries with these IDs, in this order. The
	// outcome in a seal shows only once the commit record of its generation is in the
	// journal; until then the entry is Accepted. The zero Outcome stands for an ID that the
	// journal doesn't remember.
	Outcomes(ctx context.Context, ids ...string) ([]ledger.Outcome, error)

	// Backlog describes what is pending. It is cheap enough to be called for every upload.
	Backlog(ctx context.Context) (ledger.Backlog, error)

	// Decided returns once outcomes may have appeared since the moment seen, and the present
	// moment. The zero moment is before everything, so that it returns at once. Moments are
	// comparable within one open Journal only.
	Decided(ctx context.Context, seen int64) (now int64, err error)
}

// Lead is the publisher's side of a Journal. Once another epoch began, every method returns
// an error that wraps ErrFenced and changes nothing.
type Lead interface {
	// Read must be called, and its FromCheckpoint history consumed, before anything else is
	// done with the lead. All that it yields is durable, also what a killed process had
	// written and not synced.
	Reader

	// Await returns nil once at least n entries are pending, or entries with that many bytes of
	// bodies; or the context's error. Pending are those that no seal and no decided record names.
	Await(ctx context.Context, n int, bytes int64) error

	// Pending returns the oldest pending entries, oldest first: at most max of them, and, the
	// first one excepted, at most maxBytes of bodies.
	Pending(ctx context.Context, max int, maxBytes int64) ([]ledger.Entry, error)

	// Append makes records durable, in order, all or none. The entries named in the outcomes
	// of a seal or a decided record stop being pending with it. An error that wraps
	// ErrUnknown means that the records may be durable: the journal must be opened again and
	// read before anything else is decided. After a checkpoint record earlier ones need not be
	// read again; they are kept all the same, for audits and restoration.
	Append(ctx context.Context, records ...ledger.Record) error

	// Release gives the lead up. It is idempotent.
	Release(ctx context.Context) error
}

// Reader reads a ledger back.
type Reader interface {
	// Read yields the history from the newest checkpoint, or from the beginning, in the order
	// in which its steps took effect, up to some moment during the call at which everything
	// was there that was acknowledged before it. An error ends it: what was yielded then is a
	// beginning of the history. The cost is that of reading it. Where the caller doesn't lead,
	// what is read may be less durable than what a leader reads: nothing may be decided by it.
	Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error]
}

// What is queued, and what becomes of it. See package ledger.
type (
	Item      = ledger.Item
	Condition = ledger.Condition
	Outcome   = ledger.Outcome
	State     = ledger.ItemState
)

// The states of an item. All but Accepted are final.
const (
	Accepted   = ledger.Accepted   // durable in the queue; it will be decided
	Published  = ledger.Published  // part of Generation, which clients can see
	Superseded = ledger.Superseded // all its paths were replaced by later items of Generation
	Unchanged  = ledger.Unchanged  // what it asks for was published already; nothing was signed
	Refused    = ledger.Refused    // one of its conditions didn't hold, for Reason; nothing of it was published
	SetAside   = ledger.SetAside   // can't be published, for Reason; nothing of it was
)

var (
	// ErrUnknown is wrapped when a call's effect is not known: it may have
	// become durable or not. Asking again with the same item ID is harmless.
	ErrUnknown = errors.New("outcome unknown")

	// ErrUnknownItem is wrapped for an ID that the journal does not know, or no
	// longer remembers.
	ErrUnknownItem = errors.New("unknown item")

	// ErrIDReused is wrapped when an ID is used for a second, different item.
	ErrIDReused = errors.New("ID was used for another item")

	// ErrLocked is wrapped when another process is the publisher.
	ErrLocked = errors.New("locked by another publisher")

	// ErrFenced is wrapped when another publisher took over.
	ErrFenced = errors.New("fenced: another publisher took over")

	// ErrClosed is wrapped by calls on something that was closed.
	ErrClosed = errors.New("closed")
)
