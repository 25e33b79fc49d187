package cjson

import (
	"bytes"
	"iter"
	"strconv"
)

// Member is one member of an object in canonical bytes. It aliases the object.
type Member struct {
	Key   []byte // as encoded, without the quotes; see DecodeString
	Value []byte // canonical
	Start int    // where Value begins in the object
}

// Members yields the members of an object in canonical bytes. It checks the form on the
// way, at every depth. If object isn't canonical, the last pair is an error. Inside strings,
// only the escapes are checked: bytes from elsewhere go through Canonicalize first.
//
// Cost: one pass, with no allocation for a member.
func Members(object []byte) iter.Seq2[Member, error] { return members(cursor{data: object}) }

// IndexedMembers is Members, and fills index for the value of one name, an object. The index
// is complete when that pair is yielded. An object of 4 GiB is an error.
func IndexedMembers(object []byte, name string, index *Index) iter.Seq2[Member, error] {
	return members(cursor{data: object, indexed: name, index: index})
}

func members(c cursor) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		for c.next(0) {
			if !yield(Member{Key: c.key(), Value: c.data[c.keyEnd+1 : c.pos], Start: c.keyEnd + 1}, nil) {
				return
			}
		}
		if err := c.finish(); err != nil {
			yield(Member{}, err)
		}
	}
}

// cursor walks the members of the object that opens at data[pos].
type cursor struct {
	data []byte
	pos  int // after the current member; after the object when done
	err  error

	keyStart, keyEnd int // the current key, with its quotes; keyEnd is 0 before the first

	indexed string // the member whose value is to be indexed
	index   *Index // or nil
}

func (c *cursor) key() []byte { return c.data[c.keyStart+1 : c.keyEnd-1] }

// next goes to the next member. It is false at the object's end and on an error.
func (c *cursor) next(depth int) bool {
	data, first, before := c.data, c.keyEnd == 0, byte(',')
	if first {
		before = '{'
	}
	switch at := c.peek(c.pos); {
	case at == '}' && !first:
		c.pos++
		return false
	case at != before:
		return c.fail(unexpected(data, c.pos, strconv.QuoteRune(rune(before))))
	case first && c.peek(c.pos+1) == '}':
		c.pos += 2
		return false
	}
	start := c.pos + 1
	end, err := skipString(data, start)
	if err != nil {
		return c.fail(err)
	}
	if !first && compareKeys(c.key(), data[start+1:end-1]) >= 0 {
		return c.fail(syntaxErrorf(start, "key %s is out of order", data[start:end]))
	}
	c.keyStart, c.keyEnd = start, end
	if c.peek(end) != ':' {
		return c.fail(unexpected(data, end, "':'"))
	}
	if c.index != nil && string(c.key()) == c.indexed && c.peek(end+1) == '{' {
		c.pos, err = c.skipIndexed(end+1, depth+1)
	} else {
		c.pos, err = skipValue(data, end+1, depth+1)
	}
	if err != nil {
		return c.fail(inMember(err, c.key()))
	}
	return true
}

// skipIndexed is skipValue for the object that is to be indexed.
func (c *cursor) skipIndexed(i, depth int) (int, error) {
	if int64(len(c.data)-i) > maxIndexed {
		return 0, syntaxErrorf(i, "an object of more than %d bytes", maxIndexed)
	}
	*c.index = nil
	value := cursor{data: c.data, pos: i}
	for value.next(depth) {
		*c.index = c.index.append(&value, i)
	}
	return value.pos, value.err
}

// finish tells, once next was false, what is wrong with the object, if anything.
func (c *cursor) finish() error {
	if c.err == nil && c.pos < len(c.data) {
		c.err = unexpected(c.data, c.pos, "the object's end")
	}
	return c.err
}

func (c *cursor) fail(err error) bool {
	c.err = err
	return false
}

func (c *cursor) peek(i int) byte {
	if i < len(c.data) {
		return c.data[i]
	}
	return 0
}

// skipValue returns where the value that begins at data[i] ends.
func skipValue(data []byte, i, depth int) (int, error) {
	if i >= len(data) {
		return 0, unexpected(data, i, "a value")
	}
	if depth > maxDepth {
		return 0, syntaxErrorf(i, "nested deeper than %d", maxDepth)
	}
	switch b := data[i]; {
	case b == '"':
		return skipString(data, i)
	case b == '{':
		c := cursor{data: data, pos: i}
		for c.next(depth) {
		}
		return c.pos, c.err
	case b == '[':
		return skipArray(data, i, depth)
	case b == '-' || isDigit(b):
		return skipNumber(data, i)
	}
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(data[i:], []byte(literal)) {
			return i + len(literal), nil
		}
	}
	return 0, unexpected(data, i, "a value")
}

func skipArray(data []byte, i, depth int) (int, error) {
	if i++; i < len(data) && data[i] == ']' {
		return i + 1, nil
	}
	for n := 0; ; n++ {
		var err error
		if i, err = skipValue(data, i, depth+1); err != nil {
			return 0, inElement(err, n)
		}
		switch {
		case i < len(data) && data[i] == ']':
			return i + 1, nil
		case i >= len(data) || data[i] != ',':
			return 0, unexpected(data, i, "',' or ']'")
		}
		i++
	}
}

func skipNumber(data []byte, i int) (int, error) {
	start := i
	if data[i] == '-' {
		i++
	}
	digits := i
	for i < len(data) && isDigit(data[i]) {
		i++
	}
	switch n := i - digits; {
	case n == 0:
		return 0, unexpected(data, i, "a digit")
	case data[digits] == '0' && i-start > 1:
		return 0, syntaxErrorf(start, "a zero that isn't canonical")
	case n > 18: // shorter ones fit
		if _, err := strconv.ParseInt(string(data[start:i]), 10, 64); err != nil {
			return 0, syntaxErrorf(start, "an integer outside 64 bits")
		}
	}
	return i, nil
}

// skipString returns where the string ends whose opening quote should be at data[i].
func skipString(data []byte, i int) (int, error) {
	if i >= len(data) || data[i] != '"' {
		return 0, unexpected(data, i, "a string")
	}
	i++
	n := bytes.IndexByte(data[i:], '"')
	if n >= 0 && bytes.IndexByte(data[i:i+n], '\\') < 0 {
		return i + n + 1, nil
	}
	for ; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1, nil
		case '\\':
			if i++; i < len(data) && data[i] != '"' && data[i] != '\\' {
				return 0, syntaxErrorf(i-1, "an escape that isn't canonical")
			}
		}
	}
	return 0, unexpected(data, len(data), "the string's end")
}
