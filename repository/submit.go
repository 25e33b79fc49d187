package repository

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

var (
	// ErrBusy is wrapped by Submit when as many items wait already as
	// Config.MaxPending and MaxPendingBytes allow.
	ErrBusy = errors.New("the queue is full")

	// ErrSetAside is wrapped by Receipt.Wait for an item that can't be published.
	ErrSetAside = errors.New("set aside")

	// ErrRefused is wrapped by Receipt.Wait for an item one of whose conditions didn't hold.
	ErrRefused = errors.New("condition not met")
)

// maxDownloadName is the longest file name; go-tuf's default for a download is the
// whole escaped path.
const maxDownloadName = 255

// Repository is an open repository: the queue for uploads, and the one publisher. Its methods
// are safe for concurrent use.
type Repository struct {
	cfg    Config
	online atomic.Pointer[online] // of the documents in force, for Submit

	// turn holds a token. Whoever took it owns pub: Run, Install, Rebuild, AcceptClock, Close.
	turn chan struct{}
	pub  *publisher

	// alive ends when the repository is of no more use; its cause says why.
	alive context.Context
	end   context.CancelCauseFunc

	mu        sync.Mutex                // guards the fields below
	entering  ledger.Backlog            // items on their way into the journal
	waiters   map[string][]chan Outcome // by item ID; each gets the final outcome once
	published Status                    // as of the last turn
	lastErr   error                     // of the last attempt to publish; nil after a success
	running   bool
	interrupt context.CancelFunc // ends Run's present wait; nil if it doesn't wait

	close func() error // once
}

func newRepository(p *publisher) *Repository {
	r := &Repository{cfg: p.cfg, pub: p, turn: make(chan struct{}, 1), waiters: map[string][]chan Outcome{}}
	r.alive, r.end = context.WithCancelCause(context.Background())
	r.turn <- struct{}{}
	r.published = p.status()
	r.online.Store(&p.docs.online)
	r.close = sync.OnceValue(r.shut)
	p.decided = func(outcomes []ledger.ItemOutcome) { r.tell(p.status(), outcomes) }
	return r
}

// Add queues targets to be published, replacing those of the same path, as one
// item. See Submit.
func (r *Repository) Add(ctx context.Context, targets ...roles.Target) (*Receipt, error) {
	return r.Submit(ctx, Item{Add: targets})
}

// Remove queues paths to be removed, as one item; a path that isn't there is no
// error. See Submit.
func (r *Repository) Remove(ctx context.Context, paths ...string) (*Receipt, error) {
	return r.Submit(ctx, Item{Remove: paths})
}

// Submit queues an item and returns once it is durable: from then on it will be
// published, whatever happens to this process. Many concurrent calls share one
// sync. Items that name the same path are published in the order in which they
// were queued: one for which Submit returned before another was submitted comes first.
//
// An item with an ID that the journal remembers is not queued again, so that a
// call whose fate is unknown can be repeated; another item under the same ID is
// refused with ErrIDReused. Two items are the same if they mean the same, however they were
// encoded. An item that some client would refuse is refused with an error that names the
// path and the reason; one of whose paths belongs to a role that people sign, with
// ErrSignedByPeople and the role's name. Other errors wrap ErrBusy; or
// ErrUnknown if the item may have become durable, for instance because the
// context ended or the disk failed while it was written; or ErrClosed.
func (r *Repository) Submit(ctx context.Context, it Item) (*Receipt, error) {
	if it.ID == "" {
		it.ID = rand.Text()
	}
	for _, t := range it.Add {
		if longDownload(t.Path) {
			r.cfg.Logger.Warn("go-tuf clients must be given a file name for this target: its escaped path has over 255 bytes", "path", t.Path)
		}
	}
	if err := it.Validate(); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	online := r.online.Load()
	for path := range it.Paths {
		if _, err := online.owner(path); err != nil {
			return nil, fmt.Errorf("submit: %w", err)
		}
	}
	it.Accepted = r.cfg.Now().UTC().Truncate(time.Millisecond)
	entry, err := it.Entry()
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if err := r.enter(ctx, entry); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	defer r.left(entry)
	if _, err := r.cfg.Journal.Enqueue(ctx, entry); err != nil {
		return nil, fmt.Errorf("submit: journal: %w", err)
	}
	return &Receipt{id: it.ID, r: r}, nil
}

// longDownload reports whether path, escaped, is longer than a file name may be. For
// most paths that is clear without escaping them.
func longDownload(path string) bool {
	n := len(path)
	for i := range len(path) {
		if c := path[i] | 0x20; c < 'a' || c > 'z' { // an escaped byte takes three
			n += 2
		}
	}
	return n > maxDownloadName && len(url.PathEscape(path)) > maxDownloadName
}

