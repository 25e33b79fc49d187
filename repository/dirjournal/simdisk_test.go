package dirjournal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// simDisk is a disk in memory that can lose its power. It does what package disk
// says that a disk may do, and no more. Directories are always durable.
type simDisk struct {
	mu      sync.Mutex
	names   map[string]*inode // what is visible
	durable map[string]*inode // what survives whatever happens
	changes []change          // of names, not durable yet
	dirs    map[string]bool
	locks   map[string]*simLock

	ops    int
	opened []string              // by Open
	fault  func(op int) fault    // what happens to an operation
	hold   func(op, name string) // called before each, without the lock
	dead   bool                  // the process was killed
}

type inode struct {
	data   []byte
	synced []byte // what survives
	lost   bool   // a sync failed: later ones do nothing
}

// change makes name mean file; a nil file means none. The other is the name that
// a rename took away.
type change struct {
	name, other string
	file        *inode
}

type fault int

const (
	none fault = iota
	failed
	worked // and then said that it failed
	killed // before it did anything
	killedAfter
)

var (
	errFault error = syscall.ENOSPC
	errDead        = errors.New("the process is dead")
)

func newSimDisk() *simDisk {
	return &simDisk{
		names: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{"/": true},
		locks: map[string]*simLock{}, fault: func(int) fault { return none }, hold: func(op, name string) {},
	}
}

// restart lets a new process use the disk.
func (d *simDisk) restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.fault = false, func(int) fault { return none }
	clear(d.locks)
}

// powerLoss keeps of what wasn't durable nothing, all, or (with a source of
// randomness) any part. It ends the process too.
func (d *simDisk) powerLoss(all bool, random *rand.Rand) {
	d.restart()
	keep := func() bool { return all || random != nil && random.IntN(2) == 0 }
	for _, c := range d.changes {
		if keep() {
			c.apply(d.durable)
		}
	}
	d.changes = nil
	d.names = maps.Clone(d.durable)
	for _, f := range d.names {
		size := len(f.data)
		if random != nil {
			size = len(f.synced) + random.IntN(len(f.data)-len(f.synced)+1)
		}
		after := make([]byte, len(f.synced), len(f.data))
		copy(after, f.synced)
		if all || random != nil {
			for len(after) < size { // blocks of any size, written or zero
				n := min(1+rand100(random), size-len(after))
				block := make([]byte, n)
				if keep() {
					copy(block, f.data[len(after):])
				}
				after = append(after, block...)
			}
		}
		f.data, f.synced, f.lost = after, append([]byte(nil), after...), false
	}
}

func rand100(r *rand.Rand) int {
	if r == nil {
		return 100
	}
	return r.IntN(100)
}

func (c change) apply(names map[string]*inode) {
	delete(names, c.other)
	if c.file == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.file
	}
}

func (d *simDisk) change(c change) {
	c.apply(d.names)
	d.changes = append(d.changes, c)
}

// do performs one operation that changes something, or fails to.
func (d *simDisk) do(op, name string, work func() error) error {
	d.hold(op, name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errDead
	}
	d.ops++
	f := d.fault(d.ops)
	switch f {
	case killed:
		d.dead = true
		return errDead
	case failed:
		return &fs.PathError{Op: op, Path: name, Err: errFault}
	}
	if err := work(); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	switch f {
	case worked:
		return &fs.PathError{Op: op, Path: name, Err: errFault}
	case killedAfter:
		d.dead = true
		return errDead
	}
	return nil
}

func (d *simDisk) read(op, name string) (*inode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return nil, errDead
	}
	if f := d.names[name]; f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func (d *simDisk) Open(name string) (disk.Reader, error) {
	f, err := d.read("open", name)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = append(d.opened, filepath.Base(name))
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(readerAt(f.data), 0, int64(len(f.data))), io.NopCloser(nil)}, nil
}

type readerAt []byte

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return copy(p, r[off:]), nil }

