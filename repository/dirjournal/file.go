package dirjournal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

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
	name string
	file disk.File
	size uint64
	buf  []byte
}

// newSegment begins the segment that h describes, with f as its first frame
// unless it is nil, and returns once segment and name are durable. The segment
// gets its name when its beginning is durable, so no reader and no crash ever
// finds half a beginning. A segment of that number is replaced.
func newSegment(fsys disk.FS, dir string, h header, f *frame) (*segmentFile, error) {
	rand.Read(h.id[:])
	h.synced = headerSize
	if f != nil {
		h.synced += frameHead + uint64(len(f.payload))
	}
	data := h.encode()
	if f != nil {
		data = h.appendFrame(data, *f)
	}
	name := filepath.Join(dir, segmentName(h.number))
	tmp := filepath.Join(dir, tmpName)
	file, err := fsys.Create(tmp, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("begin %s: %w", name, err)
	}
	return &segmentFile{header: h, name: name, file: file, size: h.synced}, nil
}

// replaceable reports whether a segment that has no more than its beginning may be
// replaced by one that begins with the same, so that no number of attempts to open
// a journal leaves more than one behind. The first may not: alone, and without
// frames, it is what a Create that was killed leaves.
func replaceable(h header) bool { return h.number > 1 }

// append returns once the frame is durable. After an error the segment must not
// be used again.
func (s *segmentFile) append(f frame) error {
	s.buf = s.appendFrame(s.buf[:0], f)
	_, err := s.file.Write(s.buf)
	if err == nil {
		s.size += uint64(len(s.buf))
		err = s.file.Sync()
	}
	s.buf = reusable(s.buf)
	// The file knows the name only that it was created with.
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: p.Op, Path: s.name, Err: p.Err}
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
