package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
)

// OS returns the operating system's disk. Lock works on Unix systems only, and
// SyncDir where a directory can be opened and synced.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(name string) (Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return osReader{f, info.Size()}, nil
}

type osReader struct {
	*os.File
	size int64
}

func (r osReader) Size() int64 { return r.size }

func (osFS) Create(name string, perm fs.FileMode) (File, error) {
	// A nil *os.File must not become a File that isn't nil.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osFS) Link(oldname, newname string) error   { return os.Link(oldname, newname) }
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// readDirBatch is how many entries are in memory at once.
const readDirBatch = 1024

func (osFS) ReadDir(name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		d, err := os.Open(name)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer d.Close()
		for {
			entries, err := d.ReadDir(readDirBatch)
			for _, e := range entries {
				info, ierr := e.Info()
				if errors.Is(ierr, fs.ErrNotExist) {
					continue // removed since the directory was read
				}
				if ierr != nil {
					yield(Entry{}, ierr)
					return
				}
				if !yield(Entry{Name: e.Name(), Dir: e.IsDir(), Size: info.Size(), ModTime: info.ModTime()}, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
		}
	}
}

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
