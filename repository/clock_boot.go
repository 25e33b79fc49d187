//go:build linux || darwin

package repository

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since some moment, sleep included.
func sinceBoot() (time.Duration, bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(countsSleep, &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
