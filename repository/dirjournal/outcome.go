package dirjournal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
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
	dst = jsontext.AppendString(append(dst, `{"id":`...), r.id)
	dst = append(hex.AppendEncode(append(dst, `,"digest":"`...), r.digest[:]), '"')
	var rare more
	if r.more != nil {
		rare = *r.more
	}
	for _, member := range []struct{ name, value string }{{`,"means":`, rare.means}, {`,"by":`, r.by}} {
		if member.value != "" {
			dst = jsontext.AppendString(append(dst, member.name...), member.value)
		}
	}
	dst = jsontext.AppendString(append(dst, `,"state":`...), string(outcomeStates[r.state]))
	if r.generation != 0 {
		dst = strconv.AppendInt(append(dst, `,"generation":`...), r.generation, 10)
	}
	if rare.reason != "" {
		dst = jsontext.AppendString(append(dst, `,"reason":`...), rare.reason)
	}
	return append(dst, '}')
}

// parseOutcome reads what append wrote, or any other JSON of an outcome that was decided. What
// it cuts wrongly by hand doesn't give the same bytes when it is written again.
func parseOutcome(data []byte) (remembered, error) {
	var r remembered
	c := jsontext.NewCutter(data)
	c.Must(`{"id":"`)
	r.id = string(c.Until(`"`)) // up to its closing quote
	c.Must(`,"digest":"`)
	_, _ = hex.Decode(r.digest[:], cut(c.Until(`"`)))
	if c.Next(`,"means":"`) {
		r.more = &more{means: string(c.Until(`"`))}
	}
	if c.Next(`,"by":"`) {
		r.by = string(c.Until(`"`))
	}
	c.Must(`,"state":"`)
	r.state = stateOf(c.Until(`"`))
	if c.Next(`,"generation":`) {
		r.generation, _ = strconv.ParseInt(string(c.Until(`}`)), 10, 64)
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
