package repository

import "golang.org/x/sys/unix"

// countsSleep is the clock that goes on while the machine is suspended. Go's monotonic time
// doesn't.
const countsSleep = unix.CLOCK_BOOTTIME
