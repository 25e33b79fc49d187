package dirstore

import (
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/repository"
)

// Tests of other packages open stores on disks of their own.
func init() {
	ondisk.Store = ondisk.Opener[repository.Store]{
		Create: asStore(createOn), Open: asStore(openOn), OpenOrCreate: asStore(openOrCreateOn),
	}
	ondisk.Targets = ondisk.Opener[ondisk.Putter]{
		Create: asPutter(createTargetsOn), Open: asPutter(openTargetsOn), OpenOrCreate: asPutter(openOrCreateTargetsOn),
	}
}

func asStore(open func(disk.FS, string) (*Store, error)) func(disk.FS, string) (repository.Store, error) {
	return func(fsys disk.FS, dir string) (repository.Store, error) {
		s, err := open(fsys, dir)
		if err != nil {
			return nil, err // a nil *Store is a Store that isn't nil
		}
		return s, nil
	}
}

func asPutter(open func(disk.FS, string) (*Targets, error)) func(disk.FS, string) (ondisk.Putter, error) {
	return func(fsys disk.FS, dir string) (ondisk.Putter, error) {
		t, err := open(fsys, dir)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
}
