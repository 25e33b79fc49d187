// Package disk is the one small interface through which the directory store
// and the local journal reach the disk, so that a simulated disk can take its
// place in tests.
//
// What it assumes of a disk is what POSIX and Linux file systems give, and no
// more:
//
//   - The content of a file is durable once its Sync returned nil, and before
//     that may be lost, or kept in part, in any order.
//   - The names in a directory (those made by Create, Link, Rename and Mkdir,
//     those gone by Rename and Remove) are durable once a SyncDir of that
//     directory, begun after the change, returned nil. Before that, each change
//     may be lost or kept on its own; the rename of one name onto another in the
//     same directory is kept as a whole or not at all. To make a file durable
//     takes both: Sync, then SyncDir.
//   - A Sync or SyncDir that failed may have thrown away what it should have
//     written, and a second one may then succeed having written nothing. So it
//     is never repeated: the bytes are written again to a new file, the name is
//     made again.
//   - What a killed process did stays visible to others, and is as little
//     durable as before.
//
// Linux, macOS and the BSDs give this. (On macOS a Sync is F_FULLFSYNC, which waits
// for the disk itself, or fsync where the file system knows no better.) Windows
// has nothing that syncs a directory, so there, and on systems that nobody tried, OS
// reads and refuses to change anything: see On. 32-bit machines are no different,
// but what is read whole must fit into their address space.
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
	"time"
)

// FS is a disk. It is safe for concurrent use.
type FS interface {
	// Open opens an existing file for reading.
	Open(name string) (Reader, error)

	// Create makes a new, empty file. If name exists, the error wraps
	// fs.ErrExist.
	Create(name string, perm fs.FileMode) (File, error)

	// Link gives the file at oldname the second name newname. If newname exists
	// the error wraps fs.ErrExist and nothing changed.
	Link(oldname, newname string) error

	// Rename moves oldname to newname, atomically replacing a file that was there.
	Rename(oldname, newname string) error

	// Remove removes a file, or a directory that is empty.
	Remove(name string) error

	// Mkdir makes a directory. If name exists, the error wraps fs.ErrExist.
	Mkdir(name string, perm fs.FileMode) error

	// ReadDir yields what a directory holds, in no particular order and in
	// bounded memory. What is created or removed meanwhile may be missing. After
	// an error nothing follows.
	ReadDir(name string) iter.Seq2[Entry, error]

	// SyncDir makes durable which names the directory has.
	SyncDir(name string) error

	// Lock takes an exclusive lock on an existing file without waiting. The lock
	// ends with Close or with the process. If another holder has it, in this
	// process or another, the error wraps ErrLocked.
	Lock(name string) (io.Closer, error)
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

// Entry is what ReadDir tells of a name.
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
