package service

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

// A standby of a journal that processes share accepts items, and tells what becomes of them, without the lead:
// the publisher, wherever it is, decides them. It can't check an item against the documents in force, as the publisher's
// Submit does: what belongs to a role that people sign is set aside, with that reason.

// compare makes sure that a standby's store and journals belong together, unless that is known since the last Reload. locked
// is why the repository can't be opened with cfg, nil if it is open. compare returns it, or why this can't be a standby. What it submitted
// otherwise would be published in another repository.
func (s *Service) compare(ctx context.Context, cfg repository.Config, locked error) error {
	if !s.compareDue {
		return locked
	}
	set := func(compared bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.compared = compared
	}
	readers, err := s.readers(ctx, cfg)
	for _, journal := range readers {
		if err = repository.Belong(ctx, cfg.Store, journal); err != nil {
			break
		}
	}
	switch {
	case locked != nil && errors.Is(err, repository.ErrNotRepository):
		set(false) // and it stays due
		return fmt.Errorf("%w; nothing is accepted until it is known which repository that is: %w", locked, err)
	case err != nil:
		set(false)
		return fmt.Errorf("as a standby: %w", err)
	}
	set(true)
	s.compareDue = false
	return locked
}

// readers are those that read what this service submits to, and what it is to publish of.
func (s *Service) readers(ctx context.Context, cfg repository.Config) ([]repository.Reader, error) {
	var readers []repository.Reader
	if s.cfg.Queue != nil {
		q, err := s.cfg.Queue(ctx)
		if err != nil {
			return nil, err
		}
		if r, ok := q.(repository.Reader); ok {
			readers = append(readers, r)
		}
	}
	if r, ok := cfg.Journal.(repository.Reader); ok {
		readers = append(readers, r)
	}
	if len(readers) > 0 || s.cfg.Queue == nil {
		return readers, nil
	}
	if s.cfg.Read == nil {
		return nil, errors.New("config: Queue: whether the store is that of this journal can't be known: return one that is a repository.Reader, or give Read")
	}
	_, r, err := s.cfg.Read(ctx)
	return []repository.Reader{r}, err
}

// limits are those of the repository that was to be opened last.
type limits struct {
	pending, custom int
	bytes           int64
}

func limitsOf(cfg repository.Config) limits {
	return limits{cmp.Or(cfg.MaxPending, 100_000), cmp.Or(cfg.MaxCustomBytes, 8<<10), cmp.Or(cfg.MaxPendingBytes, 256<<20)}
}

// queue returns the queue of a standby. err is why there is no repository.
func (s *Service) queue(ctx context.Context, err error) (q repository.Queue, ok bool, _ error) {
	s.mu.Lock()
	compared := s.compared
	s.mu.Unlock()
	if s.cfg.Queue == nil || !compared || !s.waits(err) {
		return nil, false, nil
	}
	q, err = s.cfg.Queue(ctx)
	return q, true, err
}

// enqueue queues an item without the lead.
func (s *Service) enqueue(ctx context.Context, q repository.Queue, it repository.Item) (known bool, err error) {
	s.mu.Lock()
	most := s.limits
	s.mu.Unlock()
	it.Accepted = time.Now().UTC().Truncate(time.Millisecond)
	err = it.Validate()
	for _, t := range it.Add {
		var compact bytes.Buffer
		if n := len(t.Custom); err == nil && n > most.custom && (json.Compact(&compact, t.Custom) != nil || compact.Len() > most.custom) {
			err = fmt.Errorf("target %q: custom: %d bytes, and at most %d are accepted here (Config.MaxCustomBytes)", t.Path, n, most.custom)
		}
	}
	entry, encodeErr := it.Entry()
	if err = cmp.Or(err, encodeErr); err == nil {
		err = entry.Check()
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", repository.ErrInvalid, err)
	}
	backlog, err := q.Backlog(ctx)
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	if backlog.Pending >= most.pending || backlog.Bytes+int64(len(entry.Body)) > most.bytes {
		// One that the journal remembers needs no room.
		outcomes, err := q.Outcomes(ctx, it.ID)
		if err != nil {
			return false, fmt.Errorf("journal: %w", err)
		}
		if outcomes[0].State == "" {
			return false, fmt.Errorf("%w: %d items with %d bytes wait", repository.ErrBusy, backlog.Pending, backlog.Bytes)
		}
	}
	all, err := q.Enqueue(ctx, entry)
	if err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	return all[0], nil
}

// outcomeIn returns what the queue says of an item.
func outcomeIn(ctx context.Context, q repository.Queue, id string) (repository.Outcome, error) {
	outcomes, err := q.Outcomes(ctx, id)
	switch {
	case err != nil:
		return repository.Outcome{}, fmt.Errorf("outcome of %q: journal: %w", id, err)
	case outcomes[0].State == "":
		return repository.Outcome{}, fmt.Errorf("outcome of %q: %w", id, repository.ErrUnknownItem)
	}
	return outcomes[0], nil
}

// waitIn waits until the queue knows an item's final outcome, or the service is closed.
func (s *Service) waitIn(ctx context.Context, q repository.Queue, id string) (repository.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	o, seen := repository.Outcome{State: repository.Accepted}, int64(0)
	for {
		now, err := q.Decided(ctx, seen)
		if err == nil {
			var found repository.Outcome
			if found, err = outcomeIn(ctx, q, id); err == nil {
				o = found
			}
		}
		switch {
		case s.ctx.Err() != nil:
			return o, fmt.Errorf("item %q is accepted, and its outcome is known once the repository is open: %w", id, repository.ErrClosed)
		case errors.Is(err, repository.ErrUnknownItem):
			return repository.Outcome{}, err
		case err != nil:
			return o, fmt.Errorf("item %q is accepted, and not yet published: %w", id, err)
		case o.State == repository.SetAside:
			return o, fmt.Errorf("item %q: %w: %s", id, repository.ErrSetAside, o.Reason)
		case o.State == repository.Refused:
			return o, fmt.Errorf("item %q: %w: %s", id, repository.ErrRefused, o.Reason)
		case o.State != repository.Accepted:
			return o, nil
		}
		seen = now
	}
}
