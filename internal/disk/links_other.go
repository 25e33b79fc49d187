//go:build !windows

package disk

import "syscall"

// errNoLinks is what Linux answers where a file system has no hard links.
var errNoLinks error = syscall.EPERM
