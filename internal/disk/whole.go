package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteNew makes a file, with the mode 0644, that is there whole and durable, or not at all. A file that exists is never
// replaced; the same bytes again are no error. Until it is there, it has a temporary name in its folder that begins with prefix.
// It works on any system and file system, without hard links too.
func WriteNew(name, prefix string, data []byte) error {
	err := writeWhole(name, prefix, data, os.Link)
	if errors.Is(err, fs.ErrExist) {
		if there, rerr := os.ReadFile(name); rerr == nil && bytes.Equal(there, data) {
			return nil
		}
		return fmt.Errorf("%s exists already, with other contents, and is not replaced: name another file, or move it away", name)
	}
	return err
}

// Replace is WriteNew that replaces an existing file at once.
func Replace(name, prefix string, data []byte) error {
	return writeWhole(name, prefix, data, os.Rename)
}

// writeWhole writes a temporary file next to name, and lets place move it there.
func writeWhole(name, prefix string, data []byte, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), prefix+"*")
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
	if NoLinks(err) {
		// A stick with FAT has no links.
		err = placeByRename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	return SyncName(name)
}

// placeByRename is a link for where there are none. It would replace a file that
// somebody makes in the same moment.
func placeByRename(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &fs.PathError{Op: "create", Path: to, Err: fs.ErrExist}
	}
	return os.Rename(from, to)
}
