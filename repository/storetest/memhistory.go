package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/bindery-tuf/bindery/repository"
)

var _ repository.Historian = (*MemJournal)(nil)

// memEntry is the JSON of an item or of a record.
type memEntry struct{ item, record []byte }

// History implements repository.Historian.
func (j *MemJournal) History(ctx context.Context) iter.Seq2[repository.Entry, error] {
	return func(yield func(repository.Entry, error) bool) {
		if err := j.open(ctx); err != nil {
			yield(repository.Entry{}, fmt.Errorf("history: %w", err))
			return
		}
		history := j.history // only ever appended to
		j.mu.Unlock()
		for _, m := range history {
			e, err := m.decode()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(repository.Entry{}, fmt.Errorf("history: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m memEntry) decode() (repository.Entry, error) {
	if m.item != nil {
		it := new(repository.Item)
		return repository.Entry{Item: it}, json.Unmarshal(m.item, it)
	}
	r := new(repository.Record)
	return repository.Entry{Record: r}, json.Unmarshal(m.record, r)
}
