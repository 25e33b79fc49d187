package dirstore

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/interrupt"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Targets keeps target files in a directory, under the names that clients ask for (TUF
// specification, 5.7.3, with consistent snapshots). Put keeps a file, and Delete deletes it once clients need
// it no more: see repository.Config.DeleteTarget. Any number of Targets, in any number of
// processes, may use one directory at the same time.
type Targets struct{ root *root }

// CreateTargets makes a new, empty target store in dir, as Create does.
func CreateTargets(dir string) (*Targets, error) { return CreateTargetsFS(disk.OS(), dir) }

// CreateTargetsFS is CreateTargets on a disk of the caller's, for tests.
func CreateTargetsFS(fsys disk.FS, dir string) (*Targets, error) {
	r, err := create(fsys, dir, targetStore)
	if err != nil {
		return nil, err
	}
	return &Targets{r}, nil
}

// OpenTargets opens the target store in dir, as Open does.
func OpenTargets(dir string) (*Targets, error) { return OpenTargetsFS(disk.OS(), dir) }

// OpenTargetsFS is OpenTargets on a disk of the caller's, for tests.
func OpenTargetsFS(fsys disk.FS, dir string) (*Targets, error) {
	r, err := open(fsys, dir, targetStore)
	if err != nil {
		return nil, err
	}
	return &Targets{r}, nil
}

// OpenOrCreateTargets opens the target store in dir, or makes it, as OpenOrCreate does.
func OpenOrCreateTargets(dir string) (*Targets, error) {
	return OpenOrCreateTargetsFS(disk.OS(), dir)
}

// OpenOrCreateTargetsFS is OpenOrCreateTargets on a disk of the caller's, for tests.
func OpenOrCreateTargetsFS(fsys disk.FS, dir string) (*Targets, error) {
	r, err := openOrCreate(fsys, dir, targetStore)
	if err != nil {
		return nil, err
	}
	return &Targets{r}, nil
}

