// Package dirstore keeps metadata, and optionally target files, in a local
// directory that any static file server can serve as it is.
//
// A store is a directory DIR:
//
//	DIR/.bindery/format     one line that says what DIR is, see below
//	DIR/.bindery/tmp-ID     a file being written, under a random ID
//	DIR/1.root.json         metadata under its published name (Store)
//	DIR/timestamp.json
//	DIR/sub/dirs/HASH.name  target files (Targets), see Targets.Put
//
// The line is "bindery metadata store 1" or "bindery target store 1", with a
// newline; the number is the version of the format, and one that is unknown is
// refused. Nothing else in DIR begins with a dot, unless a target's path does.
//
// A file is written and synced as .bindery/tmp-ID and then linked or renamed to
// its name, so that a name only ever shows whole content. A tmp-ID that a crash
// left is never looked at; the first write after an Open removes those that were
// not written to for an hour. IDs are random and never used twice: a process
// that was stopped for longer and then goes on gets an error, not another's file.
//
// Files can be read by everybody (0644), and so can the directories that a store makes
// (0755), whatever the umask of the process is: a web server runs as another user. Who may
// not read a store is kept out by the rights of the directory that it is in. A DIR that was
// there before Create keeps its own.
//
// A call into the disk that has begun is not interrupted when the context ends.
//
// # Machines
//
// A store is written to on Linux, macOS and the BSDs. On Windows, which can't make a
// directory durable, Open and Get work, to check a copy for example; Create, and each call
// that writes, is refused with an error that says so, names the system, and wraps
// errors.ErrUnsupported. So it is on all other systems.
//
// The file system must have hard links: FAT and exFAT have none, and Create says so.
// Where it ignores case, as that of macOS usually does, target files are kept all the
// same, since their names have their hashes. Of two roles whose names differ in case
// only, the second one is refused with repository.ErrConflict.
package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/bindery-tuf/bindery/internal/disk"
)

const (
	ownDir     = ".bindery"
	formatFile = "format"
	tempPrefix = "tmp-"

	version = 1 // of the format

	filePerm fs.FileMode = 0o644 // published: a server may run as another user
	dirPerm  fs.FileMode = 0o755
)

// kind says what a directory holds.
type kind string

const (
	metadataStore kind = "metadata store"
	targetStore   kind = "target store"
)

// create makes dir a new, empty store, durably. An existing dir must be empty
// but for what an interrupted create left.
//
// The names of dir and of the directory in it are durable before the format file
// has its name. So whoever finds that file can rely on them, and has only its own
// name to make durable, see settle.
func create(fsys disk.FS, dir string, k kind) (*root, error) {
	r := newRoot(fsys, dir, k)
	if err := r.create(); err != nil {
		return nil, fmt.Errorf("create %s in %s: %w", k, dir, err)
	}
	return r, nil
}

func (r *root) create() error {
	err := r.fsys.Mkdir(r.dir, dirPerm)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		err = vacant(r.fsys, r.dir)
	}
	if err != nil {
		return err
	}
	own := filepath.Join(r.dir, ownDir)
	err = r.fsys.Mkdir(own, dirPerm)
	if errors.Is(err, fs.ErrExist) { // who made it may have been killed before it had its rights
		err = r.fsys.Grant(own, dirPerm)
	}
	if err != nil {
		return err
	}
	if err := r.syncAround(made); err != nil {
		// It may have lost the names for good, although they can be read and a
		// later sync succeeds: the next create is to make them anew. What isn't
		// empty, or somebody else's, stays. (Killed right here, it leaves names
		// that the next create takes for good: two faults in a row.)
		r.fsys.Remove(own)
		r.fsys.Remove(r.dir)
		return err
	}
	format := filepath.Join(own, formatFile)
	// Of several creates at the same time one wins.
	if err := r.writeFormat(r.fsys.Link); err != nil {
		return err
	}
	if err := r.fsys.SyncDir(own); err != nil {
		r.fsys.Remove(format)
		return err
	}
	r.settled = true
	return nil
}

// vacant returns an error unless dir holds nothing, or no more than a create
// that was interrupted before it linked the format file into place.
func vacant(fsys disk.FS, dir string) error {
	for e, err := range fsys.ReadDir(dir) {
		if errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("it is not a directory: %w", err)
		}
		if err != nil {
			return err
		}
		if e.Name != ownDir || !e.Dir {
			return fmt.Errorf("the directory is not empty, it has %q: %w", e.Name, fs.ErrExist)
		}
	}
	for e, err := range fsys.ReadDir(filepath.Join(dir, ownDir)) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.Name == formatFile {
			return fmt.Errorf("it is a store already: %w", fs.ErrExist)
		}
		if !strings.HasPrefix(e.Name, tempPrefix) {
			return fmt.Errorf("the directory is not empty, it has %q: %w", filepath.Join(ownDir, e.Name), fs.ErrExist)
		}
	}
	return nil
}

// writeFormat writes the format file and has put, a link or a rename, give it its name.
func (r *root) writeFormat(put func(oldname, newname string) error) error {
	temp, err := r.writeTemp([]byte(formatLine(r.kind)))
	if err != nil {
		return err
	}
	defer r.fsys.Remove(temp)
	return put(temp, filepath.Join(r.dir, ownDir, formatFile))
}

// open checks that dir is a store of this kind and changes nothing.
func open(fsys disk.FS, dir string, k kind) (*root, error) {
	name := filepath.Join(dir, ownDir, formatFile)
	line, err := disk.ReadFile(fsys, name, 1024)
	if errors.Is(err, fs.ErrNotExist) {
		err = explainMissing(fsys, dir, k, err)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("it is not a directory: %w", err)
	}
	if err == nil {
		err = checkFormat(string(line), k)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s %s: %w", k, dir, err)
	}
	return newRoot(fsys, dir, k), nil
}

// explainMissing says why there is no format file: cause is returned where the
// whole directory is missing, so that callers can tell by fs.ErrNotExist.
func explainMissing(fsys disk.FS, dir string, k kind, cause error) error {
	for _, err := range fsys.ReadDir(dir) {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("it does not exist: %w", cause)
		}
		if err != nil {
			return err
		}
		break
	}
	return fmt.Errorf("it is not a store: it has no %s; if that was removed, make it again, with this one line: %s",
		filepath.Join(ownDir, formatFile), strings.TrimSuffix(formatLine(k), "\n"))
}

func formatLine(k kind) string { return fmt.Sprintf("bindery %s %d\n", k, version) }

// checkFormat accepts exactly the line that writeFormat writes.
func checkFormat(line string, want kind) error {
	if line == formatLine(want) {
		return nil
	}
	text, whole := strings.CutSuffix(line, "\n")
	text, ours := strings.CutPrefix(text, "bindery ")
	i := strings.LastIndexByte(text, ' ')
	if !whole || !ours || i < 0 {
		return fmt.Errorf("its %s is damaged: %.100q", filepath.Join(ownDir, formatFile), line)
	}
	k, number := kind(text[:i]), text[i+1:]
	n, err := strconv.Atoi(number)
	switch {
	case k != metadataStore && k != targetStore, err != nil, strconv.Itoa(n) != number, n < version:
		return fmt.Errorf("its %s is damaged: %.100q", filepath.Join(ownDir, formatFile), line)
	case k != want:
		return fmt.Errorf("it is a %s", k)
	}
	return fmt.Errorf("its format %d is newer than %d, the newest that this version of Bindery knows", n, version)
}
