package service

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// current returns the repository. If that is being opened, current waits for it, no longer than left,
// and subtracts the wait from left.
func (s *Service) current(ctx context.Context, left *time.Duration) (*repository.Repository, error) {
	began := time.Now()
	before := *left
	patience := time.NewTimer(before)
	defer patience.Stop()
	for {
		s.mu.Lock()
		repo, reason, changed := s.repo, s.reason, s.changed
		s.mu.Unlock()
		switch {
		case s.ctx.Err() != nil:
			return nil, repository.ErrClosed
		case repo != nil:
			*left = max(before-time.Since(began), 0)
			return repo, nil
		case s.waits(reason):
			return nil, reason
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
		case <-patience.C:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, reason)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w: %w", ErrUnavailable, ctx.Err(), reason)
		}
	}
}

// call calls f with the repository. If that must be opened again, call waits and calls f with the next
// one. It also calls f again if f asks for it.
func (s *Service) call(ctx context.Context, f func(*repository.Repository) (again bool, err error)) error {
	left := s.cfg.Patience
	var pause time.Duration // before a repetition with the same repository
	for {
		repo, err := s.current(ctx, &left)
		if err != nil {
			return err
		}
		began := time.Now()
		again, err := f(repo)
		if time.Since(began) >= s.cfg.Patience { // an outage long after another has a patience of its own
			left = s.cfg.Patience
		}
		switch {
		case errors.Is(err, repository.ErrClosed):
			s.lose(repo, failure{err})
		case !again || ctx.Err() != nil || left == 0:
			return err
		default:
			wait := min(pause, left)
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-ctx.Done():
			case <-s.ctx.Done():
			}
			t.Stop()
			left -= wait
			pause = max(2*pause, firstPause)
		}
	}
}

// do is call for an f that may be done twice.
func (s *Service) do(ctx context.Context, op string, f func(*repository.Repository) error) error {
	called := false
	err := s.call(ctx, func(repo *repository.Repository) (bool, error) {
		called = true
		err := f(repo)
		return errors.Is(err, repository.ErrUnknown), err
	})
	if err != nil && !called {
		return fmt.Errorf("%s: %w", op, err)
	}
	return err
}

// Add queues targets to be published, replacing those of the same path, as one item. See
// Submit.
func (s *Service) Add(ctx context.Context, targets ...roles.Target) (*Receipt, error) {
	return s.Submit(ctx, repository.Item{Add: targets})
}

// Remove queues paths to be removed, as one item. See Submit.
func (s *Service) Remove(ctx context.Context, paths ...string) (*Receipt, error) {
	return s.Submit(ctx, repository.Item{Remove: paths})
}

// Submit queues an item and returns once it is durable: see repository.Repository.Submit.
//
// If the journal fails meanwhile, Submit waits until it is open again, and submits the item again
// under the same ID: it is queued once. The error wraps repository.ErrUnknown only if the context or
// Config.Patience ended before it was clear whether the item is queued. Ask Outcome later, by the ID
// that you gave, or submit the item again under that ID. The error wraps ErrUnavailable if the item
// was not queued, because the repository was not open for Config.Patience.
func (s *Service) Submit(ctx context.Context, it repository.Item) (*Receipt, error) {
	given := it.ID != ""
	if !given {
		it.ID = rand.Text()
	}
	rc := &Receipt{id: it.ID, paths: slices.Collect(it.Paths), s: s}
	unknown := false // whether an earlier try may have queued it
	refused := false // whether the repository says why it isn't queued
	err := s.call(ctx, func(repo *repository.Repository) (again bool, err error) {
		r, err := repo.Submit(ctx, it)
		switch refused = false; {
		case err == nil:
			rc.repeated = r.Repeated() && given
		case errors.Is(err, repository.ErrUnknown):
			unknown = true
			return true, err
		case !errors.Is(err, repository.ErrClosed):
			refused = true
			if unknown { // what is refused now may have been queued under other documents
				if _, oerr := repo.Outcome(ctx, it.ID); oerr == nil {
					return false, nil
				} else if !errors.Is(oerr, repository.ErrUnknownItem) {
					return false, fmt.Errorf("%w: %w: %w", repository.ErrUnknown, err, oerr)
				}
			}
		}
		return false, err
	})
	if q, standby, queueErr := s.queue(ctx, err); standby && !refused {
		var known bool
		if err = queueErr; err == nil {
			known, err = s.enqueue(ctx, q, it)
		}
		if err != nil {
			return nil, fmt.Errorf("submit: %w", err)
		}
		rc.repeated = known && given
		return rc, nil
	}
	switch {
	case err == nil:
		s.progress.Store(true)
		return rc, nil
	case refused || errors.Is(err, repository.ErrUnknown):
		return nil, err
	case unknown:
		return nil, fmt.Errorf("submit: %w: %w", repository.ErrUnknown, err)
	default:
		return nil, fmt.Errorf("submit: %w", err)
	}
}

// Receipt is the promise that an item is durable and will be published.
type Receipt struct {
	id       string
	repeated bool
	paths    []string
	s        *Service
}

