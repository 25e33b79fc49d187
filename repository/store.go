package repository

import (
	"context"
	"errors"
	"iter"

	"github.com/bindery-tuf/bindery/internal/parallel"
)

// Store keeps the published metadata under flat names such as
// "17.bins-0a3f.json". The timestamp is the only name whose content ever
// changes; a Store need not be fast at anything but Get and Create.
//
// Implementations are safe for concurrent use, pass the suite in
// repository/storetest, and never return before what they promise is true.
//
// A Store may have two more methods. MinInterval() time.Duration is the least time between two calls of
// Swap for one name: see Config.MinInterval. Local() bool reports whether only processes of this machine can
// write the Store: see Config.OneMachine. A Store that wraps another one should pass them on. If a Store or a Journal has a
// String() string that says where it is, errors by which the two don't belong together name it so.
type Store interface {
	// Get returns the content of name, or an error that wraps ErrNotExist.
	Get(ctx context.Context, name string) ([]byte, error)

	// Create makes name exist with exactly data. When it returns nil, name is
	// durable: it survives the loss of power. If name already has these bytes
	// the result is nil too. Create makes them durable again then: what a killed
	// process wrote may be readable and not yet durable. If name has other bytes, the
	// error wraps ErrConflict and nothing changed. After any other error name
	// may or may not exist, and the call may be repeated.
	Create(ctx context.Context, name string, data []byte) error

	// Swap durably replaces the content of name, which must be old, by new. A
	// nil old means that name must not exist. If name already holds new, the
	// result is nil and name is made durable again. If it holds neither old nor
	// new, the error wraps ErrConflict and nothing changed. A reader sees
	// the whole of old or the whole of new. After any other error either may be
	// there, and the call may be repeated.
	Swap(ctx context.Context, name string, old, new []byte) error

	// List yields every name in no particular order. A name created or deleted
	// meanwhile may be missing. RestoreStore and RestoreJournal list, to find a
	// number that was never used, and Sweep does. Publishing and collection never do.
	List(ctx context.Context) iter.Seq2[Info, error]

	// Delete durably removes name. A name that doesn't exist is no error. Nothing
	// may refer to the name, now or later.
	Delete(ctx context.Context, name string) error
}

// Getter is the part of a Store that reads one file. It is safe for concurrent use. audit.FS makes one of any
// folder, for instance of a mirror's copy.
type Getter interface {
	// Get returns the content of name, or an error that wraps ErrNotExist.
	Get(ctx context.Context, name string) ([]byte, error)
}

// fetched is what Get returned.
type fetched struct {
	data []byte
	err  error
}

// fetch reads files, at most n at a time, and yields them in order.
func fetch(ctx context.Context, store Getter, n int, names iter.Seq[string]) iter.Seq2[string, fetched] {
	return parallel.InOrder(ctx, n, names, func(ctx context.Context, name string) fetched {
		data, err := store.Get(ctx, name)
		return fetched{data, err}
	})
}

// Info is one entry of a listing.
type Info struct {
	Name string
	Size int64 // bytes
}

var (
	// ErrNotExist is wrapped by Store.Get for a name that is not there.
	ErrNotExist = errors.New("does not exist")

	// ErrConflict is wrapped by Store.Create and Store.Swap when the name holds
	// bytes that the caller did not expect.
	ErrConflict = errors.New("conflict: it doesn't hold the bytes expected")
)
