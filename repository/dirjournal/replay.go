package dirjournal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// maxSegment is the largest file that is read as a segment: one frame, and all that is
// appended before the next segment is due.
const maxSegment = maxPayload + 2*segmentSize

func segmentName(number uint64) string { return fmt.Sprintf("%012d.seg", number) }

func segmentNumber(name string) (number uint64, ok bool) {
	_, err := fmt.Sscanf(name, "%d.seg", &number)
	return number, err == nil && name == segmentName(number)
}

// place adds to an error the segment where something is wrong.
func place(number uint64, err error) error {
	return placed{fmt.Errorf("segment %s: %w", segmentName(number), err)}
}

// placed is an error that place made.
type placed struct{ error }

func (p placed) Unwrap() error { return p.error }

func readSegment(fsys disk.FS, dir string, number uint64) (contents, []byte, error) {
	data, err := disk.ReadFile(fsys, filepath.Join(dir, segmentName(number)), maxSegment)
	if errors.Is(err, fs.ErrNotExist) {
		return contents{}, nil, place(number, fmt.Errorf("it is missing: %w", err))
	}
	if err != nil {
		return contents{}, nil, err
	}
	c, err := parseSegment(data, number)
	if err != nil {
		return contents{}, nil, place(number, err)
	}
	return c, data, nil
}

func readHeader(fsys disk.FS, dir string, number uint64) (header, error) {
	f, err := fsys.Open(filepath.Join(dir, segmentName(number)))
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	data := make([]byte, min(headerSize, f.Size()))
	if _, err := io.ReadFull(f, data); err != nil {
		return header{}, place(number, err)
	}
	h, err := parseHeader(data, f.Size(), number)
	if err != nil {
		return header{}, place(number, err)
	}
	return h, nil
}

// end describes the end of a journal.
type end struct {
	header        // of the last segment
	next   uint64 // sequence number after the last whole frame

	// doubtful is the newest frame if it may be readable and not durable. Appended frames may
	// be in the page cache only, and the name of a segment that has only its beginning may not
	// be durable.
	doubtful *frame
	base     uint64 // where reading must begin if doubtful is written again

	// durable reports whether every whole frame, doubtful too, is durable for certain: the
	// newest one says that the journal was closed, or a part of another follows it.
	durable bool

	bare bool   // whether the last segment has only its beginning
	cut  string // where the last segment has bytes that are no whole frame; or ""
}

// beginning returns the segments that must be read, of the given ones, which are in order. It
// reads headers only.
func beginning(fsys disk.FS, dir string, segments []uint64, from ledger.From) ([]uint64, error) {
	if from == ledger.FromBeginning {
		h, err := readHeader(fsys, dir, segments[0])
		if err == nil && h.first != 1 && !h.beginsAtCheckpoint() {
			// Archive was interrupted while it removed segments, or one is missing.
			if first, ok := slices.BinarySearch(segments, readBegin(fsys, dir)); ok {
				return segments[first:], nil
			}
			err = place(h.number, fmt.Errorf("it begins with frame %d: the segments before it are missing", h.first))
		}
		return segments, err
	}
	newest, err := readHeader(fsys, dir, segments[len(segments)-1])
	if err != nil {
		return nil, err
	}
	first, ok := slices.BinarySearch(segments, newest.base)
	if !ok {
		return nil, place(newest.base, fmt.Errorf("it is missing: %w", fs.ErrNotExist))
	}
	return segments[first:], nil
}

// whole is above every sequence number: replay then reads all frames.
const whole = math.MaxUint64

// replay reads the segments, which are in order, up to the frame until. It calls visit once for
// each part that is new (see since), and changes nothing. An error names the segment, offset
// and sequence number of the damage. The result describes the journal's end only if all of it
// was read.
//
// Numbers of segments may be missing as long as no frame is: the name of a segment without
// frames of its own may have been lost.
func replay(fsys disk.FS, dir string, segments []uint64, until uint64, visit func(part) error) (end, error) {
	last := segments[len(segments)-1]
	var e end
	var before contents // the segment before
	var latest []byte   // payload of the newest frame
	for i, number := range segments {
		c, data, err := readSegment(fsys, dir, number)
		if err != nil {
			return end{}, err
		}
		if i == 0 {
			e.next = c.first
		} else if err := follows(before, c, e.next, latest); err != nil {
			return end{}, err
		}
		if number == last && c.torn {
			if f, at, ok := c.wholeAfter(data); ok {
				return end{}, place(number, fmt.Errorf("offset %d, sequence %d: a frame is damaged, and frame %d at offset %d was written after it",
					c.bad, c.next(), f.seq, at))
			}
			e.cut = place(number, fmt.Errorf("the last %d bytes, from offset %d on, are not a whole frame %d", len(data)-c.bad, c.bad, c.next())).Error()
			e.durable = c.began(data)
		}
		begins := i == 0 && c.beginsAtCheckpoint()
		for i, f := range c.frames {
			if f.seq >= until {
				return e, nil
			}
			if f.seq < e.next {
				continue // the copy of a frame that was seen
			}
			if err := since(f.payload, begins, visit); err != nil {
				return end{}, place(number, fmt.Errorf("offset %d, sequence %d: %w", c.offsets[i], f.seq, err))
			}
			begins = false
			latest = f.payload
			e.next++
		}
		before = c
	}
	e.header, e.base = before.header, before.base
	if n := len(before.frames); n > 0 {
		e.doubtful = &before.frames[n-1]
		if n == 1 && e.base == last {
			e.base = last + 1 // the copy of what made the last segment a base
		}
	}
	e.durable = e.durable || e.doubtful == nil || marksClose(e.doubtful)
	e.bare = !before.torn && uint64(before.bad) == before.synced
	return e, nil
}

// follows checks that segment c continues where the one before it ended: with the next frame,
// or with a copy of the newest one.
func follows(before, c contents, next uint64, latest []byte) error {
	switch {
	case c.first > next && before.torn:
		return place(before.number, fmt.Errorf("offset %d, sequence %d: a frame is damaged, and segment %s goes on with frame %d",
			before.bad, next, segmentName(c.number), c.first))
	case c.first > next:
		return place(before.number, fmt.Errorf("offset %d, sequence %d: it ends here, and segment %s goes on with frame %d",
			before.bad, next, segmentName(c.number), c.first))
	case c.first+1 < next, c.epoch < before.epoch:
		return place(c.number, fmt.Errorf("it begins with frame %d in epoch %d, and the segment before it ended with frame %d in epoch %d: is it an older copy?",
			c.first, c.epoch, next-1, before.epoch))
	case c.first < next && (len(c.frames) == 0 || !bytes.Equal(c.frames[0].payload, latest)):
		return place(c.number, fmt.Errorf("offset %d, sequence %d: not a copy of the last frame of the segment before",
			headerSize, c.first))
	}
	return nil
}
