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

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

var (
	// ErrBusy is wrapped by Submit when the queue is full: see Config.MaxPending and
	// MaxPendingBytes.
	ErrBusy = errors.New("the queue is full")

	// ErrInvalid is wrapped by Submit if something is wrong with the item itself: a path, a hash,
	// a length, the ID, custom data, a condition. The same item would be refused again.
	ErrInvalid = errors.New("invalid item")

	// ErrSetAside is wrapped by Receipt.Wait for an item that can't be published. It was
	// accepted, and nothing of it was or will be published: the outcome has the reason.
	ErrSetAside = errors.New("set aside")

	// ErrRefused is wrapped by Receipt.Wait for an item one of whose conditions didn't hold.
	ErrRefused = errors.New("condition not met")
)

// maxDownloadName is the longest file name that file systems allow. go-tuf's default name for a
// download is the whole escaped path.
const maxDownloadName = 255

// Repository is an open repository: the queue for uploads, and the one publisher. Its methods
// are safe for concurrent use.
type Repository struct {
	cfg    Config
	online atomic.Pointer[online] // of the documents in force, for Submit
	view   atomic.Pointer[View]   // the last one that somebody asked for

	// turn holds a token. Who has taken it owns pub: Run, Install, Rebuild, AcceptClock, Drain or
	// Close.
	turn chan struct{}
	pub  *publisher

	deleting sync.WaitGroup // calls of Config.DeleteTarget: who has the turn begins them

	// alive ends when the repository can't be used any longer. Its cause says why.
	alive context.Context
	end   context.CancelCauseFunc

	mu          sync.Mutex                // guards the fields below
	entering    map[string]*entering      // items on their way into the journal, by ID
	enteringSum ledger.Backlog            // number and bytes of those
	entered     int                       // how many such items there were since Open
	waiters     map[string][]chan Outcome // by item ID; each gets the final outcome once
	published   Status                    // as of the last turn
	lastErr     error                     // of the last attempt to publish; nil after a success
	queueThen   ledger.Backlog            // as Status saw it last
	running     bool
	interrupt   context.CancelFunc // ends Run's present wait; nil if it doesn't wait
	stuck       bool               // documents are accepted and not published
	preempt     context.CancelFunc // ends what the owner of pub is doing; nil if nobody owns it

	close func() error // once
}

// entering is an item on its way into the journal.
type entering struct {
	calls int // of Submit
	nth   int // it was the nth to enter
	bytes int64
}

func newRepository(p *publisher) *Repository {
	r := &Repository{cfg: p.cfg, pub: p, turn: make(chan struct{}, 1), entering: map[string]*entering{}, waiters: map[string][]chan Outcome{}}
	r.alive, r.end = context.WithCancelCause(context.Background())
	r.turn <- struct{}{}
	p.clock.open(p.state.Signed)
	p.openBudget()
	r.published = p.status()
	r.online.Store(&p.docs.online)
	r.close = sync.OnceValue(r.shut)
	r.stuck = p.documentsWait()
	if p.cfg.DeleteTarget != nil {
		p.collection.deleting = newDeletions()
	}
	p.accepted = func() { r.noteStuck(true) }
	p.decided = func(outcomes []ledger.ItemOutcome) { r.tell(p.status(), outcomes) }
	return r
}

// Add queues targets to be published, as one item. They replace targets of the same paths. See
// Submit.
func (r *Repository) Add(ctx context.Context, targets ...roles.Target) (*Receipt, error) {
	return r.Submit(ctx, Item{Add: targets})
}

// Remove queues paths to be removed, as one item. A path that isn't published is no error. See
// Submit.
func (r *Repository) Remove(ctx context.Context, paths ...string) (*Receipt, error) {
	return r.Submit(ctx, Item{Remove: paths})
}

