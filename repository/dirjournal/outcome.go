package dirjournal

import (
	"bytes"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// appendItemOutcome appends the JSON that encoding/json has for an outcome. A checkpoint
// has up to Remembered of them, so nearly all are written and read by hand: encoding/json
// takes six times as long, 0.4 seconds of every Open.
func appendItemOutcome(dst []byte, o ledger.ItemOutcome) []byte {
	dst = jsontext.AppendString(append(dst, `{"id":`...), o.ID)
	dst = jsontext.AppendString(append(dst, `,"digest":`...), o.Digest)
	for _, member := range []struct{ name, value string }{{`,"means":`, o.Means}, {`,"by":`, o.By}} {
		if member.value != "" {
			dst = jsontext.AppendString(append(dst, member.name...), member.value)
		}
	}
	dst = jsontext.AppendString(append(dst, `,"state":`...), string(o.State))
	if o.Generation != 0 {
		dst = strconv.AppendInt(append(dst, `,"generation":`...), o.Generation, 10)
	}
	if o.Reason != "" {
		dst = jsontext.AppendString(append(dst, `,"reason":`...), o.Reason)
	}
	return append(dst, '}')
}

// parseItemOutcome reads what appendItemOutcome wrote, or any other JSON of an outcome. What
// it cuts wrongly by hand doesn't give the same bytes when it is written again.
func parseItemOutcome(data []byte) (ledger.ItemOutcome, error) {
	var o ledger.ItemOutcome
	c := jsontext.NewCutter(data)
	text := func() string { return string(c.Until(`"`)) } // up to its closing quote
	c.Must(`{"id":"`)
	o.ID = text()
	c.Must(`,"digest":"`)
	o.Digest = text()
	if c.Next(`,"means":"`) {
		o.Means = text()
	}
	if c.Next(`,"by":"`) {
		o.By = text()
	}
	c.Must(`,"state":"`)
	o.State = stateOf(c.Until(`"`))
	if c.Next(`,"generation":`) {
		o.Generation, _ = strconv.ParseInt(string(c.Until(`}`)), 10, 64)
	}
	var room [512]byte
	if bytes.Equal(appendItemOutcome(room[:0], o), data) {
		return o, nil
	}
	return jsontext.Decode[ledger.ItemOutcome](data)
}

// stateOf makes no string for a state that there is.
func stateOf(name []byte) ledger.ItemState {
	for _, s := range []ledger.ItemState{ledger.Published, ledger.Superseded, ledger.Unchanged, ledger.Refused, ledger.SetAside} {
		if string(name) == string(s) {
			return s
		}
	}
	return ledger.ItemState(name)
}
