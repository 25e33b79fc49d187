package dirstore

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// root is what the two kinds of store have in common: a directory, and the
// temporary files in it.
type root struct {
	fsys  disk.FS
	dir   string
	kind  kind
	syncs dirSyncs

	mu      sync.Mutex // guards settled
	settled bool
}

func newRoot(fsys disk.FS, dir string, k kind) *root {
	return &root{fsys: fsys, dir: dir, kind: k, syncs: dirSyncs{fsys: fsys}}
}

// settle makes durable that this is a store, before anything is written to it. A
// process that was killed while it created the store, or whose sync failed, may
// have left a format file that can be read and that no later sync makes durable;
// so it is written anew, each time that this is tried.
func (r *root) settle() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled {
		return nil
	}
	if err := r.writeFormat(r.fsys.Rename); err != nil {
		return err
	}
	if err := r.fsys.SyncDir(filepath.Join(r.dir, ownDir)); err != nil {
		return err
	}
	// Who created the store did this; who copied it here perhaps didn't.
	if err := r.syncAround(false); err != nil {
		return err
	}
	r.sweep()
	r.settled = true
	return nil
}

// syncAround makes the names of the store's directories durable: see disk.SyncAbove.
func (r *root) syncAround(made bool) error {
	if err := r.fsys.SyncDir(r.dir); err != nil {
		return err
	}
	return disk.SyncAbove(r.fsys, r.dir, made)
}

// strayAge is how long a temporary file was not written to before it is taken
// for one that a crash left.
const strayAge = time.Hour

// sweep removes what crashes left. Failing does no harm, a stray file only
// takes space; nor does removing too much, see the package comment.
func (r *root) sweep() {
	own := filepath.Join(r.dir, ownDir)
	for e, err := range r.fsys.ReadDir(own) {
		if err != nil {
			return
		}
		if strings.HasPrefix(e.Name, tempPrefix) && time.Since(e.ModTime) > strayAge {
			r.fsys.Remove(filepath.Join(own, e.Name))
		}
	}
}

// tempName returns a name for a temporary file that nobody used before.
func (r *root) tempName() string {
	return filepath.Join(r.dir, ownDir, tempPrefix+rand.Text())
}

// writeTemp writes a temporary file and syncs it. After an error there is none.
func (r *root) writeTemp(data []byte) (string, error) {
	name := r.tempName()
	if err := disk.WriteFile(r.fsys, name, data, filePerm); err != nil {
		r.fsys.Remove(name)
		return "", err
	}
	return name, nil
}
