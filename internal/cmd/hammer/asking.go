package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// ask asks for the outcome of the newest item of a lane again and again. As soon as an item is said
// to be published, it checks that clients see it. A receipt would wake up too late to catch a
// publisher that says so too early.
func ask(ctx context.Context, repo *repository.Repository, dir string, newest <-chan int, lane int) error {
	store, err := dirstore.Open(filepath.Join(dir, repotest.SiteStore))
	if err != nil {
		return err
	}
	for n := range newest {
		o, err := repo.Outcome(ctx, itemID(lane, n))
		for err == nil && o.State == repository.Accepted && ctx.Err() == nil {
			time.Sleep(100 * time.Microsecond)
			o, err = repo.Outcome(ctx, itemID(lane, n))
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		visible, err := visible(ctx, store)
		if err != nil {
			return err
		}
		if visible < o.Generation {
			return fmt.Errorf("lane %d: item %d is said to be published in generation %d, and clients see %d", lane, n, o.Generation, visible)
		}
	}
	return nil
}

// visible returns the generation that clients see now.
func visible(ctx context.Context, store repository.Store) (int64, error) {
	data, err := store.Get(ctx, "timestamp.json")
	if err != nil {
		return 0, err
	}
	t, err := roles.Parse[metadata.TimestampType](data)
	if err != nil {
		return 0, fmt.Errorf("timestamp.json: %w", err)
	}
	return t.Version(), nil
}
