package crashpoints

import (
	"bytes"
	"errors"
	"io/fs"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
)

// watch is a process's view of the disk. It shows the ledger every name that appears in the store, and
// reports faults.
type watch struct {
	*crashfs.Process
	disk   *crashfs.Disk
	ledger *ledger
	failed func() // called when an injected fault was met
}

var _ disk.FS = watch{}

func (w watch) Link(oldname, newname string) error {
	return w.naming(newname, func() error { return w.Process.Link(oldname, newname) })
}

func (w watch) Rename(oldname, newname string) error {
	return w.naming(newname, func() error { return w.Process.Rename(oldname, newname) })
}

// naming checks a name that work may have changed, whatever work returns. A name that a loss of power
// brought back, and that work left alone, is not new.
func (w watch) naming(name string, work func() error) error {
	short, ok := published(name)
	if !ok {
		return w.met(work())
	}
	before, _ := w.disk.Read(name)
	err := work()
	if data, ok := w.disk.Read(name); ok && (err == nil || !bytes.Equal(data, before)) {
		w.ledger.see(short, data)
	}
	return w.met(err)
}

func (w watch) met(err error) error {
	if errors.Is(err, crashfs.ErrFault) || errors.Is(err, crashfs.ErrKilled) {
		w.failed()
	}
	return err
}

func (w watch) Create(name string, perm fs.FileMode) (disk.File, error) {
	f, err := w.Process.Create(name, perm)
	if err != nil {
		return nil, w.met(err)
	}
	return watchedFile{f, w}, nil
}

func (w watch) Remove(name string) error {
	if short, ok := published(name); ok && short[0] != '.' {
		w.ledger.remove(short)
	}
	return w.met(w.Process.Remove(name))
}

func (w watch) Mkdir(name string, perm fs.FileMode) error { return w.met(w.Process.Mkdir(name, perm)) }
func (w watch) SyncDir(name string) error                 { return w.met(w.Process.SyncDir(name)) }

func (w watch) Lock(name string) (disk.Lock, error) {
	l, err := w.Process.Lock(name)
	if err != nil {
		return nil, err
	}
	return watchedLock{l, w}, nil
}

type watchedLock struct {
	disk.Lock
	watch watch
}

func (l watchedLock) Sync() error { return l.watch.met(l.Lock.Sync()) }

type watchedFile struct {
	disk.File
	watch watch
}

func (f watchedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.watch.met(err)
}

func (f watchedFile) Sync() error  { return f.watch.met(f.File.Sync()) }
func (f watchedFile) Close() error { return f.watch.met(f.File.Close()) }
