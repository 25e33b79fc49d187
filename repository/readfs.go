package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
)

// ReadFS is the metadata in a folder, such as os.DirFS gives, whoever wrote it. It
// is for Audit. Folders in it are passed over, and files beyond 64 MiB refused.
// The file of a role whose name isn't a file's may be under its escaped name.
func ReadFS(folder fs.FS) Files { return readFS{folder} }

type readFS struct{ fs.FS }

// maxReadFS is ten times what any client reads.
const maxReadFS = 64 << 20

func (r readFS) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := r.read(name)
	if escaped := url.PathEscape(name); escaped != name && errors.Is(err, ErrNotExist) {
		data, err = r.read(escaped)
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", name, err)
	}
	return data, nil
}

func (r readFS) read(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, ErrNotExist
	}
	info, err := fs.Stat(r.FS, name) // before it is opened: a pipe would wait
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxReadFS+1))
	if err == nil && len(data) > maxReadFS {
		err = fmt.Errorf("more than %d bytes", maxReadFS)
	}
	return data, err
}

func (r readFS) List(ctx context.Context) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		entries, err := fs.ReadDir(r.FS, ".")
		if err != nil {
			yield(Info{}, fmt.Errorf("list: %w", err))
			return
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				yield(Info{}, fmt.Errorf("list: %w", err))
				return
			}
			if e.IsDir() {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				yield(Info{}, fmt.Errorf("list: %w", err))
				return
			}
			if !yield(Info{Name: e.Name(), Size: info.Size()}, nil) {
				return
			}
		}
	}
}
