package dirjournal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bindery-tuf/bindery/internal/disk"
)

const (
	// maxPayload is the most that one frame may hold.
	maxPayload = 1 << 30
	// segmentSize is how much is appended to a segment before the next is begun.
	segmentSize = 64 << 20
)

// segmentFile is the segment being written.
type segmentFile struct {
	header
	name    string
	next    string // of the segment after it
	file    disk.File
	id      any // of the file: see disk.Info
	size    uint64
	buf     []byte
	spoiled bool // a frame was written in part: nothing may follow it
}

// undone is the error of a write that certainly had no effect.
type undone struct{ error }

func (e undone) Unwrap() error { return e.error }

// newSegment begins the segment that h describes, with f as its first frame
// unless it is nil, and returns once segment and name are durable. The segment
// gets its name when its beginning is durable, so no reader and no crash ever
// finds half a beginning. A segment of that number is replaced. Until it has its
// name nothing has happened: the error is undone then.
func newSegment(d dir, h header, f *frame) (*segmentFile, error) {
	rand.Read(h.id[:])
	h.synced = headerSize
	if f != nil {
		h.synced += frameHead + uint64(len(f.payload))
	}
	data := h.encode()
	if f != nil {
		data = h.appendHead(data, *f)
	}
	name, tmp := d.path(segmentName(h.number)), d.path(tmpName)
	fail := func(file disk.File, err error) error {
		if file != nil {
			file.Close()
			d.fsys.Remove(tmp) // it takes space; if that fails, the next one removes it
		}
		return undone{fmt.Errorf("begin %s: %w", name, err)}
	}
	file, err := d.fsys.Create(tmp, 0o600)
	if errors.Is(err, fs.ErrExist) { // of a process that was killed, or whose disk was full
		if err = d.fsys.Remove(tmp); err == nil {
			file, err = d.fsys.Create(tmp, 0o600)
		}
	}
	if err != nil {
		return nil, fail(nil, err)
	}
	_, err = file.Write(data)
	if err == nil && f != nil { // apart, because a copy of a long queue is a lot of memory
		_, err = file.Write(f.payload)
	}
	if err == nil {
		err = file.Sync()
	}
	var info disk.Info
	if err == nil {
		info, err = d.fsys.Stat(tmp)
	}
	if err != nil {
		return nil, fail(file, err)
	}
	if err := d.fsys.Rename(tmp, name); err != nil {
		if there, serr := d.fsys.Stat(name); errors.Is(serr, fs.ErrNotExist) || serr == nil && there.ID != info.ID {
			return nil, fail(file, err)
		}
		file.Close()
		return nil, fmt.Errorf("begin %s: %w", name, err)
	}
	if err := d.sync(); err != nil {
		file.Close()
		return nil, fmt.Errorf("begin %s: %w", name, err)
	}
	return &segmentFile{header: h, name: name, next: d.path(segmentName(h.number + 1)), file: file, id: info.ID, size: h.synced}, nil
}

// replaceable reports whether a segment that has no more than its beginning may be
// replaced by one that begins with the same, so that no number of attempts to open
// a journal leaves more than one behind. The first may not: alone, and without
// frames, it is what a Create that was killed leaves.
func replaceable(h header) bool { return h.number > 1 }

// append returns once the frame is durable. A frame of which the disk took only a part is
// undone: it can't be read, and the next one belongs into a new segment. After any other
// error the segment must not be used again.
func (s *segmentFile) append(f frame) error {
	s.buf = s.appendFrame(s.buf[:0], f)
	size := len(s.buf)
	n, err := s.file.Write(s.buf)
	if err == nil {
		s.size += uint64(size)
		err = s.file.Sync()
	}
	s.buf = reusable(s.buf)
	if err == nil {
		return nil
	}
	// The file knows the name only that it was created with.
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = &fs.PathError{Op: p.Op, Path: s.name, Err: p.Err}
	}
	if s.spoiled = true; n < size {
		err = undone{err}
	}
	return err
}

// reusable is b, unless it is so large that it shouldn't be kept.
func reusable(b []byte) []byte {
	if cap(b) > 2*maxGroup {
		return nil
	}
	return b
}

// appended is how many bytes were written since the segment was begun.
func (s *segmentFile) appended() int { return int(s.size - s.synced) }
