package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"syscall"
)

// Op is an operation that changes something, durability included.
type Op struct {
	N    int    // counted from 1
	Kind string // "create", "write", "sync", "close", "link", "rename", "remove", "mkdir", "syncdir"
	Path string // the new name where there are two
}

// Fault says how an operation fails.
type Fault int

// The faults.
const (
	Healthy    Fault = iota
	Fail             // it fails; a write did a part, and a sync lost something for ever
	FailAfter        // it does its work and says that it failed
	KillBefore       // the process is killed before it
	KillAfter        // the process is killed after it, before it learns of it
)

var (
	// ErrFault is the error of an operation with an injected fault.
	ErrFault error = syscall.ENOSPC

	// ErrKilled is the error of every call of a killed process.
	ErrKilled = errors.New("the process is dead")
)

// Inject lets f choose the fault of each operation from now on; nil means no faults. f must not use the
// disk.
func (d *Disk) Inject(f func(Op) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inject = f
}

// InjectNext injects a fault into the n-th operation from now on, and into no other.
func (d *Disk) InjectNext(n int, fault Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.ops + n
	d.inject = func(op Op) Fault {
		if op.N == at {
			return fault
		}
		return Healthy
	}
}

// Observe calls f before each operation from now on. f may use the disk, and block.
func (d *Disk) Observe(f func(Op)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.before = f
}

// mostOps is how many operations a disk takes. A program that repeats something for ever would
// otherwise fill the memory of the machine: all that it writes is kept.
const mostOps = 20_000

// Endless lets the disk take any number of operations. By default it stops after 20,000.
func (d *Disk) Endless() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endless = true
}

var errRunaway = errors.New("over 20,000 operations: something is repeated for ever")

// do performs one operation of a process. If the operation fails, partly does the part that happens
// anyway.
func (p *Process) do(kind, path string, work func() error, partly func(*rand.Rand)) error {
	d := p.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.dead {
		return ErrKilled
	}
	if before := d.before; before != nil {
		op := Op{d.ops + 1, kind, path}
		d.mu.Unlock()
		before(op)
		d.mu.Lock()
		if p.dead {
			return ErrKilled
		}
	}
	if d.ops++; d.ops > mostOps && !d.endless {
		return &fs.PathError{Op: kind, Path: path, Err: errRunaway}
	}
	fault := Healthy
	if d.inject != nil {
		fault = d.inject(Op{d.ops, kind, path})
	}
	failed := &fs.PathError{Op: kind, Path: path, Err: ErrFault}
	switch fault {
	case KillBefore:
		d.kill()
		return fmt.Errorf("%s %s: %w", kind, path, ErrKilled)
	case Fail:
		if partly != nil {
			partly(rand.New(d.chance))
		}
		return failed
	}
	if err := work(); err != nil {
		return &fs.PathError{Op: kind, Path: path, Err: err}
	}
	switch fault {
	case FailAfter:
		return failed
	case KillAfter:
		d.kill()
		return fmt.Errorf("%s %s: %w", kind, path, ErrKilled)
	}
	return nil
}
