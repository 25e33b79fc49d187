// Package cjson writes and edits canonical JSON, the form in which TUF metadata is signed
// (TUF specification, 4.1; the OLPC canonical JSON).
//
//	canonical, err := cjson.Canonicalize(text)
//	...
//	for m, err := range cjson.Members(canonical) {
//		fmt.Println(cjson.DecodeString(m.Key), string(m.Value))
//	}
//	canonical, err = cjson.Splice(nil, canonical, []cjson.Edit{{Key: "version", Value: []byte("8")}})
//
// Canonical bytes hold no white space. Members of an object are sorted by the bytes of their
// decoded keys. Numbers are integers. A string holds its UTF-8 unescaped, except for `\"` and
// `\\`. So a string with control characters has a canonical form that isn't JSON; AppendJSON
// turns it into JSON again.
//
// Canonicalize refuses what parsers read differently, so that no signed text means two
// things to two clients. For every text it accepts, its result equals that of
// go-securesystemslib's cjson.EncodeCanonical, byte for byte.
package cjson

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 100

// Canonicalize returns the canonical form of the JSON text in data. Integers are kept
// exactly. It refuses duplicate keys, trailing data, floating point numbers, exponents, -0,
// integers outside int64, invalid UTF-8, lone surrogates, nesting deeper than 100, and what
// RFC 8259 doesn't allow. The error has the byte's offset and the place in the document.
//
// Cost: one pass over data, and a copy of each object whose members weren't sorted.
func Canonicalize(data []byte) ([]byte, error) {
	c := canonicalizer{in: data, out: make([]byte, 0, len(data))}
	if err := c.value(0); err != nil {
		return nil, err
	}
	if c.space(); c.pos < len(c.in) {
		return nil, c.unexpected("the end of the document")
	}
	return c.out, nil
}

// Decode returns the value of the JSON text in data as package encoding/json decodes
// it into an any, with numbers of type json.Number. It refuses what Canonicalize
// refuses.
func Decode(data []byte) (any, error) {
	if _, err := Canonicalize(data); err != nil {
		return nil, err
	}
	var v any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	err := decoder.Decode(&v)
	return v, err
}

// canonicalizer reads in from pos on and appends the canonical form to out.
type canonicalizer struct {
	in  []byte
	pos int
	out []byte

	// members is a stack: those of the innermost open object are at its end.
	members []member
	scratch []byte
}

// member is a member that was written to out.
type member struct {
	start, keyEnd, end int // in out; start is at the key's opening quote
	offset             int // of the key in the input
}

func (c *canonicalizer) value(depth int) error {
	c.space()
	if depth > maxDepth {
		return syntaxErrorf(c.pos, "nested deeper than %d", maxDepth)
	}
	switch b := c.peek(); {
	case b == '{':
		return c.object(depth)
	case b == '[':
		return c.array(depth)
	case b == '"':
		return c.string()
	case b == '-' || isDigit(b):
		return c.number()
	}
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(c.in[c.pos:], []byte(literal)) {
			c.pos += len(literal)
			c.out = append(c.out, literal...)
			return nil
		}
	}
	return c.unexpected("a value")
}

func (c *canonicalizer) object(depth int) error {
	open, base := len(c.out), len(c.members)
	c.pos++
	c.out = append(c.out, '{')
	for c.space(); c.peek() != '}'; c.space() {
		if len(c.members) > base {
			if c.peek() != ',' {
				return c.unexpected("',' or '}'")
			}
			c.pos++
			c.space()
			c.out = append(c.out, ',')
		}
		if c.peek() != '"' {
			return c.unexpected("a key")
		}
		m := member{start: len(c.out), offset: c.pos}
		if err := c.string(); err != nil {
			return err
		}
		m.keyEnd = len(c.out)
		if c.space(); c.peek() != ':' {
			return c.unexpected("':'")
		}
		c.pos++
		c.out = append(c.out, ':')
		if err := c.value(depth + 1); err != nil {
			return inMember(err, c.key(m))
		}
		m.end = len(c.out)
		c.members = append(c.members, m)
	}
	c.pos++
	if err := c.sort(open, c.members[base:]); err != nil {
		return err
	}
	c.members = c.members[:base]
	c.out = append(c.out, '}')
	return nil
}

