package dirjournal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
)

// dir is a journal's directory, and the two locks that keep it for one process.
//
// The directory itself is locked, since nobody takes it for rubbish: whatever is removed
// from it, no second process of this machine gets in. A lock on a directory doesn't reach
// other machines. One on a file does, so the file "lock" is locked too.
type dir struct {
	fsys disk.FS
	name string
	id   any       // of the directory: see disk.Info
	own  disk.Lock // of the directory; nil where the file system can't lock one
	lock string    // path of the lock file
	file disk.Lock // of the lock file
}

func (d dir) path(name string) string { return filepath.Join(d.name, name) }

// lockDir takes the locks. The lock file is made if it is not there: a copy of the
// segments is a journal too.
func lockDir(fsys disk.FS, name string) (dir, error) {
	d := dir{fsys: fsys, name: name, lock: filepath.Join(name, lockName)}
	err := d.take()
	if errors.Is(err, disk.ErrLocked) {
		err = fmt.Errorf("%w%s: %w", repository.ErrLocked, d.holder(), err)
	}
	if err != nil {
		return dir{}, errors.Join(err, d.release())
	}
	d.introduce()
	return d, nil
}

// note is what the lock file says of the process that has the journal open. It is for
// people: it may be missing, torn, or for a moment that of a killed process.
type note struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// introduce writes the note.
func (d dir) introduce() {
	host, _ := os.Hostname()
	text, err := json.Marshal(note{os.Getpid(), host, time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		d.file.Note(string(text) + "\n")
	}
}

// holder says who holds the lock, or nothing if that isn't known.
func (d dir) holder() string {
	var n note
	text, err := disk.ReadFile(d.fsys, d.lock, 4096)
	if err != nil || json.Unmarshal(text, &n) != nil || n.PID == 0 {
		return ""
	}
	return fmt.Sprintf(": process %d on %.100q has it since %s", n.PID, n.Host, n.Since.Format("2006-01-02 15:04:05Z"))
}

func (d *dir) take() error {
	own, err := d.fsys.Lock(d.name)
	if errors.Is(err, errors.ErrUnsupported) {
		info, serr := d.fsys.Stat(d.name)
		if serr != nil { // it isn't the file system
			return err
		}
		d.id = info.ID
	} else if err != nil {
		return err
	} else {
		d.own, d.id = own, own.ID()
	}
	file, err := d.fsys.Lock(d.lock)
	if errors.Is(err, fs.ErrNotExist) {
		if err := disk.WriteFile(d.fsys, d.lock, nil, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		file, err = d.fsys.Lock(d.lock)
	}
	if err == nil {
		d.file = file
	}
	return err
}

func (d dir) release() error {
	if d.file != nil {
		d.file.Note("")
	}
	var errs []error
	for _, l := range []disk.Lock{d.file, d.own} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// sync makes the names in the directory durable. It needs no descriptor, of which there
// may be none left, unless the directory couldn't be locked.
func (d dir) sync() error {
	if d.own != nil {
		return d.own.Sync()
	}
	return d.fsys.SyncDir(d.name)
}

// gone says that the journal isn't where the next Open will look for it.
type gone struct{ error }

func (e gone) Unwrap() error { return e.error }

const putBack = "what was written is in no journal that Open finds there: stop whoever did that, put the directory and its files back, and open the journal again"

// still returns nil if the directory's name still leads to it, and no other process has
// its locks.
func (d dir) still() error {
	switch info, err := d.fsys.Stat(d.name); {
	case errors.Is(err, fs.ErrNotExist):
		return gone{fmt.Errorf("the directory was removed or moved while the journal was open: %s: %w", putBack, err)}
	case err != nil:
		return err
	case info.ID != d.id:
		return gone{fmt.Errorf("another directory took the place of this one while the journal was open: %s", putBack)}
	}
	switch info, err := d.fsys.Stat(d.lock); {
	case errors.Is(err, fs.ErrNotExist) && d.own != nil:
		return nil // it keeps other machines out, which must make it anew
	case errors.Is(err, fs.ErrNotExist):
		return gone{fmt.Errorf("%s was removed while the journal was open, and another process may have it now: open it again: %w", d.lock, err)}
	case err != nil:
		return err
	case info.ID != d.file.ID():
		return gone{fmt.Errorf("%w: %s was replaced while the journal was open, so another process may write to it: open it again once that has ended",
			repository.ErrFenced, d.lock)}
	}
	return nil
}

// lacks returns nil if there is no segment of this name, which would be the next.
func (d dir) lacks(name string) error {
	switch _, err := d.fsys.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return gone{fmt.Errorf("%w: there is %s, which this process didn't begin, so another one writes to the journal: open it again once that has ended",
		repository.ErrFenced, name)}
}

// holds returns nil if the segment that was written is where the next Open will find it,
// with what was written and nothing else.
func (d dir) holds(s *segmentFile) error {
	if err := d.still(); err != nil {
		return err
	}
	return d.unharmed(s)
}

// unharmed is holds without a look at the directory and the locks.
func (d dir) unharmed(s *segmentFile) error {
	switch info, err := d.fsys.Stat(s.name); {
	case errors.Is(err, fs.ErrNotExist):
		return gone{fmt.Errorf("%s was removed or moved while the journal was open: %s: %w", s.name, putBack, err)}
	case err != nil:
		return err
	case info.ID != s.id:
		return gone{fmt.Errorf("another file took the place of %s while the journal was open: %s", s.name, putBack)}
	case uint64(info.Size) != s.size:
		return gone{fmt.Errorf("%s has %d bytes, and %d were written: somebody else changed it while the journal was open: "+
			"stop whoever did that, and open the journal again, which says what is damaged", s.name, info.Size, s.size)}
	}
	return d.lacks(s.next)
}
