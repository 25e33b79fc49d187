package dirjournal

import (
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/repository"
)

// Tests of other packages open journals on disks of their own.
func init() {
	ondisk.Journal = ondisk.Opener[repository.Journal]{
		Create: asJournal(createOn), Open: asJournal(openOn), OpenOrCreate: asJournal(openOrCreateOn),
	}
}

func asJournal(open func(disk.FS, string) (*Journal, error)) func(disk.FS, string) (repository.Journal, error) {
	return func(fsys disk.FS, dir string) (repository.Journal, error) {
		j, err := open(fsys, dir)
		if err != nil {
			return nil, err // a nil *Journal is a Journal that isn't nil
		}
		return j, nil
	}
}