// sort brings the members of the object that opens at out[open] into order.
func (c *canonicalizer) sort(open int, members []member) error {
	byKey := func(a, b member) int {
		return compareKeys(c.key(a), c.key(b))
	}
	if !slices.IsSortedFunc(members, byKey) {
		slices.SortStableFunc(members, byKey)
		c.scratch = append(c.scratch[:0], c.out[open+1:]...)
		c.out = c.out[:open+1]
		for i, m := range members {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			shift := len(c.out) - m.start
			c.out = append(c.out, c.scratch[m.start-open-1:m.end-open-1]...)
			members[i].start, members[i].keyEnd, members[i].end = m.start+shift, m.keyEnd+shift, m.end+shift
		}
	}
	for i := 1; i < len(members); i++ {
		if byKey(members[i-1], members[i]) == 0 {
			return syntaxErrorf(members[i].offset, "duplicate key %q", DecodeString(c.key(members[i])))
		}
	}
	return nil
}

// key is the member's key as it is encoded, without the quotes.
func (c *canonicalizer) key(m member) []byte { return c.out[m.start+1 : m.keyEnd-1] }

func (c *canonicalizer) array(depth int) error {
	c.pos++
	c.out = append(c.out, '[')
	n := 0
	for c.space(); c.peek() != ']'; c.space() {
		if n > 0 {
			if c.peek() != ',' {
				return c.unexpected("',' or ']'")
			}
			c.pos++
			c.out = append(c.out, ',')
		}
		if err := c.value(depth + 1); err != nil {
			return inElement(err, n)
		}
		n++
	}
	c.pos++
	c.out = append(c.out, ']')
	return nil
}

func (c *canonicalizer) number() error {
	start := c.pos
	if c.peek() == '-' {
		c.pos++
	}
	digits := c.pos
	for isDigit(c.peek()) {
		c.pos++
	}
	text := string(c.in[start:c.pos])
	switch b := c.peek(); {
	case c.pos == digits:
		return c.unexpected("a digit")
	case b == '.' || b == 'e' || b == 'E':
		return syntaxErrorf(start, "a number that is no plain integer")
	case c.in[digits] == '0' && c.pos > digits+1:
		return syntaxErrorf(start, "a number with a leading zero")
	case text == "-0":
		return syntaxErrorf(start, "negative zero")
	}
	if _, err := strconv.ParseInt(text, 10, 64); err != nil {
		return syntaxErrorf(start, "an integer outside 64 bits")
	}
	c.out = append(c.out, text...)
	return nil
}

func (c *canonicalizer) string() error {
	c.pos++
	c.out = append(c.out, '"')
	for run := c.pos; ; {
		switch b := c.peek(); {
		case b == '"':
			c.out = append(c.out, c.in[run:c.pos+1]...)
			c.pos++
			return nil
		case c.pos >= len(c.in):
			return c.unexpected("the string's end")
		case b < 0x20:
			return syntaxErrorf(c.pos, "a control character in a string")
		case b == '\\':
			c.out = append(c.out, c.in[run:c.pos]...)
			if err := c.escape(); err != nil {
				return err
			}
			run = c.pos
		case b < utf8.RuneSelf:
			c.pos++
		default:
			r, size := utf8.DecodeRune(c.in[c.pos:])
			if r == utf8.RuneError && size == 1 {
				return syntaxErrorf(c.pos, "invalid UTF-8")
			}
			c.pos += size
		}
	}
}

func (c *canonicalizer) space() {
	for c.pos < len(c.in) {
		switch c.in[c.pos] {
		case ' ', '\t', '\r', '\n':
			c.pos++
		default:
			return
		}
	}
}

// peek is the next byte, or 0 at the end: no place in JSON takes that byte.
func (c *canonicalizer) peek() byte {
	if c.pos < len(c.in) {
		return c.in[c.pos]
	}
	return 0
}

func (c *canonicalizer) unexpected(want string) error {
	return unexpected(c.in, c.pos, want)
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }
