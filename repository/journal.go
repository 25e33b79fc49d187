package repository

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"
)

// Journal is the durable queue of items and the log of the publisher's
// decisions. It is the one truth: from a Journal the whole repository can be
// made again, and what is not in it never happened.
//
// Any process that can reach a Journal may enqueue items and ask for outcomes;
// one at a time leads and publishes. Implementations are safe for concurrent
// use and pass the suite in repository/storetest.
type Journal interface {
	// Enqueue makes items durable and pending, in this order, all or none. An
	// item whose ID the journal remembers is not queued again: that it is the
	// same item (equal Digest) is success, another item under a remembered ID
	// is an error that wraps ErrIDReused and queues nothing. Concurrent calls
	// may share one sync. An error that wraps ErrUnknown means that the items
	// may have become durable; any other, that they were not queued.
	Enqueue(ctx context.Context, items ...Item) error

	// Outcome returns what became of the item with this ID, or an error that
	// wraps ErrUnknownItem. The outcome in a seal shows only once the commit
	// record of its generation is in the journal; until then it is Accepted.
	Outcome(ctx context.Context, id string) (Outcome, error)

	// Stats returns figures about the queue. It is cheap enough to be called
	// for every upload.
	Stats(ctx context.Context) (QueueStats, error)

	// Lead makes the caller the publisher, under an epoch higher than any
	// before it; from then on every record of an earlier epoch is refused.
	// While another process holds the lead the error wraps ErrLocked.
	Lead(ctx context.Context) (Leader, error)

	// Close releases everything, the lead too. What was acknowledged stays
	// durable; calls under way end with an error that wraps ErrClosed.
	Close() error
}

// Leader is the publisher's side of a Journal. Once another epoch began, every
// method returns an error that wraps ErrFenced and changes nothing.
type Leader interface {
	// Load returns the newest checkpoint record and all records after it, in
	// order, or all records if there was never a checkpoint. All of it is
	// durable when Load returns, also what a killed process had written and not
	// synced. Load must be called first and once.
	Load(ctx context.Context) (Log, error)

	// Await returns nil once at least n items are pending, or the context's
	// error. Items pending are those without an outcome in a seal.
	Await(ctx context.Context, n int) error

	// Pending returns the oldest pending items, at most max, oldest first.
	Pending(ctx context.Context, max int) ([]Item, error)

	// Append makes records durable, in order, all or none. The items named in
	// a seal's outcomes stop being pending with it. An error that wraps
	// ErrUnknown means that the records may be durable: the journal must be
	// opened again and read before anything else is decided. After a checkpoint
	// record earlier ones need not be loaded again; they are kept all the same,
	// for audits and restoration.
	Append(ctx context.Context, records ...Record) error

	// Release gives the lead up. It is idempotent.
	Release(ctx context.Context) error
}

// Historian is a Journal that can read back all that it ever kept. It is asked
// only when something must be made again that the store lost; a repository whose
// Journal isn't one is published just the same.
type Historian interface {
	// History yields every item that was queued and every record that was
	// appended, each once, in the order in which they took effect, from the
	// journal's beginning to some moment during the call at which everything was
	// there that was acknowledged before it. An error ends it: what was yielded
	// then is a beginning of the history. The cost is that of reading it.
	History(ctx context.Context) iter.Seq2[Entry, error]
}

// Entry is one step of a journal's history: an item that was queued, or a record
// that was appended. The other is nil.
type Entry struct {
	Item   *Item
	Record *Record
}

// Log is what a new leader finds.
type Log struct {
	Epoch   int64 // the leader's own; every record it appends must carry it
	Records []Record
}

// QueueStats describes the queue.
type QueueStats struct {
	Pending int       // items that are accepted and have no outcome yet
	Bytes   int64     // of their JSON
	Oldest  time.Time // when the oldest of them was accepted; zero if none
}

// RecordKind says what a Record decides.
type RecordKind string

// The records of a publisher. See the package comment for the protocol.
const (
	// KindDocuments: offline documents were accepted and will be published.
	KindDocuments RecordKind = "documents"
	// KindIntent: versions of this generation may reach the store from now on.
	KindIntent RecordKind = "intent"
	// KindSeal: this generation will be published, with these outcomes.
	KindSeal RecordKind = "seal"
	// KindCommit: this generation's timestamp was swapped in.
	KindCommit RecordKind = "commit"
	// KindCheckpoint: the whole state, so that earlier records need not be read.
	KindCheckpoint RecordKind = "checkpoint"
)

// Record is one decision of a publisher. Its JSON encoding is its stable form.
type Record struct {
	Epoch      int64           `json:"epoch"`
	Kind       RecordKind      `json:"kind"`
	Generation int64           `json:"generation"`
	Prev       string          `json:"prev"` // SHA-256 (hex) of the previous record's JSON; "" for the first
	Outcomes   []ItemOutcome   `json:"outcomes,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
}

// ItemOutcome is the outcome of one item in a seal.
type ItemOutcome struct {
	ID string `json:"id"`
	Outcome
}

// State is how far an item has come.
type State string

// The states of an item. The last three are final.
const (
	Accepted   State = "accepted"   // durable in the queue; it will be published
	Published  State = "published"  // part of Generation, which clients can see
	Superseded State = "superseded" // all its paths were replaced by later items of Generation
	SetAside   State = "set aside"  // can't be published, for Reason; nothing of it was
)

// Outcome tells what became of an item.
type Outcome struct {
	State      State  `json:"state"`
	Generation int64  `json:"generation,omitempty"` // in which it was decided; 0 while Accepted
	Reason     string `json:"reason,omitempty"`     // why it was set aside
}

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
