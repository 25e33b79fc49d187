package dirstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"sync"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
)

// maxSize is the most that is read into memory. No client reads metadata beyond a tenth of it.
const maxSize = 64 << 20

// Store is a repository.Store in a directory. Several Stores, in several processes, may use one
// directory at the same time. Two of them must not Create and Delete the same name, because
// their lock works within one Store only. Of a repository, only its one publisher calls Create,
// Delete and Swap.
//
// A Create of a new name costs two syncs, one of the file and one of the directory. All callers
// that wait for the directory's sync share it.
type Store struct {
	*root

	swapping sync.Mutex // is held while the directory is locked

	// replacing is held from reading what a name holds until it is replaced.
	replacing sync.Mutex
}

var _ repository.Store = (*Store)(nil)

// Create makes a new, empty store in dir, durably, and opens it. It makes dir, but not its
// parent. An existing dir must be empty, but for lost+found, or the error wraps fs.ErrExist.
func Create(dir string) (*Store, error) { return createOn(disk.OSWithoutLinks(), dir) }

func createOn(fsys disk.FS, dir string) (*Store, error) {
	r, err := create(fsys, dir, metadataStore)
	if err != nil {
		return nil, err
	}
	return &Store{root: r}, nil
}

// Open opens the store in dir and changes nothing. The error says if dir doesn't exist (it wraps
// fs.ErrNotExist), is not a directory, may not be read (fs.ErrPermission), is not a store, or is a
// store of a newer format. A store that may not be written opens: the first write fails.
func Open(dir string) (*Store, error) { return openOn(disk.OSWithoutLinks(), dir) }

func openOn(fsys disk.FS, dir string) (*Store, error) {
	r, err := open(fsys, dir, metadataStore)
	if err != nil {
		return nil, err
	}
	return &Store{root: r}, nil
}

// OpenOrCreate opens the store in dir, or makes it, durably, where there is none: dir and
// the directories that it is in may be missing, and dir may be empty, or what a killed call
// left. If the power was lost in the middle, the same call goes on. The error wraps
// fs.ErrExist if dir holds anything else, and is that of Open for a store that can't be opened.
// A store that is there costs what Open costs.
func OpenOrCreate(dir string) (*Store, error) { return openOrCreateOn(disk.OSWithoutLinks(), dir) }

func openOrCreateOn(fsys disk.FS, dir string) (*Store, error) {
	r, err := openOrCreate(fsys, dir, metadataStore)
	if err != nil {
		return nil, err
	}
	return &Store{root: r}, nil
}

// Get implements repository.Store. It refuses files beyond 64 MiB.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	data, err := s.get(ctx, name)
	if err != nil {
		return nil, s.fail("get", name, err)
	}
	return data, nil
}

func (s *Store) get(ctx context.Context, name string) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	data, exists, err := s.read(name)
	if err == nil && !exists {
		err = repository.ErrNotExist
	}
	return data, err
}

// Create implements repository.Store.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	return s.fail("create", name, s.create(ctx, name, data))
}

func (s *Store) create(ctx context.Context, name string, data []byte) error {
	temp, err := s.stage(ctx, name, data)
	if err != nil {
		return err
	}
	// Also after a rename: if both names are the same file, the rename leaves the old one.
	defer s.fsys.Remove(temp)

	mark := s.syncs.mark()
	err = s.fsys.Link(temp, s.path(name))
	if errors.Is(err, fs.ErrExist) {
		err = s.replace(name, temp, func(have []byte, exists bool) bool {
			return exists && bytes.Equal(have, data)
		})
	}
	if err != nil {
		return err
	}
	return s.syncs.sync(s.dir, mark)
}

// Swap implements repository.Store. It compares and swaps under a lock on the directory, so that
// if there are two publishers, one of them gets an error. While another Store swaps in this
// directory the call fails, and may be repeated. The lock doesn't reach other machines.
func (s *Store) Swap(ctx context.Context, name string, old, new []byte) error {
	return s.fail("swap", name, s.swap(ctx, name, old, new))
}

