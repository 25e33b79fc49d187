package repository

import (
	"errors"
	"fmt"
	"time"
)

// ErrClock is wrapped when the clock stepped implausibly. Nothing is signed
// until it is right again or Repository.AcceptClock was called.
var ErrClock = errors.New("implausible clock")

// backTolerance is how far the clock may be set back: what time daemons and
// fail-overs do.
const backTolerance = 5 * time.Minute

// clock tells the time and notices when it can't be right.
type clock struct {
	now      func() time.Time
	maxAhead time.Duration

	// A pair taken together: what now said, and the machine's monotonic clock.
	wall, mono time.Time

	forgiven bool // that it is earlier than the last generation
}

func newClock(now func() time.Time, maxAhead time.Duration) *clock {
	c := &clock{now: now, maxAhead: maxAhead}
	c.wall, c.mono = c.now(), time.Now()
	return c
}

// accept takes the present time for right.
func (c *clock) accept() { c.wall, c.mono, c.forgiven = c.now(), time.Now(), true }

// check returns the time, in UTC and whole seconds. lastSigned is when the last
// generation was signed by this clock's account or a predecessor's.
func (c *clock) check(lastSigned time.Time) (time.Time, error) {
	now := c.now().UTC().Truncate(time.Second)
	if lastSigned.Sub(now) <= backTolerance {
		c.forgiven = false
	} else if !c.forgiven {
		return now, fmt.Errorf("%w: it is %s by the clock, and the last generation was signed at %s",
			ErrClock, now.Format(time.RFC3339), lastSigned.Format(time.RFC3339))
	}
	// Since the monotonic clock may stand still while a machine sleeps, only a
	// step larger than a whole lifetime is called implausible.
	if ahead := now.Sub(c.wall) - time.Since(c.mono); ahead > c.maxAhead {
		return now, fmt.Errorf("%w: it jumped ahead by %v to %s", ErrClock, ahead.Round(time.Second), now.Format(time.RFC3339))
	}
	return now, nil
}
