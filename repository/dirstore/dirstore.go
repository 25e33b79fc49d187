// Package dirstore keeps metadata, and optionally target files, in a local directory. Any
// static file server can serve the directory as it is.
//
//	metadata, err := dirstore.Create("index/metadata") // later: dirstore.Open
//	if err != nil {
//		return err
//	}
//	targets, err := dirstore.CreateTargets("index/targets")
//	if err != nil {
//		return err
//	}
//	target, err := targets.Put(ctx, "files/a.whl", upload) // durable; kept as files/HASH.a.whl
//	if err != nil {
//		return err
//	}
//	receipt, err := repo.Add(ctx, target) // repo is a repository with Store: metadata
//
// # Layout
//
// A store is a directory DIR:
//
//	DIR/.bindery/format     one line that says what DIR is, see below
//	DIR/.bindery/tmp-ID     a file being written, under a random ID
//	DIR/1.root.json         metadata under its published name (Store)
//	DIR/timestamp.json
//	DIR/sub/dirs/HASH.name  target files (Targets), see Targets.Put
//
// The line is "bindery metadata store 1" or "bindery target store 1", with a newline. The
// number is the version of the format; Open refuses an unknown one. No other name in DIR begins
// with a dot, unless a target's path does. A directory lost+found, which a new
// file system has, is left alone.
//
// A file is written and synced as .bindery/tmp-ID, and then linked or renamed to its name. So a
// name only ever shows whole content. The file of a crashed process stays as tmp-ID and is never
// read. The first write after an Open removes every tmp-ID that was not written to for an hour.
// IDs are random and never used twice, so a process that slept for longer gets an error, not
// another process's file.
//
// Everyone can read the files (0644) and the directories that a store makes (0755), whatever
// the umask: a web server runs as another user. To keep readers out, restrict the directory above
// DIR. If DIR existed before Create, it keeps its own mode.
//
// A disk operation that has begun is not interrupted when the context ends.
//
// # Machines
//
// A store can be written on Linux, macOS and the BSDs. On Windows and all other systems, Open
// and Get work, for instance to check a copy. Create, and every call that writes, returns an
// error that names the system and wraps errors.ErrUnsupported, because a directory can't be made
// durable there.
//
// The file system must have hard links; on FAT and exFAT, Create says that they are missing. A
// file system may ignore case, as that of macOS usually does. Target files are kept all the
// same, because their names contain their hashes. Of two roles whose names differ only in case,
// the second is refused with repository.ErrConflict.
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

// create makes dir a new, empty store, durably. An existing dir must be empty, or hold only
// what an interrupted create left. A lost+found does no harm.
//
// The names of dir and of the directory in it are durable before the format file gets its name.
// So a process that finds the file can rely on them, and only has to make the file's own name
// durable: see settle.
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
	if errors.Is(err, fs.ErrExist) { // its maker may have been killed before it set the mode
		err = r.fsys.Grant(own, dirPerm)
	}
	if err != nil {
		return err
	}
	if err := r.syncAround(made); err != nil {
		// The sync may have lost the names for good, although they can still be read and a
		// later sync succeeds. Remove them, so that the next create makes them anew. A
		// directory that isn't empty, or belongs to someone else, stays. (If the process is
		// killed right here, the next create trusts the names: that takes two faults in a row.)
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

// vacant returns nil if dir is empty, or holds only what a create left that was interrupted
// before it linked the format file into place.
func vacant(fsys disk.FS, dir string) error {
	for e, err := range fsys.ReadDir(dir) {
		if errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("not a directory: %w", err)
		}
		if err != nil {
			return err
		}
		if e.Name == disk.LostAndFound && e.Dir {
			continue
		}
		if e.Name != ownDir || !e.Dir {
			return fmt.Errorf("directory not empty: it has %q: %w", e.Name, fs.ErrExist)
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
			return fmt.Errorf("it is a store already: open it, or call OpenOrCreate in place of Create: %w", fs.ErrExist)
		}
		if !strings.HasPrefix(e.Name, tempPrefix) {
			return fmt.Errorf("directory not empty: it has %q: %w", filepath.Join(ownDir, e.Name), fs.ErrExist)
		}
	}
	return nil
}

// writeFormat writes the format file. put, a link or a rename, gives it its name.
func (r *root) writeFormat(put func(oldname, newname string) error) error {
	temp, err := r.writeTemp([]byte(formatLine(r.kind)))
	if err != nil {
		return err
	}
	defer r.fsys.Remove(temp)
	return put(temp, filepath.Join(r.dir, ownDir, formatFile))
}

// openOrCreate opens the store in dir, or makes it where there is none, durably, and with it
// the directories that dir is in.
func openOrCreate(fsys disk.FS, dir string, k kind) (*root, error) {
	r, err := open(fsys, dir, k)
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoStore) {
		return r, err
	}
	if err := disk.MakeParents(fsys, dir); err != nil {
		return nil, fmt.Errorf("create %s in %s: %w", k, dir, err)
	}
	r, err = create(fsys, dir, k)
	if errors.Is(err, fs.ErrExist) {
		// Somebody else was quicker, or it is something else.
		if opened, openErr := open(fsys, dir, k); !errors.Is(openErr, errNoStore) {
			return opened, openErr
		}
	}
	return r, err
}

var errNoStore = errors.New("not a store")

// open checks that dir is a store of this kind and changes nothing.
func open(fsys disk.FS, dir string, k kind) (*root, error) {
	name := filepath.Join(dir, ownDir, formatFile)
	line, err := disk.ReadFile(fsys, name, 1024)
	if errors.Is(err, fs.ErrNotExist) {
		err = explainMissing(fsys, dir, k, err)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("not a directory: %w", err)
	}
	if err == nil {
		err = checkFormat(string(line), k)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s %s: %w", k, dir, err)
	}
	return newRoot(fsys, dir, k), nil
}

// explainMissing says why there is no format file. If the whole directory is missing, the
// error wraps cause, which is fs.ErrNotExist.
func explainMissing(fsys disk.FS, dir string, k kind, cause error) error {
	for _, err := range fsys.ReadDir(dir) {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("no such directory: %w", cause)
		}
		if err != nil {
			return err
		}
		break
	}
	return fmt.Errorf("%w: it has no %s; if that was removed, make it again, with this one line: %s",
		errNoStore, filepath.Join(ownDir, formatFile), strings.TrimSuffix(formatLine(k), "\n"))
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
		return fmt.Errorf("damaged %s: %.100q", filepath.Join(ownDir, formatFile), line)
	}
	k, number := kind(text[:i]), text[i+1:]
	n, err := strconv.Atoi(number)
	switch {
	case k != metadataStore && k != targetStore, err != nil, strconv.Itoa(n) != number, n < version:
		return fmt.Errorf("damaged %s: %.100q", filepath.Join(ownDir, formatFile), line)
	case k != want:
		return fmt.Errorf("it is a %s", k)
	}
	return fmt.Errorf("format %d, and this version of Bindery knows none above %d", n, version)
}
