package dirjournal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// errOlder is wrapped for a journal that is sound, and of a format that no longer is read.
var errOlder = errors.New("written by an older version of Bindery, which must be used")

const (
	magic         = "bndryjnl"
	formatVersion = 2
	headerSize    = 64
	frameHead     = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a segment begins with.
type header struct {
	number uint64  // of this segment; the name says the same
	epoch  int64   // of the newest leader when the segment was begun
	first  uint64  // sequence number of the first frame, there or to come
	base   uint64  // number of the segment from which reading must begin
	synced uint64  // how much of the file was durable before it had its name
	id     [8]byte // random, so that no bytes of another segment pass for ours
}

// beginsAtCheckpoint reports whether the first frame has a checkpoint, with which reading
// may begin. The first segment never has a frame.
func (h header) beginsAtCheckpoint() bool { return h.base == h.number && h.number > 1 }

func (h header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, formatVersion)
	for _, v := range []uint64{h.number, uint64(h.epoch), h.first, h.base, h.synced} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, h.id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads the header of segment number, whose file has size bytes, from
// the file's beginning.
func parseHeader(data []byte, size int64, number uint64) (header, error) {
	if len(data) < headerSize {
		return header{}, fmt.Errorf("the file ends in its header, after %d bytes", len(data))
	}
	if !bytes.HasPrefix(data, []byte(magic)) {
		return header{}, errors.New("not a journal segment: wrong first bytes")
	}
	if got := binary.BigEndian.Uint32(data[60:]); got != crc32.Checksum(data[:60], castagnoli) {
		return header{}, errors.New("damaged header: wrong checksum")
	}
	switch v := binary.BigEndian.Uint32(data[8:]); {
	case v > formatVersion:
		return header{}, fmt.Errorf("%w: format %d, and this program reads format %d only", ledger.ErrNewer, v, formatVersion)
	case v < formatVersion:
		return header{}, fmt.Errorf("%w: format %d, and this program reads format %d only", errOlder, v, formatVersion)
	}
	u := func(at int) uint64 { return binary.BigEndian.Uint64(data[at:]) }
	h := header{number: u(12), epoch: int64(u(20)), first: u(28), base: u(36), synced: u(44), id: [8]byte(data[52:60])}
	switch {
	case h.number != number:
		return header{}, fmt.Errorf("its header says segment %d", h.number)
	case h.epoch < 0 || h.first == 0 || h.base == 0 || h.base > number || h.synced < headerSize:
		return header{}, fmt.Errorf("impossible header: %+v", h)
	case h.synced > uint64(size):
		return header{}, fmt.Errorf("%d bytes, and at least %d were durable: the file was cut", size, h.synced)
	}
	return h, nil
}

// frame is what was made durable by one sync.
type frame struct {
	seq     uint64
	payload []byte
}

// appendFrame appends the encoding of f in segment h.
func (h header) appendFrame(b []byte, f frame) []byte {
	return append(h.appendHead(b, f), f.payload...)
}

// appendHead appends what stands before the payload of f.
func (h header) appendHead(b []byte, f frame) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.payload)))
	b = binary.BigEndian.AppendUint64(b, f.seq)
	return binary.BigEndian.AppendUint32(b, h.checksum(b[at:], f.payload))
}

// checksum covers the segment's ID and all of a frame but the checksum itself.
func (h header) checksum(head, payload []byte) uint32 {
	c := crc32.Update(0, castagnoli, h.id[:])
	c = crc32.Update(c, castagnoli, head)
	return crc32.Update(c, castagnoli, payload)
}

// frameAt returns the frame that begins at offset at, if a whole one does.
func (h header) frameAt(data []byte, at int) (f frame, size int, ok bool) {
	if len(data)-at < frameHead {
		return frame{}, 0, false
	}
	length := uint64(binary.BigEndian.Uint32(data[at:]))
	if length == 0 || length > uint64(len(data)-at-frameHead) {
		return frame{}, 0, false
	}
	size = frameHead + int(length)
	b := data[at : at+size]
	if binary.BigEndian.Uint32(b[12:]) != h.checksum(b[:12], b[frameHead:]) {
		return frame{}, 0, false
	}
	return frame{binary.BigEndian.Uint64(b[4:]), b[frameHead:]}, size, true
}

// contents is what a segment holds.
type contents struct {
	header
	frames  []frame
	offsets []int // of frames
	bad     int   // offset of the first byte that is in no whole frame
	torn    bool  // whether there is such a byte
}

// parseSegment reads a segment's file. Whole frames are all that it finds up to a
// bad one; whether that is the end of the log or damage is for the caller, who
// knows the segments after this one. Frames share data's memory.
func parseSegment(data []byte, number uint64) (contents, error) {
	h, err := parseHeader(data, int64(len(data)), number)
	if err != nil {
		return contents{}, err
	}
	c := contents{header: h, bad: headerSize}
	for c.bad < len(data) {
		f, size, ok := h.frameAt(data, c.bad)
		if !ok {
			c.torn = true
			break
		}
		if f.seq != c.next() {
			return contents{}, fmt.Errorf("offset %d: frame %d where frame %d should be", c.bad, f.seq, c.next())
		}
		c.frames = append(c.frames, f)
		c.offsets = append(c.offsets, c.bad)
		c.bad += size
	}
	if uint64(c.bad) < h.synced {
		return contents{}, fmt.Errorf("offset %d, sequence %d: a frame is damaged, though it was durable", c.bad, c.next())
	}
	return c, nil
}

// next is the sequence number after the last whole frame.
func (c contents) next() uint64 { return c.first + uint64(len(c.frames)) }

// began reports whether the bad frame is certainly the next one, of which a part was
// written: then all before it had been synced.
func (c contents) began(data []byte) bool {
	return len(data)-c.bad >= frameHead && binary.BigEndian.Uint64(data[c.bad+4:]) == c.next()
}

// wholeAfter returns the first whole frame beyond the bad one. A frame is written
// only once the one before it is durable, so if there is one, the bad one is no
// torn end but damage.
func (c contents) wholeAfter(data []byte) (f frame, at int, ok bool) {
	for at := c.bad + 1; at <= len(data)-frameHead; at++ {
		// Few places look like a later frame, so few checksums are computed.
		seq := binary.BigEndian.Uint64(data[at+4:])
		if seq < c.next() || seq-c.next() > uint64(len(data)) {
			continue
		}
		if f, _, ok := c.frameAt(data, at); ok {
			return f, at, true
		}
	}
	return frame{}, 0, false
}
