package dirjournal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
)

// Remembered is how many outcomes a journal remembers beside the items that are
// not published yet: the newest. An item whose ID is forgotten is unknown, and a
// retry of it would be queued again. Memory and checkpoints grow with it.
const Remembered = 100_000

// Journal is a repository.Journal in a directory, open in one process at a time.
// It is safe for concurrent use.
//
// After a write or a sync failed (the disk is full, say) the journal can only be
// closed: the error of that call wraps repository.ErrUnknown, that of every later
// one repository.ErrClosed, and both the cause. Nothing is tried again until the
// journal is opened again.
type Journal struct {
	fsys   disk.FS
	dir    string
	limits limits

	mu      sync.Mutex
	queue   *queue
	epoch   int64
	leader  *leader       // who leads, or nil
	waiting []*request    // in order of arrival
	changed chan struct{} // closed and replaced whenever an Await may be over
	ended   error         // why the journal can't be used any more, or nil

	wake    chan struct{} // tells the writer to look
	stopped chan struct{} // closed when the writer ended
	release func() error  // closes the files, once

	// The writer's own.
	next    uint64 // sequence number of the next frame
	segment *segmentFile
	payload []byte     // reused
	opened  *recordLog // what Open has read, for the first Load; nil afterwards
}

// Enqueue implements repository.Journal. Concurrent calls share a sync. If ctx
// ends while the items are being written, the error wraps the context's and
// repository.ErrUnknown; if it ends before, they are withdrawn.
func (j *Journal) Enqueue(ctx context.Context, items ...repository.Item) error {
	r := &request{items: make([]*entry, len(items)), done: make(chan error, 1)}
	for i, it := range items {
		e, err := newEntry(it)
		if err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
		r.items[i] = e
		r.size += len("i \n") + len(e.data)
	}
	if err := j.submit(ctx, r); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	return nil
}

// enter returns with the lock held, or says why the journal can't be used.
func (j *Journal) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	if j.ended != nil {
		defer j.mu.Unlock()
		return j.ended
	}
	return nil
}

// Outcome implements repository.Journal. It does no I/O.
func (j *Journal) Outcome(ctx context.Context, id string) (repository.Outcome, error) {
	if err := j.enter(ctx); err != nil {
		return repository.Outcome{}, fmt.Errorf("outcome of item %q: %w", id, err)
	}
	defer j.mu.Unlock()
	switch e := j.queue.known[id]; {
	case e == nil || !e.durable:
		return repository.Outcome{}, fmt.Errorf("outcome of item %q: %w", id, repository.ErrUnknownItem)
	case e.committed:
		return e.outcome, nil
	}
	return repository.Outcome{State: repository.Accepted}, nil
}

// Stats implements repository.Journal. It does no I/O.
func (j *Journal) Stats(ctx context.Context) (repository.QueueStats, error) {
	if err := j.enter(ctx); err != nil {
		return repository.QueueStats{}, fmt.Errorf("queue: %w", err)
	}
	defer j.mu.Unlock()
	return j.queue.stats(), nil
}

// Lead implements repository.Journal. Since no other process has the journal
// open, it fails with repository.ErrLocked only while this one leads already. It
// makes the new epoch durable.
func (j *Journal) Lead(ctx context.Context) (repository.Leader, error) {
	var l *leader
	err := j.submit(ctx, &request{done: make(chan error, 1), do: func() (err error) {
		l, err = j.lead()
		return err
	}})
	if err != nil {
		return nil, fmt.Errorf("lead: %w", err)
	}
	return l, nil
}

// lead begins a segment of the new epoch. The writer calls it.
func (j *Journal) lead() (*leader, error) {
	j.mu.Lock()
	leads := j.leader != nil
	j.mu.Unlock()
	if leads {
		return nil, fmt.Errorf("%w: this process leads already, in epoch %d", repository.ErrLocked, j.epoch)
	}
	number := j.segment.number + 1
	if j.segment.size == headerSize && replaceable(j.segment.header) {
		number = j.segment.number
	}
	if err := j.begin(header{number: number, epoch: j.epoch + 1, base: j.segment.base}, nil); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.epoch++
	j.leader = &leader{journal: j, epoch: j.epoch}
	j.announce()
	return j.leader, nil
}

// announce wakes every Await. The lock is held.
func (j *Journal) announce() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// Close implements repository.Journal. It waits for the write that is under way,
// whose callers get their result.
func (j *Journal) Close() error {
	j.end(repository.ErrClosed)
	<-j.stopped
	if err := j.release(); err != nil {
		return fmt.Errorf("close journal %s: %w", j.dir, err)
	}
	return nil
}

// end makes every call from now on, and all that wait, return err.
func (j *Journal) end(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended != nil {
		return
	}
	j.ended = err
	for _, r := range j.waiting {
		r.done <- err
	}
	j.waiting = nil
	j.announce()
	j.poke()
}

func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// submit hands a request to the writer and waits for its result.
func (j *Journal) submit(ctx context.Context, r *request) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	j.waiting = append(j.waiting, r)
	j.mu.Unlock()
	j.poke()

	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
	}
	j.mu.Lock()
	if i := slices.Index(j.waiting, r); i >= 0 {
		j.waiting = slices.Delete(j.waiting, i, i+1)
		j.mu.Unlock()
		return ctx.Err()
	}
	j.mu.Unlock()
	if r.items == nil {
		return <-r.done // the publisher must know
	}
	select {
	case err := <-r.done:
		return err
	default:
		return fmt.Errorf("%w: %w", repository.ErrUnknown, ctx.Err())
	}
}

var errNotLoaded = errors.New("Load was not called")
