package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
)

// recover does what the index does after a restart: it asks for the outcomes of its items, submits
// again what may not have arrived, goes on with the history, and publishes everything.
func (s *session) recover(step int, r *rand.Rand) error {
	if err := s.open(); err != nil {
		return err
	}
	if s.opened != nil {
		if err := s.opened(); err != nil {
			return err
		}
	}
	for _, e := range s.ledger.items {
		o, err := s.repo.Outcome(s.ctx, e.item.ID)
		switch {
		case e.forgotten:
		case errors.Is(err, repository.ErrUnknownItem) && e.accepted:
			return broken("item %s was accepted and is lost", e.item.ID)
		case errors.Is(err, repository.ErrUnknownItem):
			if r.IntN(2) == 0 {
				err = s.retry(e)
			} else {
				err = nil
			}
			if err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if e.told != nil && *e.told != o {
				return broken("item %s was told %+v, and later %+v", e.item.ID, *e.told, o)
			}
			s.ledger.set(func() { e.accepted = true }) // it is there, so it counts
		}
	}
	status, err := s.repo.Status(s.ctx)
	if err == nil {
		err = s.underWay(status)
	}
	if err != nil {
		return err
	}
	if step >= 0 {
		if err := s.tooEarly(s.history.Steps[step].TooEarly); err != nil {
			return err
		}
	}
	if step >= 0 && r.IntN(2) == 0 {
		err := s.install(s.history.Steps[step].Install)
		if s.history.Steps[step].Ready && errors.Is(err, repository.ErrLocksOut) {
			err = nil // to this process, the clock may have been set while none ran
		}
		if err != nil {
			return err
		}
	}
	if err := s.finish(); err != nil || s.ledger.altered == nil {
		return err
	}
	// Nothing else was held up. Now the rest.
	if err := s.heal(1 + healing(r.IntN(int(healings)-1))); err != nil {
		return err
	}
	if err := s.repo.Close(); err != nil {
		return err
	}
	s.disk.End()
	if err := s.open(); err != nil {
		return err
	}
	return s.finish()
}

// finishPath is the path that is published last.
const finishPath = "packages/finish"

// finish publishes everything accepted, and one more item.
func (s *session) finish() error {
	id := "finish"
	var e *entry
	for _, known := range s.ledger.items {
		if known.item.ID == id {
			e = known
		}
	}
	if e != nil {
		if err := s.retry(e); err != nil {
			return err
		}
	} else {
		it := repository.Item{ID: id}
		it.Add = append(it.Add, repotest.File(finishPath, id))
		if err := s.submit(it); err != nil {
			return err
		}
	}
	if err := s.publish(false); err != nil {
		return err
	}
	waiting := s.waiting()
	for _, e := range s.ledger.items {
		o, err := s.repo.Outcome(s.ctx, e.item.ID)
		switch {
		case errors.Is(err, repository.ErrUnknownItem) && !e.accepted, waiting[e], e.forgotten:
		case err != nil:
			return err
		case e.told == nil || *e.told != o:
			return broken("item %s was told %+v, and is %+v", e.item.ID, e.told, o)
		}
	}
	if s.history.collects {
		return s.collect()
	}
	return nil
}

// lasts requires that after a loss of power, store and journal can be opened, and that the journal
// says what it said before.
func (l *ledger) lasts(d *crashfs.Disk) error {
	fsys := d.Start()
	if _, err := ondisk.Store.Open(fsys, storeDir); err != nil {
		return err
	}
	journal, err := ondisk.Journal.Open(fsys, journalDir)
	if err != nil {
		return err
	}
	for _, e := range l.items {
		if e.told == nil || e.forgotten {
			continue
		}
		o, err := outcome(context.Background(), journal, e)
		if err != nil || o != *e.told {
			return errors.Join(fmt.Errorf("item %s was told %+v, and after the loss of power %+v", e.item.ID, *e.told, o), err, journal.Close())
		}
	}
	return journal.Close()
}
