package service

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/bindery-tuf/bindery/repository"
)

// Status returns the state of the repository, and never waits: see repository.Repository.Status. While
// the repository is being opened again, it returns what was known last. Err and the first problem give
// the reason. Newer documents that are not in force are a problem too. In a standby, Status returns
// what ReadStatus reads by way of Config.Read, and the first problem says so if it gave up the lead because of its
// clock. Without Config.Read the error wraps repository.ErrLocked.
func (s *Service) Status(ctx context.Context) (repository.Status, error) {
	status, err := s.status(ctx)
	if err != nil {
		return repository.Status{}, fmt.Errorf("status: %w", err)
	}
	return status, nil
}

func (s *Service) status(ctx context.Context) (repository.Status, error) {
	repo, reason := s.now()
	if repo != nil {
		status, err := repo.Status(ctx)
		switch {
		case err == nil:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.last = status
			if err := s.documentsErr; err != nil && !errors.Is(err, repository.ErrAccepted) { // of those the repository tells
				status.Problems = append(status.Problems, repository.Problem{
					Severity: repository.SeverityWarning, What: fmt.Sprintf("newer documents are not in force: %v", err), Advice: adviceForDocuments(err),
				})
			}
			return status, nil
		case !errors.Is(err, repository.ErrClosed):
			return status, err
		}
		reason = s.lose(repo, failure{err})
	}
	switch {
	case s.ctx.Err() != nil:
		return repository.Status{}, repository.ErrClosed
	case s.waits(reason) && s.cfg.Read == nil:
		return repository.Status{}, reason
	case s.waits(reason):
		store, journal, err := s.cfg.Read(ctx)
		if err != nil {
			return repository.Status{}, err
		}
		status, err := repository.ReadStatus(ctx, store, journal)
		if err == nil && errors.Is(reason, repository.ErrClock) {
			status.Problems = append([]repository.Problem{{Severity: repository.SeverityError, What: reason.Error(), Advice: advice(reason)}}, status.Problems...)
		}
		return status, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.last
	status.Leads = false
	status.Err = fmt.Errorf("%w: %w", ErrUnavailable, reason)
	status.Problems = append([]repository.Problem{{
		Severity: repository.SeverityError, What: fmt.Sprintf("nothing is accepted or published: %v", status.Err), Advice: advice(reason),
	}}, status.Problems...)
	return status, nil
}

// advice says what can be done about the reason for which the repository can't be opened.
func advice(reason error) string {
	switch {
	case errors.Is(reason, repository.ErrDiverged), errors.Is(reason, repository.ErrNotRepository):
		return "do what the reason says: give the store and the journal that belong together, or put back the one that was lost or replaced, or see the package comment of repository, Backups; then call Reload, or wait a minute"
	case errors.Is(reason, repository.ErrWrongKey):
		return "configure the key that the documents in force name, or documents that name this one, and call Reload"
	case errors.Is(reason, repository.ErrClock):
		return "set this machine's clock, or call AcceptClock if it is right"
	case errors.Is(reason, repository.ErrLocked):
		return "stop the other process, or start this one as a standby"
	case errors.Is(reason, syscall.ENOSPC):
		return "make room on the disk; it is tried again"
	}
	return "it is tried again, after pauses that grow to a minute; see whether the disk of the journal, the store and the keys are in order"
}

func adviceForDocuments(err error) string {
	switch {
	case errors.Is(err, repository.ErrLocksOut):
		return "wait: it is tried again each minute"
	case errors.Is(err, repository.ErrWrongKey):
		return "configure the key that they name, and call Reload"
	case errors.Is(err, repository.ErrClock):
		return "set the machine's clock, or call AcceptClock if it is right; it is tried again each minute"
	}
	return "mend the documents: they are read again each minute"
}

// View returns what clients see: see repository.Repository.View. In a standby, and while the
// repository is being opened again, it returns what ReadView reads by way of Config.Read. Without
// Config.Read, the error wraps repository.ErrLocked in a standby. Otherwise View waits for the
// repository then.
func (s *Service) View(ctx context.Context) (*repository.View, error) {
	repo, reason := s.now()
	if repo == nil && reason != nil && s.cfg.Read != nil && s.ctx.Err() == nil {
		store, journal, err := s.cfg.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("view: %w", err)
		}
		return repository.ReadView(ctx, store, journal)
	}
	var v *repository.View
	err := s.do(ctx, "view", func(repo *repository.Repository) (err error) {
		v, err = repo.View(ctx)
		return err
	})
	return v, err
}

// now returns the repository, or why there is none.
func (s *Service) now() (*repository.Repository, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repo, s.reason
}

// waits reports whether this is a standby, by the reason for which there is no repository.
func (s *Service) waits(reason error) bool {
	return s.cfg.Standby && errors.Is(reason, repository.ErrLocked)
}
