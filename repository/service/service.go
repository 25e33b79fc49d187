package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// ErrUnavailable is wrapped by calls that waited for Config.Patience while the repository was being
// opened again. The call may be repeated later.
var ErrUnavailable = errors.New("the repository is not open")

// How long the service waits between two attempts to open the repository: it doubles from the
// first to the last. For a lock it is pauseOfLock, and for what only people can mend lastPause.
const (
	firstPause  = 200 * time.Millisecond
	lastPause   = time.Minute
	pauseOfLock = 2 * time.Second
	pauseOfLead = time.Minute // after this standby gave up the lead because of its clock
)

// documentsAgain is how long the service waits before it looks again at documents that it could not install.
const documentsAgain = time.Minute

// Config says what a Service is made of. Open is required.
type Config struct {
	// Open returns what to open the repository with. It opens the store and the journal, and
	// loads the keys. It is called by Start, and whenever the repository must be opened again:
	// after a failure of the journal, by Reload, and, without Vacant, every two seconds while another process
	// has the lock. The service closes the journal. What else Open opens stays open: a signer with
	// a connection of its own is better made once and handed out each time.
	//
	// The Observe of what it returns may call Status of the service, which never waits. Other calls
	// wait while the repository is being opened again, and that waits for Observe. Approve may
	// also call View and Outcome with the context that it is given: that ends then.
	//
	// Load the keys first and open the journal last. Then nothing is left open if a key can't
	// be loaded, and Reload notices a bad key before it closes anything.
	Open func(ctx context.Context) (repository.Config, error)

	// Documents returns the finished documents: see repository.ReadDocuments. If there is no
	// repository yet, it is created of them. Start and Reload install those that are newer than
	// the documents in force, and so does a standby once it has taken over. What can't be read or installed then
	// is tried again each minute, and needs no further Reload. Nil: the repository must exist.
	Documents func(ctx context.Context) (repository.Documents, error)

	// Read returns what a standby reads while another process publishes: a store, and a reader
	// of the journal (dirjournal.OpenReader). Nil: a standby can only wait.
	Read func(ctx context.Context) (repository.Store, repository.Reader, error)

	// Queue returns what a standby submits to while another process publishes: the queue of a journal that
	// processes share. The service doesn't close it. It must be a repository.Reader too, as a Journal of package pgjournal is, or the
	// Journal that Open returns must, or Read is needed. Then Submit, Outcome and Receipt.Wait work in a standby, without the lead. A
	// standby can't check an item against the documents in force: the publisher sets it aside if people sign its
	// path's role. Nil: a standby accepts nothing.
	Queue func(ctx context.Context) (repository.Queue, error)

	// Vacant returns an error that wraps repository.ErrLocked while another process publishes: Vacant of package
	// pgjournal is one query. A standby asks it every two seconds, and calls Open and Documents only once it
	// returns something else. Nil: each time it calls Open.
	Vacant func(ctx context.Context) error

	// Standby makes a service wait if another process has the lock, and take over once it is
	// free. Otherwise Start fails with repository.ErrLocked.
	//
	// It also makes the service give up the lead if its clock is probably wrong (repository.ErrClock), because another
	// one's may be right. It tries again after a minute. Until then it is a standby, whose errors wrap
	// repository.ErrLocked and repository.ErrClock. AcceptClock makes it try at once.
	Standby bool

	// Caching is for how long caches may serve timestamp.json. It is given here once: the repository gets
	// it, and web.Config can take it from Service.Caching. Open then leaves repository.Config.Caching
	// zero, or gives the same. Zero: what Open gives counts.
	Caching repository.Caching

	// Patience is how long a call waits while the repository is being opened again. Zero: 10
	// seconds.
	Patience time.Duration

	// Logger receives what an operator should see, also what the repository logs, such as
	// attempts to publish that fail, unless Open gives the repository a Logger of its own.
	// Nil: nothing is logged.
	Logger *slog.Logger
}