func (s *Store) swap(ctx context.Context, name string, old, new []byte) error {
	temp, err := s.stage(ctx, name, new)
	if err != nil {
		return err
	}
	defer s.fsys.Remove(temp)

	mark := s.syncs.mark()
	err = s.locked(func() error {
		return s.replace(name, temp, func(have []byte, exists bool) bool {
			if !exists {
				return old == nil
			}
			return bytes.Equal(have, new) || old != nil && bytes.Equal(have, old)
		})
	})
	if err != nil {
		return err
	}
	return s.syncs.sync(s.dir, mark)
}

// locked calls f while no other Store swaps in this directory, if the file system can lock the
// directory.
func (s *Store) locked(f func() error) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	l, err := s.fsys.Lock(s.path(ownDir))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return f()
	case errors.Is(err, disk.ErrLocked):
		return fmt.Errorf("another publisher is swapping in this store, which must have only one: %w", err)
	case err != nil:
		return err
	}
	return errors.Join(f(), l.Close())
}

// List implements repository.Store. Its memory is bounded.
func (s *Store) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		for e, err := range s.fsys.ReadDir(s.dir) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(repository.Info{}, fmt.Errorf("list %s: %w", s.dir, err))
				return
			}
			if e.Dir || checkName(e.Name) != nil {
				continue
			}
			if !yield(repository.Info{Name: e.Name, Size: e.Size}, nil) {
				return
			}
		}
	}
}

// Delete implements repository.Store, with one exception. If the sync of the directory failed,
// the name is gone, and a second Delete finds nothing to remove and can't make that durable. A
// loss of power may then bring the name back, with its bytes; one more Delete removes it.
// Nothing refers to the name, so this costs only space.
func (s *Store) Delete(ctx context.Context, name string) error {
	return s.fail("delete", name, s.delete(ctx, name))
}

func (s *Store) delete(ctx context.Context, name string) error {
	err := check(ctx, name)
	if err == nil {
		err = s.settle()
	}
	if err != nil {
		return err
	}
	mark := s.syncs.mark()
	s.replacing.Lock()
	err = s.fsys.Remove(s.path(name))
	s.replacing.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Also if there was nothing: the process that removed it may have been killed.
	return s.syncs.sync(s.dir, mark)
}

// stage checks a write and puts its data, synced, into a temporary file.
func (s *Store) stage(ctx context.Context, name string, data []byte) (string, error) {
	if err := check(ctx, name); err != nil {
		return "", err
	}
	if len(data) > maxSize {
		return "", fmt.Errorf("%d bytes: %w (the limit is %d)", len(data), disk.ErrTooLarge, maxSize)
	}
	if err := s.settle(); err != nil {
		return "", err
	}
	return s.writeTemp(data)
}

// replace renames temp to name if what name holds is as wanted. It does so even if the bytes are
// the same: the old file may not be durable, temp is, and the directory gets something new to
// sync.
func (s *Store) replace(name, temp string, wanted func(have []byte, exists bool) bool) error {
	s.replacing.Lock()
	defer s.replacing.Unlock()
	have, exists, err := s.read(name)
	if errors.Is(err, disk.ErrTooLarge) {
		return fmt.Errorf("%w: %w", repository.ErrConflict, err)
	}
	if err != nil {
		return err
	}
	if !wanted(have, exists) {
		if !exists {
			return fmt.Errorf("%w: the file is missing", repository.ErrConflict)
		}
		return repository.ErrConflict
	}
	return s.fsys.Rename(temp, s.path(name))
}

func (s *Store) read(name string) (data []byte, exists bool, err error) {
	data, err = disk.ReadFile(s.fsys, s.path(name), maxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return data, err == nil, err
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// fail wraps the error of a call, and returns nil for nil.
func (s *Store) fail(call, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q in %s: %w", call, name, s.dir, err)
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkName(name)
}

// checkName accepts only plain file names of [A-Za-z0-9_.-] without a leading dot. Clients and
// file systems agree on these.
func checkName(name string) error {
	if name == "" || name[0] == '.' || len(name) > 255 {
		return errors.New("not a name of 1 to 255 bytes without a leading dot")
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return fmt.Errorf("not a name: byte %d is %q", i, c)
		}
	}
	return nil
}

// String says in which folder the store is.
func (s *Store) String() string { return "folder " + s.dir }

// Local reports true: only processes of this machine may write the store, because the lock of Swap doesn't
// reach other machines. See repository.Config.OneMachine.
func (s *Store) Local() bool { return true }
