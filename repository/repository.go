package repository

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/roles"
)

var (
	// ErrBusy is wrapped by Submit when as many items wait already as
	// Config.MaxPending and MaxPendingBytes allow.
	ErrBusy = errors.New("the queue is full")

	// ErrSetAside is wrapped by Receipt.Wait for an item that can't be published.
	ErrSetAside = errors.New("set aside")
)

// maxDownloadName is the longest file name; go-tuf's default for a download is the
// whole escaped path.
const maxDownloadName = 255

// Repository is an open repository. Its methods are safe for concurrent use.
type Repository struct {
	cfg Config

	// publishing is held by whoever uses pub.
	publishing sync.Mutex
	pub        *publisher

	mu        sync.Mutex
	entering  QueueStats    // items on their way into the journal
	wake      chan struct{} // tells Run that something may be due
	changed   chan struct{} // closed and replaced when outcomes may have appeared
	closed    chan struct{} // closed when the repository is of no more use
	closeErr  error         // why; set before closed is closed
	lastErr   error         // of the last attempt to publish; nil after a success
	published Status        // as of the last generation
	running   bool

	closeOnce sync.Once
	closing   error // result of Close
}

func newRepository(p *publisher) *Repository {
	r := &Repository{cfg: p.cfg, pub: p, wake: make(chan struct{}, 1), changed: make(chan struct{}), closed: make(chan struct{})}
	r.published = p.status()
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
// refused with ErrIDReused. An item that some client would refuse is refused with
// an error that names the path and the reason. Other errors wrap ErrBusy; or
// ErrUnknown if the item may have become durable, for instance because the
// context ended or the disk failed while it was written; or ErrClosed.
func (r *Repository) Submit(ctx context.Context, it Item) (*Receipt, error) {
	if it.ID == "" {
		it.ID = rand.Text()
	}
	add := make([]roles.Target, len(it.Add))
	for i, t := range it.Add {
		if longDownload(t.Path) {
			r.cfg.Logger.Warn("go-tuf clients must be given a file name for this target: its escaped path has over 255 bytes", "path", t.Path)
		}
		if len(t.Custom) > 0 {
			canonical, err := cjson.Canonicalize(t.Custom)
			if err != nil {
				return nil, fmt.Errorf("submit: target %q: custom: %w", t.Path, err)
			}
			t.Custom = canonical
		}
		add[i] = t
	}
	it.Add = add
	if err := it.Validate(); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	it.Accepted = r.cfg.Now().UTC().Truncate(time.Millisecond)
	if err := r.enter(ctx, it); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	defer r.left(it)
	if err := r.cfg.Journal.Enqueue(ctx, it); err != nil {
		return nil, fmt.Errorf("submit: journal: %w", err)
	}
	return &Receipt{id: it.ID, r: r}, nil
}

// longDownload tells whether path, escaped, is longer than a file name may be. For
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
func (r *Repository) enter(ctx context.Context, it Item) error {
	if err := r.closedErr(); err != nil {
		return err
	}
	r.mu.Lock()
	before := r.entering
	r.entering.Pending++
	r.entering.Bytes += int64(it.size())
	r.mu.Unlock()
	stats, err := r.cfg.Journal.Stats(ctx)
	if err == nil && (stats.Pending+before.Pending >= r.cfg.MaxPending || stats.Bytes+before.Bytes >= r.cfg.MaxPendingBytes) {
		if _, known := r.cfg.Journal.Outcome(ctx, it.ID); known == nil {
			return nil
		}
		err = fmt.Errorf("%w: %d items of %d bytes are pending", ErrBusy, stats.Pending, stats.Bytes)
	}
	if err != nil {
		r.left(it)
	}
	return err
}

func (r *Repository) left(it Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entering.Pending--
	r.entering.Bytes -= int64(it.size())
}

// Outcome returns how far the item with this ID has come, also after a restart,
// or an error that wraps ErrUnknownItem if the journal doesn't remember it.
func (r *Repository) Outcome(ctx context.Context, id string) (Outcome, error) {
	o, err := r.cfg.Journal.Outcome(ctx, id)
	if err != nil {
		return o, fmt.Errorf("outcome of %q: %w", id, err)
	}
	return o, nil
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
// wraps ErrSetAside, with the reason, if the item can't be published; it is the
// context's or the repository's error if that ended first. The item is durable then,
// and Repository.Outcome tells what became of it, if need be after Open.
func (rc *Receipt) Wait(ctx context.Context) (Outcome, error) {
	for {
		rc.r.mu.Lock()
		changed := rc.r.changed
		rc.r.mu.Unlock()
		o, err := rc.r.Outcome(ctx, rc.id)
		switch {
		case errors.Is(err, ErrClosed): // the journal is
			return Outcome{State: Accepted}, rc.ended(err)
		case err != nil:
			return o, err
		case o.State == SetAside:
			return o, fmt.Errorf("item %q: %w: %s", rc.id, ErrSetAside, o.Reason)
		case o.State != Accepted:
			return o, nil
		}
		select {
		case <-changed:
		case <-rc.r.closed:
			return o, rc.ended(rc.r.closeErr)
		case <-ctx.Done():
			return o, fmt.Errorf("item %q is accepted, and not yet published: %w", rc.id, ctx.Err())
		}
	}
}

// ended says that nobody will tell here what became of the item.
func (rc *Receipt) ended(reason error) error {
	return fmt.Errorf("item %q is accepted, and its outcome is known once the repository is opened again: %w", rc.id, reason)
}

// AcceptClock takes the present time for right after an error that wraps
// ErrClock: publishing goes on with it.
func (r *Repository) AcceptClock() {
	_ = r.exclusively(func(p *publisher) error {
		p.clock.accept()
		return nil
	})
	r.wakeRun()
}

// exclusively lets f use the publisher, and tells everybody what came of it.
func (r *Repository) exclusively(f func(*publisher) error) error {
	r.publishing.Lock()
	defer r.publishing.Unlock()
	if err := r.closedErr(); err != nil {
		return err
	}
	err := f(r.pub)
	status := r.pub.status()

	r.mu.Lock()
	r.published = status
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if isFatal(err) {
		r.end(fmt.Errorf("%w: the repository must be opened again: %w", ErrClosed, err))
	}
	return err
}

// noteErr lets Status show why publishing failed, or that it succeeded.
func (r *Repository) noteErr(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
}

// end makes the repository useless, for the reason given.
func (r *Repository) end(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closeErr == nil {
		r.closeErr = reason
		close(r.closed)
	}
}

func (r *Repository) closedErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closeErr
}

// Close ends Run, waits for it, gives the lead up and closes the journal. It
// loses nothing: what is queued stays queued, and a generation under way is
// committed if it was sealed and otherwise burnt. Calls that wait end with an
// error that wraps ErrClosed.
func (r *Repository) Close() error {
	r.closeOnce.Do(func() {
		r.end(ErrClosed)
		r.publishing.Lock() // Run and Install let go of it soon
		defer r.publishing.Unlock()
		err := release(r.pub.leader)
		if errors.Is(err, ErrFenced) { // there is nothing left to give up
			err = nil
		}
		r.closing = errors.Join(err, r.cfg.Journal.Close())
	})
	return r.closing
}
