package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/tufclient"
)

// client is an installer that updates again and again. It keeps its metadata, as installers do.
type client struct {
	book     *book
	contents *tufclient.Contents
	url      string // of the metadata
	root     []byte // version 1
	dir      string

	era        int          // at its last update
	generation int64        // of its last update
	lanes      [lanes]state // what each lane's page said last
}

// update updates once, and checks the given lanes against what was promised before it began.
func (c *client) update(rng *rand.Rand, which ...int) error {
	generation, promised, era := c.book.floor(cacheAge)
	cfg, err := config.New(c.url, c.root)
	if err != nil {
		return err
	}
	cfg.RemoteTargetsURL = c.url
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = c.dir, filepath.Join(c.dir, "targets")
	cfg.Fetcher = c.contents.Fetcher(fetcher.NewDefaultFetcher())
	u, err := updater.New(cfg)
	if err != nil {
		return err
	}
	if err := u.Refresh(); err != nil {
		return fmt.Errorf("refresh after generation %d: %w", c.generation, err)
	}
	trusted := u.GetTrustedMetadataSet()
	got := trusted.Timestamp.Signed.Version
	if floor := max(generation, c.generation); got < floor {
		return fmt.Errorf("the timestamp is version %d, and it was %d before", got, floor)
	}
	c.generation = got
	if era != c.era { // what the database lost may go back
		c.era, c.lanes = era, [lanes]state{}
	}
	for _, lane := range which {
		err := c.checkLane(u, lane, promised[lane], era)
		if errors.Is(err, errLane) && c.book.currentEra() != era {
			return nil
		}
		if err != nil {
			return fmt.Errorf("generation %d, lane %d: %w", got, lane, err)
		}
	}
	return nil
}

// errLane is wrapped if a lane isn't as its page says. That may be while items are lost with a replica.
var errLane = errors.New("half published, or out of order")

// checkLane compares all paths of a lane with what the lane's page says.
func (c *client) checkLane(u *updater.Updater, lane int, promised state, era int) error {
	now, err := readPage(u, lane)
	if err != nil {
		return err
	}
	floor := promised
	if last := c.lanes[lane]; last.Era == now.Era && floor.before(last) {
		floor = last
	}
	c.lanes[lane] = now
	if now.before(floor) {
		return fmt.Errorf("%w: item %s is published, and item %s was before", errLane, stamp(now.Era, now.N), stamp(floor.Era, floor.N))
	}
	never, err := tufclient.Find(u, neverPath(lane))
	if err != nil {
		return err
	}
	if never != nil {
		return fmt.Errorf("%s is published: an item of a transaction that was rolled back", neverPath(lane))
	}
	if now.N == 0 || now.Era < era {
		return nil // the items that follow may be lost, and their files still be published
	}
	for slot, by := range now.Slots {
		path := slotPath(lane, slot)
		info, err := tufclient.Find(u, path)
		switch {
		case err != nil:
			return err
		case info == nil && by != "":
			return fmt.Errorf("%w: after item %s: %s is missing, item %s put it there", errLane, now.ID, path, by)
		case info != nil && by == "":
			return fmt.Errorf("%w: after item %s: %s is there, and must not be", errLane, now.ID, path)
		case info != nil && !tufclient.Same(info, repotest.File(path, content(path, by))):
			return fmt.Errorf("%w: after item %s: %s isn't what item %s put there", errLane, now.ID, path, by)
		}
	}
	return nil
}

// readPage returns what a lane's page says, zero if there is none.
func readPage(u *updater.Updater, lane int) (s state, err error) {
	info, err := tufclient.Find(u, indexPath(lane))
	if err != nil || info == nil {
		return s, err
	}
	if info.Custom == nil {
		return s, fmt.Errorf("%s: its custom data is gone", indexPath(lane))
	}
	if err := json.Unmarshal(*info.Custom, &s); err != nil {
		return s, fmt.Errorf("%s: its custom data: %w", indexPath(lane), err)
	}
	if want := pageTarget(lane, s); !tufclient.Same(info, want) {
		return s, fmt.Errorf("%s isn't what item %s put there", indexPath(lane), s.ID)
	}
	return s, nil
}