// Submit queues an item and returns once it is durable. From then on it will be published, whatever
// happens to this process. Many concurrent calls share one sync. Items that name the same path are
// published in the order in which they were queued. If Submit returns for one item before another is
// submitted, the first one comes first.
//
// There is one exception. If an item's bin has no room for it when its turn comes, it is set aside,
// with that reason. A bin has room for 10,000,000 bytes, or as many as its key signs. Status.Fullest
// shows the fullest bins. Once something was removed from the bin, the item can be submitted again,
// under another ID. (An item can also fail by the index's own wish: by a condition, or by
// Config.Approve.)
//
// A condition is checked against what clients find. Several online roles can list one path: a new
// document may put one role in front of another. Clients find the target of the first role that
// lists it. An added target goes into the first role that clients ask. Entries in other roles stay.
// A removed path leaves every online role. Entries that people signed stay. A new document can make
// clients differ on a path (see delegation.Tree.CheckPath): such a path can be removed and not added.
//
// An item whose ID the journal remembers is not queued again. So a call whose fate is unknown can be
// repeated, and Receipt.Repeated reports that it was one. Two items are the same if they mean the
// same, however they were encoded. Every change needs a new ID. Don't derive it from the content: a
// file that is added, removed and added again would have one ID twice, and would stay removed.
//
// The error wraps one of these:
//
//   - ErrInvalid: some client would refuse the item. The error names the path and the reason.
//   - ErrSignedByPeople: the item adds a path whose role people sign, or removes one that clients look
//     for in no online role. The error names the role.
//   - ErrIDReused: the journal remembers another item with this ID.
//   - ErrBusy: the queue is full.
//   - ErrBeingDeleted: the item adds a target whose file Config.DeleteTarget is deleting.
//   - ErrUnknown: the item may have become durable. The context ended, or the disk failed, while it
//     was written.
//   - ErrClosed: the repository was closed, or must be opened again.
func (r *Repository) Submit(ctx context.Context, it Item) (*Receipt, error) {
	if it.ID == "" {
		it.ID = rand.Text()
	}
	for _, t := range it.Add {
		if longDownload(t.Path) {
			r.cfg.Logger.Warn("go-tuf clients must be given a file name for this target: its escaped path has over 255 bytes", "path", t.Path)
		}
	}
	it.Accepted = r.cfg.Now().UTC().Truncate(time.Millisecond)
	entry, err := r.encode(it)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	if err := r.enter(ctx, entry); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	defer r.left(entry)
	deleting := r.pub.collection.deleting
	if err := deleting.enter(it); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	defer deleting.leave(it)
	known, err := r.cfg.Journal.Enqueue(ctx, entry)
	if err != nil {
		return nil, fmt.Errorf("submit: journal: %w", err)
	}
	return &Receipt{id: it.ID, repeated: known[0], paths: slices.Collect(it.Paths), r: r}, nil
}

// encode makes an item's entry. An error wraps ErrInvalid or ErrSignedByPeople.
func (r *Repository) encode(it Item) (ledger.Entry, error) {
	if err := it.Validate(); err != nil {
		return ledger.Entry{}, invalidError{err}
	}
	for _, t := range it.Add {
		if err := r.checkCustom(t); err != nil {
			return ledger.Entry{}, invalidError{err}
		}
	}
	online := r.online.Load()
	var leaves []int
	for e := range it.Edits {
		var err error
		switch leaves, err = online.leaves(leaves[:0], e); {
		case errors.Is(err, ErrSignedByPeople):
			return ledger.Entry{}, err
		case err != nil:
			return ledger.Entry{}, invalidError{err}
		}
	}
	entry, err := it.Entry()
	if err == nil {
		err = entry.Check()
	}
	if err != nil {
		return ledger.Entry{}, invalidError{err}
	}
	return entry, nil
}

// invalidError says what is wrong with an item. It wraps ErrInvalid, but its text doesn't repeat that.
type invalidError struct{ error }

func (e invalidError) Unwrap() []error { return []error{ErrInvalid, e.error} }

// checkCustom refuses custom data beyond the configured limit, white space not counted.
func (r *Repository) checkCustom(t roles.Target) error {
	n, most := len(t.Custom), r.cfg.MaxCustomBytes
	if n <= most {
		return nil
	}
	if canonical, err := cjson.Canonicalize(t.Custom); err == nil {
		n = len(cjson.AppendJSON(nil, canonical))
	}
	if n > most {
		return fmt.Errorf("target %q: custom: %d bytes, and at most %d are accepted here (Config.MaxCustomBytes)", t.Path, n, most)
	}
	return nil
}

// longDownload reports whether the escaped path is longer than a file name may be. Most paths are so
// short that it need not escape them.
func longDownload(path string) bool {
	n := len(path)
	for i := range len(path) {
		if c := path[i] | 0x20; c < 'a' || c > 'z' { // an escaped byte takes three
			n += 2
		}
	}
	return n > maxDownloadName && len(url.PathEscape(path)) > maxDownloadName
}

// enter reserves a place in the queue. An item that the journal knows already needs none.
func (r *Repository) enter(ctx context.Context, e ledger.Entry) error {
	if err := context.Cause(r.alive); err != nil {
		return err
	}
	r.mu.Lock()
	before := r.enteringSum
	own := r.entering[e.ID]
	if own == nil {
		r.entered++
		own = &entering{nth: r.entered, bytes: int64(len(e.Body))}
		r.entering[e.ID] = own
		r.enteringSum.Pending++
		r.enteringSum.Bytes += own.bytes
	}
	own.calls++
	r.mu.Unlock()
	err := r.room(ctx, e, own.nth, before)
	if err != nil {
		r.left(e)
	}
	return err
}

