package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
)

// OS returns the operating system's disk. See On for where it can be written to.
func OS() FS { return On(runtime.GOOS) }

// On is OS as it behaves on another operating system, so that a test on one machine sees what
// another one refuses. Goos is a value of runtime.GOOS.
//
// Linux, macOS and the BSDs do all that FS promises. Every other system can read. Each call
// that would change or lock something is refused. The error names the system, says what is
// missing and what to do instead, and wraps errors.ErrUnsupported.
func On(goos string) FS { return osFS{refusal: unsupported(goos)} }

// OSWithoutLinks is OS, and opens no file by way of a symbolic link in its place. Whoever can write a
// directory that is served could otherwise have any file of the machine read.
func OSWithoutLinks() FS { return osFS{unsupported(runtime.GOOS), true} }

// osFS is the operating system's disk.
type osFS struct {
	refusal error // of every change, or nil
	noLinks bool  // see OSWithoutLinks
}

// unsupported returns why nothing is written on an operating system, or nil.
func unsupported(goos string) error {
	switch goos {
	case "android", "darwin", "dragonfly", "freebsd", "ios", "linux", "netbsd", "openbsd":
		return nil
	case "windows", "plan9":
		return unsupportedError(goos + " is not supported: it can't sync a directory, so a loss of power could take a file that was promised to be durable: " + instead)
	}
	return unsupportedError(goos + " is not supported: this package has no file lock for it, and directory syncs were never tried there: " + instead)
}

const instead = "publish from Linux, macOS or a BSD, or with a store and a journal that aren't local directories"

type unsupportedError string

func (e unsupportedError) Error() string { return string(e) }

func (unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// refuse returns the error of a change, or nil where changes can be made durable.
func (o osFS) refuse(op, name string) error {
	if o.refusal == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: o.refusal}
}

func (o osFS) Open(name string) (Reader, error) {
	flags := os.O_RDONLY | nonblock
	if o.noLinks {
		flags |= nofollow
	}
	f, err := os.OpenFile(name, flags, 0)
	switch {
	case o.noLinks && isLink(name): // a link's error is another one on each system
		if err == nil {
			f.Close()
		}
		return nil, fmt.Errorf("open %s: it is a symbolic link, which isn't followed here: put the file itself in its place", name)
	case err != nil:
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

// isLink reports whether a name is a symbolic link's.
func isLink(name string) bool {
	info, err := os.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

type osReader struct {
	*os.File
	size int64
}

func (r osReader) Size() int64 { return r.size }

func (o osFS) Create(name string, perm fs.FileMode) (File, error) {
	if err := o.refuse("create", name); err != nil {
		return nil, err
	}
	// A nil *os.File must not become a File that isn't nil.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	if err := grant(name, f.Stat, f.Chmod, perm); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// grant gives back what a umask took. It asks for no more than is missing, since some
// file systems have the same rights for all that is on them, and let nobody change them.
func grant(name string, stat func() (fs.FileInfo, error), chmod func(fs.FileMode) error, perm fs.FileMode) error {
	info, err := stat()
	if err != nil || info.Mode().Perm()&perm == perm {
		return err
	}
	const kept = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if err := chmod(info.Mode()&kept | perm); err != nil {
		return fmt.Errorf("%s has the rights %v, at least %v are needed, and they can't be changed (what is the umask?): %w",
			name, info.Mode().Perm(), perm, err)
	}
	return nil
}

func (o osFS) Link(oldname, newname string) error {
	if err := o.refuse("link", newname); err != nil {
		return err
	}
	return explainLink(os.Link(oldname, newname))
}

// explainLink says what can be done where the file system has no links.
func explainLink(err error) error {
	if NoLinks(err) {
		return fmt.Errorf("%w: the file system has no hard links, or allows none here (FAT and exFAT have none), and they are needed: use a folder on another one, such as ext4, XFS, ZFS or APFS", err)
	}
	return err
}

func (o osFS) Rename(oldname, newname string) error {
	if err := o.refuse("rename", newname); err != nil {
		return err
	}
	return os.Rename(oldname, newname)
}

func (o osFS) Remove(name string) error {
	if err := o.refuse("remove", name); err != nil {
		return err
	}
	return os.Remove(name)
}

func (o osFS) Mkdir(name string, perm fs.FileMode) error {
	if err := o.refuse("mkdir", name); err != nil {
		return err
	}
	if err := os.Mkdir(name, perm); err != nil {
		return err
	}
	return o.Grant(name, perm)
}

func (o osFS) Grant(name string, perm fs.FileMode) error {
	if err := o.refuse("chmod", name); err != nil {
		return err
	}
	stat := func() (fs.FileInfo, error) { return os.Stat(name) }
	return grant(name, stat, func(mode fs.FileMode) error { return os.Chmod(name, mode) }, perm)
}

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

func (o osFS) SyncDir(name string) error {
	if err := o.refuse("sync", name); err != nil {
		return err
	}
	return syncOpened(os.Open(name))
}

func (o osFS) Stat(name string) (Info, error) {
	if err := o.refuse("stat", name); err != nil {
		return Info{}, err
	}
	return statID(name)
}

func (o osFS) Lock(name string) (Lock, error) {
	if err := o.refuse("lock", name); err != nil {
		return nil, err
	}
	return flock(name)
}

// NoLinks reports whether an error of os.Link may mean that the file system has no hard
// links. FAT and exFAT have none. Systems report it in different ways.
func NoLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNoLinks)
}

// SyncName makes the name of an existing file or directory durable by syncing its parent
// directory. Windows can't do that. There, a file is synced once more, because NTFS then
// writes its name too, and nothing is done for a directory.
func SyncName(name string) error { return syncName(runtime.GOOS, name) }

func syncName(goos, name string) error {
	if goos != "windows" {
		return syncNames(goos, filepath.Dir(name))
	}
	info, err := os.Stat(name)
	if err != nil || info.IsDir() {
		return err
	}
	return syncOpened(os.OpenFile(name, os.O_RDWR, 0)) // Windows syncs only what can be written to
}

// SyncNames makes the names in a directory durable. On Windows, which has no such
// sync, it does nothing.
func SyncNames(dir string) error { return syncNames(runtime.GOOS, dir) }

func syncNames(goos, dir string) error {
	if goos == "windows" {
		return nil
	}
	return syncOpened(os.Open(dir))
}

// syncOpened syncs and closes what was opened.
func syncOpened(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
