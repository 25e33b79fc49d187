package dirjournal

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// appendItemOutcome appends the JSON that encoding/json has for an outcome. A checkpoint
// has up to Remembered of them, so nearly all are written and read by hand. encoding/json takes
// six times as long, which would add 0.4 seconds to every Open.
func appendItemOutcome(dst []byte, o ledger.ItemOutcome) []byte {
	dst = appendString(append(dst, `{"id":`...), o.ID)
	dst = appendString(append(dst, `,"digest":`...), o.Digest)
	for _, member := range []struct{ name, value string }{{`,"means":`, o.Means}, {`,"by":`, o.By}} {
		if member.value != "" {
			dst = appendString(append(dst, member.name...), member.value)
		}
	}
	dst = appendString(append(dst, `,"state":`...), string(o.State))
	if o.Generation != 0 {
		dst = strconv.AppendInt(append(dst, `,"generation":`...), o.Generation, 10)
	}
	if o.Reason != "" {
		dst = appendString(append(dst, `,"reason":`...), o.Reason)
	}
	return append(dst, '}')
}

// appendString appends s as encoding/json does, with its escapes for HTML and its
// replacement of what isn't UTF-8. Nearly all strings are ASCII that needs none of that.
func appendString(dst []byte, s string) []byte {
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

// parseItemOutcome reads what appendItemOutcome wrote, or any other JSON of an outcome. It cuts by
// hand and writes the result again: if the bytes differ, encoding/json reads them.
func parseItemOutcome(data []byte) (ledger.ItemOutcome, error) {
	var o ledger.ItemOutcome
	c := cutter{data}
	text := func() string { return string(c.until(`"`)) } // up to its closing quote
	c.must(`{"id":"`)
	o.ID = text()
	c.must(`,"digest":"`)
	o.Digest = text()
	if c.next(`,"means":"`) {
		o.Means = text()
	}
	if c.next(`,"by":"`) {
		o.By = text()
	}
	c.must(`,"state":"`)
	o.State = stateOf(c.until(`"`))
	if c.next(`,"generation":`) {
		o.Generation, _ = strconv.ParseInt(string(c.until(`}`)), 10, 64)
	}
	var room [512]byte
	if bytes.Equal(appendItemOutcome(room[:0], o), data) {
		return o, nil
	}
	return jsontext.Decode[ledger.ItemOutcome](data)
}

// stateOf returns the state of this name, without a new string for a known one.
func stateOf(name []byte) ledger.ItemState {
	for _, s := range []ledger.ItemState{ledger.Published, ledger.Superseded, ledger.Unchanged, ledger.Refused, ledger.SetAside} {
		if string(name) == string(s) {
			return s
		}
	}
	return ledger.ItemState(name)
}

// cutter cuts pieces off the front of a text that should be as expected. It reports no
// errors: parseItemOutcome compares what was cut with the text.
type cutter struct{ rest []byte }

// next cuts piece off the front, and reports whether it was there.
func (c *cutter) next(piece string) (found bool) {
	c.rest, found = bytes.CutPrefix(c.rest, []byte(piece))
	return found
}

// must is next. If the piece isn't there, nothing is left of the text.
func (c *cutter) must(piece string) {
	if !c.next(piece) {
		c.rest = nil
	}
}

// until cuts off end and what is before it, and returns the latter.
func (c *cutter) until(end string) []byte {
	text, rest, _ := bytes.Cut(c.rest, []byte(end))
	c.rest = rest
	return text
}
