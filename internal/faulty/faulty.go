// Package faulty wraps a store and a journal so that chosen calls fail: before
// they did anything, or after they did their work.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// ErrInjected is wrapped by every injected error.
var ErrInjected = errors.New("injected fault")

// Fault says how a call fails.
type Fault int

// The faults.
const (
	None   Fault = iota
	Before       // the call does nothing and fails
	After        // the call does its work and then says it failed
	Hang         // the call does nothing until its context ends, and fails
	Hold         // the call waits for Release and then does its work
)

// Call is one call of a store or journal. N counts all calls that went through
// the Injector, from 1.
type Call struct {
	N    int
	Op   string // "store.Create", "journal.Enqueue", "leader.Append", …: each method has one
	Name string // the store's name, or the kinds of the records
}

// Injector decides about calls. The zero value lets all pass.
type Injector struct {
	// All also lets those calls fail, and counts them, with which nothing is
	// decided: Lead and Release, Await, Decided, Backlog and Outcomes. It is set before use.
	All bool

	mu    sync.Mutex
	plan  func(Call) Fault
	calls []Call
	held  chan struct{}
}

// Release lets calls go on that were held. Hold works until then only.
func (in *Injector) Release() { close(in.hold()) }

func (in *Injector) hold() chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.held == nil {
		in.held = make(chan struct{})
	}
	return in.held
}

// Plan sets what decides from now on; nil lets all pass. The counting begins
// anew. plan is called by one goroutine at a time.
func (in *Injector) Plan(plan func(Call) Fault) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.plan, in.calls = plan, nil
}

// On is a plan by which each call of one operation meets a fault, and no other call does.
func On(fault Fault, op string) func(Call) Fault {
	return func(c Call) Fault {
		if c.Op == op {
			return fault
		}
		return None
	}
}

// Calls returns the calls since Plan.
func (in *Injector) Calls() []Call {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]Call(nil), in.calls...)
}

// minor is do for a call that All is about.
func (in *Injector) minor(ctx context.Context, op, name string, f func() error) error {
	if !in.All {
		return f()
	}
	return in.do(ctx, op, name, f)
}

func (in *Injector) do(ctx context.Context, op, name string, f func() error) error {
	in.mu.Lock()
	call := Call{N: len(in.calls) + 1, Op: op, Name: name}
	in.calls = append(in.calls, call)
	fault := None
	if in.plan != nil {
		fault = in.plan(call)
	}
	in.mu.Unlock()
	err := fmt.Errorf("%w: call %d: %s %s", ErrInjected, call.N, op, name)
	switch fault {
	case Before:
		return err
	case After:
		return errors.Join(f(), err)
	case Hang:
		if ctx.Done() == nil {
			panic(fmt.Sprintf("%s %s: it would hang for ever: its context never ends", op, name))
		}
		<-ctx.Done()
		return errors.Join(ctx.Err(), err)
	case Hold:
		<-in.hold()
		return f()
	default:
		return f()
	}
}

// Store is a store whose calls may fail. A call that only reads returns no result
// After, as if the answer was lost.
type Store struct {
	*Injector
	Inner repository.Store
}

var _ repository.Store = Store{}

// Get implements repository.Store.
func (s Store) Get(ctx context.Context, name string) (data []byte, err error) {
	err = s.do(ctx, "store.Get", name, func() (err error) {
		data, err = s.Inner.Get(ctx, name)
		return err
	})
	return result(data, err)
}

// Create implements repository.Store.
func (s Store) Create(ctx context.Context, name string, data []byte) error {
	return s.do(ctx, "store.Create", name, func() error { return s.Inner.Create(ctx, name, data) })
}

// Swap implements repository.Store.
func (s Store) Swap(ctx context.Context, name string, old, new []byte) error {
	return s.do(ctx, "store.Swap", name, func() error { return s.Inner.Swap(ctx, name, old, new) })
}

// List implements repository.Store.
func (s Store) List(ctx context.Context) iter.Seq2[repository.Info, error] { return s.Inner.List(ctx) }

