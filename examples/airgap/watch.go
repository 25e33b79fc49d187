package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

// watch is two clients of go-tuf's that come whenever something was written: one that
// was here before, and one that has nothing but root version 1.
type watch struct {
	url  string
	root []byte // version 1
	dir  string
	now  func() time.Time
	want []string // paths that must be found

	mu     sync.Mutex // bins are written several at a time
	visits int
	newest int64 // version of root that the last one came to
	failed error // the first failure
	asleep bool  // while the clock is moved
}

// note is visit in the midst of a write. A nil watch doesn't watch yet.
func (w *watch) note(when string) {
	if w == nil {
		return
	}
	_ = w.visit(when) // is kept
}

// visit has both clients refresh and find every path.
func (w *watch) visit(when string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asleep {
		return nil
	}
	w.visits++
	newcomer := filepath.Join(w.dir, fmt.Sprintf("newcomer-%d", w.visits))
	_, err := w.refresh(w.url, newcomer)
	version, rerr := w.refresh(w.url, filepath.Join(w.dir, "returning"))
	if err = errors.Join(err, rerr); err != nil {
		err = fmt.Errorf("a client %s: %w", when, err)
		if w.failed == nil {
			w.failed = err
		}
	}
	w.newest = version
	return errors.Join(err, os.RemoveAll(newcomer))
}

func (w *watch) sleep(asleep bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asleep = asleep
}

// refresh is what a client does that keeps its metadata in dir. It returns the version
// of root that it trusts in the end.
func (w *watch) refresh(url, dir string) (int64, error) {
	cfg, err := config.New(url, w.root)
	if err != nil {
		return 0, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = dir, dir
	if err := cfg.EnsurePathsExist(); err != nil {
		return 0, err
	}
	client, err := updater.New(cfg)
	if err != nil {
		return 0, err
	}
	client.UnsafeSetRefTime(w.now())
	if err := client.Refresh(); err != nil {
		return 0, err
	}
	for _, path := range w.want {
		if _, err := client.GetTargetInfo(path); err != nil {
			return 0, err
		}
	}
	return client.GetTrustedMetadataSet().Root.Signed.Version, nil
}