// enter reserves a place in the queue. An item that is in it already needs none.
func (r *Repository) enter(ctx context.Context, e ledger.Entry) error {
	if err := context.Cause(r.alive); err != nil {
		return err
	}
	r.mu.Lock()
	before := r.entering
	r.entering.Pending++
	r.entering.Bytes += int64(len(e.Body))
	r.mu.Unlock()
	queue, err := r.cfg.Journal.Backlog(ctx)
	if err == nil && (queue.Pending+before.Pending >= r.cfg.MaxPending || queue.Bytes+before.Bytes >= r.cfg.MaxPendingBytes) {
		if _, unknown := r.Outcome(ctx, e.ID); unknown == nil {
			return nil
		}
		err = fmt.Errorf("%w: %d items of %d bytes are pending", ErrBusy, queue.Pending, queue.Bytes)
	}
	if err != nil {
		r.left(e)
	}
	return err
}

func (r *Repository) left(e ledger.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entering.Pending--
	r.entering.Bytes -= int64(len(e.Body))
}

// Outcome returns how far the item with this ID has come, also after a restart,
// or an error that wraps ErrUnknownItem if the journal doesn't remember it.
func (r *Repository) Outcome(ctx context.Context, id string) (Outcome, error) {
	found, err := r.cfg.Journal.Outcomes(ctx, id)
	if err == nil && found[0].State == "" {
		err = ErrUnknownItem
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("outcome of %q: %w", id, err)
	}
	return found[0], nil
}

// Receipt is the promise that an item is durable and will be published.
type Receipt struct {
	id string
	r  *Repository
}

// ID is the item's ID, with which Repository.Outcome can be asked at any time.
func (rc *Receipt) ID() string { return rc.id }

// Wait returns once clients can see what became of the item: its generation's
// timestamp is swapped in. It publishes nothing itself; that is for Run. The error
// wraps ErrSetAside, with the reason, if the item can't be published, and ErrRefused if one
// of its conditions didn't hold; it is the context's or the repository's error if that ended first. The item is durable then,
// and Repository.Outcome tells what became of it, if need be after Open.
func (rc *Receipt) Wait(ctx context.Context) (Outcome, error) {
	done, forget := rc.r.expect(rc.id)
	defer forget()
	o, err := rc.r.Outcome(ctx, rc.id)
	switch {
	case errors.Is(err, ErrClosed): // the journal is
		return Outcome{State: Accepted}, rc.ended(err)
	case err != nil:
		return o, err
	case o.State != Accepted:
		return rc.final(o)
	}
	select {
	case o := <-done:
		return rc.final(o)
	case <-rc.r.alive.Done():
		return o, rc.ended(context.Cause(rc.r.alive))
	case <-ctx.Done():
		return o, fmt.Errorf("item %q is accepted, and not yet published: %w", rc.id, ctx.Err())
	}
}

// final is what Wait returns for an outcome that stays.
func (rc *Receipt) final(o Outcome) (Outcome, error) {
	switch o.State {
	case SetAside:
		return o, fmt.Errorf("item %q: %w: %s", rc.id, ErrSetAside, o.Reason)
	case Refused:
		return o, fmt.Errorf("item %q: %w: %s", rc.id, ErrRefused, o.Reason)
	}
	return o, nil
}

// expect returns a channel that gets the final outcome of an item, if that appears before
// forget is called.
func (r *Repository) expect(id string) (done <-chan Outcome, forget func()) {
	c := make(chan Outcome, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiters[id] = append(r.waiters[id], c)
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		left := slices.DeleteFunc(r.waiters[id], func(other chan Outcome) bool { return other == c })
		if r.waiters[id] = left; len(left) == 0 {
			delete(r.waiters, id)
		}
	}
}

// tell gives outcomes that have become final to those who wait for them, and to nobody else.
// Whoever is told and then asks for the Status gets the one given, or a later one.
func (r *Repository) tell(now Status, outcomes []ledger.ItemOutcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = now
	for _, o := range outcomes {
		for _, c := range r.waiters[o.ID] {
			c <- o.Outcome
		}
		delete(r.waiters, o.ID)
	}
}

// ended says that nobody will tell here what became of the item.
func (rc *Receipt) ended(reason error) error {
	return fmt.Errorf("item %q is accepted, and its outcome is known once the repository is opened again: %w", rc.id, reason)
}
