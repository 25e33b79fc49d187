package web

import (
	"context"
	"io"
	"io/fs"
	"path"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// Files is where an index keeps its target files.
type Files interface {
	// Open opens the file of a target path that has this hash, in lower-case hex. The
	// algorithm is "sha256", "sha512" or "blake2b-256". The file can be read until Close,
	// whatever becomes of the path meanwhile. If there is none the error wraps fs.ErrNotExist.
	//
	// The path passes roles.CheckPath, and anybody may ask for any path. An index whose files
	// are all public may go by the hash alone. A SHA-256 and a BLAKE2b-256 look alike in a URL. So
	// the handler asks for "sha256" first, and for "blake2b-256" if there is none.
	//
	// The handler seeks to the end for the length, and then to the first byte that it reads. It
	// doesn't check the hash: clients do. If the reader is an *os.File, the system copies it.
	Open(ctx context.Context, path, algorithm, hash string) (io.ReadSeekCloser, error)
}

// Dir serves files in the layout of dirstore.Targets, DIRECTORIES/HASH.NAME. They must
// support seeking. What isn't a regular file, such as a directory, a device or a named pipe, isn't served.
//
// Use the FS of an os.Root, which doesn't follow a symbolic link out of its directory:
//
//	root, err := os.OpenRoot("index/targets")
//	...
//	files := web.Dir(root.FS())
//
// os.DirFS follows such links.
func Dir(fsys fs.FS) Files { return dir{fsys} }

type dir struct{ fsys fs.FS }

func (d dir) Open(_ context.Context, target, _, hash string) (io.ReadSeekCloser, error) {
	dirs, file := path.Split(target)
	return disk.OpenRegular(d.fsys, dirs+hash+"."+file)
}