// Open opens the file that Put kept for a target path under this hash, which is lower-case hex:
// Targets is a web.Files. The error wraps fs.ErrNotExist where there is none. Only regular files
// are opened, and no symbolic link leads out of the directory.
func (t *Targets) Open(_ context.Context, target, _, hash string) (io.ReadSeekCloser, error) {
	dirs, file := path.Split(target)
	root, err := os.OpenRoot(t.root.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return disk.OpenRegular(root.FS(), dirs+hash+"."+file)
}

// Put reads content to its end and keeps it as DIRECTORIES/HASH.NAME for the target path
// DIRECTORIES/NAME. It keeps it once under the SHA-256, and once under the hash of each other
// algorithm given ("sha512", "blake2b-256"). The names share one file's space. When Put returns
// nil, all names are durable, and the target can be handed to Submit.
//
// Put never replaces a file by other content. If the name is taken, Put reads the file and
// compares; if it differs, the error wraps repository.ErrConflict. If reading content fails, the
// error wraps the reader's, and no file is left. After an error of the disk some of the names may
// be there; the call may be repeated. Memory is bounded whatever the size.
//
// The path must pass roles.CheckPath, or the error wraps repository.ErrInvalid. The text of that error
// can be sent to clients: it says nothing of this machine. No target can be kept below ".bindery/",
// or below a directory that is named like a file of the store, HASH.NAME.
func (t *Targets) Put(ctx context.Context, path string, content io.Reader, algorithms ...string) (roles.Target, error) {
	if err := checkPut(path, algorithms); err != nil {
		return roles.Target{}, invalid{fmt.Errorf("put %w", err)}
	}
	target, err := t.put(ctx, path, content, algorithms)
	if err != nil {
		return roles.Target{}, fmt.Errorf("put target %q in %s: %w", path, t.root.dir, err)
	}
	return target, nil
}

func (t *Targets) put(ctx context.Context, path string, content io.Reader, algorithms []string) (roles.Target, error) {
	if err := t.root.settle(); err != nil {
		return roles.Target{}, err
	}
	temp := t.root.tempName()
	defer t.root.fsys.Remove(temp)
	target, err := t.receive(ctx, temp, path, content, algorithms)
	if err != nil {
		return roles.Target{}, err
	}
	return target, t.place(ctx, temp, target)
}

// checkPut refuses what can't be kept.
func checkPut(path string, algorithms []string) error {
	if err := roles.CheckPath(path); err != nil {
		return err
	}
	// Some file systems ignore case.
	if first, _, nested := strings.Cut(path, "/"); nested && strings.EqualFold(first, ownDir) {
		return fmt.Errorf("target %q: %s/ belongs to the store", path, ownDir)
	}
	for segment := range strings.SplitSeq(path[:strings.LastIndexByte(path, '/')+1], "/") {
		if isHashName(segment) {
			return fmt.Errorf("target %q: directory %q: another target could be kept under this name", path, segment)
		}
	}
	for _, name := range algorithms {
		if roles.NewHash(name) == nil {
			return fmt.Errorf("target %q: unknown hash algorithm %q", path, name)
		}
	}
	return nil
}

// invalid is what is wrong with a call. Its text needs no more.
type invalid struct{ error }

func (e invalid) Unwrap() []error { return []error{repository.ErrInvalid, e.error} }

// isHashName reports whether a name is HASH.NAME. A directory of such a name could take the
// place of a target.
func isHashName(name string) bool {
	digest, _, ok := strings.Cut(name, ".")
	if !ok || len(digest) != 2*sha256.Size && len(digest) != 2*sha512.Size {
		return false
	}
	_, err := hex.DecodeString(digest)
	return err == nil
}

// receive writes content to a new file, synced.
func (t *Targets) receive(ctx context.Context, temp, path string, content io.Reader, algorithms []string) (roles.Target, error) {
	f, err := t.root.fsys.Create(temp, filePerm)
	if err != nil {
		return roles.Target{}, err
	}
	target, err := roles.ReadTarget(path, io.TeeReader(interrupt.Reader(ctx, content), f), algorithms...)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return target, err
}

// place gives temp all its names, durably, and makes the directories for them.
func (t *Targets) place(ctx context.Context, temp string, target roles.Target) error {
	r := t.root
	mark := r.syncs.mark()
	dir, file := path.Split(target.Path)
	touched := []string{r.dir}
	for segment := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if segment == "" {
			break // the store's top
		}
		below := filepath.Join(touched[len(touched)-1], segment)
		err := r.fsys.Mkdir(below, dirPerm)
		if errors.Is(err, fs.ErrExist) {
			// Its maker may have been killed before it set the mode.
			if err = r.fsys.Grant(below, dirPerm); errors.Is(err, fs.ErrPermission) {
				err = nil // another user's
			}
		}
		if err != nil {
			return err
		}
		touched = append(touched, below)
	}
	for _, algorithm := range slices.Sorted(maps.Keys(target.Hashes)) {
		name := filepath.Join(touched[len(touched)-1], target.Hashes[algorithm]+"."+file)
		err := r.fsys.Link(temp, name)
		if errors.Is(err, fs.ErrExist) {
			err = t.relink(ctx, temp, name, target)
		}
		if err != nil {
			return err
		}
	}
	// Sync every directory on the way, even those that were there: their maker may have been
	// killed before it synced. The deepest comes first, so that no directory is durable before
	// its content.
	for _, dir := range slices.Backward(touched) {
		if err := r.syncs.sync(dir, mark); err != nil {
			return err
		}
	}
	return nil
}

// relink replaces the file name, which must hold the target's content, by temp, which holds the
// same content durably.
func (t *Targets) relink(ctx context.Context, temp, name string, target roles.Target) error {
	have, err := t.root.fsys.Open(name)
	if err != nil {
		return err
	}
	defer have.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, interrupt.Reader(ctx, have)); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != target.Hashes["sha256"] {
		return fmt.Errorf("%s: %w", name, repository.ErrConflict)
	}
	// A second link, because temp itself may still be linked to other names.
	second := t.root.tempName()
	defer t.root.fsys.Remove(second)
	if err := t.root.fsys.Link(temp, second); err != nil {
		return err
	}
	return t.root.fsys.Rename(second, name)
}
