package crashfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// Process is a process that uses a Disk. It ends when it is killed or ended, or the power is cut.
type Process struct {
	disk *Disk
	dead bool // guarded by the disk's lock
}

var _ disk.FS = (*Process)(nil)

// Open implements disk.FS.
func (p *Process) Open(name string) (disk.Reader, error) {
	n, err := p.look("open", name)
	if err == nil && n.dir {
		err = fmt.Errorf("open %s: not a regular file", name)
	}
	if err != nil {
		return nil, err
	}
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	data := n.data
	if len(n.note) > 0 {
		data = n.note
	}
	return reader{bytes.NewReader(slices.Clip(data))}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

// look finds a name.
func (p *Process) look(op, name string) (*node, error) {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if p.dead {
		return nil, ErrKilled
	}
	if n := p.disk.names[name]; n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: p.disk.missing(name)}
}

// missing returns the error for a name that doesn't exist.
func (d *Disk) missing(name string) error {
	for parent := filepath.Dir(name); ; parent = filepath.Dir(parent) {
		if n := d.names[parent]; n != nil && !n.dir {
			return syscall.ENOTDIR
		} else if n != nil {
			return fs.ErrNotExist
		}
	}
}

// vacant returns nil if a name can be made, or else the reason.
func (d *Disk) vacant(name string) error {
	switch parent := d.names[filepath.Dir(name)]; {
	case d.names[name] != nil:
		return fs.ErrExist
	case parent == nil || !parent.dir:
		return d.missing(name)
	}
	return nil
}

// Create implements disk.FS.
func (p *Process) Create(name string, _ fs.FileMode) (disk.File, error) {
	d := p.disk
	n := &node{}
	err := p.do("create", name, func() error {
		n.boot, n.made = d.boots, d.ops
		if err := d.vacant(name); err != nil {
			return err
		}
		d.change(change{name: name, node: n})
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	return &file{p, name, n}, nil
}

// Link implements disk.FS.
func (p *Process) Link(oldname, newname string) error {
	d := p.disk
	return p.do("link", newname, func() error {
		n := d.names[oldname]
		if n == nil {
			return d.missing(oldname)
		}
		if err := d.vacant(newname); err != nil {
			return err
		}
		d.change(change{name: newname, node: n})
		return nil
	}, nil)
}

// Rename implements disk.FS. As in POSIX, it does nothing if both names are the same file.
func (p *Process) Rename(oldname, newname string) error {
	d := p.disk
	return p.do("rename", newname, func() error {
		n := d.names[oldname]
		if n == nil {
			return d.missing(oldname)
		}
		if err := d.vacant(newname); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		switch {
		case d.names[newname] == n:
		case filepath.Dir(oldname) == filepath.Dir(newname):
			d.change(change{name: newname, other: oldname, node: n})
		default:
			d.change(change{name: newname, node: n})
			d.change(change{name: oldname})
		}
		return nil
	}, nil)
}

// Remove implements disk.FS.
func (p *Process) Remove(name string) error {
	d := p.disk
	return p.do("remove", name, func() error {
		if d.names[name] == nil {
			return d.missing(name)
		}
		for other := range d.names {
			if name == "/" || other != "/" && filepath.Dir(other) == name {
				return syscall.ENOTEMPTY
			}
		}
		d.change(change{name: name})
		return nil
	}, nil)
}

// Mkdir implements disk.FS.
func (p *Process) Mkdir(name string, _ fs.FileMode) error {
	d := p.disk
	return p.do("mkdir", name, func() error {
		if err := d.vacant(name); err != nil {
			return err
		}
		d.change(change{name: name, node: &node{dir: true, made: d.ops}})
		return nil
	}, nil)
}

// Grant implements disk.FS. This disk has no permissions.
func (p *Process) Grant(name string, _ fs.FileMode) error {
	_, err := p.look("chmod", name)
	return err
}

// ReadDir implements disk.FS. Files that an earlier process made are very old.
func (p *Process) ReadDir(name string) iter.Seq2[disk.Entry, error] {
	return func(yield func(disk.Entry, error) bool) {
		n, err := p.look("readdir", name)
		if err == nil && !n.dir {
			err = &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
		}
		if err != nil {
			yield(disk.Entry{}, err)
			return
		}
		p.disk.mu.Lock()
		var entries []disk.Entry
		for _, path := range slices.Sorted(maps.Keys(p.disk.names)) {
			n := p.disk.names[path]
			if path == "/" || filepath.Dir(path) != name {
				continue
			}
			entries = append(entries, disk.Entry{Name: filepath.Base(path), Dir: n.dir, Size: int64(len(n.data)), ModTime: p.disk.written(n)})
		}
		p.disk.mu.Unlock()
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// SyncDir implements disk.FS.
func (p *Process) SyncDir(name string) error {
	d := p.disk
	name = filepath.Clean(name)
	return p.do("syncdir", name, func() error {
		if n := d.names[name]; n == nil || !n.dir {
			return d.missing(name)
		}
		d.syncDir(name)
		return nil
	}, func(r *rand.Rand) { d.failSyncDir(name, r) })
}

// Stat implements disk.FS.
func (p *Process) Stat(name string) (disk.Info, error) {
	n, err := p.look("stat", name)
	if err != nil {
		return disk.Info{}, err
	}
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	return disk.Info{ID: n, Size: int64(len(n.data)), ModTime: p.disk.written(n)}, nil
}

// Lock implements disk.FS.
func (p *Process) Lock(name string) (disk.Lock, error) {
	n, err := p.look("lock", name)
	if err != nil {
		return nil, err
	}
	d := p.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locks[n] != nil {
		return nil, fmt.Errorf("lock %s: %w", name, disk.ErrLocked)
	}
	d.locks[n] = &lock{p, d, name, n}
	return d.locks[n], nil
}

type lock struct {
	process *Process
	disk    *Disk
	name    string
	node    *node
}

// Note is no operation, and whatever the text is, the same calls have the same results: it is
// kept apart from the file's content, shown to those who open the file, and never survives the
// loss of power.
func (l *lock) Note(text string) {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if !l.process.dead && !l.node.dir {
		l.node.note = []byte(text)
	}
}

func (l *lock) ID() any     { return l.node }
func (l *lock) Sync() error { return l.process.SyncDir(l.name) }

func (l *lock) Close() error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	if l.disk.locks[l.node] == l {
		delete(l.disk.locks, l.node)
	}
	return nil
}

// file is a file being written, under the name that it was created with.
type file struct {
	process *Process
	name    string
	node    *node
}

func (f *file) Write(b []byte) (n int, err error) {
	write := func(size int) {
		f.node.write(b[:size])
		n = size
	}
	err = f.process.do("write", f.name, func() error { write(len(b)); return nil },
		func(r *rand.Rand) { write(r.IntN(max(len(b), 1))) }) // no space left for the rest
	return n, err
}

func (f *file) Sync() error {
	return f.process.do("sync", f.name, func() error { f.node.sync(); return nil }, f.node.failSync)
}

func (f *file) Close() error {
	return f.process.do("close", f.name, func() error { return nil }, nil)
}