// room returns nil if there is room for an entry after the queue and all items that entered before
// it, or if the journal knows the entry.
func (r *Repository) room(ctx context.Context, e ledger.Entry, nth int, before ledger.Backlog) error {
	queue, err := r.cfg.Journal.Backlog(ctx)
	if err != nil {
		return err
	}
	if r.hasRoom(queue, before) {
		return nil // though some may be counted twice
	}
	// An item that is durable, but whose Submit hasn't returned, is both entering and in the
	// queue. It must be counted once. Which of these a backlog counts is known only if none
	// became durable meanwhile.
	ids, sizes := r.enteringBefore(nth)
	ids = append(ids, e.ID)
	for durable := -1; ; {
		outcomes, err := r.cfg.Journal.Outcomes(ctx, ids...)
		if err != nil {
			return err
		}
		if outcomes[len(sizes)].State != "" {
			return nil
		}
		last := durable
		durable, before = 0, ledger.Backlog{}
		for n, size := range sizes {
			if outcomes[n].State != "" {
				durable++
				continue
			}
			before.Pending++
			before.Bytes += size
		}
		switch {
		case !r.hasRoom(queue, ledger.Backlog{}), durable == last && !r.hasRoom(queue, before):
			return fmt.Errorf("%w: %d items of %d bytes are pending", ErrBusy, queue.Pending, queue.Bytes)
		case durable == last:
			return nil
		}
		if queue, err = r.cfg.Journal.Backlog(ctx); err != nil {
			return err
		}
	}
}

// hasRoom reports whether one more item may follow the queue and those before it.
func (r *Repository) hasRoom(queue, before ledger.Backlog) bool {
	return queue.Pending+before.Pending < r.cfg.MaxPending && queue.Bytes+before.Bytes < r.cfg.MaxPendingBytes
}

// enteringBefore lists the items that entered before the nth one and have not left.
func (r *Repository) enteringBefore(nth int) (ids []string, bytes []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, i := range r.entering {
		if i.nth < nth {
			ids, bytes = append(ids, id), append(bytes, i.bytes)
		}
	}
	return ids, bytes
}

func (r *Repository) left(e ledger.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own := r.entering[e.ID]
	if own.calls--; own.calls == 0 {
		delete(r.entering, e.ID)
		r.enteringSum.Pending--
		r.enteringSum.Bytes -= own.bytes
	}
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
	id       string
	repeated bool
	paths    []string
	r        *Repository
}

// ID is the item's ID, with which Repository.Outcome can be asked at any time.
func (rc *Receipt) ID() string { return rc.id }

// Repeated reports whether the journal remembered the item. If it did, Submit queued nothing, and
// Wait returns the outcome of the first call. That is right for a call that is repeated because its
// fate was unknown. Otherwise an ID was used for a second change, and that change is not made.
func (rc *Receipt) Repeated() bool { return rc.repeated }

// Receipt returns a receipt for an item that this or another process submitted before. Give the
// item's paths: Wait fails if clients that search for them meet a role that has expired. Receipt
// does no I/O. If the journal doesn't know the ID, Wait says so.
func (r *Repository) Receipt(id string, paths ...string) *Receipt {
	return &Receipt{id: id, repeated: true, paths: paths, r: r}
}

// Wait returns once clients can see what became of the item: the timestamp of its generation is in
// the store. It publishes nothing itself: Run does. The error wraps one of these:
//
//   - ErrSetAside: the item can't be published. The outcome has the reason.
//   - ErrRefused: one of the item's conditions didn't hold.
//   - ErrExpired: the item is Published, Superseded or Unchanged, and clients that look for its paths
//     refuse a role that has expired. They see the item once that role is signed again.
//   - ErrUnknownItem: the journal doesn't remember the ID.
//   - The context's error, or ErrClosed: that ended first. The item stays durable. Repository.Outcome
//     tells what became of it, if need be after Open.
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
	if err := rc.r.expiredFor(rc.paths); err != nil {
		return o, fmt.Errorf("item %q is %s in generation %d, and clients can't see it: %w", rc.id, o.State, o.Generation, err)
	}
	return o, nil
}

// expect returns a channel. It gets the final outcome of each of these items that is decided before
// forget is called.
func (r *Repository) expect(ids ...string) (done <-chan Outcome, forget func()) {
	c := make(chan Outcome, len(ids))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.waiters[id] = append(r.waiters[id], c)
	}
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range ids {
			left := slices.DeleteFunc(r.waiters[id], func(other chan Outcome) bool { return other == c })
			if r.waiters[id] = left; len(left) == 0 {
				delete(r.waiters, id)
			}
		}
	}
}

// tell gives final outcomes to those who wait for them. Who is told and then asks for the Status gets
// now, or a later one.
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

// ended is the error of Wait if the repository ended first.
func (rc *Receipt) ended(reason error) error {
	return fmt.Errorf("item %q is accepted, and its outcome is known once the repository is opened again: %w", rc.id, reason)
}
