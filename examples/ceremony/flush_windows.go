package main

import "golang.org/x/sys/windows"

// flushTyped drops what was typed at a terminal and not read yet.
func flushTyped(fd int) { _ = windows.FlushConsoleInputBuffer(windows.Handle(fd)) }