// Receipt returns a receipt for an item that this or another process submitted before: see
// repository.Repository.Receipt. It does no I/O. Its Repeated is true.
func (s *Service) Receipt(id string, paths ...string) *Receipt {
	return &Receipt{id: id, paths: paths, repeated: true, s: s}
}

// ID is the item's ID, with which Service.Outcome can be asked at any time.
func (rc *Receipt) ID() string { return rc.id }

// Repeated reports whether the journal knew the caller's ID already: see
// repository.Receipt.Repeated. If the journal was opened again while Submit waited, it may be this
// same call that queued the item.
func (rc *Receipt) Repeated() bool { return rc.repeated }

// Wait returns once clients can see what became of the item: see repository.Receipt.Wait. It
// goes on waiting if the repository is opened again meanwhile. Whatever the error, the item stays
// durable.
func (rc *Receipt) Wait(ctx context.Context) (repository.Outcome, error) {
	o := repository.Outcome{State: repository.Accepted}
	called := false
	err := rc.s.call(ctx, func(repo *repository.Repository) (_ bool, err error) {
		called = true
		o, err = repo.Receipt(rc.id, rc.paths...).Wait(ctx)
		return false, err
	})
	if q, standby, queueErr := rc.s.queue(ctx, err); standby && queueErr == nil {
		return rc.s.waitIn(ctx, q, rc.id)
	}
	if err != nil && (!called || errors.Is(err, ErrUnavailable)) {
		return o, fmt.Errorf("item %q is accepted, and its outcome is known once the repository is open: %w", rc.id, err)
	}
	return o, err
}

// Outcome returns how far the item with this ID has come: see repository.Repository.Outcome.
func (s *Service) Outcome(ctx context.Context, id string) (repository.Outcome, error) {
	var o repository.Outcome
	err := s.do(ctx, fmt.Sprintf("outcome of %q", id), func(repo *repository.Repository) (err error) {
		o, err = repo.Outcome(ctx, id)
		return err
	})
	if q, standby, queueErr := s.queue(ctx, err); standby && queueErr == nil {
		return outcomeIn(ctx, q, id)
	}
	return o, err
}

// Drain returns once all that was accepted before the call is decided: see
// repository.Repository.Drain.
func (s *Service) Drain(ctx context.Context) error {
	return s.do(ctx, "drain", func(repo *repository.Repository) error { return repo.Drain(ctx) })
}

// Install takes newer documents into force: see repository.Repository.Install. If the
// repository is opened again meanwhile, it goes on: documents that are in force are skipped.
func (s *Service) Install(ctx context.Context, d repository.Documents) error {
	return s.do(ctx, "install", func(repo *repository.Repository) error { return repo.Install(ctx, d) })
}

// InstallAfterCompromise is Install without ErrLocksOut: see
// repository.Repository.InstallAfterCompromise.
func (s *Service) InstallAfterCompromise(ctx context.Context, d repository.Documents) error {
	return s.do(ctx, "install", func(repo *repository.Repository) error { return repo.InstallAfterCompromise(ctx, d) })
}

// Rotate begins the rotation of an online role to another key: see repository.Repository.Rotate.
func (s *Service) Rotate(ctx context.Context, role string) error {
	return s.do(ctx, "rotate", func(repo *repository.Repository) error { return repo.Rotate(ctx, role) })
}

// WithdrawRoot gives up a root that is held back: see repository.Repository.WithdrawRoot.
func (s *Service) WithdrawRoot(ctx context.Context) error {
	return s.do(ctx, "withdraw root", func(repo *repository.Repository) error { return repo.WithdrawRoot(ctx) })
}

// Rebuild makes a role again that was altered in the store: see repository.Repository.Rebuild.
func (s *Service) Rebuild(ctx context.Context, role string) error {
	return s.do(ctx, "rebuild", func(repo *repository.Repository) error { return repo.Rebuild(ctx, role) })
}

// Archive puts older history away: see repository.Repository.Archive.
func (s *Service) Archive(ctx context.Context, a repository.Archive) (result repository.Archived, err error) {
	err = s.do(ctx, "archive history", func(repo *repository.Repository) (err error) {
		result, err = repo.Archive(ctx, a)
		return err
	})
	return result, err
}

// AcceptClock takes the present time for right: see repository.Repository.AcceptClock. If this is a standby that gave up
// the lead because of its clock, AcceptClock first takes the lead again. If another publisher has it by now, the error wraps
// repository.ErrLocked, and nothing changes.
func (s *Service) AcceptClock(ctx context.Context) error {
	s.mu.Lock()
	if _, ok := errors.AsType[givenUp](s.reason); ok && s.repo == nil {
		s.trusted, s.reason = true, errors.New("the lead is taken again: AcceptClock was called")
		s.wake()
		select {
		case s.again <- struct{}{}:
		default: // it is asked for
		}
	}
	s.mu.Unlock()
	return s.do(ctx, "accept clock", func(repo *repository.Repository) error { return repo.AcceptClock(ctx) })
}
