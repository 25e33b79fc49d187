package dirjournal

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// maxGroup is how many bytes of requests share a frame, if more than one does.
const maxGroup = 4 << 20

// request is one call that the writer serves: entries, a leader's records, or
// something to be done between two frames.
type request struct {
	entries []*known
	// repeated says which of the entries were known. It is valid once done has the result.
	repeated []bool

	lead    *lead
	records []ledger.Record
	// checkpoint is the index of the last checkpoint record, or -1.
	checkpoint int

	size int // of what is to be written

	do func() error

	done chan error // of capacity 1
}

// group is the requests that one frame serves.
type group struct {
	requests []*request
	fresh    []*known // the entries that were not known
	last     *request // the request with records, if there is one, or nil
}

// write runs in the one goroutine that writes.
func (j *Journal) write() {
	defer close(j.stopped)
	served := 0
	for {
		if served > 1 {
			j.yield()
		}
		g, ok := j.take()
		if !ok {
			j.markClose()
			return
		}
		err := j.serve(g)
		for _, r := range g.requests {
			r.done <- err
		}
		j.spill()
		served = len(g.requests)
	}
}

// yields is how many times the writer lets other goroutines run before it takes requests.
const yields = 3

// yield lets the callers run whom the last frame served, if there were several. What they
// write next shares the next frame then, and not the one after it.
func (j *Journal) yield() {
	for n := range yields {
		j.mu.Lock()
		waiting := len(j.waiting)
		j.mu.Unlock()
		if n > 0 && waiting == 0 {
			return
		}
		runtime.Gosched()
	}
}

// take waits for requests and returns those for the next frame, or false once the journal has
// ended.
func (j *Journal) take() (group, bool) {
	for {
		j.mu.Lock()
		if j.ended != nil {
			j.mu.Unlock()
			return group{}, false
		}
		g := j.group()
		j.mu.Unlock()
		if len(g.requests) > 0 {
			return g, true
		}
		<-j.wake
	}
}

// group takes the requests for the next frame out of waiting, and answers those that it
// refuses. The lock is held.
func (j *Journal) group() group {
	var g group
	n, size := 0, 0
	for _, r := range j.waiting {
		alone := r.do != nil || r.checkpoint >= 0
		if len(g.requests) > 0 && (alone || size+r.size > maxGroup) {
			break
		}
		n++
		if err := j.admit(r, &g); err != nil {
			r.done <- err
			continue
		}
		g.requests = append(g.requests, r)
		size += r.size
		// Records come last, because they are checked against durable entries.
		if alone || g.last != nil {
			break
		}
	}
	j.waiting = slices.Delete(j.waiting, 0, n)
	return g
}

// admit adds a request to the group. After an error nothing has changed.
func (j *Journal) admit(r *request, g *group) (err error) {
	if r.size > maxPayload {
		return fmt.Errorf("%d bytes in one call: at most %d", r.size, maxPayload)
	}
	if r.lead != nil {
		if err := r.lead.admit(r.records); err != nil {
			return err
		}
		g.last = r
	}
	g.fresh, err = j.queue.admit(j.dir, g.fresh, r.entries, r.repeated)
	return err
}

// serve makes a group durable and then visible.
func (j *Journal) serve(g group) error {
	if r := g.requests[0]; r.do != nil {
		return r.do()
	}
	var records []ledger.Record
	checkpoint := -1
	if g.last != nil {
		records, checkpoint = g.last.records, g.last.checkpoint
	}
	if len(g.fresh) == 0 && len(records) == 0 {
		return nil // nothing new
	}
	j.payload = j.payload[:0]
	for _, k := range g.fresh {
		j.payload = appendEntry(j.payload, entryPart, k.queued.encoded)
	}
	for i, r := range records {
		if i != checkpoint {
			j.payload = appendRecord(j.payload, recordPart, r)
			continue
		}
		// Without the lock, so that calls of Outcomes don't wait. That is safe because only this
		// goroutine changes what dump reads. Calls of Enqueue do wait.
		j.payload = j.queue.after(records[:i+1]).dump(j.payload)
		j.payload = appendRecord(j.payload, checkpointPart, r)
	}
	if len(j.payload) > maxPayload {
		j.payload = nil
		return fmt.Errorf("checkpoint and queue together: more than %d bytes", maxPayload)
	}
	if err := j.frame(checkpoint >= 0); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.queue.withdraw(g.fresh) // asked for again, they are new
		return err
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	before := j.moment
	j.queue.push(g.fresh)
	for _, r := range records {
		j.queue.apply(r)
		if kind := r.Kind(); kind == ledger.KindCommit || kind == ledger.KindDecided {
			j.moment++
		}
	}
	j.wakeAwaiting(false)
	if j.moment > before {
		j.wakeDecided()
	}
	if checkpoint >= 0 { // it lists the others
		for _, name := range j.queue.older.expire(j.queue.now) {
			j.dir.fsys.Remove(j.dir.path(name)) // if this fails, the next Open removes it
		}
	}
	return nil
}

