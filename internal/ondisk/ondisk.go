// Package ondisk opens stores and journals on a disk of a test's, which counts, fails or crashes.
// It is how tests of other packages reach what dirstore and dirjournal do on a disk.FS: no public
// function can, because disk.FS is internal.
//
//	store, err := ondisk.Store.Create(crashfs.New(1).Start(), "/store")
//
// The packages repository/dirstore and repository/dirjournal set the variables when they are
// linked. A caller imports them too, for their effect. Nothing else writes the variables.
package ondisk

import (
	"context"
	"io"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Opener has the functions of a public package, with the disk as a further parameter.
type Opener[T any] struct {
	Create, Open, OpenOrCreate func(fsys disk.FS, dir string) (T, error)
}

// Putter is a dirstore.Targets.
type Putter interface {
	Put(ctx context.Context, path string, content io.Reader, algorithms ...string) (roles.Target, error)
}

var (
	Store   Opener[repository.Store]   // dirstore.Create, Open, OpenOrCreate
	Targets Opener[Putter]             // dirstore.CreateTargets, OpenTargets, OpenOrCreateTargets
	Journal Opener[repository.Journal] // dirjournal.Create, Open, OpenOrCreate
)
