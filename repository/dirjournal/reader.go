package dirjournal

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
)

// Reader is a repository.Reader of the journal in a directory. Any number of them
// read beside the process that has the journal open, without its lock: segments are
// only ever appended to (or replaced as a whole by one with the same frames), and a
// frame that is being written is not there yet. It
// needs no permission to write, holds nothing open, and is safe for concurrent use.
type Reader struct {
	fsys disk.FS
	dir  string
}

var _ repository.Reader = (*Reader)(nil)

// OpenReader returns a Reader of the journal in dir. The error wraps
// fs.ErrNotExist if there is no such directory or it holds no journal.
func OpenReader(dir string) (*Reader, error) { return OpenReaderFS(disk.OS(), dir) }

// OpenReaderFS is OpenReader on a disk of the caller's.
func OpenReaderFS(fsys disk.FS, dir string) (*Reader, error) {
	r := &Reader{fsys, filepath.Clean(dir)}
	if _, err := r.segments(); err != nil {
		return nil, r.fail(err)
	}
	return r, nil
}

// Read implements repository.Reader. It reads what was written since the newest
// checkpoint, and names what is damaged as Open does.
func (r *Reader) Read(ctx context.Context) (repository.Log, repository.QueueStats, error) {
	segments, err := r.segments()
	for err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		log, queue, readErr := r.read(segments)
		if readErr == nil {
			return log, queue, nil
		}
		// The listing of a directory may miss a name and have a later one, if
		// both were made meanwhile. What is still wrong when no segment has been
		// begun since is damage.
		before := segments
		if segments, err = r.segments(); err == nil && slices.Equal(before, segments) {
			err = readErr
		}
	}
	return repository.Log{}, repository.QueueStats{}, r.fail(err)
}

func (r *Reader) segments() ([]uint64, error) {
	l, err := list(r.fsys, r.dir)
	if err == nil && len(l.segments) == 0 {
		err = errNoJournal
	}
	slices.Sort(l.segments)
	return l.segments, err
}

func (r *Reader) read(segments []uint64) (repository.Log, repository.QueueStats, error) {
	q, log := newQueue(Remembered), &recordLog{}
	q.log = log
	e, err := replay(r.fsys, r.dir, segments, q.read)
	return repository.Log{Epoch: e.epoch, Records: log.records}, q.stats(), err
}

func (r *Reader) fail(err error) error { return fmt.Errorf("read journal %s: %w", r.dir, err) }
