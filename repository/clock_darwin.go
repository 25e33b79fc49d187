package repository

import "golang.org/x/sys/unix"

// countsSleep is the clock that goes on while the machine sleeps: unlike Go's monotonic
// time, and unlike the clock of this name on Linux.
const countsSleep = unix.CLOCK_MONOTONIC