// frame writes the payload as the next frame. A checkpoint begins a segment, with which reading
// begins from then on.
func (j *Journal) frame(checkpoint bool) error {
	if err := j.start(); err != nil {
		return err
	}
	f := frame{j.next, j.payload}
	next := j.following()
	var err error
	switch {
	case checkpoint:
		next.base = next.number
		err = j.begin(next, &f)
	case j.segment.spoiled || j.segment.appended()+len(f.payload) > j.limits.segment:
		err = j.begin(next, &f)
	default:
		err = j.append(f)
	}
	if err != nil {
		return err
	}
	j.next++
	j.marked = false
	j.payload = reusable(j.payload)
	return nil
}

// start begins the segment that Open left to be begun, if there is one.
func (j *Journal) start() error {
	if j.segment != nil {
		return nil
	}
	return j.begin(j.coming.header, j.coming.copied)
}

// following returns the header of the segment after the present one.
func (j *Journal) following() header {
	return header{number: j.segment.number + 1, epoch: j.segment.epoch, first: j.next, base: j.segment.base}
}

// append writes a frame to the present segment.
func (j *Journal) append(f frame) error {
	if err := j.dir.unharmed(j.segment); err != nil {
		err = cmp.Or(j.dir.still(), err) // which says more
		return j.fail(undone{err})
	}
	err := j.segment.append(f)
	if err == nil {
		err = j.dir.holds(j.segment)
	}
	return j.fail(err)
}

// begin starts a new segment and closes the present one.
func (j *Journal) begin(h header, f *frame) error {
	err := j.dir.still()
	switch {
	case err != nil:
	case j.segment == nil:
		err = j.dir.lacks(j.dir.path(segmentName(j.coming.after + 1)))
	case j.segment.spoiled: // it has more bytes than it counts
		err = j.dir.lacks(j.segment.next)
	default:
		err = j.dir.unharmed(j.segment)
	}
	if err == nil && j.coming.remake {
		err = j.dir.begin()
		j.coming.remake = err != nil
	}
	if err != nil {
		return j.fail(undone{err})
	}
	s, err := newSegment(j.dir, h, f)
	if err != nil {
		return j.fail(err)
	}
	if j.segment != nil {
		err = j.segment.file.Close()
	}
	j.segment, j.marked, j.coming = s, marksClose(f), coming{}
	if err == nil {
		err = j.dir.holds(s)
	}
	return j.fail(err)
}

// markClose appends the frame that says that the journal was closed. Without it nothing is
// lost, but the next Open must write the newest frame again, and can't tell damage to that
// frame from an interrupted write.
func (j *Journal) markClose() {
	s := j.segment
	if j.ended != repository.ErrClosed || s == nil || s.spoiled || s.size == headerSize || j.marked {
		return
	}
	if j.dir.holds(s) == nil {
		s.append(frame{j.next, []byte(closedPayload)})
	}
}

// fail returns the error of a write, nil for nil. If the write had no effect, the journal stays
// usable, unless it is no longer where it was. If the effect is unknown, the journal ends: the
// frame may be readable now and gone later. Only a new Open, which writes it again, can decide.
func (j *Journal) fail(err error) error {
	if err == nil {
		return nil
	}
	var lost gone
	u, harmless := err.(undone)
	switch {
	case harmless && !errors.As(err, &lost):
		return fmt.Errorf("journal %s: nothing was written; the call can be repeated: %w", j.dir.name, u.error)
	case harmless:
		err = fmt.Errorf("%w: %w", repository.ErrClosed, u.error)
		j.end(err)
		return fmt.Errorf("journal %s: nothing was written: %w", j.dir.name, err)
	case errors.As(err, &lost):
		j.end(fmt.Errorf("%w: %w", repository.ErrClosed, err))
	default:
		j.end(fmt.Errorf("%w: an earlier write failed, so the journal must be opened again: %w", repository.ErrClosed, err))
	}
	return fmt.Errorf("journal %s: %w: %w", j.dir.name, repository.ErrUnknown, err)
}