func (d *simDisk) Create(name string, perm fs.FileMode) (disk.File, error) {
	f := &simFile{disk: d, name: name, inode: &inode{}}
	err := d.do("create", name, func() error {
		if d.names[name] != nil {
			return fs.ErrExist
		}
		d.change(change{name: name, file: f.inode})
		return nil
	})
	return f, err
}

func (d *simDisk) Link(oldname, newname string) error { panic("not used") }

func (d *simDisk) Rename(oldname, newname string) error {
	return d.do("rename", newname, func() error {
		f := d.names[oldname]
		if f == nil {
			return fs.ErrNotExist
		}
		d.change(change{name: newname, other: oldname, file: f})
		return nil
	})
}

func (d *simDisk) Remove(name string) error {
	return d.do("remove", name, func() error {
		if d.names[name] == nil {
			return fs.ErrNotExist
		}
		d.change(change{name: name})
		return nil
	})
}

func (d *simDisk) Mkdir(name string, perm fs.FileMode) error {
	return d.do("mkdir", name, func() error {
		if d.dirs[name] {
			return fs.ErrExist
		}
		d.dirs[name] = true
		return nil
	})
}

func (d *simDisk) ReadDir(name string) iter.Seq2[disk.Entry, error] {
	return func(yield func(disk.Entry, error) bool) {
		d.mu.Lock()
		names, dead, exists := maps.Clone(d.names), d.dead, d.dirs[name]
		d.mu.Unlock()
		if dead {
			yield(disk.Entry{}, errDead)
			return
		}
		if !exists {
			yield(disk.Entry{}, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist})
			return
		}
		for n, f := range names {
			if filepath.Dir(n) == name && !yield(disk.Entry{Name: filepath.Base(n), Size: int64(len(f.data)), ModTime: time.Time{}}, nil) {
				return
			}
		}
	}
}

func (d *simDisk) SyncDir(name string) error {
	err := d.do("syncdir", name, func() error {
		d.mine(name, func(c change) { c.apply(d.durable) })
		return nil
	})
	if errors.Is(err, errFault) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.mine(name, func(change) {}) // thrown away, while still visible
	}
	return err
}

// mine takes the changes in one directory off the list.
func (d *simDisk) mine(dir string, use func(change)) {
	var left []change
	for _, c := range d.changes {
		if filepath.Dir(c.name) == dir {
			use(c)
		} else {
			left = append(left, c)
		}
	}
	d.changes = left
}

type simLock struct {
	disk *simDisk
	name string
}

func (l *simLock) Close() error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.disk.locks[l.name] == l {
		delete(l.disk.locks, l.name)
	}
	return nil
}

func (d *simDisk) Lock(name string) (io.Closer, error) {
	if _, err := d.read("lock", name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locks[name] != nil {
		return nil, fmt.Errorf("lock %s: %w", name, disk.ErrLocked)
	}
	d.locks[name] = &simLock{d, name}
	return d.locks[name], nil
}

type simFile struct {
	disk  *simDisk
	name  string
	inode *inode
}

func (f *simFile) Write(p []byte) (n int, err error) {
	err = f.disk.do("write", f.name, func() error {
		f.inode.data = append(f.inode.data, p...)
		n = len(p)
		return nil
	})
	if errors.Is(err, errFault) && n == 0 { // no space left: a part was written
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		n = len(p) / 2
		f.inode.data = append(f.inode.data, p[:n]...)
	}
	return n, err
}

func (f *simFile) Sync() error {
	err := f.disk.do("sync", f.name, func() error {
		if !f.inode.lost {
			f.inode.synced = append([]byte(nil), f.inode.data...)
		}
		return nil
	})
	if errors.Is(err, errFault) {
		f.disk.mu.Lock()
		defer f.disk.mu.Unlock()
		f.inode.lost = true
	}
	return err
}

func (f *simFile) Close() error { return f.disk.do("close", f.name, func() error { return nil }) }
