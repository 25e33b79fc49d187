package crashpoints

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/repository"
)

// Moment is a state of disk and world between two operations on the disk.
type Moment struct {
	History *History
	Op      int // the last operation that was done

	next   string // the operation that was not
	step   int    // the step under way; -1: the creation
	disk   *crashfs.Disk
	ledger *ledger
}

// Moments runs a history without a fault, and returns the moment after each
// operation that changed something, from the empty disk to the end. The whole
// history is checked.
func Moments(h *History) ([]*Moment, error) {
	d, l := crashfs.New(0), newLedger(noon)
	s := newSession(h, d, l)
	step := -1
	var all []*Moment
	d.Observe(func(op crashfs.Op) {
		if op.Kind == "close" {
			return // what follows it does so from the same state
		}
		if s.repo != nil {
			s.poll()
		}
		all = append(all, &Moment{h, op.N - 1, op.Kind + " " + op.Path, step, d.Clone(0), l.clone()})
	})
	err := s.open()
	for i := range h.Steps {
		step = i
		if err == nil {
			err = s.do(h.Steps[i])
		}
	}
	if err == nil {
		err = s.finish()
	}
	if err = errors.Join(err, s.close()); err == nil {
		err = check(h, d, l, true)
	}
	if err != nil {
		return nil, fmt.Errorf("history %s, without a fault: step %d: %w", h.Name, step, err)
	}
	return all, nil
}

// Variants is how many ways of crashing are tried at each moment before those
// that only the seed tells apart.
const Variants = 7

// maxFaults is how often one point is hit again while it recovers.
const maxFaults = 3

// Point crashes at a moment, in one of endlessly many variants, recovers and goes
// on, and returns the first thing that is wrong. full has more clients look.
func (m *Moment) Point(seed uint64, variant int, full bool) (err error) {
	name := fnv.New64a()
	fmt.Fprint(name, m.History.Name, m.Op, variant)
	r := rand.New(rand.NewPCG(seed, name.Sum64()))
	d, l := m.disk.Clone(r.Uint64()), m.ledger.clone()
	faults := 0
	switch variant {
	case 0:
		d.PowerCut(crashfs.Cut{})
	case 1:
		d.PowerCut(crashfs.Cut{Names: crashfs.All, Data: crashfs.All})
	case 2:
		d.PowerCut(crashfs.Cut{Names: crashfs.All, Data: crashfs.Any})
	case 3:
		d.PowerCut(d.AnyCut())
	case 4:
		faults = 1 // killed, and later without power
	case 5:
		faults = maxFaults // of syncs
	default:
		faults = 1 + r.IntN(maxFaults)
		if r.IntN(2) == 0 {
			d.PowerCut(d.AnyCut())
		}
	}
	for trial := 1; ; trial++ {
		if err := l.survived(d.Files()); err != nil {
			return err
		}
		switch {
		case trial > faults:
		case variant == 5:
			failSync(d, 1+r.IntN(15))
		default:
			d.InjectNext(1+r.IntN(60), []crashfs.Fault{crashfs.Fail, crashfs.FailAfter, crashfs.KillBefore, crashfs.KillAfter}[r.IntN(4)])
		}
		s := newSession(m.History, d, l)
		err := s.recover(m.step, r)
		err = errors.Join(err, s.close())
		if l.broken != nil {
			return l.broken
		}
		if err == nil {
			break
		}
		if _, rule := errors.AsType[brokenRule](err); rule || !s.faults.Load() {
			return fmt.Errorf("recovery: %w", err)
		}
		if trial > 20 {
			return fmt.Errorf("recovery doesn't end: %w", err)
		}
		if d.Kill(); variant != 5 && (r.IntN(2) == 0 || variant == 4) {
			d.PowerCut(d.AnyCut())
		}
	}
	// Whatever was told by now is durable.
	d.PowerCut(crashfs.Cut{})
	if err := l.survived(d.Files()); err != nil {
		return err
	}
	return check(m.History, d, l, full)
}

// failSync lets the n-th sync from now on fail, of a file or a directory.
func failSync(d *crashfs.Disk, n int) {
	d.Inject(func(op crashfs.Op) crashfs.Fault {
		if op.Kind == "sync" || op.Kind == "syncdir" {
			if n--; n == 0 {
				return crashfs.Fail
			}
		}
		return crashfs.Healthy
	})
}

// recover is what the index does after a restart: it asks what became of its
// items, repeats what was under way or not, goes on, and publishes everything.
func (s *session) recover(step int, r *rand.Rand) error {
	if err := s.open(); err != nil {
		return err
	}
	for _, e := range s.ledger.items {
		o, err := s.repo.Outcome(s.ctx, e.item.ID)
		switch {
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
	if step >= 0 && r.IntN(2) == 0 {
		if err := s.install(s.history.Steps[step].Install); err != nil {
			return err
		}
	}
	return s.finish()
}

// finish publishes all that is accepted, and one item more.
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
		it.Add = append(it.Add, target("packages/finish", id))
		if err := s.submit(it); err != nil {
			return err
		}
	}
	if err := s.publish(false); err != nil {
		return err
	}
	for _, e := range s.ledger.items {
		o, err := s.repo.Outcome(s.ctx, e.item.ID)
		switch {
		case errors.Is(err, repository.ErrUnknownItem) && !e.accepted:
		case err != nil:
			return err
		case e.told == nil || *e.told != o:
			return broken("item %s was told %+v, and is %+v", e.item.ID, e.told, o)
		}
	}
	return nil
}

// brokenRule is an error that no fault explains.
type brokenRule struct{ error }

func broken(format string, args ...any) error { return brokenRule{fmt.Errorf(format, args...)} }
