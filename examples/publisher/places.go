package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// places are the store and the journal. Each kind that the program knows is named here.
type places struct{ store, journal place }

func (p places) openStore(context.Context) (repository.Store, error) {
	return dirstore.OpenOrCreate(p.store.Dir)
}

// openJournal opens the journal for publishing, and makes it if it isn't there. While another
// process has it, the error wraps repository.ErrLocked.
func (p places) openJournal(context.Context) (repository.Journal, error) {
	return dirjournal.OpenOrCreate(p.journal.Dir)
}

// read opens what ReadStatus reads, beside another process that publishes. It makes nothing.
func (p places) read(context.Context) (repository.Store, repository.Reader, error) {
	store, err := dirstore.Open(p.store.Dir)
	if err != nil {
		return nil, nil, err
	}
	journal, err := dirjournal.OpenReader(p.journal.Dir)
	if err != nil {
		return nil, nil, err
	}
	return store, journal, nil
}

// missing reports whether nothing was ever made at the place.
func (p place) missing() bool {
	_, err := os.Stat(p.Dir)
	return errors.Is(err, fs.ErrNotExist)
}

func (p place) String() string { return "folder " + p.Dir }
