package dirjournal

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Remembered is how many outcomes a journal remembers at least besides the entries that have none yet: the newest.
// These are in memory, about 200 bytes each, and in every checkpoint. A quarter more may be. Others are
// remembered for RememberFor: they are in files, and take 12 bytes each in memory. An entry whose ID is forgotten is
// unknown, and a retry of it would be queued again.
const Remembered = 100_000

// Journal is a repository.Journal in a directory, open in one process at a time.
// It is safe for concurrent use. The bodies of the entries that it returns are its own:
// callers must not change them.
//
// If the disk is full or no file can be opened, a call fails and has no effect. The journal
// stays usable, and the call can be repeated.
//
// After a failed sync the journal can only be closed. The error of that call wraps
// repository.ErrUnknown, the errors of later calls wrap repository.ErrClosed, and all wrap
// the cause. The same happens if the directory or the segment was removed, moved or replaced,
// or if another process writes to the journal: this is checked after each sync.
type Journal struct {
	dir    dir
	limits limits

	mu       sync.Mutex
	queue    *queue
	epoch    int64
	leader   *lead         // who leads, or nil
	waiting  []*request    // in order of arrival
	awaiting []*awaiter    // the calls of Await under way
	moment   int64         // see repository.Queue.Decided
	decided  chan struct{} // closed and replaced when the moment passes
	ended    error         // why the journal can't be used any more, or nil

	cut string // see Cut

	archiving sync.Mutex // one Archive at a time

	wake    chan struct{} // tells the writer to look
	stopped chan struct{} // closed when the writer ended
	release func() error  // closes the files, once

	// The writer's own.
	next    uint64       // sequence number of the next frame
	segment *segmentFile // nil until there was something to write
	coming  coming       // the segment to be begun then
	marked  bool         // whether the newest frame in the segment marks a close
	payload []byte       // reused
	spillAt int          // how many outcomes beyond those to be in memory make the next file of them
	opened  *history     // what Open read, until a leader takes it
}

// coming is the segment that Open left to be begun: see Journal.start.
type coming struct {
	header
	copied *frame // with which it begins, or nil
	after  uint64 // number of the last segment there is
	remake bool   // whether the first segment must be made again before this one
}

// history is what Open read.
type history struct {
	steps []ledger.Step
	// pending is how many entries were pending then. No record is appended until a leader
	// has read the history, so entries that were queued since then follow these.
	pending int
}

