package repository

import (
	"errors"
	"fmt"
	"time"
)

// ErrClock is wrapped when the clock is probably wrong. It was set back or forward implausibly. Or,
// at the first look after Open, all offline documents have expired, or the last generation is over
// 400 days old. Nothing is signed until the clock is right again or Repository.AcceptClock was
// called. Open itself succeeds.
var ErrClock = errors.New("implausible clock")

const (
	// backTolerance is how far the clock may be set back: what time daemons and
	// fail-overs do.
	backTolerance = 5 * time.Minute

	// longestStop is for how long a repository may have signed nothing. If it is longer, the
	// clock is doubted at the first look: people renew their documents once a year.
	longestStop = 400 * 24 * time.Hour
)

// clock tells the time and notices when it can't be right. It judges each step from one look to the
// next, so the times that a machine sleeps don't add up.
type clock struct {
	now      func() time.Time
	maxAhead time.Duration
	// sinceBoot is the time since some moment, sleep included; false where the system
	// doesn't tell.
	sinceBoot func() (time.Duration, bool)

	opened   moment        // when this process opened the repository
	gap      time.Duration // how much time had passed by the wall clock since the last generation was signed
	last     moment
	stepped  moment // when the wall clock was last found to have been set; zero: never
	doubted  bool   // by the last check
	believed bool   // whether any look since Open was
	forgiven bool   // that it is earlier than the last generation
}

// moment is one and the same moment by each clock.
type moment struct {
	wall time.Time
	mono time.Time     // stands still while the machine sleeps, on some systems
	boot time.Duration // goes on meanwhile; 0 where the system doesn't tell
}

// doubt is an error that wraps ErrClock. It knows when the clock was last believed.
type doubt struct {
	error
	last moment
}

func (d doubt) Unwrap() error { return d.error }

// keep goes on with what an earlier repository of this process found: see Config.Doubt.
func (c *clock) keep(earlier error) {
	if d, ok := errors.AsType[doubt](earlier); ok {
		c.last, c.doubted = d.last, true
	}
}

func newClock(now func() time.Time, maxAhead time.Duration) *clock {
	c := &clock{now: now, maxAhead: maxAhead, sinceBoot: sinceBoot}
	c.last = c.look()
	return c
}

func (c *clock) look() moment {
	boot, _ := c.sinceBoot()
	return moment{c.now().Round(0), time.Now(), boot} // two readings of time.Now differ by what passed, however the clock was set
}

// accept takes the present time for right.
func (c *clock) accept() {
	at := c.look()
	if c.doubted || c.wasSet(at) {
		c.stepped = at
	}
	c.last, c.doubted, c.believed, c.forgiven = at, false, true, true
}

// wasSet reports whether the wall clock was set since the last look.
func (c *clock) wasSet(at moment) bool {
	return (at.wall.Sub(c.last.wall) - passed(c.last, at)).Abs() > backTolerance
}

// check returns the time, in UTC and whole seconds. lastSigned is when the last generation was
// signed, by this process or an earlier one. offlineUntil is when the last of the offline documents
// expires. Either is zero if there is none.
func (c *clock) check(lastSigned, offlineUntil time.Time) (_ time.Time, err error) {
	defer func() { c.doubted = err != nil }()
	at := c.look()
	now := at.wall.UTC().Truncate(time.Second)
	if lastSigned.Sub(now) <= backTolerance {
		c.forgiven = false
	} else if !c.forgiven {
		return now, fmt.Errorf("%w: it is %s by the clock, and the last generation was signed at %s",
			ErrClock, now.Format(time.RFC3339), lastSigned.Format(time.RFC3339))
	}
	if ahead := at.wall.Sub(c.last.wall) - passed(c.last, at); ahead > c.maxAhead {
		return now, fmt.Errorf("%w: it jumped ahead by %v to %s", ErrClock, ahead.Round(time.Second), now.Format(time.RFC3339))
	}
	// There is no step to judge after Open, and a clock that is years ahead signs what is
	// valid for years.
	if !c.believed {
		switch {
		case !offlineUntil.IsZero() && !offlineUntil.After(now):
			return now, fmt.Errorf("%w: it is %s by the clock, and the last offline document expired at %s",
				ErrClock, now.Format(time.RFC3339), offlineUntil.Format(time.RFC3339))
		case !lastSigned.IsZero() && now.Sub(lastSigned) > longestStop:
			return now, fmt.Errorf("%w: it is %s by the clock, and the last generation was signed at %s, over %d days ago",
				ErrClock, now.Format(time.RFC3339), lastSigned.Format(time.RFC3339), int(longestStop.Hours()/24))
		}
	}
	if c.wasSet(at) {
		c.stepped = at
	}
	c.last, c.believed = at, true
	return now, nil
}

// passed is how much time passed between two moments. On some systems no clock counts the time that
// a machine sleeps, and it is missing here. That is why only a step longer than a whole lifetime is
// implausible.
func passed(from, to moment) time.Duration { return max(to.mono.Sub(from.mono), to.boot-from.boot) }

// since returns how long ago time.Now returned t. It counts the time that the machine slept. If the
// clock was set forward meanwhile, the result is too long. Use it only where acting early does no
// harm.
func since(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// checkClock returns the time at which something may be signed.
func (p *publisher) checkClock() (time.Time, error) {
	now, err := p.clock.check(p.state.Signed, p.docs.offlineUntil())
	if err != nil {
		err = doubt{fmt.Errorf("%w: nothing is signed until it is right, or AcceptClock is called", err), p.clock.last}
	}
	return now, err
}

// stepLeft returns for how much longer a grace period may not be reckoned from times in the journal,
// because the clock was set since they were written, in whole seconds. It is zero if the clock wasn't set
// lately.
func (p *publisher) stepLeft() time.Duration {
	if p.clock == nil || p.clock.stepped.mono.IsZero() { // see ReadStatus
		return 0
	}
	left := p.cfg.grace() - passed(p.clock.stepped, p.clock.look())
	return max((left + time.Second - 1).Truncate(time.Second), 0)
}

// open notes that the repository was opened now. lastSigned is when the last generation was signed,
// zero if there is none.
func (c *clock) open(lastSigned time.Time) {
	c.opened = c.look()
	if gap := c.opened.wall.Sub(lastSigned); gap > 0 && !lastSigned.IsZero() {
		c.gap = (gap + time.Second - 1).Truncate(time.Second)
	}
}

// graceEnds returns when the grace period of a generation ends that was superseded at this time,
// according to the journal. The clock may have been set forward while no publisher ran, so the time
// between the last generation and Open doesn't count. Once it was seen to be set, nothing before that
// counts.
func (p *publisher) graceEnds(superseded time.Time) time.Time {
	if c := p.clock; c != nil && superseded.Before(c.opened.wall) { // see ReadStatus
		superseded = superseded.Add(min(c.gap, c.opened.wall.Sub(superseded))).UTC().Truncate(time.Second)
	}
	end := superseded.Add(p.cfg.grace())
	if left := p.stepLeft(); left > 0 {
		if doubted := p.cfg.Now().Add(left).UTC().Truncate(time.Second); doubted.After(end) {
			return doubted
		}
	}
	return end
}

// offlineUntil is when the last of the offline documents expires.
func (o *documents) offlineUntil() time.Time {
	var last time.Time
	if o == nil {
		return last
	}
	for _, expires := range o.expiries() {
		if expires.After(last) {
			last = expires
		}
	}
	return last
}
