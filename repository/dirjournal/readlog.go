package dirjournal

import (
	"fmt"
	"path/filepath"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
)

// ReadLog returns the newest checkpoint record of the journal in dir and all
// records after it, for audits. It takes no lock and changes nothing, so it works
// beside a running publisher; what it returns is readable then, and not
// necessarily durable. Errors are those of Open, but for repository.ErrLocked.
func ReadLog(dir string) (repository.Log, error) { return ReadLogFS(disk.OS(), dir) }

// ReadLogFS is ReadLog on a disk of the caller's.
func ReadLogFS(fsys disk.FS, dir string) (repository.Log, error) {
	log, err := readLog(fsys, filepath.Clean(dir))
	if err != nil {
		return repository.Log{}, fmt.Errorf("read the log of journal %s: %w", dir, err)
	}
	return log, nil
}

func readLog(fsys disk.FS, dir string) (repository.Log, error) {
	l, err := list(fsys, dir)
	if err != nil {
		return repository.Log{}, err
	}
	if len(l.segments) == 0 {
		return repository.Log{}, errNoJournal
	}
	var log repository.Log
	end, err := replay(fsys, dir, l.segments, logInto(&log.Records))
	log.Epoch = int64(end.epoch)
	return log, err
}

// logInto returns what replay must visit to collect the newest checkpoint and
// the records after it.
func logInto(records *[]repository.Record) func(kind byte, data []byte) error {
	return func(kind byte, data []byte) error {
		if kind != recordLine {
			return nil
		}
		r, err := decode[repository.Record](data)
		if r.Kind == repository.KindCheckpoint {
			*records = (*records)[:0]
		}
		*records = append(*records, r)
		return err
	}
}
