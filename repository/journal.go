package repository

import (
	"context"
	"errors"
	"iter"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// A Journal keeps a repository's ledger: the queue of entries, and the publisher's
// records. It is the one truth. The whole repository can be made again from its Journal, and
// what is not in it never happened. Package ledger specifies what is kept. A Journal keeps
// the bytes of entries and records as they are.
//
// Implementations are safe for concurrent use and pass the suite in repository/storetest.
//
// A Journal may have one more method. Shared() bool reports whether processes on several machines can use the
// journal: see Config.OneMachine.
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
//
// A journal remembers every entry that is not decided yet, at least the newest 100,000 outcomes, and
// all outcomes of the last 7 days, by the times of the publisher's records.
type Queue interface {
	// Enqueue makes entries durable and pending, in this order, all or none. An entry whose
	// ID the journal remembers is not queued again. If it means the same as the remembered
	// one (ledger.Entry.Means), that is success, and known reports true for it. If it means
	// something else, the error wraps ErrIDReused and nothing is queued. After an error that
	// wraps ErrUnknown the entries may have become durable. After any other error they were not
	// queued. Concurrent calls may share one sync.
	Enqueue(ctx context.Context, entries ...ledger.Entry) (known []bool, err error)

	// Outcomes returns what became of the entries with these IDs, in this order. The
	// outcome in a seal shows only once the commit record of its generation is in the
	// journal; until then the entry is Accepted. The zero Outcome stands for an ID that the
	// journal doesn't remember.
	Outcomes(ctx context.Context, ids ...string) ([]ledger.Outcome, error)

	// Backlog describes what is pending. It is cheap enough to be called for every upload.
	Backlog(ctx context.Context) (ledger.Backlog, error)

	// Decided waits until outcomes may have appeared since the moment seen, and returns the present
	// moment. The zero moment is before everything: with it Decided returns at once. Moments are
	// comparable within one open Journal only.
	Decided(ctx context.Context, seen int64) (now int64, err error)
}

// Lead is the publisher's side of a Journal. Once another epoch began, every method returns
// an error that wraps ErrFenced and changes nothing.
type Lead interface {
	// Before anything else is done with the lead, Read must be called with FromCheckpoint, and its
	// history consumed. All that it yields is durable, even what a killed process had written and
	// not synced.
	Reader

	// Await returns nil once at least n entries are pending, or entries with that many bytes of
	// bodies. It returns the context's error if that ends first. An entry is pending until a seal or
	// a decided record names it.
	Await(ctx context.Context, n int, bytes int64) error

	// Pending returns the oldest pending entries, oldest first: at most max of them, and, the
	// first one excepted, at most maxBytes of bodies.
	Pending(ctx context.Context, max int, maxBytes int64) ([]ledger.Entry, error)

	// Append makes records durable, in order, all or none. Entries that the outcomes of a seal or
	// a decided record name are no longer pending then. After an error that wraps ErrUnknown the
	// records may be durable: the journal must be opened again and read before anything else is
	// decided. After any other error they are not. After a checkpoint record earlier ones need not be
	// read again. They are kept all the same, for audits and restoration.
	Append(ctx context.Context, records ...ledger.Record) error

	// Release gives the lead up. It is idempotent.
	Release(ctx context.Context) error
}

// Reader reads a ledger back.
type Reader interface {
	// Read yields the history, from the newest checkpoint or from the beginning, in the order in
	// which its steps took effect. It has everything that was acknowledged before the call, and
	// perhaps some of what came after. An error ends it: what was yielded until then is a beginning
	// of the history. The cost is that of reading it. A caller who doesn't lead may see what is not
	// durable yet, and must decide nothing by it.
	Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error]
}

// Archiver is a Journal that can move older history elsewhere, so that what is left begins at a
// checkpoint. Not every Journal is one. Call Repository.Archive, which makes the checkpoint and what else
// the repository needs then.
type Archiver interface {
	// Archivable lists the files with history before a checkpoint that would be appended now, oldest first. The
	// error says if to is no folder that can take them; "" means that they would be deleted.
	Archivable(ctx context.Context, to string) ([]ArchivedFile, error)

	// Archive moves all files with history before a checkpoint into the folder to, or deletes them
	// if that is "". The checkpoint is named by the hash of its record. None is removed before all are durable in the
	// folder. After an error, or if the process is killed, the history may begin at that checkpoint or earlier, and
	// is readable. The same call goes on. If all files are put back, the whole history can be read again.
	Archive(ctx context.Context, checkpoint, to string) ([]ArchivedFile, error)
}

// ArchivedFile is a file of a journal.
type ArchivedFile struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
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
	// become durable or not. Submitting again under the same item ID is harmless.
	ErrUnknown = errors.New("outcome unknown")

	// ErrUnknownItem is wrapped for an ID that the journal does not know, or no
	// longer remembers.
	ErrUnknownItem = errors.New("unknown item")

	// ErrIDReused is wrapped when an ID is used for a second, different item.
	ErrIDReused = errors.New("ID was used for another item")

	// ErrLocked is wrapped when another process is the publisher. A local journal, which one
	// process has open at a time, says so when it is opened: dirjournal.Open. A shared one says so
	// in Lead, and so in Open and Create.
	ErrLocked = errors.New("locked by another publisher")

	// ErrFenced is wrapped when another publisher took over.
	ErrFenced = errors.New("fenced: another publisher took over")

	// ErrClosed is wrapped by calls on something that was closed.
	ErrClosed = errors.New("closed")
)
