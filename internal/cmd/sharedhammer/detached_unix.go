//go:build unix

package main

import "syscall"

// detached keeps a terminal's interrupt from the processes: it is the hammer's to handle.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
