package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	_ "github.com/bindery-tuf/bindery/repository/dirjournal" // for ondisk.Journal
	_ "github.com/bindery-tuf/bindery/repository/dirstore"   // for ondisk.Store
)

// session is one process, with the repository open on the disk.
type session struct {
	history *History
	disk    *crashfs.Disk
	ledger  *ledger
	ctx     context.Context // ends when a fault is met
	cancel  context.CancelFunc
	faults  atomic.Bool  // one was met
	opened  func() error // called by recover once the repository is open, unless nil

	journal repository.Journal
	repo    *repository.Repository
}

func newSession(h *History, d *crashfs.Disk, l *ledger) *session {
	s := &session{history: h, disk: d, ledger: l}
	s.ctx, s.cancel = context.WithTimeout(context.Background(), hung)
	return s
}

// open opens the repository as an index does when it starts: it creates what is missing, unless it
// was told that it exists.
func (s *session) open() error {
	s.ledger.set(func() { s.ledger.now = s.ledger.now.Add(time.Minute) }) // no two attempts look alike
	fsys := watch{Process: s.disk.Start(), disk: s.disk, ledger: s.ledger, failed: func() {
		s.faults.Store(true)
		s.cancel()
	}}
	store, err := ondisk.Store.Open(fsys, storeDir)
	if err != nil && !s.ledger.created {
		store, err = ondisk.Store.Create(fsys, storeDir)
	}
	if err != nil {
		return err
	}
	s.journal, err = ondisk.Journal.Open(fsys, journalDir)
	if errors.Is(err, fs.ErrNotExist) && (!s.ledger.created || s.ledger.loss == wholeJournal) {
		s.journal, err = ondisk.Journal.Create(fsys, journalDir)
	}
	if err != nil {
		return err
	}
	cfg := repository.Config{
		Store: store, Journal: noted{s.journal, s.ledger},
		Bins: s.history.bins, Snapshot: s.history.online, Timestamp: s.history.online, Signers: s.history.signers,
		MaxDelay: -1, MaxBatch: 3, MaxBatchBytes: s.history.batch, Workers: 1, CheckpointBytes: s.history.checkpoint, CacheBytes: s.history.cache,
		MaxCustomBytes: 64 << 10, RenewalsPerMinute: s.history.budget,
		Now: s.ledger.clock,
	}
	cfg.CacheAge, cfg.ClientRun = s.history.grace, s.history.grace
	if s.history.collects {
		cfg.CacheAge, cfg.ClientRun = -1, -1
	}
	if s.ledger.created {
		s.repo, err = repository.Open(s.ctx, cfg)
	} else {
		s.repo, err = repository.OpenOrCreate(s.ctx, cfg, s.history.documents)
	}
	if err != nil {
		s.repo, err = s.restore(s.ctx, cfg, err)
	}
	if err != nil {
		return err
	}
	s.ledger.set(func() { s.ledger.created = true })
	return nil
}

// close ends the process in an orderly way, if it is alive.
func (s *session) close() error {
	defer s.cancel()
	if s.repo != nil {
		return s.repo.Close()
	}
	if s.journal != nil {
		return s.journal.Close()
	}
	return nil
}

// do takes one step of a history.
func (s *session) do(step Step) error {
	s.ledger.set(func() { s.ledger.now = s.ledger.now.Add(step.Wait) })
	// What ends the repository shows in the step itself.
	_ = s.repo.AcceptClock(context.Background()) // it does jump, by the machine's monotonic clock
	if step.Alter != "" {
		if err := s.alter(step.Alter); err != nil {
			return err
		}
	}
	if err := s.heal(step.Heal); err != nil {
		return err
	}
	for _, it := range step.Submit {
		if err := s.submit(it); err != nil {
			return err
		}
	}
	if err := s.refused(); err != nil {
		return err
	}
	if step.Ready {
		if err := s.ready(); err != nil {
			return err
		}
	}
	if err := s.install(step.Install); err != nil {
		return err
	}
	if err := s.tooEarly(step.TooEarly); err != nil {
		return err
	}
	if err := s.rotate(step.Rotate); err != nil {
		return err
	}
	if step.Reopen || step.Lose != 0 {
		if err := s.repo.Close(); err != nil {
			return err
		}
		s.disk.End()
		if err := s.lose(step.Lose); err != nil {
			return err
		}
		return s.open()
	}
	if step.Publish || step.Decide {
		before := s.ledger.generation()
		if err := s.publish(step.Wait > 0 && len(step.Submit) == 0); err != nil {
			return err
		}
		if step.Decide && s.ledger.generation() != before {
			return errors.New("a generation was made of nothing")
		}
	}
	return nil
}

func (s *session) install(d repository.Documents) error {
	if len(d.Roots) == 0 && len(d.Roles) == 0 {
		return nil
	}
	return s.repo.Install(s.ctx, d)
}

// tooEarly installs documents that must be refused: they drop a key that a client behind a cache needs.
func (s *session) tooEarly(d repository.Documents) error {
	if len(d.Roots) == 0 {
		return nil
	}
	switch err := s.repo.Install(s.ctx, d); {
	case err == nil:
		return broken("documents that drop a key were accepted, and a cache may serve what it signed")
	case errors.Is(err, repository.ErrLocksOut):
		return nil
	default:
		return err
	}
}

// rotate begins rotations.
func (s *session) rotate(names []string) error {
	for _, role := range names {
		if err := s.repo.Rotate(s.ctx, role); err != nil {
			return err
		}
		s.ledger.set(func() { s.ledger.rotating = append(slices.Clip(s.ledger.rotating), role) })
	}
	return nil
}

