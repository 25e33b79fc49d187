package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/service"
)

// archiving says when the journal's older history is put away, and how. Without it the journal grows for ever.
type archiving struct {
	Every  duration `json:"every"`  // required
	To     string   `json:"to"`     // a folder, for a journal in a folder
	Delete bool     `json:"delete"` // instead
}

// leastArchiving keeps the reading of every bin rare.
const leastArchiving = time.Minute

func (a *archiving) check(j journalPlace) error {
	switch {
	case time.Duration(a.Every) < leastArchiving:
		return errors.New(`archive.every: give a time of at least a minute, such as "1d"`)
	case a.Delete == (a.To != ""):
		return errors.New(`archive: name a folder in "to", or say "delete": true`)
	case a.To != "" && j.Postgres != nil:
		return errors.New(`archive.to: a journal in PostgreSQL archives into no folder: say "delete": true, and dump the schema with pg_dump before if the history is wanted`)
	}
	return checkFile("archive.to", a.To)
}

// ready makes sure that the folder is there: history is due perhaps a day after the start.
func (a *archiving) ready() error {
	if a == nil || a.To == "" {
		return nil
	}
	if info, err := os.Stat(a.To); err != nil {
		return fmt.Errorf("archive.to: %w: make the folder", err)
	} else if !info.IsDir() {
		return fmt.Errorf("archive.to: %s is not a folder", a.To)
	}
	return nil
}

// lookAtArchive is how often a publisher asks whether it has the lead, and history is to be put away.
const lookAtArchive = time.Minute

// retryArchive is how long it waits after a failure: each attempt reads every bin.
const retryArchive = time.Hour

// archiveAgain puts older history away whenever the journal's history is older than the interval, while this publisher leads:
// a publisher that is restarted each day does so too.
func (d *daemon) archiveAgain(ctx context.Context, a archiving) {
	var due time.Time // zero: not known
	for {
		due = d.archiveIfDue(ctx, a, due)
		select {
		case <-time.After(lookAtArchive):
		case <-ctx.Done():
			return
		}
	}
}

// archiveIfDue returns when history is due next, or the zero time if another publisher decides that.
func (d *daemon) archiveIfDue(ctx context.Context, a archiving, due time.Time) time.Time {
	if s := d.standing(ctx); s != leads && s != leadsInTrouble {
		return time.Time{}
	}
	every := time.Duration(a.Every)
	if due.IsZero() {
		begins, err := d.historyBegins(ctx)
		if err != nil {
			if ctx.Err() == nil {
				d.log.Error("whether older history is to be put away isn't known: it is asked again", "in", lookAtArchive, "err", err)
			}
			return time.Time{}
		}
		due = begins.Add(every)
	}
	if now := time.Now(); now.Before(due) {
		return due
	}
	return time.Now().Add(d.archive(ctx, a))
}

// historyBegins is the time of the first record that the journal has: Archive makes one.
func (d *daemon) historyBegins(ctx context.Context) (time.Time, error) {
	journal, err := d.reader(ctx)
	if err != nil {
		return time.Time{}, err
	}
	ctx, cancel := context.WithCancel(ctx) // a database need not send the rest
	defer cancel()
	for step, err := range journal.Read(ctx, ledger.FromBeginning) {
		if err != nil {
			return time.Time{}, err
		}
		if step.Record != nil {
			cancel()
			return step.Record.Time, nil
		}
	}
	return time.Time{}, errors.New("the journal has no record")
}

// archive returns after how long history is to be put away again.
func (d *daemon) archive(ctx context.Context, a archiving) (next time.Duration) {
	next = time.Duration(a.Every)
	done, err := d.repo.Archive(ctx, repository.Archive{To: a.To, Delete: a.Delete})
	switch {
	case err == nil:
		d.log.Info("older history was put away", "begins", done.Begins, "bytes", done.Bytes)
		return next
	case ctx.Err() != nil, errors.Is(err, repository.ErrLocked), errors.Is(err, service.ErrUnavailable): // another leads
		return lookAtArchive
	}
	next = min(next, retryArchive)
	d.log.Error("older history can't be put away now, and the journal grows: it is tried again", "in", next, "err", err)
	return next
}
