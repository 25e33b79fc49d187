//go:build unix

package disk

import "syscall"

const (
	// nonblock opens a named pipe without waiting for its writer, so that it can be found to be one.
	nonblock = syscall.O_NONBLOCK
	// nofollow doesn't open what a symbolic link leads to.
	nofollow = syscall.O_NOFOLLOW
)
