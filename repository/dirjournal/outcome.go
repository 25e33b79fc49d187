package dirjournal

import (
	"bytes"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
)

// outcome is an entry without its item, as a checkpoint keeps it.
//
// There are up to Remembered of them in a checkpoint, so nearly all are written and
// read by hand: package encoding/json takes six times as long, 0.4 seconds of every
// Open. What is written is what it would write.
type outcome struct {
	ID        string `json:"id"`
	Digest    string `json:"digest"`
	Sealed    int64  `json:"sealed"`
	Committed bool   `json:"committed,omitempty"`
	repository.Outcome
}

func (o outcome) appendJSON(dst []byte) []byte {
	dst = jsontext.AppendString(append(dst, `{"id":`...), o.ID)
	dst = jsontext.AppendString(append(dst, `,"digest":`...), o.Digest)
	dst = strconv.AppendInt(append(dst, `,"sealed":`...), o.Sealed, 10)
	if o.Committed {
		dst = append(dst, `,"committed":true`...)
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

func decodeOutcome(line []byte) (outcome, error) {
	c := jsontext.NewCutter(line)
	c.Must(`{"id":"`)
	o := outcome{ID: string(c.Until(`","digest":"`)), Digest: string(c.Until(`","sealed":`))}
	o.Sealed, _ = strconv.ParseInt(string(c.Until(`,`)), 10, 64)
	o.Committed = c.Next(`"committed":true,`)
	c.Must(`"state":"`)
	o.State = stateOf(c.Until(`"`))
	if c.Next(`,"generation":`) {
		o.Generation, _ = strconv.ParseInt(string(c.Until(`}`)), 10, 64)
	}
	var room [256]byte
	if bytes.Equal(o.appendJSON(room[:0]), line) {
		return o, nil
	}
	return jsontext.Decode[outcome](line)
}

// stateOf makes no string for a state that there is.
func stateOf(name []byte) repository.State {
	for _, s := range []repository.State{repository.Published, repository.Superseded, repository.SetAside} {
		if string(name) == string(s) {
			return s
		}
	}
	return repository.State(name)
}
