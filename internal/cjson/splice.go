package cjson

import (
	"fmt"
	"unicode/utf8"
)

// Edit sets one member of an object to Value, canonical bytes, or removes the
// member where Value is nil.
type Edit struct {
	Key   string
	Value []byte
}

// Splice appends to dst the canonical object with the edits applied. Edits are
// sorted by Key and unique; removing what isn't there is no error. Where object
// isn't canonical (as far as Members looks), or an edit isn't, the result is an
// error that tells the place, and nothing.
//
// Cost: one walk over object as Members does it, and one copy of each run of
// members between two edits; allocations only where dst is too small.
func Splice(dst, object []byte, edits []Edit) ([]byte, error) {
	if err := checkEdits(edits); err != nil {
		return nil, err
	}
	s := splicer{dst: append(dst, '{'), edits: edits, runStart: 1, runEnd: 1}
	s.encodeKey()
	c := cursor{data: object}
	for c.next(0) {
		order := s.compareEdit(&c)
		for ; order < 0; order = s.compareEdit(&c) {
			s.flush(object, c.keyStart)
			s.apply()
		}
		if order == 0 {
			s.flush(object, c.pos+1) // behind the comma, or the end
			s.apply()
		} else {
			s.runEnd = c.pos
		}
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	s.flush(object, len(object))
	for len(s.edits) > 0 {
		s.apply()
	}
	return append(s.dst, '}'), nil
}

func checkEdits(edits []Edit) error {
	for i, e := range edits {
		if i > 0 && edits[i-1].Key >= e.Key {
			return fmt.Errorf("edit of %q isn't behind that of %q", e.Key, edits[i-1].Key)
		}
		if e.Value == nil {
			continue
		}
		if !utf8.ValidString(e.Key) {
			return fmt.Errorf("edit of %q: invalid UTF-8", e.Key)
		}
		end, err := skipValue(e.Value, 0, 1)
		if err == nil && end < len(e.Value) {
			err = unexpected(e.Value, end, "the value's end")
		}
		if err != nil {
			return fmt.Errorf("edit of %q: %w", e.Key, err)
		}
	}
	return nil
}

// splicer holds what is written and what is still to be: the run
// object[runStart:runEnd] of whole members, then the edits.
type splicer struct {
	dst              []byte
	edits            []Edit
	key              []byte // edits[0].Key, canonical, with its quotes
	runStart, runEnd int
	filled           bool // dst has a member
}

// compareEdit orders the next edit against the cursor's member; no edit is behind all.
func (s *splicer) compareEdit(c *cursor) int {
	if len(s.edits) == 0 {
		return 1
	}
	key := s.key[1 : len(s.key)-1]
	return compareKeys(key, c.key(), c.escaped || len(key) > len(s.edits[0].Key))
}

// flush writes the run; the next one begins at next.
func (s *splicer) flush(object []byte, next int) {
	if s.runEnd > s.runStart {
		s.separate()
		s.dst = append(s.dst, object[s.runStart:s.runEnd]...)
	}
	s.runStart, s.runEnd = next, next
}

// apply writes the member that the next edit makes, if any.
func (s *splicer) apply() {
	if value := s.edits[0].Value; value != nil {
		s.separate()
		s.dst = append(s.dst, s.key...)
		s.dst = append(s.dst, ':')
		s.dst = append(s.dst, value...)
	}
	s.edits = s.edits[1:]
	s.encodeKey()
}

func (s *splicer) encodeKey() {
	if len(s.edits) > 0 {
		s.key = AppendString(s.key[:0], s.edits[0].Key)
	}
}

func (s *splicer) separate() {
	if s.filled {
		s.dst = append(s.dst, ',')
	}
	s.filled = true
}
