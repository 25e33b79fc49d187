//go:build !unix

package main

import (
	"os"
	"syscall"
)

func detached() *syscall.SysProcAttr { return nil }

// Such a machine has no signals that stop and continue a process: sending them fails, and the hammer with it.
var stopProcess, continueProcess os.Signal = syscall.Signal(-1), syscall.Signal(-1)
