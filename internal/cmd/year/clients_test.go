package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/roles"
)

// book is what was published under each path, by generation, and which target files there are.
type book struct {
	mu    sync.Mutex
	lives map[string][]state
	live  []string       // paths with a target
	place map[string]int // of each path in live
	busy  map[string]bool
	files map[string]bool // target files, by fileName
}

// state is what a path holds from a generation on.
type state struct {
	generation int64
	target     roles.Target // of length 0: nothing
}

func newBook() *book {
	return &book{lives: map[string][]state{}, place: map[string]int{}, busy: map[string]bool{}, files: map[string]bool{}}
}

func fileName(path string, hashes map[string]string) string { return hashes["sha256"] + " " + path }

// begin marks paths whose content is about to change.
func (b *book) begin(paths ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range paths {
		b.busy[p] = true
	}
}

// upload notes the file of a target, which must be there before the target is published.
func (b *book) upload(t roles.Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[fileName(t.Path, t.Hashes)] = true
}

// remove is called for a target file that nobody needs any more.
func (b *book) remove(path string, hashes map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.files, fileName(path, hashes))
}

// published notes what a generation did to a path. Length 0 is a removal.
func (b *book) published(generation int64, t roles.Target) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, t.Path)
	b.lives[t.Path] = append(b.lives[t.Path], state{generation, t})
	i, ok := b.place[t.Path]
	switch {
	case t.Length > 0 && !ok:
		b.place[t.Path] = len(b.live)
		b.live = append(b.live, t.Path)
	case t.Length == 0 && ok:
		last := len(b.live) - 1
		b.live[i] = b.live[last]
		b.place[b.live[i]] = i
		b.live = b.live[:last]
		delete(b.place, t.Path)
	}
}

// pick returns a path whose content doesn't change at the moment; "" if there is none.
func (b *book) pick(rng *rand.Rand) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 10 {
		if len(b.live) == 0 {
			break
		}
		if p := b.live[rng.IntN(len(b.live))]; !b.busy[p] {
			return p
		}
	}
	return ""
}

// at returns what a path holds in a generation; false if that isn't known yet.
func (b *book) at(path string, generation int64) (t roles.Target, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.lives[path] {
		if s.generation <= generation {
			t = s.target
		}
	}
	return t, !b.busy[path]
}

// isThere reports whether a target's file can be downloaded.
func (b *book) isThere(path string, hashes map[string]string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.files[fileName(path, hashes)]
}

// edge is a cache between clients and the store. It keeps a timestamp for as long as it may.
type edge struct {
	mu   sync.Mutex
	age  time.Duration
	file []byte
	at   time.Time
}

func (e *edge) timestamp(s *shop) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil || time.Since(e.at) >= e.age {
		data, ok := s.read("timestamp.json")
		if !ok {
			return nil, false
		}
		e.file, e.at = data, time.Now()
	}
	return e.file, true
}

// client is an installer that updates now and again, and keeps its metadata in between.
type client struct {
	name  string
	every time.Duration
	run   time.Duration // how long it takes from its timestamp to its last target
	edge  *edge         // nil: it asks the origin
	dir   string
	shop  *shop
	book  *book
	root  []byte
	rng   *rand.Rand

	updates    *atomic.Int64
	generation int64 // the last one
	deceived   *atomic.Bool
}

// DownloadFile implements go-tuf's fetcher.
func (c *client) DownloadFile(rawURL string, limit int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	name := path.Base(u.Path)
	var data []byte
	var ok bool
	if name == "timestamp.json" && c.edge != nil {
		data, ok = c.edge.timestamp(c.shop)
	} else {
		data, ok = c.shop.read(name)
	}
	switch {
	case !ok:
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: rawURL}
	case int64(len(data)) > limit:
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: name}
	}
	return data, nil
}

// update updates once and looks at a few targets, the last one at the end of its run.
func (c *client) update() error {
	cfg, err := config.New("https://repository.invalid/metadata", c.root)
	if err != nil {
		return err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.Fetcher = c.dir, path.Join(c.dir, "targets"), c
	began := time.Now()
	u, err := updater.New(cfg)
	if err != nil {
		return err
	}
	c.updates.Add(1)
	if err := u.Refresh(); err != nil {
		return fmt.Errorf("refresh after generation %d: %w", c.generation, err)
	}
	trusted := u.GetTrustedMetadataSet()
	generation := trusted.Snapshot.Signed.Version
	if generation < c.generation {
		return fmt.Errorf("generation %d, after %d", generation, c.generation)
	}
	c.generation = generation
	const looks = 3
	for n := range looks {
		if n > 0 {
			time.Sleep(c.run/(looks-1) - time.Duration(n-1)*time.Second) // in all a second less than run
		}
		if time.Since(began) > c.run {
			return errors.New("the test itself took too long")
		}
		if err := c.look(u, generation); err != nil {
			return fmt.Errorf("generation %d, %v after its timestamp: %w", generation, time.Since(began), err)
		}
	}
	return nil
}

// look checks a random target.
func (c *client) look(u *updater.Updater, generation int64) error {
	p := c.book.pick(c.rng)
	if p == "" {
		return nil
	}
	got, err := u.GetTargetInfo(p)
	want, known := c.book.at(p, generation)
	switch {
	case c.deceived.Load() || !known:
		return nil
	case err != nil && want.Length == 0 && strings.Contains(err.Error(), "not found"):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", p, err)
	case hex.EncodeToString(got.Hashes["sha256"]) != want.Hashes["sha256"]:
		return fmt.Errorf("%s: it isn't what was published", p)
	case !c.book.isThere(p, want.Hashes):
		return fmt.Errorf("%s: its file is gone", p)
	}
	return nil
}