// Delete implements repository.Store.
func (s Store) Delete(ctx context.Context, name string) error {
	return s.do(ctx, "store.Delete", name, func() error { return s.Inner.Delete(ctx, name) })
}

// Journal is a journal whose calls may fail.
type Journal struct {
	*Injector
	Inner repository.Journal
}

var _ repository.Journal = Journal{}

// Enqueue implements repository.Queue. Whether entries are queued is not known
// after a failure, so that its error wraps repository.ErrUnknown.
func (j Journal) Enqueue(ctx context.Context, entries ...ledger.Entry) (known []bool, err error) {
	err = j.do(ctx, "journal.Enqueue", "", func() (err error) {
		known, err = j.Inner.Enqueue(ctx, entries...)
		return err
	})
	return result(known, unknown(err))
}

// Outcomes implements repository.Queue.
func (j Journal) Outcomes(ctx context.Context, ids ...string) (outcomes []ledger.Outcome, err error) {
	err = j.minor(ctx, "journal.Outcomes", strings.Join(ids, " "), func() (err error) {
		outcomes, err = j.Inner.Outcomes(ctx, ids...)
		return err
	})
	return result(outcomes, err)
}

// Backlog implements repository.Queue.
func (j Journal) Backlog(ctx context.Context) (b ledger.Backlog, err error) {
	err = j.minor(ctx, "journal.Backlog", "", func() (err error) {
		b, err = j.Inner.Backlog(ctx)
		return err
	})
	return result(b, err)
}

// Decided implements repository.Queue.
func (j Journal) Decided(ctx context.Context, seen int64) (now int64, err error) {
	err = j.minor(ctx, "journal.Decided", "", func() (err error) {
		now, err = j.Inner.Decided(ctx, seen)
		return err
	})
	return result(now, err)
}

// Lead implements repository.Journal. After the fault After the lead is taken, and
// nobody has it, until the handle is closed.
func (j Journal) Lead(ctx context.Context) (l repository.Lead, epoch int64, err error) {
	err = j.minor(ctx, "journal.Lead", "", func() (err error) {
		l, epoch, err = j.Inner.Lead(ctx)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return leader{j.Injector, l}, epoch, nil
}

// Close implements repository.Journal. It never fails, so that a test that gives up
// a handle gives up its lead.
func (j Journal) Close() error { return j.Inner.Close() }

type leader struct {
	*Injector
	inner repository.Lead
}

// Read fails before it yields anything, or after it yielded all. Its name is where it
// begins.
func (l leader) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		name := "checkpoint"
		if from == ledger.FromBeginning {
			name = "beginning"
		}
		left := false
		err := l.do(ctx, "leader.Read", name, func() error {
			for s, err := range l.inner.Read(ctx, from) {
				if err != nil {
					return err
				}
				if left = !yield(s, nil); left {
					return nil
				}
			}
			return nil
		})
		if err != nil && !left {
			yield(ledger.Step{}, err)
		}
	}
}

func (l leader) Await(ctx context.Context, n int, bytes int64) error {
	return l.minor(ctx, "leader.Await", "", func() error { return l.inner.Await(ctx, n, bytes) })
}

func (l leader) Pending(ctx context.Context, max int, maxBytes int64) (entries []ledger.Entry, err error) {
	err = l.do(ctx, "leader.Pending", "", func() (err error) {
		entries, err = l.inner.Pending(ctx, max, maxBytes)
		return err
	})
	return result(entries, err)
}

func (l leader) Append(ctx context.Context, records ...ledger.Record) error {
	name := ""
	for _, r := range records {
		name += string(r.Kind())
	}
	return unknown(l.do(ctx, "leader.Append", name, func() error { return l.inner.Append(ctx, records...) }))
}

func (l leader) Release(ctx context.Context) error {
	return l.minor(ctx, "leader.Release", "", func() error { return l.inner.Release(ctx) })
}

func result[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func unknown(err error) error {
	if errors.Is(err, ErrInjected) {
		return fmt.Errorf("%w: %w", repository.ErrUnknown, err)
	}
	return err
}
