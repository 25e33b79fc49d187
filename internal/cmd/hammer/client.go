package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/internal/tufclient"
)

// client is an installer that updates again and again. It keeps its metadata, as installers do.
type client struct {
	book      *book
	url       string
	root      []byte // version 1
	dir       string
	downloads *atomic.Int64

	generation int64      // of its last update
	counts     [lanes]int // what each lane's index said last
}

// update updates once, and checks the given lanes against what was promised before it began.
func (c *client) update(rng *rand.Rand, which ...int) (*updater.Updater, error) {
	generation, published := c.book.floor()
	cfg, err := config.New(c.url+"/metadata", c.root)
	if err != nil {
		return nil, err
	}
	cfg.RemoteTargetsURL = c.url + "/targets"
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = c.dir, filepath.Join(c.dir, "targets")
	cfg.Fetcher = c.book.contents.Fetcher(fetcher.NewDefaultFetcher())
	u, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := u.Refresh(); err != nil {
		return nil, fmt.Errorf("refresh after generation %d: %w", c.generation, err)
	}
	trusted := u.GetTrustedMetadataSet()
	got := trusted.Timestamp.Signed.Version
	if floor := max(generation, c.generation); got < floor {
		return nil, fmt.Errorf("the timestamp is version %d, and it was %d before", got, floor)
	}
	c.generation = got
	for _, lane := range which {
		if err := c.checkLane(rng, u, lane, published[lane]); err != nil {
			return nil, fmt.Errorf("generation %d, lane %d: %w", got, lane, err)
		}
	}
	return u, nil
}

// checkLane compares all paths of a lane with what the lane's index says.
func (c *client) checkLane(rng *rand.Rand, u *updater.Updater, lane, promised int) error {
	n, err := readCount(u, lane)
	if err != nil {
		return err
	}
	if floor := max(promised, c.counts[lane]); n < floor {
		return fmt.Errorf("%d items are published, and %d were before", n, floor)
	}
	c.counts[lane] = n
	if n == 0 {
		return nil
	}
	index := target(indexPath(lane), n)
	if err := c.checkTarget(u, index.Path, n, n); err != nil {
		return err
	}
	for slot := range slots {
		if err := c.checkTarget(u, slotPath(lane, slot), n, slotAfter(slot, n)); err != nil {
			return err
		}
	}
	// One that was added some time, and the one that comes next.
	if n >= keeps {
		k := keeps * (1 + rng.IntN(n/keeps))
		if err := c.checkTarget(u, keptPath(lane, k), n, k); err != nil {
			return err
		}
	}
	return c.checkTarget(u, keptPath(lane, n-n%keeps+keeps), n, 0)
}

// checkKept compares every kept file of a lane with what was accepted.
func (c *client) checkKept(u *updater.Updater, lane, accepted int) error {
	for k := keeps; k <= accepted; k += keeps {
		if err := c.checkTarget(u, keptPath(lane, k), accepted, k); err != nil {
			return err
		}
	}
	return nil
}

func readCount(u *updater.Updater, lane int) (int, error) {
	info, err := tufclient.Find(u, indexPath(lane))
	if err != nil || info == nil {
		return 0, err
	}
	var c count
	if info.Custom == nil {
		return 0, fmt.Errorf("%s: its custom data is gone", indexPath(lane))
	}
	return c.N, json.Unmarshal(*info.Custom, &c)
}

// checkTarget requires that after n items path holds what item from put there, or nothing if from is
// 0. It downloads the file if there is one.
func (c *client) checkTarget(u *updater.Updater, path string, n, from int) error {
	info, err := tufclient.Find(u, path)
	switch {
	case err != nil:
		return err
	case info == nil && from == 0:
		return nil
	case info == nil:
		return fmt.Errorf("after %d items: %s is missing, item %d put it there", n, path, from)
	case from == 0:
		return fmt.Errorf("after %d items: %s is there, and must not be", n, path)
	}
	if want := target(path, from); !tufclient.Same(info, want) {
		return fmt.Errorf("after %d items: %s isn't what item %d put there", n, path, from)
	}
	if !isStored(path) {
		return nil
	}
	_, data, err := u.DownloadTarget(info, filepath.Join(c.dir, "download"), "")
	if err != nil {
		return fmt.Errorf("after %d items: %s: %w", n, path, err)
	}
	if string(data) != content(path, from) {
		return fmt.Errorf("after %d items: %s holds %.100q", n, path, data)
	}
	c.downloads.Add(1)
	return nil
}
