package crashpoints

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/bindery-tuf/bindery/internal/crashfs"
)

// Moment is the state of the disk and of the world between two operations on the disk.
type Moment struct {
	History *History
	Op      int // the last operation that was done

	next   string // the operation that was not
	step   int    // the step under way; -1: the creation
	disk   *crashfs.Disk
	ledger *ledger
}

// Moments runs a history without a fault and checks it. It returns the moment after each operation
// that changed something, from the empty disk to the end.
func Moments(h *History) ([]*Moment, error) {
	d, l := crashfs.New(0), newLedger(h, noon)
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
		err = errors.Join(l.broken, err)
		return nil, fmt.Errorf("history %s, without a fault: step %d: %w", h.Name, step, err)
	}
	return all, nil
}

// Variants is how many ways of crashing are tried at each moment, not counting failing syncs.
// Variant FailingSync+N kills the process, and lets the N-th sync of the next process fail while
// that opens the repository.
const (
	Variants    = 7
	FailingSync = 100
)

// maxFaults is how many faults one point has while it recovers.
const maxFaults = 3

// Point crashes at the moment in the given variant, recovers, goes on, and returns the first rule
// that is broken. Any number is a variant. full lets more clients look. tried is false for a
// failing sync that doesn't exist.
func (m *Moment) Point(seed uint64, variant int, full bool) (tried bool, err error) {
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
		if variant > FailingSync {
			faults = 1
			break
		}
		faults = 1 + r.IntN(maxFaults)
		if r.IntN(2) == 0 {
			d.PowerCut(d.AnyCut())
		}
	}
	for trial := 1; ; trial++ {
		if err := l.survived(d.Files()); err != nil {
			return true, err
		}
		s := newSession(m.History, d, l)
		switch {
		case trial > faults:
		case variant > FailingSync:
			failSync(d, variant-FailingSync)
			s.opened = s.onlyIfMet
		case variant == 5:
			failSync(d, 1+r.IntN(15))
		default:
			d.InjectNext(1+r.IntN(60), []crashfs.Fault{crashfs.Fail, crashfs.FailAfter, crashfs.KillBefore, crashfs.KillAfter}[r.IntN(4)])
		}
		err := s.recover(m.step, r)
		err = errors.Join(err, s.close())
		if l.broken != nil {
			return true, l.broken
		}
		if err == nil {
			break
		}
		if errors.Is(err, errNotMet) {
			return false, nil
		}
		if _, rule := errors.AsType[brokenRule](err); rule || !s.faults.Load() {
			return true, fmt.Errorf("recovery: %w", err)
		}
		if trial > 20 {
			return true, fmt.Errorf("recovery doesn't end: %w", err)
		}
		if d.Kill(); variant < 5 || variant == 6 && r.IntN(2) == 0 {
			d.PowerCut(d.AnyCut())
		}
	}
	// Everything that was told by now is durable.
	d.PowerCut(crashfs.Cut{})
	if err := l.survived(d.Files()); err != nil {
		return true, err
	}
	if err := check(m.History, d, l, full); err != nil {
		return true, err
	}
	return true, l.lasts(d)
}

// failSync makes the n-th sync from now on fail, of a file or of a directory.
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

var errNotMet = errors.New("the repository was opened before the fault was met")

// onlyIfMet returns an error if the repository was opened without meeting the fault. It stops
// injecting faults.
func (s *session) onlyIfMet() error {
	s.disk.Inject(nil)
	if !s.faults.Load() {
		return errNotMet
	}
	return nil
}

// brokenRule is an error that no fault explains.
type brokenRule struct{ error }

func broken(format string, args ...any) error { return brokenRule{fmt.Errorf(format, args...)} }
