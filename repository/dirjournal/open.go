package dirjournal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

const (
	lockName = "lock"
	tmpName  = "next.tmp" // a segment that has no name yet
)

// limits are constants that tests make small.
type limits struct {
	remember int // outcomes in memory
	spill    int // by how many more there may be before they go into a file
	segment  int // bytes appended to a segment before the next is begun
}

var defaults = limits{remember: Remembered, spill: Remembered / 4, segment: segmentSize}

var errNoJournal = fmt.Errorf("not a journal: it has no segments: %w", fs.ErrNotExist)

// fromBackup is what can be done about a damaged journal.
const fromBackup = "keep a copy of the folder as it is, and put a copy of that segment from a backup or an archive in its place. If there is none, " +
	"move the journal away, create another and let RestoreJournal make it agree with what is published: what was accepted and isn't published is then lost"

// Create makes a new journal in dir and opens it. It makes dir if necessary, but not the
// parent. An existing dir must be empty, or hold only what a
// killed Create left, and perhaps the lost+found of a new file system. Otherwise the
// error wraps fs.ErrExist, and nothing was changed.
func Create(dir string) (*Journal, error) { return createOn(disk.OS(), dir) }

func createOn(fsys disk.FS, dir string) (*Journal, error) {
	j, err := create(fsys, absolute(dir), defaults)
	if err != nil {
		return nil, fmt.Errorf("create journal %s: %w", dir, err)
	}
	return j, nil
}

// Open opens the journal in dir and locks it until Close. Everything in the journal is then
// durable, including what a killed process wrote and did not sync. Open reads what was written
// since the last checkpoint.
//
// The error wraps fs.ErrNotExist if dir doesn't exist or holds no journal,
// repository.ErrLocked while a process (also this one) has the journal open, or
// fs.ErrPermission. ErrLocked comes with the process ID, the host and the time since when it is
// open, as far as these are known. A newer format is named. Damage is named by segment, offset
// and sequence number. After an error nothing was changed. A part of a killed process's last
// write is no error: see Journal.Cut, which also says what that may hide.
func Open(dir string) (*Journal, error) { return openOn(disk.OS(), dir) }

func openOn(fsys disk.FS, dir string) (*Journal, error) {
	j, err := open(fsys, absolute(dir), defaults)
	if err != nil {
		if errors.As(err, &placed{}) && !errors.Is(err, ledger.ErrNewer) && !errors.Is(err, errOlder) {
			err = fmt.Errorf("%w: %s", err, fromBackup)
		}
		return nil, fmt.Errorf("open journal %s: %w", dir, err)
	}
	return j, nil
}

// OpenOrCreate opens the journal in dir, or makes it, durably, where there is none: dir and
// the directories that it is in may be missing, and dir may be empty, or what a killed call
// left. If the power was lost in the middle, the same call goes on. The error wraps
// fs.ErrExist if dir holds anything else, and is that of Open for a journal that can't be
// opened. A journal that is there costs what Open costs.
func OpenOrCreate(dir string) (*Journal, error) { return openOrCreateOn(disk.OS(), dir) }

func openOrCreateOn(fsys disk.FS, dir string) (*Journal, error) {
	j, err := openOn(fsys, dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return j, err
	}
	if err := disk.MakeParents(fsys, absolute(dir)); err != nil {
		return nil, fmt.Errorf("create journal %s: %w", dir, err)
	}
	created, err := createOn(fsys, dir)
	if errors.Is(err, fs.ErrExist) {
		// Somebody else was quicker, or a segment is missing, or it is something else.
		if j, openErr := openOn(fsys, dir); !errors.Is(openErr, errNoJournal) {
			return j, openErr
		}
	}
	return created, err
}

// absolute returns a path to dir that stays right if the process changes its directory.
func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return filepath.Clean(dir)
}