// ready requires that all rotations are.
func (s *session) ready() error {
	status, err := s.repo.Status(s.ctx)
	if err != nil {
		return err
	}
	for _, x := range status.Rotations {
		if x.State != repository.RotationReady {
			return fmt.Errorf("the rotation of %s is %s, and %d are left", x.Role, x.State, x.Left)
		}
	}
	return s.underWay(status)
}

// underWay requires that a rotation of which Rotate said that it has begun is under way.
func (s *session) underWay(status repository.Status) error {
	for _, role := range s.ledger.rotating {
		if !slices.ContainsFunc(status.Rotations, func(x repository.Rotation) bool { return x.Role == role }) {
			return broken("the rotation of %s was begun, and is forgotten", role)
		}
	}
	return nil
}

// poll asks for the outcomes that are still open, as any caller may at any time.
func (s *session) poll() {
	for _, e := range s.ledger.unresolved() {
		if o, err := s.outcome(s.ctx, e); err == nil && o.State != repository.Accepted {
			s.ledger.tell(e, o)
		}
	}
}

// submit hands an item over.
func (s *session) submit(it repository.Item) error {
	e := &entry{item: it}
	s.ledger.set(func() { s.ledger.items = append(s.ledger.items, e) })
	return s.retry(e)
}

// retry submits an item again whose fate may be unknown.
func (s *session) retry(e *entry) (err error) {
	if e.poisonous() {
		err = s.enqueue(e)
	} else {
		_, err = s.repo.Submit(s.ctx, e.item)
	}
	if err == nil {
		s.ledger.set(func() { e.accepted = true })
	}
	return err
}

// enqueue writes into the journal what Submit refuses.
func (s *session) enqueue(e *entry) error {
	written, err := e.item.Entry()
	if err == nil {
		_, err = s.journal.Enqueue(s.ctx, written)
	}
	return err
}

// outcome asks the journal what became of an item that it knows.
func (s *session) outcome(ctx context.Context, e *entry) (repository.Outcome, error) {
	return outcome(ctx, s.journal, e)
}

func outcome(ctx context.Context, queue repository.Queue, e *entry) (repository.Outcome, error) {
	found, err := queue.Outcomes(ctx, e.item.ID)
	switch {
	case err != nil:
		return repository.Outcome{}, err
	case found[0] == (repository.Outcome{}):
		return repository.Outcome{}, repository.ErrUnknownItem
	}
	return found[0], nil
}

// refused submits items that must be refused, and therefore never be seen.
func (s *session) refused() error {
	bad := repository.Item{ID: "refused", Remove: []string{"../outside"}}
	if _, err := s.repo.Submit(s.ctx, bad); err == nil {
		return errors.New("a path that leaves the repository was accepted")
	}
	if s.history.claimed != "" {
		claimed := repository.Item{ID: "claimed", Remove: []string{s.history.claimed}}
		if _, err := s.repo.Submit(s.ctx, claimed); !errors.Is(err, repository.ErrSignedByPeople) {
			return fmt.Errorf("a path that people sign was accepted: %w", err)
		}
	}
	if len(s.ledger.items) == 0 || !s.ledger.items[0].accepted || s.ledger.items[0].forgotten {
		return nil
	}
	other := repotest.File("packages/refused", "never")
	it := repository.Item{ID: s.ledger.items[0].item.ID}
	it.Add = append(it.Add, other)
	if _, err := s.repo.Submit(s.ctx, it); err == nil {
		return errors.New("a second item under a used ID was accepted")
	}
	return nil
}

// publish runs the publisher until every accepted item is decided, except those whose bin is
// altered. If renew is set, one more generation must appear. It tells the ledger what the receipts
// say.
func (s *session) publish(renew bool) error {
	before, err := s.repo.Status(s.ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.repo.Run(ctx) }()
	err = s.await(ctx, renew, before.Generation)
	if err == nil {
		err = s.repo.AcceptClock(ctx) // waits until the publisher is done with all that follows a commit
	}
	if err == nil {
		err = s.patient()
	}
	cancel()
	return errors.Join(err, <-done)
}

func (s *session) await(ctx context.Context, renew bool, before int64) error {
	waiting := s.waiting()
	for _, e := range s.ledger.unresolved() {
		if waiting[e] {
			continue
		}
		o, err := s.receive(ctx, e)
		if err != nil {
			return err
		}
		s.ledger.tell(e, o)
	}
	for renew {
		now, err := s.repo.Status(ctx)
		if err != nil {
			return err
		}
		if now.Generation > before {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no renewal: %w", ctx.Err())
		}
		time.Sleep(20 * time.Microsecond)
	}
	return nil
}

// receive waits until an accepted item is decided.
func (s *session) receive(ctx context.Context, e *entry) (repository.Outcome, error) {
	for e.poisonous() { // nobody has a receipt
		o, err := s.outcome(ctx, e)
		if err != nil || o.State != repository.Accepted {
			return o, err
		}
		time.Sleep(20 * time.Microsecond)
	}
	// The journal remembers it, so this only makes a receipt.
	r, err := s.repo.Submit(ctx, e.item)
	if err != nil {
		return repository.Outcome{}, err
	}
	o, err := r.Wait(ctx)
	if errors.Is(err, repository.ErrSetAside) || errors.Is(err, repository.ErrRefused) {
		return o, nil
	}
	return o, err
}

// hung is the time after which a call is given up that should have ended long before.
const hung = time.Minute