// Service is a repository that is opened again after each failure. Its methods are those of
// repository.Repository, and are safe for concurrent use. There is no Run: the service
// publishes from Start to Close.
type Service struct {
	cfg Config
	log *slog.Logger

	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	ended    chan struct{} // closed when supervise has returned
	reloads  chan chan<- error
	again    chan struct{} // ends the pause before the next attempt to open; of length 1
	close    func() error  // once
	closeErr error         // of the last repository; to be read once ended is closed

	// The supervisor's own.
	documentsDue bool          // whether the next attempt to open reads the documents
	compareDue   bool          // whether the next attempt to open that finds the lock taken compares store and journal
	lookAt       time.Time     // when publish looks at the documents again; zero: not before Reload
	pause        time.Duration // before the next attempt to open

	progress atomic.Bool // whether something was accepted or decided since the repository was opened

	mu           sync.Mutex // guards the fields below
	repo         *repository.Repository
	inUse        context.Context    // ends when repo must be opened again
	giveUp       context.CancelFunc // ends inUse
	changed      chan struct{}      // closed and replaced when repo or reason changes
	reason       error              // why there is no repo
	last         repository.Status  // the newest that is known
	limits       limits             // for a standby
	compared     bool               // whether the store is known to be that of the journal to which a standby submits
	documentsErr error              // why newer documents are not installed
	doubt        error              // of the clock, with which Run ended; nil once something was signed since
	trusted      bool               // whether the next attempt to open takes the clock for right
}

