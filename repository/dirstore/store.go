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

// maxSize bounds what is read into memory. No client reads metadata beyond a
// tenth of it.
const maxSize = 64 << 20

// Store is a repository.Store in a directory. Several Stores, in several
// processes, may use one directory at the same time, but no two may Create and
// Delete one name: the lock that these take reaches no further than the Store. A
// repository's one publisher is the only one to do either, and to Swap.
//
// A Create of a new name costs two syncs, of the file and of the directory; the
// second is shared by all that wait for it.
type Store struct {
	*root

	swapping sync.Mutex // is held while the directory is locked

	// replacing is held from reading what a name holds until it is replaced.
	replacing sync.Mutex
}

var _ repository.Store = (*Store)(nil)

// Create makes a new, empty store in dir, durably, and opens it. It makes dir
// (not its parent); an existing dir must be empty, or the error wraps
// fs.ErrExist.
func Create(dir string) (*Store, error) { return CreateFS(disk.OS(), dir) }

// CreateFS is Create on a disk of the caller's, for tests.
func CreateFS(fsys disk.FS, dir string) (*Store, error) {
	r, err := create(fsys, dir, metadataStore)
	if err != nil {
		return nil, err
	}
	return &Store{root: r}, nil
}

// Open opens the store in dir and changes nothing. The error says whether dir
// does not exist (it then wraps fs.ErrNotExist), is no directory, may not be
// read (fs.ErrPermission), is no store, or is one of a newer format. That dir
// may not be written to shows with the first write.
func Open(dir string) (*Store, error) { return OpenFS(disk.OS(), dir) }

// OpenFS is Open on a disk of the caller's, for tests.
func OpenFS(fsys disk.FS, dir string) (*Store, error) {
	r, err := open(fsys, dir, metadataStore)
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
	// Also after a rename: where both names are one file, it leaves the old one.
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

// Swap implements repository.Store. It compares and swaps under a lock of the directory, so
// that of two publishers, who shouldn't be, one is told. While another Store swaps here the
// call fails, and may be repeated. The lock doesn't reach other machines.
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

// locked calls f while no other Store swaps in this directory, where the file system can
// lock it.
func (s *Store) locked(f func() error) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	l, err := s.fsys.Lock(s.path(ownDir))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return f()
	case errors.Is(err, disk.ErrLocked):
		return fmt.Errorf("another publisher swaps in this store at this moment (a store must have one): %w", err)
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

// Delete implements repository.Store, but for one case: after a Delete whose sync
// of the directory failed, the name is gone, and a second Delete, which finds
// nothing to remove, can't make that durable: a loss of power may bring the name
// back, with the bytes that it had. A Delete after that removes it. Since nothing
// refers to the name, all that it costs is space.
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
	// Also where there was nothing: who removed it may have been killed.
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

// replace renames temp to name if what name holds is as wanted. It does so also
// where the bytes are the same: theirs may not be durable, temp's are, and the
// change gives the directory something new to sync.
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

// fail wraps an error of a call; it is nil for nil.
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

// checkName refuses what isn't a plain file name of [A-Za-z0-9_.-] without a
// leading dot: the names on which clients and file systems agree.
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
