package cjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendString appends the canonical form of s, with its quotes, to dst. The
// caller sees to it that s is valid UTF-8.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	run := 0
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, s[run:i]...)
			dst = append(dst, '\\')
			run = i
		}
	}
	dst = append(dst, s[run:]...)
	return append(dst, '"')
}

// DecodeString returns the string whose canonical form, without its quotes, is
// encoded.
func DecodeString(encoded []byte) string {
	if bytes.IndexByte(encoded, '\\') < 0 {
		return string(encoded)
	}
	s := make([]byte, 0, len(encoded))
	for i := 0; i < len(encoded); i++ {
		if encoded[i] == '\\' && i+1 < len(encoded) {
			i++
		}
		s = append(s, encoded[i])
	}
	return string(s)
}

// AppendJSON appends to dst a JSON text whose canonical form is canonical. The
// two differ only where strings hold control characters, which JSON wants escaped.
//
// Cost: one pass at some GB/s, and one copy.
func AppendJSON(dst, canonical []byte) []byte {
	const hex = "0123456789abcdef"
	run := 0
	for i := 0; i < len(canonical); i++ {
		if i+8 <= len(canonical) && !controls(binary.LittleEndian.Uint64(canonical[i:])) {
			i += 7
			continue
		}
		if b := canonical[i]; b < 0x20 { // only inside strings, for canonical bytes have no white space
			dst = append(dst, canonical[run:i]...)
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
			run = i + 1
		}
	}
	return append(dst, canonical[run:]...)
}

// HasControls tells whether canonical bytes are no JSON text: whether there is
// anything in them that AppendJSON escapes.
func HasControls(canonical []byte) bool {
	for ; len(canonical) >= 8; canonical = canonical[8:] {
		if controls(binary.LittleEndian.Uint64(canonical)) {
			return true
		}
	}
	for _, b := range canonical {
		if b < 0x20 {
			return true
		}
	}
	return false
}

// controls tells whether a byte of w is less than 0x20.
func controls(w uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	return (w-ones*0x20)&^w&highs != 0
}

// compareKeys orders two keys, canonical and without their quotes, by the bytes
// they stand for. Those of the encoded form don't do where one of them is
// escaped: `\"` is less than `#`.
func compareKeys(a, b []byte, escaped bool) int {
	if !escaped {
		return bytes.Compare(a, b)
	}
	for len(a) > 0 && len(b) > 0 {
		if a[0] == '\\' && len(a) > 1 {
			a = a[1:]
		}
		if b[0] == '\\' && len(b) > 1 {
			b = b[1:]
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// compareQuoted orders two keys as compareKeys does. Both are canonical and in their
// quotes; whatever else is behind them is not looked at.
func compareQuoted(a, b []byte) int {
	n := min(len(a), len(b))
	i := 1 // behind the opening quotes
	// By words as far as they are alike, and hold nothing that the loop must see.
	for i+8 <= n {
		x, y := binary.LittleEndian.Uint64(a[i:]), binary.LittleEndian.Uint64(b[i:])
		alike := min(bits.TrailingZeros64(x^y), bits.TrailingZeros64(quotes(x))) / 8
		if i += alike; alike < 8 {
			break
		}
	}
	for i < n && a[i] == b[i] {
		if a[i] == '"' {
			return 0
		}
		if a[i] == '\\' && i+1 < n { // what it stands for is the next byte
			if i++; a[i] != b[i] {
				return int(a[i]) - int(b[i])
			}
		}
		i++
	}
	if i == n {
		return len(a) - len(b) // not with keys in quotes
	}
	return keyByte(a[i:]) - keyByte(b[i:])
}

// keyByte is what a key, of which this is the rest with its closing quote, goes on
// with: -1 at its end.
func keyByte(rest []byte) int {
	switch {
	case rest[0] == '"':
		return -1
	case rest[0] == '\\' && len(rest) > 1:
		return int(rest[1])
	}
	return int(rest[0])
}

// escape reads one escape sequence, or two that make a surrogate pair.
func (c *canonicalizer) escape() error {
	if c.pos+1 >= len(c.in) {
		c.pos = len(c.in)
		return c.unexpected("an escape sequence")
	}
	switch b := c.in[c.pos+1]; b {
	case '"', '\\':
		c.out = append(c.out, '\\', b)
	case '/':
		c.out = append(c.out, '/')
	case 'b':
		c.out = append(c.out, '\b')
	case 'f':
		c.out = append(c.out, '\f')
	case 'n':
		c.out = append(c.out, '\n')
	case 'r':
		c.out = append(c.out, '\r')
	case 't':
		c.out = append(c.out, '\t')
	case 'u':
		return c.unicodeEscape()
	default:
		return syntaxErrorf(c.pos, "an unknown escape sequence")
	}
	c.pos += 2
	return nil
}

func (c *canonicalizer) unicodeEscape() error {
	start := c.pos
	r, ok := c.hex4()
	if !ok {
		return syntaxErrorf(start, `\u without four hexadecimal digits`)
	}
	if utf16.IsSurrogate(r) {
		low, _ := c.hex4()
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return syntaxErrorf(start, "a lone surrogate")
		}
	}
	if r == '"' || r == '\\' {
		c.out = append(c.out, '\\')
	}
	c.out = utf8.AppendRune(c.out, r)
	return nil
}

// hex4 reads `\u` and four hexadecimal digits, or nothing.
func (c *canonicalizer) hex4() (rune, bool) {
	const size = len(`\uffff`)
	if len(c.in)-c.pos < size || c.in[c.pos] != '\\' || c.in[c.pos+1] != 'u' {
		return 0, false
	}
	// ParseUint in base 16 takes neither signs nor underscores nor prefixes.
	u, err := strconv.ParseUint(string(c.in[c.pos+2:c.pos+size]), 16, 16)
	if err != nil {
		return 0, false
	}
	c.pos += size
	return rune(u), true
}
