package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// writeNew makes a file that is there whole and durable, or not at all. A file that
// exists is never replaced; the same bytes again are no error.
func writeNew(name string, data []byte) error {
	err := writeTemp(name, data, os.Link)
	if errors.Is(err, fs.ErrExist) {
		if there, rerr := os.ReadFile(name); rerr == nil && bytes.Equal(there, data) {
			return nil
		}
		return fmt.Errorf("%s exists already, with other contents, and is not replaced: name another file, or move it away", name)
	}
	return err
}

// replace is writeNew that replaces an existing file at once.
func replace(name string, data []byte) error { return writeTemp(name, data, os.Rename) }

// tempPrefix is what the names of files and folders begin with while they are written.
const tempPrefix = ".ceremony-"

// writeTemp writes a temporary file next to name, and lets place move it there.
func writeTemp(name string, data []byte, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: nothing was written: %w", name, err)
	}
	err = place(f.Name(), name)
	if disk.NoLinks(err) {
		// A stick with FAT has no links.
		err = placeByRename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	return disk.SyncName(name)
}

// placeByRename is a link for where there are none. It would replace a file that
// somebody makes in the same moment.
func placeByRename(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}

// maxFile is beyond every file of a ceremony.
const maxFile = 64 << 20

// readFile reads a regular file of a size that a ceremony's can have.
func readFile(name string) ([]byte, error) { return readUpTo(name, maxFile) }

func readUpTo(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file: it is a folder, a pipe or a device", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes: no file of a ceremony", name, limit)
	}
	return data, err
}

// makeDir has fill make the contents of a folder under a temporary name, and renames
// it, so that the folder is there whole or not at all.
func makeDir(dir string, fill func(temporary string) error) error {
	dir = filepath.Clean(dir) // "name/" has the wrong parent
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s exists already: name another folder, nothing is ever replaced", dir)
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	if err := fill(temporary); err != nil {
		return err
	}
	if err := os.Rename(temporary, dir); err != nil {
		return err
	}
	return disk.SyncName(dir)
}