// Start opens the repository, or creates it of the documents, and publishes until Close. The
// context is for Start alone.
//
// Start doesn't try again what can't work. It returns an error for keys that the documents don't name
// (repository.ErrWrongKey), for documents that are missing or not valid, for a journal or store that
// can't be opened, and for repository.ErrDiverged.
//
// Two failures don't stop it. Status shows them: newer documents that can't be installed yet, because clients would
// refuse what caches serve (repository.ErrLocksOut), which are tried again each minute, and a clock that looks wrong
// (repository.ErrClock), about which people must act: see also Config.Standby.
//
// With Config.Standby, a lock that another process holds is no error. Until the service takes over,
// Status and View read by way of Config.Read, Submit, Outcome and Receipt.Wait go by way of Config.Queue, and all other
// calls fail with repository.ErrLocked and say who holds the lock. A service that loses the lead of a shared journal
// becomes a standby in the same way. It takes over some two seconds after the lock is free.
//
// A standby accepts nothing before it has made sure that its store and its journal belong together: see repository.Belong. If they
// don't, Start fails with an error that wraps repository.ErrDiverged. After Reload this is looked at again, and then the service is
// unavailable for this reason until it is mended. While there is no repository yet, it is looked at again every two seconds.
func Start(ctx context.Context, cfg Config) (*Service, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (_ *Service, err error) {
	switch {
	case cfg.Open == nil:
		return nil, errors.New("config: Open is missing")
	case cfg.Patience < 0:
		return nil, fmt.Errorf("config: Patience is %v: must not be negative (zero: the default)", cfg.Patience)
	case cfg.Patience == 0:
		cfg.Patience = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		cfg: cfg, log: cfg.Logger, ended: make(chan struct{}), reloads: make(chan chan<- error),
		again:   make(chan struct{}, 1),
		changed: make(chan struct{}), documentsDue: true, compareDue: true,
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	s.close = sync.OnceValue(s.shut)
	repo, err := s.open(ctx)
	if err == nil && s.documentsErr != nil && !mayPass(s.documentsErr) {
		repo, err = nil, errors.Join(s.documentsErr, repo.Close())
	}
	switch {
	case errors.Is(err, repository.ErrLocked) && cfg.Standby:
		s.miss(err)
		s.pause = pauseOfLock
		s.log.Info("waiting for the lock of the repository", "reason", err)
		err = nil
	case err != nil:
		return nil, err
	}
	go s.supervise(repo)
	return s, nil
}

// mayPass reports whether Install may succeed later with the same documents, or has accepted them.
func mayPass(err error) bool {
	return errors.Is(err, repository.ErrLocksOut) || errors.Is(err, repository.ErrClock) || errors.Is(err, repository.ErrAccepted)
}

// open opens the repository once, and lets others use it. If the documents are due, it creates a
// repository of them where there is none, and installs newer ones. If those can't be installed,
// documentsErr says why.
func (s *Service) open(ctx context.Context) (*repository.Repository, error) {
	due := s.documentsDue && s.cfg.Documents != nil
	trusted := s.takeTrust()
	repo, documents, err := s.openOnce(ctx, due, false)
	if due && errors.Is(err, repository.ErrWrongKey) {
		// The keys may be those of documents that aren't installed yet.
		if err := s.installFirst(ctx, err); err != nil {
			return nil, err
		}
		repo, documents, err = s.openOnce(ctx, due, false)
	}
	if err != nil {
		return nil, err
	}
	if trusted {
		if err := repo.AcceptClock(ctx); err != nil {
			return nil, errors.Join(err, repo.Close())
		}
	}
	if due {
		s.noteDocuments(repo.Install(ctx, documents))
	}
	status, err := repo.Status(ctx)
	if err != nil {
		return nil, errors.Join(err, repo.Close())
	}
	s.documentsDue = false
	s.progress.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	status.Problems = nil // Run isn't running yet
	s.repo, s.last, s.reason = repo, status, nil
	s.inUse, s.giveUp = context.WithCancel(s.ctx)
	s.wake()
	return repo, nil
}

// openOnce opens the repository, or creates it if the documents are due.
func (s *Service) openOnce(ctx context.Context, due, uncheckedKeys bool) (*repository.Repository, repository.Documents, error) {
	var documents repository.Documents
	cfg, err := s.cfg.Open(ctx)
	if err != nil {
		return nil, documents, err
	}
	s.mu.Lock()
	s.limits = limitsOf(cfg)
	cfg.EndOnClock, cfg.Doubt = s.cfg.Standby, s.doubt
	s.mu.Unlock()
	cfg.UncheckedKeys = cfg.UncheckedKeys || uncheckedKeys
	if none := (repository.Caching{}); s.cfg.Caching != none {
		if cfg.Caching != none && cfg.Caching != s.cfg.Caching {
			err = fmt.Errorf("config: Caching is %+v, and what Open returns has %+v: give it once", s.cfg.Caching, cfg.Caching)
			return nil, documents, errors.Join(err, closeJournal(cfg))
		}
		cfg.Caching = s.cfg.Caching
	}
	if cfg.Logger == nil {
		cfg.Logger = s.log
	}
	// Where an index inserts items into a shared journal itself, Submit isn't called.
	observe := cfg.Observe
	cfg.Observe = func(e repository.Event) {
		if e.Err == nil && (e.Stage == repository.StageCommit || e.Stage == repository.StageDecide) {
			s.progress.Store(true)
		}
		if e.Err == nil && e.Stage == repository.StageSeal { // what was signed by a clock that is believed
			s.mu.Lock()
			s.doubt, s.trusted = nil, false
			s.mu.Unlock()
		}
		if observe != nil {
			observe(e)
		}
	}
	var repo *repository.Repository
	if due {
		if documents, err = s.cfg.Documents(ctx); err != nil {
			err = fmt.Errorf("documents: %w", err)
		} else {
			repo, err = repository.OpenOrCreate(ctx, cfg, documents)
		}
	} else {
		repo, err = repository.Open(ctx, cfg)
	}
	if err == nil && s.cfg.Standby && s.cfg.Queue != nil { // it may give up the lead, and is a standby then
		if err = s.compare(ctx, cfg, nil); err != nil {
			return nil, documents, errors.Join(err, repo.Close())
		}
	}
	if err != nil {
		if errors.Is(err, repository.ErrLocked) && s.cfg.Standby {
			err = s.compare(ctx, cfg, err)
		}
		err = errors.Join(err, closeJournal(cfg))
	}
	return repo, documents, err
}

// closeJournal closes the journal of a repository that isn't opened.
func closeJournal(cfg repository.Config) error {
	if cfg.Journal == nil {
		return nil
	}
	return cfg.Journal.Close()
}

// Caching is Config.Caching, for web.Config.
func (s *Service) Caching() repository.Caching { return s.cfg.Caching }

// installFirst installs the documents before the keys are checked. It closes the repository again.
func (s *Service) installFirst(ctx context.Context, wrongKey error) error {
	repo, documents, err := s.openOnce(ctx, true, true)
	if err != nil {
		return err
	}
	if err = repo.Install(ctx, documents); errors.Is(err, repository.ErrAccepted) {
		err = nil // the keys that they name may be what is needed
	} else if err != nil {
		err = errors.Join(wrongKey, err)
	}
	return errors.Join(err, repo.Close())
}

// noteDocuments keeps why newer documents are not installed, nil if they are. Those that are accepted are the
// repository's.
func (s *Service) noteDocuments(err error) {
	s.lookAt = time.Time{}
	if err != nil && !errors.Is(err, repository.ErrAccepted) {
		s.lookAt = time.Now().Add(documentsAgain)
	}
	s.mu.Lock()
	before := s.documentsErr
	s.documentsErr = err
	s.mu.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		s.log.Error("newer documents are not installed: it is tried again each minute", "err", err)
	}
}

// installAgain installs what is newer of the documents that there are now. Reload came too early for them, or another
// process had the lead when they came.
func (s *Service) installAgain(ctx context.Context, repo *repository.Repository) {
	ctx, cancel := context.WithTimeout(ctx, patienceOfReload) // meanwhile the service does nothing else
	defer cancel()
	s.lookAt = time.Now().Add(documentsAgain)
	documents, err := s.cfg.Documents(ctx)
	if err != nil {
		err = fmt.Errorf("documents: %w", err)
	} else {
		err = repo.Install(ctx, documents)
	}
	if !mustReopen(err) && ctx.Err() == nil { // these say nothing about the documents
		s.noteDocuments(err)
	}
}

// mustReopen reports whether an error of Install means that the repository must be opened again.
func mustReopen(err error) bool {
	return errors.Is(err, repository.ErrClosed) || errors.Is(err, repository.ErrUnknown) || errors.Is(err, repository.ErrFenced)
}

// supervise publishes with a repository (nil: none is open yet) until Close, and opens it
// again as often as need be.
func (s *Service) supervise(repo *repository.Repository) {
	defer close(s.ended)
	for {
		if repo != nil {
			repo = s.publish(repo)
			continue
		}
		asked := s.rest()
		if s.ctx.Err() != nil {
			return
		}
		err := s.occupied(asked != nil)
		if err == nil {
			repo, err = s.open(s.ctx)
		}
		switch {
		case err == nil:
			s.log.Info("the repository is open")
		default:
			s.missed(err)
		}
		if asked != nil {
			asked <- s.reloaded(err)
		}
	}
}

// occupied returns an error that wraps ErrLocked if this is a standby and need not try to open. A reload tries anyway.
func (s *Service) occupied(reloading bool) error {
	s.mu.Lock()
	reason := s.reason
	s.mu.Unlock()
	if reloading || s.compareDue && s.cfg.Queue != nil || s.cfg.Vacant == nil || !s.waits(reason) {
		return nil
	}
	if err := s.cfg.Vacant(s.ctx); errors.Is(err, repository.ErrLocked) {
		return err
	}
	return nil // Open says what is wrong
}

// rest waits before the next attempt to open, until Close, or until Reload asks for one.
func (s *Service) rest() (asked chan<- error) {
	t := time.NewTimer(s.pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.again:
	case asked = <-s.reloads:
		s.documentsDue, s.compareDue = true, true
	case <-s.ctx.Done():
	}
	return asked
}

// missed notes that an attempt to open failed, and how long to wait before the next.
func (s *Service) missed(err error) {
	switch {
	case s.ctx.Err() != nil:
		return
	case errors.Is(err, repository.ErrLocked):
		s.pause = pauseOfLock
		s.lookAt = time.Now() // documents may come while another process publishes
	case errors.Is(err, repository.ErrDiverged), errors.Is(err, repository.ErrNotRepository), errors.Is(err, ledger.ErrNewer):
		s.pause = lastPause // each attempt takes the lead, if only to give it up
	default:
		s.lengthen()
	}
	before := s.miss(err)
	if errors.Is(err, repository.ErrLocked) && errors.Is(before, repository.ErrLocked) {
		return // only the rest of the lease has changed
	}
	if before == nil || before.Error() != err.Error() {
		s.log.Error("the repository can't be opened, it will be tried again", "err", err, "in", s.pause)
	}
}

func (s *Service) lengthen() { s.pause = min(max(2*s.pause, firstPause), lastPause) }

// reloaded is what Reload returns after an attempt to open.
func (s *Service) reloaded(err error) error {
	if s.waits(err) {
		return nil // all is read once the lock is free
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.documentsErr)
}

// look returns a channel that says when to look at the documents again, or nil.
func (s *Service) look() <-chan time.Time {
	if s.lookAt.IsZero() || s.cfg.Documents == nil {
		return nil
	}
	return time.After(time.Until(s.lookAt))
}

// publish publishes with repo until Close, or until the repository must be opened again, and closes
// it. It returns the next repository if that is open already, or else nil.
func (s *Service) publish(repo *repository.Repository) *repository.Repository {
	s.mu.Lock()
	ctx, cancel := s.inUse, s.giveUp
	s.mu.Unlock()
	defer cancel()
	opened := time.Now()
	ran := make(chan error, 1)
	go func() {
		err := repo.Run(ctx)
		if errors.Is(err, repository.ErrClock) {
			s.mu.Lock()
			s.doubt = err
			s.mu.Unlock()
		}
		ran <- err
	}()
	for {
		var err error
		select {
		case <-s.look():
			s.installAgain(ctx, repo)
			continue
		case asked := <-s.reloads:
			next, replaced, err := s.reload(repo)
			asked <- s.reloaded(err)
			if !replaced {
				continue
			}
			return next
		case err = <-ran:
		case <-ctx.Done(): // a call found that it has failed, or Close
		}
		if s.progress.Load() || time.Since(opened) >= lastPause {
			s.pause = 0
		} else {
			s.lengthen()
		}
		closing := s.ctx.Err() != nil
		reason := s.lose(repo, reasonOf(err))
		_, gaveUp := errors.AsType[givenUp](reason)
		switch {
		case closing:
		case gaveUp:
			s.pause, s.lookAt = pauseOfLead, time.Now() // the documents may change meanwhile
			s.log.Error("the lead is given up, so that another publisher may take it: set this machine's clock, or call AcceptClock if it is right",
				"err", err, "again in", s.pause)
		default:
			s.log.Error("the repository failed, it is opened again", "err", reason)
		}
		err = repo.Close()
		switch {
		case closing:
			s.closeErr = err
		case err != nil:
			s.log.Error("the repository that failed was not closed properly", "err", err)
		}
		return nil
	}
}

// miss notes why no repository could be opened, and returns what was known before.
func (s *Service) miss(reason error) (before error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.reason = s.reason, reason
	s.wake()
	return before
}

// lose is called for a repository that must be opened again. It keeps others from using it, and ends
// its Run, which might notice only much later. It returns the first reason that was found.
func (s *Service) lose(repo *repository.Repository, reason error) (first error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.repo == repo {
		s.giveUp()
		s.repo, s.reason = nil, reason
		s.wake()
	}
	return s.reason
}

// wake wakes all who wait for a change. The lock is held.
func (s *Service) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// failure is why a repository failed. It hides ErrClosed and ErrUnknown: in the error of a call that
// finds no repository, these would be about the call itself.
type failure struct{ err error }

func (f failure) Error() string { return fmt.Sprint(f.err) }

func (f failure) Is(target error) bool {
	return target != repository.ErrClosed && target != repository.ErrUnknown && errors.Is(f.err, target)
}

// takeTrust reports whether AcceptClock is to be called once the repository is open, and forgets it.
func (s *Service) takeTrust() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	trusted := s.trusted
	s.trusted = false
	return trusted
}