// Enqueue implements repository.Queue. Concurrent calls share a sync. If ctx
// ends while the entries are being written, the error wraps the context's and
// repository.ErrUnknown; if it ends before, they are withdrawn.
func (j *Journal) Enqueue(ctx context.Context, entries ...ledger.Entry) ([]bool, error) {
	r := &request{
		entries: make([]*known, len(entries)), repeated: make([]bool, len(entries)),
		checkpoint: -1, done: make(chan error, 1),
	}
	for i, e := range entries {
		e.Accepted = e.Accepted.Round(0).UTC() // as a reader will see it
		err := e.Check()
		var encoded []byte
		if err == nil {
			encoded, err = encodeEntry(e)
		}
		if err != nil {
			return nil, fmt.Errorf("enqueue: %w", err)
		}
		r.entries[i] = newKnown(e, encoded)
		r.size += 1 + len(encoded)
	}
	if err := j.handToWriter(ctx, r); err != nil {
		return nil, fmt.Errorf("enqueue: %w", err)
	}
	return r.repeated, nil
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

// Outcomes implements repository.Queue. It does no I/O for the newest Remembered outcomes. Of each older one it
// reads two places of one file.
func (j *Journal) Outcomes(ctx context.Context, ids ...string) ([]ledger.Outcome, error) {
	if err := j.enter(ctx); err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	outcomes := make([]ledger.Outcome, len(ids))
	places := map[int][]olderPlace{} // by index
	for i, id := range ids {
		if j.queue.known[id] != nil {
			outcomes[i] = j.queue.outcome(id)
		} else if p := j.queue.older.places(id); p != nil {
			places[i] = p
		}
	}
	j.mu.Unlock()
	for i, p := range places {
		r, err := j.later(ids[i], p)
		if err != nil {
			return nil, fmt.Errorf("outcomes: item %q: %w", ids[i], err)
		}
		outcomes[i] = r.outcome()
	}
	return outcomes, nil
}

// Backlog implements repository.Queue. It does no I/O.
func (j *Journal) Backlog(ctx context.Context) (ledger.Backlog, error) {
	if err := j.enter(ctx); err != nil {
		return ledger.Backlog{}, fmt.Errorf("backlog: %w", err)
	}
	defer j.mu.Unlock()
	return j.queue.backlog(), nil
}

// Decided implements repository.Queue. A moment passes with every commit and every
// decided record. It does no I/O.
func (j *Journal) Decided(ctx context.Context, seen int64) (int64, error) {
	for {
		if err := j.enter(ctx); err != nil {
			return 0, fmt.Errorf("wait for outcomes: %w", err)
		}
		now, decided := j.moment, j.decided
		j.mu.Unlock()
		if now != seen {
			return now, nil
		}
		select {
		case <-decided:
		case <-ctx.Done():
		}
	}
}

// wakeDecided wakes every Decided. The lock is held.
func (j *Journal) wakeDecided() {
	close(j.decided)
	j.decided = make(chan struct{})
}

// Lead implements repository.Journal. Since no other process has the journal
// open, it fails with repository.ErrLocked only while this one leads already. It
// makes the new epoch durable.
func (j *Journal) Lead(ctx context.Context) (repository.Lead, int64, error) {
	var l *lead
	err := j.do(ctx, func() (err error) {
		l, err = j.takeLead()
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("lead: %w", err)
	}
	return l, l.epoch, nil
}

// takeLead begins a segment of the new epoch. The writer calls it.
func (j *Journal) takeLead() (*lead, error) {
	j.mu.Lock()
	leads := j.leader != nil
	j.mu.Unlock()
	if leads {
		return nil, fmt.Errorf("%w: this process already leads, in epoch %d", repository.ErrLocked, j.epoch)
	}
	h, copied := j.coming.header, j.coming.copied
	if j.segment != nil {
		h, copied = j.following(), nil
		if j.segment.size == headerSize && replaceable(j.segment.header) {
			h.number = j.segment.number
		}
	}
	h.epoch = j.epoch + 1
	if err := j.begin(h, copied); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.epoch++
	j.leader = &lead{journal: j, epoch: j.epoch}
	j.wakeAwaiting(true)
	return j.leader, nil
}

// String says in which folder the journal is.
func (j *Journal) String() string { return "folder " + j.dir.name }

// Cut says how many bytes Open ignored at the journal's end, and where, because they are not
// a whole frame. It is "" if there were none. A process that is killed while it writes leaves
// such bytes, and no caller was told that they are durable. They can also be damage to the
// newest entries or records of a journal that wasn't closed. Suspect the disk if no process
// was killed and the power did not fail. Of a closed journal nothing is ever ignored.
func (j *Journal) Cut() string { return j.cut }

// Close implements repository.Journal. It waits for the write that is under way, whose
// callers get their result. Then it marks the journal as closed: the next Open has nothing
// to write, and can tell damage from an interrupted write.
func (j *Journal) Close() error {
	j.end(repository.ErrClosed)
	<-j.stopped
	if err := j.release(); err != nil {
		return fmt.Errorf("close journal %s: %w", j.dir.name, err)
	}
	return nil
}

// end makes all waiting and all later calls return err.
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
	j.wakeAwaiting(true)
	j.wakeDecided()
	j.poke()
}

func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// do has the writer call f between two frames.
func (j *Journal) do(ctx context.Context, f func() error) error {
	return j.handToWriter(ctx, &request{do: f, checkpoint: -1, done: make(chan error, 1)})
}

// handToWriter hands a request to the writer and waits for its result.
func (j *Journal) handToWriter(ctx context.Context, r *request) error {
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
	if r.entries == nil {
		return <-r.done // the publisher must know
	}
	select {
	case err := <-r.done:
		return err
	default:
		return fmt.Errorf("%w: %w", repository.ErrUnknown, ctx.Err())
	}
}
