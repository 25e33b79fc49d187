package main

import (
	"context"
	"errors"
	"time"

	"github.com/bindery-tuf/bindery/repository"
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

// archiveAgain puts older history away at intervals, while this publisher leads.
func (d *daemon) archiveAgain(ctx context.Context, a archiving) {
	next := time.NewTicker(time.Duration(a.Every))
	defer next.Stop()
	for {
		select {
		case <-next.C:
			d.archive(ctx, a)
		case <-ctx.Done():
			return
		}
	}
}

func (d *daemon) archive(ctx context.Context, a archiving) {
	done, err := d.repo.Archive(ctx, repository.Archive{To: a.To, Delete: a.Delete})
	switch {
	case err == nil:
		d.log.Info("older history was put away", "begins", done.Begins, "bytes", done.Bytes)
	case ctx.Err() != nil, errors.Is(err, repository.ErrLocked), errors.Is(err, service.ErrUnavailable): // another leads
	default:
		d.log.Error("older history can't be put away now, and the journal grows: it is tried again", "in", time.Duration(a.Every), "err", err)
	}
}
