package dirstore_test

import (
	"errors"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"
	"sync"

	"github.com/bindery-tuf/bindery/internal/disk"
)

var errInjected = errors.New("injected")

// faulty is the real disk with a record of the calls that change it, one of
// which can be made to fail, before or after it did its work.
type faulty struct {
	disk.FS
	mu    sync.Mutex
	hits  int                             // how often a fault was the error that a call returned
	calls []string                        // op and the last element of its last path
	fail  func(n int, call string) *fault // nil: never
	gate  func(call string)               // nil: no waiting; called before the work
}

type fault struct{ worked bool }

func newFaulty() *faulty { return &faulty{FS: disk.OS()} }

// do runs one call, and fails it if it is its turn.
func (f *faulty) do(op, name string, work func() error) error {
	call := op + " " + filepath.Base(name)
	if strings.Contains(call, "tmp-") {
		call = op + " tmp"
	}
	if f.gate != nil {
		f.gate(call)
	}
	f.mu.Lock()
	var flt *fault
	if f.fail != nil {
		flt = f.fail(len(f.calls), call)
	}
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if flt == nil || flt.worked {
		if err := work(); err != nil || flt == nil {
			return err // an error of its own is what the caller is to see
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hits++
	return errInjected
}

// reset forgets the calls and injects what fail says from now on.
func (f *faulty) reset(fail func(n int, call string) *fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.fail, f.hits = nil, fail, 0
}

func (f *faulty) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

func (f *faulty) Open(name string) (r disk.Reader, err error) {
	err = f.do("open", name, func() error { r, err = f.FS.Open(name); return err })
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (f *faulty) Create(name string, perm fs.FileMode) (disk.File, error) {
	var file disk.File
	err := f.do("create", name, func() (err error) { file, err = f.FS.Create(name, perm); return err })
	if err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return &faultyFile{file, f, name}, nil
}

func (f *faulty) Link(oldname, newname string) error {
	return f.do("link", newname, func() error { return f.FS.Link(oldname, newname) })
}

func (f *faulty) Rename(oldname, newname string) error {
	return f.do("rename", newname, func() error { return f.FS.Rename(oldname, newname) })
}

func (f *faulty) Remove(name string) error {
	return f.do("remove", name, func() error { return f.FS.Remove(name) })
}

func (f *faulty) Mkdir(name string, perm fs.FileMode) error {
	return f.do("mkdir", name, func() error { return f.FS.Mkdir(name, perm) })
}

func (f *faulty) SyncDir(name string) error {
	return f.do("syncdir", name, func() error { return f.FS.SyncDir(name) })
}

func (f *faulty) ReadDir(name string) iter.Seq2[disk.Entry, error] {
	return func(yield func(disk.Entry, error) bool) {
		if err := f.do("readdir", name, func() error { return nil }); err != nil {
			yield(disk.Entry{}, err)
			return
		}
		f.FS.ReadDir(name)(yield)
	}
}

type faultyFile struct {
	disk.File
	fsys *faulty
	name string
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	err = f.fsys.do("write", f.name, func() error { n, err = f.File.Write(p); return err })
	if err != nil && n == len(p) {
		n-- // did its work, so to say, and reports a short write
	}
	return n, err
}

func (f *faultyFile) Sync() error  { return f.fsys.do("sync", f.name, f.File.Sync) }
func (f *faultyFile) Close() error { return f.fsys.do("close", f.name, f.File.Close) }
