package ledger_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// What is published is read from a journal without its publisher.
func Example() {
	ctx := context.Background()
	journal := storetest.NewJournal()
	if err := publish(ctx, journal); err != nil {
		log.Fatal(err)
	}

	var s ledger.State
	for step, err := range journal.Read(ctx, ledger.FromCheckpoint) {
		if err != nil {
			log.Fatal(err)
		}
		if step.Record != nil {
			if err := s.Apply(*step.Record); err != nil {
				log.Fatal(err)
			}
		}
	}
	row, ok := s.Table.Row("bins-1")
	fmt.Println(row.Version, ok)
	// Output: 1 true
}

// publish writes the records of one generation.
func publish(ctx context.Context, journal *storetest.MemJournal) error {
	lead, epoch, err := journal.Lead(ctx)
	if err != nil {
		return err
	}
	for _, err := range lead.Read(ctx, ledger.FromCheckpoint) {
		if err != nil {
			return err
		}
	}
	var s ledger.State
	for _, body := range []ledger.Body{
		&ledger.Intent{Bins: []ledger.BinRange{{Prefix: "bins", Digits: 1, First: 1, Last: 1}}},
		&ledger.Seal{
			Keys: []string{"key"}, Sets: []ledger.SetSize{{Prefix: "bins", Bins: 2}},
			Rows:  []ledger.RoleRow{{Role: "bins-1", Row: ledger.Row{Version: 1}}},
			Swaps: []ledger.Swap{{Name: ledger.Timestamp, New: []byte("{}")}},
		},
		&ledger.Commit{},
	} {
		r, err := s.Next(epoch, 1, time.Unix(0, 0), body)
		if err == nil {
			err = lead.Append(ctx, r)
		}
		if err == nil {
			err = s.Apply(r)
		}
		if err != nil {
			return err
		}
	}
	return lead.Release(ctx)
}
