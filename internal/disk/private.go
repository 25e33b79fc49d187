package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// OpenPrivate opens a file with a secret for reading. It refuses, before anything is read, what isn't a
// regular file, and a file that every user may read or write, or that its group may write. The group may
// read it, which is how Kubernetes gives a secret to a user other than root.
//
// Modes say nothing on Windows. On a stick with FAT everything has the same: with anyMode, file systems
// of that kind are excepted.
func OpenPrivate(name string, anyMode bool) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		mode := info.Mode()
		if anyMode && !keepsModes(f) {
			mode &^= fs.ModePerm
		}
		err = CheckPrivate(runtime.GOOS, mode)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// CheckPrivate is what OpenPrivate says of a file's mode.
func CheckPrivate(goos string, mode fs.FileMode) error {
	perm := mode.Perm()
	switch {
	case !mode.IsRegular():
		return errors.New("it is not a regular file")
	case goos == "windows":
		return nil
	case perm&0o007 != 0:
		return fmt.Errorf("every user may read or write it (mode %04o): take that away with chmod o=", perm)
	case perm&0o020 != 0:
		return fmt.Errorf("its group may write it (mode %04o): take that away with chmod g-w", perm)
	}
	return nil
}
