package dirjournal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// remembered is a ledger.ItemOutcome in a form that is small: up to Remembered of them are in
// memory.
type remembered struct {
	id, by     string
	digest     [sha256.Size]byte
	generation int64
	state      uint8 // index into outcomeStates
	more       *more // nil for most
}

// more is what few outcomes have.
type more struct{ means, reason string }

var outcomeStates = []ledger.ItemState{"", ledger.Published, ledger.Superseded, ledger.Unchanged, ledger.Refused, ledger.SetAside}

// remember is the inverse of remembered.item.
func remember(o ledger.ItemOutcome) (remembered, error) {
	r := remembered{id: o.ID, by: o.By}
	r.decide(o)
	if r.state == 0 {
		return r, fmt.Errorf("item %q: %w: unknown state %q", o.ID, ledger.ErrNewer, o.State)
	}
	if n, err := hex.Decode(r.digest[:], cut([]byte(o.Digest))); err != nil || n != len(r.digest) || r.hex() != o.Digest {
		return r, fmt.Errorf("item %q: the digest %q is no SHA-256 in lower-case hexadecimal", o.ID, o.Digest)
	}
	return r, nil
}

// decide takes over what a record decided about the item.
func (r *remembered) decide(o ledger.ItemOutcome) {
	r.state, r.generation, r.more = stateOf([]byte(o.State)), o.Generation, nil
	if o.Means != "" || o.Reason != "" {
		r.more = &more{o.Means, o.Reason}
	}
}

// cut is the beginning of a text that may be a digest: no more than there is room for.
func cut(text []byte) []byte { return text[:min(len(text), hex.EncodedLen(sha256.Size))] }

func (r *remembered) hex() string { return hex.EncodeToString(r.digest[:]) }

func (r *remembered) item() ledger.ItemOutcome {
	o := ledger.ItemOutcome{ID: r.id, Digest: r.hex(), By: r.by, Outcome: r.outcome()}
	if r.more != nil {
		o.Means = r.more.means
	}
	return o
}

func (r *remembered) outcome() ledger.Outcome {
	o := ledger.Outcome{State: outcomeStates[r.state], Generation: r.generation}
	if r.more != nil {
		o.Reason = r.more.reason
	}
	return o
}

// append appends the JSON that encoding/json has for the outcome. A checkpoint has up to
// Remembered of them, so nearly all are written and read by hand: encoding/json takes six
// times as long, 0.4 seconds of every Open.
func (r *remembered) append(dst []byte) []byte {
	dst = appendString(append(dst, `{"id":`...), r.id)
	dst = append(hex.AppendEncode(append(dst, `,"digest":"`...), r.digest[:]), '"')
	var rare more
	if r.more != nil {
		rare = *r.more
	}
	for _, member := range []struct{ name, value string }{{`,"means":`, rare.means}, {`,"by":`, r.by}} {
		if member.value != "" {
			dst = appendString(append(dst, member.name...), member.value)
		}
	}
	dst = appendString(append(dst, `,"state":`...), string(outcomeStates[r.state]))
	if r.generation != 0 {
		dst = strconv.AppendInt(append(dst, `,"generation":`...), r.generation, 10)
	}
	if rare.reason != "" {
		dst = appendString(append(dst, `,"reason":`...), rare.reason)
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

// parseOutcome reads what append wrote, or any other JSON of an outcome that was decided. What
// it cuts wrongly by hand doesn't give the same bytes when it is written again.
func parseOutcome(data []byte) (remembered, error) {
	var r remembered
	c := cutter{data}
	c.must(`{"id":"`)
	r.id = string(c.until(`"`)) // up to its closing quote
	c.must(`,"digest":"`)
	_, _ = hex.Decode(r.digest[:], cut(c.until(`"`)))
	if c.next(`,"means":"`) {
		r.more = &more{means: string(c.until(`"`))}
	}
	if c.next(`,"by":"`) {
		r.by = string(c.until(`"`))
	}
	c.must(`,"state":"`)
	r.state = stateOf(c.until(`"`))
	if c.next(`,"generation":`) {
		r.generation, _ = strconv.ParseInt(string(c.until(`}`)), 10, 64)
	}
	var room [512]byte
	if r.state > 0 && bytes.Equal(r.append(room[:0]), data) {
		return r, nil
	}
	o, err := decode[ledger.ItemOutcome](data)
	if err != nil {
		return r, err
	}
	return remember(o)
}

// stateOf is the index of a state, or 0.
func stateOf(name []byte) uint8 {
	for i, s := range outcomeStates[1:] {
		if string(name) == string(s) {
			return uint8(i + 1)
		}
	}
	return 0
}

// cutter cuts pieces off the front of a text that should be as expected. It reports no
// errors: parseOutcome compares what was cut with the text.
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
