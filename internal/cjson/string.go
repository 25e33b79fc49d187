package cjson

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendString appends the canonical form of s, with its quotes, to dst. The string
// must be valid UTF-8.
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
// two differ only in strings with control characters, which JSON wants escaped.
func AppendJSON(dst, canonical []byte) []byte {
	const hex = "0123456789abcdef"
	run := 0
	for i, b := range canonical {
		if b < 0x20 { // only inside strings: canonical bytes have no white space
			dst = append(dst, canonical[run:i]...)
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
			run = i + 1
		}
	}
	return append(dst, canonical[run:]...)
}

// compareKeys orders two keys, canonical and without their quotes, by the bytes
// they stand for. The encoded bytes order differently where one of the keys is
// escaped: `\"` comes before `#`.
func compareKeys(a, b []byte) int {
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return bytes.Compare(a, b)
	}
	return strings.Compare(DecodeString(a), DecodeString(b))
}

// comparePlain orders a key, canonical and up to its closing quote, and the string key.
func comparePlain(quoted []byte, key string) int {
	i := 0
	for k := range len(key) {
		if quoted[i] == '"' {
			return -1
		}
		if quoted[i] == '\\' {
			i++
		}
		if quoted[i] != key[k] {
			return cmp.Compare(quoted[i], key[k])
		}
		i++
	}
	if quoted[i] == '"' {
		return 0
	}
	return 1
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
