package dirjournal

import (
	"context"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
)

// leader implements repository.Leader. The journal's lock guards its fields.
type leader struct {
	journal  *Journal
	epoch    int64
	loaded   bool
	released bool
}

// enter returns with the lock held, or says why the leader can't go on.
func (l *leader) enter(ctx context.Context) error {
	if err := l.journal.enter(ctx); err != nil {
		return err
	}
	if err := l.leads(); err != nil {
		l.journal.mu.Unlock()
		return err
	}
	return nil
}

// leads returns nil while l leads. The lock is held.
func (l *leader) leads() error {
	switch {
	case l.epoch != l.journal.epoch:
		return fmt.Errorf("%w: epoch %d follows %d", repository.ErrFenced, l.journal.epoch, l.epoch)
	case l.released:
		return fmt.Errorf("%w: the lead was released", repository.ErrClosed)
	}
	return nil
}

// Load implements repository.Leader. At first it returns what Open has read. Later, for
// another leader, it reads what was written since the newest checkpoint; nobody else can
// write meanwhile.
func (l *leader) Load(ctx context.Context) (repository.Log, error) {
	log := repository.Log{Epoch: l.epoch}
	err := l.journal.submit(ctx, &request{done: make(chan error, 1), do: func() error {
		if err := l.enter(context.Background()); err != nil {
			return err
		}
		loaded := l.loaded
		l.journal.mu.Unlock()
		if loaded {
			return errors.New("it was called before")
		}
		records, err := l.journal.records()
		if err != nil {
			return err
		}
		log.Records = records
		l.journal.mu.Lock()
		defer l.journal.mu.Unlock()
		l.loaded = true
		return nil
	}})
	if err != nil {
		return repository.Log{}, fmt.Errorf("load: %w", err)
	}
	return log, nil
}

// records returns the newest checkpoint record and those after it, or all. At first
// they are those that were read when the journal was opened: nobody can have appended
// one before the first Load. Later they are read again.
func (j *Journal) records() ([]repository.Record, error) {
	if log := j.opened; log != nil {
		j.opened = nil
		return log.records, nil
	}
	l, err := list(j.fsys, j.dir)
	if err != nil {
		return nil, err
	}
	var log recordLog
	_, err = replay(j.fsys, j.dir, l.segments, func(kind byte, data []byte) error {
		if kind != recordLine {
			return nil
		}
		r, err := jsontext.Decode[repository.Record](data)
		log.add(r)
		return err
	})
	return log.records, err
}

// recordLog is the newest checkpoint record and those after it, or all.
type recordLog struct{ records []repository.Record }

func (l *recordLog) add(r repository.Record) {
	if r.Kind == repository.KindCheckpoint {
		l.records = nil
	}
	l.records = append(l.records, r)
}

// Await implements repository.Leader.
func (l *leader) Await(ctx context.Context, n int) error {
	for {
		if err := l.enter(ctx); err != nil {
			return fmt.Errorf("await: %w", err)
		}
		loaded, pending, changed := l.loaded, len(l.journal.queue.pending), l.journal.changed
		l.journal.mu.Unlock()
		if !loaded {
			return fmt.Errorf("await: %w", errNotLoaded)
		}
		if pending >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Pending implements repository.Leader. It does no I/O.
func (l *leader) Pending(ctx context.Context, max int) ([]repository.Item, error) {
	if err := l.enter(ctx); err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	loaded := l.loaded
	oldest := l.journal.queue.pending
	data := make([][]byte, min(max, len(oldest)))
	for i := range data {
		data[i] = oldest[i].data
	}
	l.journal.mu.Unlock()
	if !loaded {
		return nil, fmt.Errorf("pending: %w", errNotLoaded)
	}
	items := make([]repository.Item, len(data))
	for i := range data {
		it, err := repository.ParseItem(data[i])
		if err != nil {
			return nil, fmt.Errorf("pending: %w", err)
		}
		items[i] = it
	}
	return items, nil
}

// Append implements repository.Leader. A call whose records are being written
// returns when it is known what became of them, even if ctx ends before: that
// takes one sync, and not to know would end the publisher. A record with a
// checkpoint costs one write of all that is pending and remembered.
func (l *leader) Append(ctx context.Context, records ...repository.Record) error {
	r := &request{leader: l, done: make(chan error, 1)}
	for _, rec := range records {
		var err error
		if r.lines, err = encodeRecord(r.lines, rec); err != nil {
			return fmt.Errorf("append %s record of generation %d: %w", rec.Kind, rec.Generation, err)
		}
		rec.Outcomes = append([]repository.ItemOutcome(nil), rec.Outcomes...) // the caller's to change
		r.records = append(r.records, rec)
		r.checkpoint = r.checkpoint || rec.Kind == repository.KindCheckpoint
	}
	r.size = len(r.lines)
	if err := l.journal.submit(ctx, r); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
}

// admit says why records can't be appended, or nil. The lock is held.
func (l *leader) admit(records []repository.Record) error {
	if err := l.leads(); err != nil {
		return err
	}
	if !l.loaded {
		return errNotLoaded
	}
	for _, r := range records {
		var err error
		switch {
		case r.Epoch < l.epoch:
			err = fmt.Errorf("%w: it is of epoch %d, and %d leads", repository.ErrFenced, r.Epoch, l.epoch)
		case r.Epoch > l.epoch:
			err = fmt.Errorf("it is of epoch %d, and %d leads", r.Epoch, l.epoch)
		default:
			err = l.journal.queue.decidable(r)
		}
		if err != nil {
			return fmt.Errorf("%s record of generation %d: %w", r.Kind, r.Generation, err)
		}
	}
	return nil
}

// Release implements repository.Leader. It does no I/O.
func (l *leader) Release(context.Context) error {
	j := l.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if l.released || j.ended != nil {
		return nil
	}
	if err := l.leads(); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	l.released = true
	j.leader = nil
	j.announce()
	return nil
}