func create(fsys disk.FS, dir string, lim limits) (*Journal, error) {
	err := fsys.Mkdir(dir, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := creatable(fsys, dir); err != nil {
		return nil, err
	}
	locked, err := lockDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	j, err := func() (*Journal, error) {
		// Another Create may have been here before the lock was ours.
		if err := creatable(fsys, dir); err != nil {
			return nil, err
		}
		// The directory's own name and the lock's are durable before the journal's.
		if err := errors.Join(disk.SyncAbove(fsys, dir, made), locked.sync()); err != nil {
			// A failed sync may have lost the names for good, including those of an earlier Create
			// that was killed. Remove them, so that the next Create makes them anew. A directory
			// that isn't empty, or belongs to someone else, stays.
			fsys.Remove(filepath.Join(dir, lockName))
			fsys.Remove(dir)
			return nil, err
		}
		if err := locked.begin(); err != nil {
			return nil, err
		}
		return openLocked(locked, lim, true)
	}()
	if err != nil {
		return nil, errors.Join(err, locked.release())
	}
	return j, nil
}

// begin makes the first segment. It replaces that of an earlier Create, whose name may not
// be durable.
func (d dir) begin() error {
	s, err := newSegment(d, header{number: 1, first: 1, base: 1}, nil)
	if err != nil {
		return err
	}
	return s.file.Close()
}

// creatable returns nil if dir holds nothing but what a killed Create leaves.
func creatable(fsys disk.FS, dir string) error {
	l, err := list(fsys, dir)
	if err != nil {
		return err
	}
	if l.other != "" {
		return fmt.Errorf("the directory holds %s: %w", l.other, fs.ErrExist)
	}
	if len(l.segments) == 0 && len(l.older) == 0 {
		return nil
	}
	// A Create that wasn't killed begins the second segment.
	if c, _, err := readSegment(fsys, dir, 1); err == nil && len(l.segments) == 1 && len(c.frames) == 0 && !c.torn {
		return nil
	}
	return fmt.Errorf("it is a journal already: open it, or call OpenOrCreate in place of Create: %w", fs.ErrExist)
}

func open(fsys disk.FS, dir string, lim limits) (*Journal, error) {
	l, err := list(fsys, dir)
	if err != nil {
		return nil, err
	}
	if len(l.segments) == 0 {
		return nil, errNoJournal
	}
	locked, err := lockDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	j, err := openLocked(locked, lim, false)
	if err != nil {
		return nil, errors.Join(err, locked.release())
	}
	return j, nil
}

// openLocked reads the journal, whose locks are held. The newest frame may be readable and not
// durable: its writer was killed, or its sync failed. So that frame is written again, as the
// first of a new segment, before anyone acts on it. If the frame is durable for certain, the
// new segment is begun by the first write, and Open needs no space.
func openLocked(d dir, lim limits, created bool) (*Journal, error) {
	l, err := list(d.fsys, d.name)
	if err != nil {
		return nil, err
	}
	if len(l.segments) == 0 {
		return nil, errNoJournal
	}
	q, opened := newQueue(), &history{}
	segments, err := beginning(d.fsys, d.name, l.segments, ledger.FromCheckpoint)
	if err != nil {
		return nil, err
	}
	e, err := replay(d.fsys, d.name, segments, whole, func(p part) error {
		s, err := q.read(p)
		if s != (ledger.Step{}) {
			opened.steps = append(opened.steps, s)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := q.loadOlder(d); err != nil {
		return nil, err
	}
	opened.pending = len(q.pending)
	if l.tmp {
		d.fsys.Remove(d.path(tmpName)) // frees its space; a failure does no harm
	}
	c := coming{
		header: header{number: e.number + 1, epoch: e.epoch, first: e.next, base: e.base},
		copied: e.doubtful, after: e.number,
		// An earlier Create may have been killed, or failed to sync the name.
		remake: e.bare && !replaceable(e.header) && !created,
	}
	if e.doubtful != nil {
		c.first = e.doubtful.seq
		c.copied = &frame{e.doubtful.seq, bytes.Clone(e.doubtful.payload)} // not the whole segment's memory
	}
	if e.bare && replaceable(e.header) {
		c.number, c.base = e.number, e.header.base
	}
	j := &Journal{
		dir: d, limits: lim, queue: q, epoch: e.epoch, next: e.next, coming: c, opened: opened, cut: e.cut,
		spillAt: lim.spill,
		moment:  1, decided: make(chan struct{}), wake: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	if created || !e.durable {
		if err := j.start(); err != nil {
			return nil, err
		}
	}
	j.removeUnlisted(l.older)
	j.release = sync.OnceValue(func() error {
		err := d.release()
		if j.segment != nil {
			err = errors.Join(j.segment.file.Close(), err)
		}
		return err
	})
	go j.write()
	return j, nil
}

// listing is what a journal's directory holds.
type listing struct {
	segments []uint64 // in order
	older    []string // files of outcomes
	tmp      bool
	other    string // a name that a new journal doesn't have, or ""
}

func list(fsys disk.FS, dir string) (listing, error) {
	var l listing
	for e, err := range fsys.ReadDir(dir) {
		if err != nil {
			return listing{}, err
		}
		number, ok := segmentNumber(e.Name)
		switch {
		case ok:
			l.segments = append(l.segments, number)
		case e.Name == tmpName:
			l.tmp = true
		case isOlderName(e.Name):
			l.older = append(l.older, e.Name)
		case e.Name != lockName && (e.Name != disk.LostAndFound || !e.Dir):
			l.other = e.Name
		}
	}
	slices.Sort(l.segments)
	return l, nil
}