// givenUp is why a standby that had the lead doesn't have it. It wraps ErrLocked too: to callers, this is a standby like
// any other.
type givenUp struct{ err error }

func (g givenUp) Error() string {
	return fmt.Sprintf("the lead was given up, and is tried for again %v later: %v", pauseOfLead, g.err)
}

func (g givenUp) Is(target error) bool {
	return target == repository.ErrLocked || errors.Is(failure(g), target)
}

// reasonOf is why the repository must be opened again whose Run ended with err.
func reasonOf(err error) error {
	if errors.Is(err, repository.ErrClock) {
		return givenUp{err}
	}
	return failure{err}
}

// Reload reads the documents and the keys again. Call it after they were changed, for example on
// SIGHUP. It installs the documents that are newer, closes the repository, and opens it with what
// Config.Open returns now. Calls wait meanwhile. A generation under way is given up after 10
// seconds at most, and made again.
//
// To change a key, first add the new one to root or to the document that names it. Then have Open
// return the new key, and call Reload.
//
// If documents can't be read or installed, if the store can't be written, or if Config.Open fails
// before it comes to the journal, Reload returns an error and the service goes on as it was. It tries the documents again each minute: those that come too
// early (repository.ErrLocksOut) need no second Reload, and new keys do. If the repository can't be opened with
// the new keys, Reload returns an error too. The service then tries again and again, with what
// Documents and Open return each time. Calls fail with ErrUnavailable until it succeeds. In a standby,
// Reload makes sure that Open works as far as the lock, and returns nil: the service reads the documents when it takes
// over. If ctx ends, the reload goes on without the caller.
//
// An error that wraps repository.ErrAccepted means that documents were accepted and can't be published
// at present. The service goes on with them, and with the new keys.
func (s *Service) Reload(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case s.reloads <- done:
	case <-s.ctx.Done():
		return fmt.Errorf("reload: %w", repository.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
	var err error
	select {
	case err = <-done:
	case <-s.ended:
		err = repository.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("reload: %w", err)
	}
	return nil
}

// patienceOfReload is how long Reload waits for a generation under way before it gives that up: the
// key that is to be replaced may never answer.
const patienceOfReload = 10 * time.Second

// reload reports whether the repository was closed, and returns the next one if it could be
// opened.
func (s *Service) reload(repo *repository.Repository) (next *repository.Repository, replaced bool, err error) {
	s.lookAt = time.Now().Add(documentsAgain) // whatever fails
	// Whatever is wrong and can be found out now leaves all as it is.
	cfg, err := s.cfg.Open(s.ctx)
	if err == nil && cfg.Journal != nil { // a journal of which others have handles
		err = cfg.Journal.Close()
	}
	if err != nil && !errors.Is(err, repository.ErrLocked) {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, patienceOfReload)
	defer cancel()
	if cfg.Store != nil {
		// Open fails if the store can't be written, and without an open repository nothing is accepted.
		err := repo.TryStore(ctx, cfg.Store)
		if err != nil && !errors.Is(err, repository.ErrNotExist) && !errors.Is(err, repository.ErrConflict) { // Open tells of those
			return nil, false, err
		}
	}
	if s.cfg.Documents != nil {
		documents, err := s.cfg.Documents(s.ctx)
		if err != nil {
			return nil, false, fmt.Errorf("documents: %w", err)
		}
		err = repo.Install(ctx, documents)
		switch {
		case err == nil:
		case errors.Is(err, repository.ErrWrongKey), errors.Is(err, repository.ErrAccepted): // the keys to come may be right, or work
		case mustReopen(err): // anyway
		case ctx.Err() != nil: // and then installs them
		default:
			s.noteDocuments(err)
			return nil, false, nil
		}
	}
	s.log.Info("the repository is opened again with the keys and documents that there are now")
	s.lose(repo, errors.New("it is opened again with other keys and documents"))
	if err := repo.Close(); err != nil {
		s.log.Error("the repository was not closed properly", "err", err)
	}
	s.documentsDue, s.compareDue, s.pause = true, true, 0
	if next, err = s.open(s.ctx); err != nil {
		s.missed(err)
	}
	return next, true, err
}

// patienceOfClose is how long Close waits for an Open that goes on although its context has ended. It
// is longer than repository.Repository.Close waits.
const patienceOfClose = 15 * time.Second

// Close ends the service, gives the lock up and closes the journal. It loses nothing. What is
// queued stays queued. A generation under way is committed if it was sealed. Otherwise the
// next publisher makes it. Calls that wait end with an error that wraps repository.ErrClosed, and so
// do all later ones.
//
// It waits as repository.Repository.Close does. If the repository is being opened, it waits 15 seconds
// at most until that stops. If it doesn't stop, the error says so.
func (s *Service) Close() error { return s.close() }

func (s *Service) shut() error {
	s.stop()
	select {
	case <-s.ended:
		return s.closeErr
	case <-time.After(patienceOfClose):
		return fmt.Errorf("close: the repository was being opened, and that didn't stop within %v", patienceOfClose)
	}
}
