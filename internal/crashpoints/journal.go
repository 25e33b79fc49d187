package crashpoints

import (
	"context"
	"iter"

	"github.com/bindery-tuf/bindery/repository"
	records "github.com/bindery-tuf/bindery/repository/ledger"
)

// noted is a journal that shows the ledger each durable record.
type noted struct {
	repository.Journal
	ledger *ledger
}

func (j noted) Lead(ctx context.Context) (repository.Lead, int64, error) {
	l, epoch, err := j.Journal.Lead(ctx)
	if err != nil {
		return nil, 0, err
	}
	j.ledger.set(func() { j.ledger.epoch = epoch })
	return notedLead{l, j.ledger}, epoch, nil
}

type notedLead struct {
	repository.Lead
	ledger *ledger
}

func (l notedLead) Append(ctx context.Context, appended ...records.Record) error {
	err := l.Lead.Append(ctx, appended...)
	for _, r := range appended {
		if err == nil {
			l.ledger.note(r)
		}
	}
	return err
}

// Read also shows what a killed process had appended.
func (l notedLead) Read(ctx context.Context, from records.From) iter.Seq2[records.Step, error] {
	return func(yield func(records.Step, error) bool) {
		for s, err := range l.Lead.Read(ctx, from) {
			if err == nil && s.Record != nil {
				l.ledger.note(*s.Record)
			}
			if !yield(s, err) {
				return
			}
		}
	}
}
