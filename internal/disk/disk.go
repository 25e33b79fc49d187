// Package disk is the interface through which the directory store and the local journal use
// a disk. Tests replace the disk by a simulated one.
//
//	fsys := disk.OS()
//	if err := disk.WriteFile(fsys, "dir/name", data, 0o644); err != nil {
//		return err
//	}
//	return fsys.SyncDir("dir") // now name and content are durable
//
// It relies on what POSIX and Linux file systems promise, and on nothing else:
//
//   - The content of a file is durable once its Sync returned nil, and before
//     that may be lost, or kept in part, in any order.
//   - The names in a directory (those made by Create, Link, Rename and Mkdir,
//     those gone by Rename and Remove) are durable once a SyncDir of that
//     directory, begun after the change, returned nil. Before that, each change
//     may be lost or kept on its own; the rename of one name onto another in the
//     same directory is kept as a whole or not at all. To make a file durable
//     takes both: Sync, then SyncDir.
//   - A Sync or SyncDir that failed may have dropped what it should have written. A second
//     one may then succeed and write nothing. So none is repeated: the bytes are written to
//     a new file, and the name is made again.
//   - What a killed process did stays visible to others. It is no more durable than before.
//
// Linux, macOS and the BSDs do this. On macOS, Sync is F_FULLFSYNC, which waits for the disk
// itself, or fsync where the file system has no better. Windows can't sync a directory. There,
// and on systems that were never tried, OS reads but refuses every change: see On. On 32-bit
// machines, a file that is read whole must fit into the address space.
//
// Names are paths as the operating system has them. Errors name the path, and
// wrap the errors of package io/fs (fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission) where they apply.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"syscall"
	"time"
)

// FS is a disk. It is safe for concurrent use.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (Reader, error)

	// Create makes a new, empty file with at least the rights perm, whatever the
	// process's umask is. If name exists, the error wraps fs.ErrExist. After any other
	// error there may be an empty file.
	Create(name string, perm fs.FileMode) (File, error)

	// Link gives the file at oldname the second name newname. If newname exists
	// the error wraps fs.ErrExist and nothing changed.
	Link(oldname, newname string) error

	// Rename moves oldname to newname, atomically replacing a file that was there.
	Rename(oldname, newname string) error

	// Remove removes a file, or a directory that is empty.
	Remove(name string) error

	// Mkdir makes a directory with at least the rights perm, whatever the process's
	// umask is. If name exists, the error wraps fs.ErrExist. A process that is killed
	// may leave a directory with fewer rights: see Grant.
	Mkdir(name string, perm fs.FileMode) error

	// Grant gives a file or directory the rights of perm that it lacks. It takes none.
	Grant(name string, perm fs.FileMode) error

	// ReadDir yields what a directory holds, in no particular order and in
	// bounded memory. What is created or removed meanwhile may be missing. After
	// an error nothing follows.
	ReadDir(name string) iter.Seq2[Entry, error]

	// SyncDir makes durable which names the directory has.
	SyncDir(name string) error

	// Stat tells what a name leads to. It needs no descriptor.
	Stat(name string) (Info, error)

	// Lock takes an exclusive lock on an existing file or directory without waiting.
	// The lock ends with Close or with the process. If another holder has it, in this
	// process or another, the error wraps ErrLocked; errors.ErrUnsupported if the
	// file system can't lock it.
	//
	// A lock holds among the processes of one machine on every file system of Linux,
	// macOS and the BSDs that locks at all. Among machines that share a file system
	// (NFS since Linux 2.6.12, SMB) a lock on a file holds, and one on a directory
	// doesn't.
	Lock(name string) (Lock, error)
}

// Info is what Stat tells of a name.
type Info struct {
	// ID is equal for two names, or at two moments, if they lead to the same file. The ID
	// of a file that is gone may be another's later, unless somebody holds it open.
	ID      any
	Size    int64     // bytes, of a file
	ModTime time.Time // when the file was last written
}

// Lock is a lock that is held.
type Lock interface {
	io.Closer

	// ID is that of the locked file or directory: see Info.
	ID() any

	// Sync is the SyncDir of a directory that is locked, wherever it has been moved to. It
	// needs no further descriptor.
	Sync() error

	// Note makes text the content of a file that is locked, for those who find it locked. It
	// is not synced, and whether it succeeds is not known: nothing may depend on it.
	Note(text string)
}

// Reader reads a file.
type Reader interface {
	io.Reader
	io.ReaderAt
	io.Closer
	Size() int64 // when it was opened
}

// File is a file being written.
type File interface {
	io.Writer
	Sync() error // makes what was written durable; never repeated after an error
	Close() error
}

// Entry is one name in a directory.
type Entry struct {
	Name    string // the last element of the path
	Dir     bool   // whether it is a directory
	Size    int64  // bytes, of a file
	ModTime time.Time
}

var (
	// ErrLocked is wrapped by FS.Lock when another holder has the lock.
	ErrLocked = errors.New("locked")

	// ErrTooLarge is wrapped by ReadFile for a file beyond the limit.
	ErrTooLarge = errors.New("too large")
)

// LostAndFound is the directory that a new file system of the ext family has.
const LostAndFound = "lost+found"

// MakeParents makes the directories above name that are missing, durably. A killed process
// may have left the lowest one that exists with a name that isn't durable, and none above
// it: so the name of that one is made durable too.
func MakeParents(fsys FS, name string) error {
	dir := filepath.Dir(name)
	_, err := fsys.Stat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		if err := MakeParents(fsys, dir); err != nil {
			return err
		}
		err = fsys.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) { // somebody else was quicker
			made, err = false, nil
		}
	}
	if err != nil {
		return err
	}
	if err := SyncAbove(fsys, dir, made); err != nil {
		fsys.Remove(dir) // the next call makes it anew, unless it isn't empty
		return err
	}
	return nil
}

// SyncAbove makes the name of a directory durable. With made, the caller made it just now.
// Otherwise a parent that may not be read, or can't be synced because its file system is
// never written to, is somebody else's, who made the directory before.
func SyncAbove(fsys FS, dir string, made bool) error {
	err := fsys.SyncDir(filepath.Join(dir, ".."))
	if !made && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL)) {
		return nil
	}
	return err
}

// OpenRegular opens a regular file of fsys. For anything else, such as a directory or a named pipe, the
// error wraps fs.ErrNotExist. What it opens must support seeking.
func OpenRegular(fsys fs.FS, name string) (io.ReadSeekCloser, error) {
	// Check before opening too: opening a named pipe waits for a writer.
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	content, err := regular(f, name)
	if err != nil {
		f.Close()
	}
	return content, err
}

func regular(f fs.File, name string) (io.ReadSeekCloser, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(name)
	}
	content, ok := f.(io.ReadSeekCloser)
	if !ok {
		return nil, fmt.Errorf("%s: %T can't seek", name, f)
	}
	return content, nil
}

func notRegular(name string) error {
	return fmt.Errorf("%s: not a regular file: %w", name, fs.ErrNotExist)
}

// ReadFile returns the content of a file of at most limit bytes. The error for
// a larger one wraps ErrTooLarge; nothing of it is read.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	r, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, fmt.Errorf("read %s: %d bytes: %w (the limit is %d)", name, r.Size(), ErrTooLarge, limit)
	}
	data := make([]byte, r.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// WriteFile makes a new file with this content and syncs it; its name becomes
// durable with the next SyncDir of its directory. After an error the file may
// exist in any state, unless the error wraps fs.ErrExist: then nothing changed.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.Create(name, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
