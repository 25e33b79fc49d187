package dirjournal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// The kinds of parts in a frame's payload. See the package comment.
const (
	entryPart      = 'e'
	recordPart     = 'r'
	filePart       = 'f' // the four that only a frame with a checkpoint has
	outcomePart    = 'o'
	pendingPart    = 'p'
	checkpointPart = 'c'
	closedPart     = 'z' // alone in its frame
)

// closedPayload is that of the frame with which a journal is closed.
const closedPayload = "z closed\n"

// marksClose reports whether a frame says that the journal was closed.
func marksClose(f *frame) bool { return f != nil && string(f.payload) == closedPayload }

// part is one part of a payload.
type part struct {
	kind byte
	// data is the bytes of a record, the JSON of an outcome, or an entry as encodeEntry
	// returns it.
	data  []byte
	entry ledger.Entry // its body lies in data
}

// entryHead is the JSON before an entry's body.
type entryHead struct {
	ledger.Entry     // but for the body
	Size         int `json:"size"` // of the body
}

// decode is jsontext.Decode that says what a member means which isn't known.
func decode[T any](data []byte) (T, error) {
	v, err := jsontext.Decode[T](data)
	if jsontext.IsUnknownField(err) {
		err = fmt.Errorf("%w: %w", ledger.ErrNewer, err)
	}
	return v, err
}

// encodeEntry returns an entry as it is in a payload, without the letter: its head and a copy
// of its body.
func encodeEntry(e ledger.Entry) ([]byte, error) {
	head, err := json.Marshal(entryHead{e, len(e.Body)})
	if err != nil {
		return nil, fmt.Errorf("item %q: %w", e.ID, err)
	}
	return slices.Concat([]byte(" "), head, []byte("\n"), e.Body, []byte("\n")), nil
}

// bodyOf returns the body of the entry that encodeEntry encoded.
func bodyOf(encoded []byte, size int) []byte {
	end := len(encoded) - 1
	return encoded[end-size : end : end]
}

func appendEntry(b []byte, kind byte, encoded []byte) []byte {
	return append(append(b, kind), encoded...)
}

func appendRecord(b []byte, kind byte, r ledger.Record) []byte {
	b = strconv.AppendInt(append(b, kind, ' '), int64(len(r.Bytes())), 10)
	b = append(append(b, '\n'), r.Bytes()...)
	return append(b, '\n')
}

func appendOutcome(b []byte, r *remembered) []byte {
	return append(r.append(append(b, outcomePart, ' ')), '\n')
}

func appendFile(b []byte, f olderFile) []byte {
	text, _ := json.Marshal(f) // it has nothing that could fail
	return append(append(append(b, filePart, ' '), text...), '\n')
}

// parts calls visit for each part of a payload, whose memory it shares.
func parts(payload []byte, visit func(part) error) error {
	for n := 1; len(payload) > 0; n++ {
		p, size, err := cutPart(payload)
		if err == nil && p.kind == closedPart && n > 1 {
			err = errMalformed
		}
		if err == nil {
			err = visit(p)
		}
		if err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		payload = payload[size:]
	}
	return nil
}

var errMalformed = errors.New("malformed")

// cutPart returns the part with which payload begins, and its size.
func cutPart(payload []byte) (p part, size int, err error) {
	line, rest, ended := bytes.Cut(payload, []byte{'\n'})
	if !ended || len(line) < 3 || line[1] != ' ' {
		return part{}, 0, errMalformed
	}
	kind, text := line[0], line[2:]
	switch kind {
	case entryPart, pendingPart:
		head, err := decode[entryHead](text)
		if err == nil {
			err = head.Check()
		}
		if err != nil {
			return part{}, 0, fmt.Errorf("entry: %w", err)
		}
		body, err := cutBody(rest, head.Size)
		if err != nil {
			return part{}, 0, fmt.Errorf("item %q: %w", head.ID, err)
		}
		size = len(line) + len(body) + len("\n\n")
		head.Body = body
		return part{kind: kind, data: payload[1:size], entry: head.Entry}, size, nil
	case recordPart, checkpointPart:
		n, err := strconv.Atoi(string(text))
		if err != nil || strconv.Itoa(n) != string(text) {
			return part{}, 0, errMalformed
		}
		data, err := cutBody(rest, n)
		if err != nil {
			return part{}, 0, fmt.Errorf("record: %w", err)
		}
		return part{kind: kind, data: data}, len(line) + len(data) + len("\n\n"), nil
	case filePart, outcomePart:
		return part{kind: kind, data: text}, len(line) + len("\n"), nil
	case closedPart:
		if string(payload) != closedPayload {
			return part{}, 0, errMalformed
		}
		return part{kind: kind}, len(payload), nil
	}
	return part{}, 0, fmt.Errorf("%w: unknown kind %q", ledger.ErrNewer, kind)
}

// cutBody returns the first size bytes of b, which a newline must follow.
func cutBody(b []byte, size int) ([]byte, error) {
	if size < 0 || size >= len(b) || b[size] != '\n' {
		return nil, errMalformed
	}
	return b[:size:size], nil
}

// since calls visit for the parts of a payload that are new to a reader of everything before it.
// If reading begins with this payload, these are the entries and outcomes that its checkpoint
// continues with, the checkpoint, and all that follows it.
func since(payload []byte, begins bool, visit func(part) error) error {
	begun := !begins
	err := parts(payload, func(p part) error {
		switch p.kind {
		case recordPart:
			if !begun {
				return nil // the checkpoint has its effect
			}
		case checkpointPart:
			begun = true
		case filePart, outcomePart, pendingPart:
			if begun {
				return nil // a copy
			}
		case closedPart:
			return nil // it says something of the frames before it only
		}
		return visit(p)
	})
	if err == nil && !begun {
		return errors.New("no checkpoint in this frame")
	}
	return err
}

// step returns the entry or record of a part. It shares no memory with the part.
func (p part) step() (ledger.Step, error) {
	if p.kind == entryPart || p.kind == pendingPart {
		e := p.entry
		e.Body = bytes.Clone(e.Body)
		return ledger.Step{Entry: &e}, nil
	}
	r, err := ledger.ParseRecord(bytes.Clone(p.data)) // which it keeps
	if err != nil {
		return ledger.Step{}, err
	}
	return ledger.Step{Record: &r}, nil
}
