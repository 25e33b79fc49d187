package dirjournal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
)

// The kinds of lines in a frame.
const (
	itemLine    = 'i'
	recordLine  = 'r'
	outcomeLine = 'o'
)

// entry is what the journal remembers of an item.
type entry struct {
	id        string
	digest    string
	accepted  time.Time
	durable   bool               // false while the frame that queues it is being written
	data      []byte             // JSON of the item while it is pending, else nil
	sealed    int64              // generation of the newest seal that decided it
	outcome   repository.Outcome // what that seal says
	committed bool               // whether that generation is committed
}

func newEntry(it repository.Item) (*entry, error) {
	if it.ID == "" {
		return nil, errors.New("an item has no ID")
	}
	data, err := it.MarshalJSON() // as json.Marshal, which would look through it once more
	if err != nil {
		return nil, fmt.Errorf("item %q: %w", it.ID, err)
	}
	return &entry{id: it.ID, digest: it.Digest(), accepted: it.Accepted, data: data}, nil
}

func appendLine(b []byte, kind byte, data []byte) []byte {
	b = append(b, kind, ' ')
	b = append(b, data...)
	return append(b, '\n')
}

// lines calls visit for each line of a frame's payload.
func lines(payload []byte, visit func(kind byte, data []byte) error) error {
	for n := 1; len(payload) > 0; n++ {
		line, rest, ended := bytes.Cut(payload, []byte{'\n'})
		payload = rest
		err := errors.New("it is none of a journal's")
		if ended && len(line) > 2 && line[1] == ' ' {
			err = visit(line[0], line[2:])
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// encodeRecord returns the record's line. The record's hash is a link in a chain,
// so what is read again must have the very same encoding.
func encodeRecord(b []byte, r repository.Record) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	again, err := jsontext.Decode[repository.Record](data)
	if err != nil {
		return nil, err
	}
	if same, err := json.Marshal(again); err != nil || !bytes.Equal(same, data) {
		return nil, errors.New("its JSON is another once it was read: is all of its text UTF-8?")
	}
	return appendLine(b, recordLine, data), nil
}
