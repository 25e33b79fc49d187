//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd && !windows

package main

// flushTyped can't drop here what was typed at a terminal and not read yet.
func flushTyped(int) {}
