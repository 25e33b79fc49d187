package cjson

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Edit sets one member of an object to Value, canonical bytes, or removes the
// member where Value is nil.
type Edit struct {
	Key   string
	Value []byte
}

// Index says where the members of a canonical object begin: the offsets of their keys'
// opening quotes, in order. With an index (see IndexedMembers), the object can be edited
// without checking it again.
type Index []uint32

// maxIndexed is the most that an Index reaches. It is more than an int holds on a
// 32-bit machine.
const maxIndexed int64 = math.MaxUint32

// append adds the cursor's member, of an object that begins at start.
func (x Index) append(c *cursor, start int) Index {
	if x == nil { // as many as there are, if they are all of this size
		x = make(Index, 0, (len(c.data)-start)/(c.pos-c.keyStart)+1)
	}
	return append(x, uint32(c.keyStart-start))
}

// Splice appends to dst the canonical object with the edits applied. If object or an edit
// isn't canonical, as far as Members checks, the error has the place. Index.Splice says what
// edits must be.
func Splice(dst, object []byte, edits []Edit) ([]byte, error) {
	x, err := indexOf(object)
	if err != nil {
		return nil, err
	}
	dst, _, err = x.Splice(dst, object, edits)
	return dst, err
}

func indexOf(object []byte) (Index, error) {
	var x Index
	c := cursor{data: object}
	for c.next(0) {
		x = x.append(&c, 0)
	}
	return x, c.finish()
}

// Splice appends to dst the object with the edits applied, and returns the index of the
// result too. The object must be the one that x is the index of; it isn't checked again. Edits are sorted by
// Key, one for each key. Removing a member that isn't there is not an error. If an edit isn't
// canonical, the error has the place.
//
// Cost: a comparison with each member, and one copy of the object and of the index;
// allocations only for the index, and where dst is too small.
func (x Index) Splice(dst, object []byte, edits []Edit) ([]byte, Index, error) {
	if err := checkEdits(edits); err != nil {
		return nil, nil, err
	}
	s := splicer{object: object, index: x, dst: append(dst, '{'), start: len(dst), made: make(Index, 0, len(x)+len(edits))}
	var key []byte
	done := 0 // members that were copied or dropped
	for _, e := range edits {
		key = AppendString(key[:0], e.Key)
		at, found := s.search(done, e.Key)
		s.copy(done, at)
		if e.Value != nil {
			s.begin()
			s.dst = append(s.dst, key...)
			s.dst = append(s.dst, ':')
			s.dst = append(s.dst, e.Value...)
		}
		if done = at; found {
			done++
		}
	}
	s.copy(done, len(x))
	return append(s.dst, '}'), s.made, nil
}

func checkEdits(edits []Edit) error {
	for i, e := range edits {
		if i > 0 && edits[i-1].Key >= e.Key {
			return fmt.Errorf("edit of %q: out of order after %q", e.Key, edits[i-1].Key)
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

// splicer writes an object to dst[start:], made of members of another one and of
// new ones.
type splicer struct {
	object []byte
	index  Index

	dst   []byte
	start int
	made  Index
}

// search returns the first member, from the given one on, whose key isn't before
// key, and whether it is key.
func (s *splicer) search(from int, key string) (int, bool) {
	for at, offset := range s.index[from:] {
		if order := comparePlain(s.object[offset+1:], key); order >= 0 {
			return from + at, order == 0
		}
	}
	return len(s.index), false
}

// copy takes over the members from the first to before the last.
func (s *splicer) copy(first, last int) {
	if first == last {
		return
	}
	from, to := int(s.index[first]), len(s.object)-1
	if last < len(s.index) {
		to = int(s.index[last]) - 1 // before the comma
	}
	s.begin()
	shift := s.made[len(s.made)-1] - s.index[first] // modulo 2^32, where it is negative
	for _, offset := range s.index[first+1 : last] {
		s.made = append(s.made, offset+shift)
	}
	s.dst = append(s.dst, s.object[from:to]...)
}

// begin notes that a member is written next.
func (s *splicer) begin() {
	if len(s.made) > 0 {
		s.dst = append(s.dst, ',')
	}
	s.made = append(s.made, uint32(len(s.dst)-s.start))
}
