package dirstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// settlingTime is how old a target file must be to be deleted. Put makes it new.
const settlingTime = time.Hour

// Delete deletes the files that Put kept for a target: one for each hash. When it returns nil, none is
// there, and that is durable. A file that is missing is no error. Other files are left alone, and so are
// directories that become empty.
//
//	cfg.DeleteTarget = targets.Delete // see repository.Config
//
// Delete refuses if one of the files was put less than an hour ago, by the file system's clock: an upload
// may be about to submit it. So an upload must submit a target within an hour of Put. The error wraps
// repository.ErrInvalid for a path or a hash that Put would not have kept. After any other error some of
// the files may be gone. The call may be repeated.
func (t *Targets) Delete(ctx context.Context, target ledger.RemovedTarget) error {
	if err := checkDelete(target); err != nil {
		return invalid{fmt.Errorf("delete %w", err)}
	}
	if err := t.delete(ctx, target); err != nil {
		return fmt.Errorf("delete target %q in %s: %w", target.Path, t.root.dir, err)
	}
	return nil
}

// checkDelete refuses what Put can't have kept.
func checkDelete(target ledger.RemovedTarget) error {
	if err := checkPut(target.Path, slices.Sorted(maps.Keys(target.Hashes))); err != nil {
		return err
	}
	if len(target.Hashes) == 0 {
		return fmt.Errorf("target %q: no hash", target.Path)
	}
	for algorithm, hash := range target.Hashes {
		if !isHashName(hash+".") || hash != strings.ToLower(hash) {
			return fmt.Errorf("target %q: %s: %q is no hash in lower-case hexadecimal", target.Path, algorithm, hash)
		}
	}
	return nil
}

func (t *Targets) delete(ctx context.Context, target ledger.RemovedTarget) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := t.root
	if err := r.settle(); err != nil {
		return err
	}
	mark := r.syncs.mark()
	dirs, file := path.Split(target.Path)
	dir := filepath.Join(r.dir, filepath.FromSlash(dirs))
	if _, err := r.fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // it never had a file
	}
	names := make([]string, 0, len(target.Hashes))
	for _, algorithm := range slices.Sorted(maps.Keys(target.Hashes)) {
		name := filepath.Join(dir, target.Hashes[algorithm]+"."+file)
		if err := r.checkSettled(name); err != nil {
			return err
		}
		names = append(names, name)
	}
	for _, name := range names {
		if err := r.takeAway(name); err != nil {
			return err
		}
	}
	// Also if there was nothing: the process that removed it may have been killed.
	return r.syncs.sync(dir, mark)
}

// errTooNew is why a file isn't deleted.
var errTooNew = errors.New("it was stored less than an hour ago: an upload may be about to submit it")

// checkSettled returns nil if a file is missing, or old enough to be deleted.
func (r *root) checkSettled(name string) error {
	info, err := r.fsys.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && time.Since(info.ModTime) < settlingTime:
		err = errTooNew
	}
	return err
}

// takeAway removes a file. A Put in another process may replace it meanwhile: what is new gets its name
// back.
func (r *root) takeAway(name string) error {
	temp := r.tempName()
	err := r.fsys.Rename(name, temp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = r.checkSettled(temp); err != nil {
			if linked := r.fsys.Link(temp, name); linked != nil && !errors.Is(linked, fs.ErrExist) {
				return errors.Join(err, linked)
			}
		}
		err = errors.Join(err, r.fsys.Remove(temp))
	}
	return err
}
