package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// written is when this program was written: no clock is earlier.
var written = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// farAhead is how long before its expiry nobody signs a document.
const farAhead = 5 * 366 * 24 * time.Hour

// doubt returns why a clock that says now looks wrong beside a request, or "".
func doubt(now time.Time, r *ceremony.Request) string {
	if now.Before(written) {
		return "it is earlier than the day on which this program was written"
	}
	p := r.Proposal()
	for _, d := range p.Destroyed {
		// Clocks of two laptops differ a little.
		if now.Add(time.Hour).Before(d.At) {
			return "it is earlier than when the one-time keys were destroyed: " + d.At.Format(time.RFC3339)
		}
	}
	for _, s := range r.Steps() {
		if s.Expires.Sub(now) > farAhead {
			return fmt.Sprintf("%s version %d would be good for more than five years", s.Role, s.Version)
		}
	}
	if n := len(p.Current.Roots); n > 0 {
		root, err := roles.Parse[metadata.RootType](p.Current.Roots[n-1])
		if err == nil && !root.Expires().After(now) {
			return "by it, the root in force has expired: " + root.Expires().Format(time.RFC3339)
		}
	}
	return ""
}

// checkClock shows the clock, and asks when it looks wrong.
func (a *app) checkClock(ctx context.Context, r *ceremony.Request, right bool) error {
	now := a.now()
	a.title("The clock of this machine")
	a.say("  %s", now.Format("Monday, 2 January 2006, 15:04 UTC"))
	why := doubt(now, r)
	if why == "" {
		return nil
	}
	a.say("\n  It looks wrong: %s.", why)
	if right || a.clockSet {
		return nil
	}
	answer, err := a.ask(ctx, "Is this clock right? Type yes, or anything else to stop:")
	if err == nil && strings.TrimSpace(answer) != "yes" {
		err = errors.New("the clock is wrong: set it, or give the time with -now; nothing was written")
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("the clock (-clock-is-right answers this): %w", err)
	}
	return err
}
