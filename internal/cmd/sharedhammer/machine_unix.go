//go:build unix

package main

import (
	"os"
	"syscall"
)

// detached keeps a terminal's interrupt from the processes: it is the hammer's to handle.
func detached() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// stopProcess and continueProcess are signals.
var stopProcess, continueProcess os.Signal = syscall.SIGSTOP, syscall.SIGCONT
