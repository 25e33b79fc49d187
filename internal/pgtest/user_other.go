//go:build !linux

package pgtest

import "syscall"

func ordinary(bool) *syscall.SysProcAttr { return nil }

func give(string) error { return nil }
