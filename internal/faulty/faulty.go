// Package faulty wraps a store and a journal so that chosen calls fail: before
// they did anything, or after they did their work.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
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
	// decided: Lead and Release, Await, Stats and Outcome. It is set before use.
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

// Enqueue implements repository.Journal. Whether items are queued is not known
// after a failure, so that its error wraps repository.ErrUnknown.
func (j Journal) Enqueue(ctx context.Context, items ...repository.Item) error {
	err := j.do(ctx, "journal.Enqueue", "", func() error { return j.Inner.Enqueue(ctx, items...) })
	return unknown(err)
}

// Outcome implements repository.Journal.
func (j Journal) Outcome(ctx context.Context, id string) (o repository.Outcome, err error) {
	err = j.minor(ctx, "journal.Outcome", id, func() (err error) {
		o, err = j.Inner.Outcome(ctx, id)
		return err
	})
	return result(o, err)
}

// Stats implements repository.Journal.
func (j Journal) Stats(ctx context.Context) (s repository.QueueStats, err error) {
	err = j.minor(ctx, "journal.Stats", "", func() (err error) {
		s, err = j.Inner.Stats(ctx)
		return err
	})
	return result(s, err)
}

// Lead implements repository.Journal. After the fault After the lead is taken, and
// nobody has it, until the handle is closed.
func (j Journal) Lead(ctx context.Context) (l repository.Leader, err error) {
	err = j.minor(ctx, "journal.Lead", "", func() (err error) {
		l, err = j.Inner.Lead(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return leader{j.Injector, l}, nil
}

// History implements repository.Historian if Inner does. It fails before it yields
// anything.
func (j Journal) History(ctx context.Context) iter.Seq2[repository.Entry, error] {
	return func(yield func(repository.Entry, error) bool) {
		h, ok := j.Inner.(repository.Historian)
		if !ok {
			yield(repository.Entry{}, fmt.Errorf("history: %w", errors.ErrUnsupported))
			return
		}
		if err := j.do(ctx, "journal.History", "", func() error { return nil }); err != nil {
			yield(repository.Entry{}, err)
			return
		}
		for e, err := range h.History(ctx) {
			if !yield(e, err) {
				return
			}
		}
	}
}

// Close implements repository.Journal. It never fails, so that a test that gives up
// a handle gives up its lead.
func (j Journal) Close() error { return j.Inner.Close() }

type leader struct {
	*Injector
	inner repository.Leader
}

func (l leader) Load(ctx context.Context) (log repository.Log, err error) {
	err = l.do(ctx, "leader.Load", "", func() (err error) {
		log, err = l.inner.Load(ctx)
		return err
	})
	return result(log, err)
}

func (l leader) Await(ctx context.Context, n int) error {
	return l.minor(ctx, "leader.Await", "", func() error { return l.inner.Await(ctx, n) })
}

func (l leader) Pending(ctx context.Context, max int) (items []repository.Item, err error) {
	err = l.do(ctx, "leader.Pending", "", func() (err error) {
		items, err = l.inner.Pending(ctx, max)
		return err
	})
	return result(items, err)
}

func (l leader) Append(ctx context.Context, records ...repository.Record) error {
	name := ""
	for _, r := range records {
		name += string(r.Kind)
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
