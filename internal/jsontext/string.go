// Package jsontext reads and writes by hand, for what is read and written hundreds of
// thousands of times, the JSON that package encoding/json writes.
package jsontext

import "encoding/json"

// AppendString appends the encoding of s that encoding/json has, with its escapes for
// HTML and its replacement of what isn't UTF-8. Nearly all strings are ASCII that needs
// none of that.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // of a string it has no error
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
