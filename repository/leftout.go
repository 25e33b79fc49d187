package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Left out. If one role can't be read, signed or written, but the same store or key served others in
// the same attempt, the attempt goes on without the role and its items. They are tried again after a
// pause that grows. The role isn't quarantined: nothing is known to be wrong with its file.
//
// A role is never left out if the generation is the first with new documents, and clients would refuse
// the role's published file under them. If the store or the key served no others, the whole attempt is
// given up, and Run tries it again after a pause.

// pause is a wait that doubles each time.
type pause struct {
	began  time.Time
	length time.Duration
}

// grow begins the next, longer wait.
func (w *pause) grow(first, last time.Duration) {
	*w = pause{time.Now(), min(max(2*w.length, first), last)}
}

// left is how much of the wait remains.
func (w pause) left() time.Duration { return w.length - since(w.began) }

// leaveOut notes roles that failed in an attempt.
func (p *publisher) leaveOut(a *attempt, failed map[int]error) {
	if a.apart == 0 && len(failed) > 0 {
		p.tryAgain.grow(firstRetry, lastRetry)
	}
	a.apart += len(failed)
	for _, i := range slices.Sorted(maps.Keys(failed)) {
		p.leftOut[i] = failed[i]
		p.log.Error("bin left out: it and its items are tried again, all others are published",
			"bin", p.name(i), "err", failed[i], "in", p.tryAgain.length)
	}
}

// retryLeftOut lets the next attempt try roles again that were left out, if the pause is over. It
// reports whether there are any.
func (p *publisher) retryLeftOut() bool {
	if len(p.leftOut) == 0 || p.tryAgain.left() > 0 {
		return false
	}
	clear(p.leftOut)
	p.resetWaiting()
	return true
}

// resetWaiting is called when roles are no longer blocked. Which items still wait is counted anew by the
// next plan.
func (p *publisher) resetWaiting() { p.waiting, p.held = 0, 0 }

// leftOutErr says how many roles are left out, and why the first of them is. It is nil if there are
// none.
func (p *publisher) leftOutErr() error {
	if len(p.leftOut) == 0 {
		return nil
	}
	return fmt.Errorf("%d roles are left out for now, and tried again: %w", len(p.leftOut), p.firstOf(p.leftOut))
}

// firstOf returns one error of many: that of the first role that was tried.
func (p *publisher) firstOf(failed map[int]error) error {
	tried := slices.Sorted(maps.Keys(failed))
	for _, i := range tried {
		if !errors.Is(failed[i], errNotTried) {
			return fmt.Errorf("%s: %w", p.name(i), failed[i])
		}
	}
	return fmt.Errorf("%s: %w", p.name(tried[0]), failed[tried[0]])
}

// signError is why a signature failed.
type signError struct{ error }

func (e signError) Unwrap() error { return e.error }

// buildWithout is called when some roles of a plan could not be signed or written. It returns the plan
// without them and without the items that touch them. It also leaves out roles that were built with
// changes of such items, and deletes what was built. All else is used.
func (p *publisher) buildWithout(ctx context.Context, a *attempt, before plan, rows map[int]ledger.Row, failed map[int]error) (plan, error) {
	because := p.firstOf(failed)
	for _, err := range failed {
		if errors.Is(err, errTaken) { // it names the file
			return before, err
		}
	}
	apart := map[int]bool{}
	for i, err := range failed {
		if p.noteQuarantine(i, err) {
			apart[i] = true
			because = fmt.Errorf("%w: %w", errGoOnWithout, err)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(failed)) {
		if !apart[i] && !p.isAlone(ctx, a, i, failed[i], rows, len(failed)) {
			return before, fmt.Errorf("bin %s: %w", p.name(i), failed[i])
		}
	}
	if a.wholly {
		return before, because
	}
	maps.DeleteFunc(failed, func(i int, _ error) bool { return apart[i] })
	if a.needs(failed) {
		return before, because
	}
	p.leaveOut(a, failed)
	for i := range failed {
		apart[i] = true
	}
	for {
		planner := p.planner(ctx, a.batch, a.signers)
		planner.approve = p.approver(ctx, a)
		planner.blocked = func(i int) bool { return apart[i] || p.blocked(i) }
		next, err := planner.plan(a.batch.items, a.number)
		if err != nil {
			return before, fmt.Errorf("plan without them: %w", err)
		}
		for i, edits := range before.edits {
			if len(edits) == 0 && !apart[i] {
				next.alsoSign(i)
			}
		}
		stable := true
		for i, edits := range next.edits {
			if _, built := rows[i]; !built || len(edits)+len(before.edits[i]) > 0 && !reflect.DeepEqual(edits, before.edits[i]) {
				apart[i], stable = true, false
			}
		}
		if !stable {
			continue
		}
		for i := range a.together {
			if _, signed := next.edits[i]; !signed && p.quarantine[i] == nil {
				return before, fmt.Errorf("%w: %w", errGoOnWithout, because)
			}
		}
		p.resetWaiting() // those that only wait for this generation go into the next one
		if len(next.edits) == 0 {
			return before, fmt.Errorf("%w: %w", errGoOnWithout, because)
		}
		used := map[string]bool{}
		for i := range next.edits {
			used[ledger.Name(a.number, p.name(i))] = true
		}
		for i := range rows {
			if _, used := next.edits[i]; !used {
				p.cache.remove(i, func(version int64) bool { return version == a.number })
			}
		}
		p.wrote.burn(func(name string) bool { return !used[name] })
		p.deleteBurnt(ctx)
		return next, nil
	}
}

// isAlone reports whether the failure concerns only role i, so that the others can go on. If its
// signature failed, the same key must have signed others. Otherwise the store must have served others,
// and must not be full: on a full disk small files may still fit.
func (p *publisher) isAlone(ctx context.Context, a *attempt, i int, err error, rows map[int]ledger.Row, failures int) bool {
	if ctx.Err() != nil || p.document(i) != nil || errors.Is(err, syscall.ENOSPC) || errors.Is(err, errNotTried) || failures > len(rows)+p.cfg.Workers {
		return false
	}
	if !errors.As(err, new(signError)) {
		return len(rows) > 0
	}
	for k := range rows {
		if a.signers.of(k).Public().ID() == a.signers.of(i).Public().ID() {
			return true
		}
	}
	return false
}
