package main

import "golang.org/x/sys/unix"

// flushTyped drops what was typed at a terminal and not read yet.
func flushTyped(fd int) { _ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH) }
