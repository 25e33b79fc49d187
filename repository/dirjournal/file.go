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

// undone is the error of a write that had no effect, for certain.
type undone struct{ error }

func (e undone) Unwrap() error { return e.error }

// newSegment begins the segment that h describes, with f as its first frame
// unless f is nil. It returns once the segment and its name are durable. The segment
// gets its name after its beginning is durable, so neither a reader nor a crash ever
// sees half a beginning. It replaces a segment of the same number. An error before
// the rename is undone.
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
			d.fsys.Remove(tmp) // frees its space; if this fails, the next begin removes it
		}
		return undone{fmt.Errorf("begin %s: %w", name, err)}
	}
	file, err := d.fsys.Create(tmp, 0o600)
	if errors.Is(err, fs.ErrExist) { // left by a process that was killed, or whose disk was full
		if err = d.fsys.Remove(tmp); err == nil {
			file, err = d.fsys.Create(tmp, 0o600)
		}
	}
	if err != nil {
		return nil, fail(nil, err)
	}
	_, err = file.Write(data)
	if err == nil && f != nil { // apart: a checkpoint's payload is too large to copy
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

// replaceable reports whether a segment that has only its beginning may be replaced by
// one that begins with the same. So many failed attempts to open a journal leave one
// segment. The first segment may not be replaced: alone and without frames, it is what a
// killed Create leaves.
func replaceable(h header) bool { return h.number > 1 }

// append returns once the frame is durable. If the disk took only a part of it, the error
// is undone: nobody can read the part, and the next frame goes into a new segment. After
// any other error the segment must not be used again.
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
	// The file knows only the name that it was created with.
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
