package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// tempPrefix is what the names of files and folders begin with while they are written.
const tempPrefix = ".ceremony-"

// writeNew makes a file that is there whole and durable, or not at all. A file that
// exists is never replaced; the same bytes again are no error.
func writeNew(name string, data []byte) error { return disk.WriteNew(name, tempPrefix, data) }

// replace is writeNew that replaces an existing file at once.
func replace(name string, data []byte) error { return disk.Replace(name, tempPrefix, data) }

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
