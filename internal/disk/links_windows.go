package disk

import "syscall"

// errNoLinks is ERROR_INVALID_FUNCTION, which Windows answers where a file system has
// no hard links.
var errNoLinks error = syscall.Errno(1)
