package cjson

import (
	"errors"
	"fmt"
	"strconv"
)

// syntaxError says what is wrong with a text, and where.
type syntaxError struct {
	offset int    // in bytes
	place  string // from the root to the value, such as signed.targets["a/b"]
	reason string
}

func (e *syntaxError) Error() string {
	place := e.place
	if place == "" {
		return fmt.Sprintf("byte %d: %s", e.offset, e.reason)
	}
	if place[0] == '.' {
		place = place[1:]
	}
	return fmt.Sprintf("byte %d, in %s: %s", e.offset, place, e.reason)
}

func syntaxErrorf(offset int, format string, args ...any) error {
	return &syntaxError{offset: offset, reason: fmt.Sprintf(format, args...)}
}

func unexpected(data []byte, pos int, want string) error {
	if pos >= len(data) {
		return syntaxErrorf(len(data), "the text ends where %s should be", want)
	}
	return syntaxErrorf(pos, "%q where %s should be", data[pos], want)
}

// inMember adds to the error's place that it is in the value of key, as encoded.
// Places are put together on the way out, so that only errors pay for them.
func inMember(err error, key []byte) error {
	name := DecodeString(key)
	if isWord(name) {
		return within(err, "."+name)
	}
	return within(err, "["+strconv.Quote(name)+"]")
}

func inElement(err error, index int) error {
	return within(err, "["+strconv.Itoa(index)+"]")
}

func within(err error, step string) error {
	if e, ok := errors.AsType[*syntaxError](err); ok {
		e.place = step + e.place
	}
	return err
}

func isWord(s string) bool {
	for i := range len(s) {
		if b := s[i]; b != '_' && (b < 'a' || b > 'z') {
			return false
		}
	}
	return s != ""
}
