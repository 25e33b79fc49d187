package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Decode is strict about what it doesn't know: to ignore it would be to lose it.
func Decode[T any](data []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, err
	}
	if _, err := d.Token(); err != io.EOF {
		return v, errors.New("trailing data after JSON value")
	}
	return v, nil
}

// IsUnknownField reports whether Decode refused data for a member that it doesn't know.
func IsUnknownField(err error) bool {
	return err != nil && strings.Contains(err.Error(), "unknown field")
}

// Cutter cuts pieces off the front of a text that should be as expected. It reports
// nothing: what was cut wrongly gives another text when it is written again, and whoever
// uses it compares the two.
type Cutter struct{ rest []byte }

// NewCutter returns a cutter of text, which it doesn't change.
func NewCutter(text []byte) *Cutter { return &Cutter{text} }

// Next cuts piece off the front, and reports whether it was there.
func (c *Cutter) Next(piece string) (found bool) {
	c.rest, found = bytes.CutPrefix(c.rest, []byte(piece))
	return found
}

// Must is Next; where the text goes on in another way, nothing is left of it.
func (c *Cutter) Must(piece string) {
	if !c.Next(piece) {
		c.rest = nil
	}
}

// Until cuts off what is before end, which it returns, and end.
func (c *Cutter) Until(end string) []byte {
	text, rest, _ := bytes.Cut(c.rest, []byte(end))
	c.rest = rest
	return text
}
