package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/web"
)

const (
	clients  = 4
	maxRoots = 40 // each client walks all of them, each time
)

// hammer is one run.
type hammer struct {
	dir  string
	seed uint64
	rng  *rand.Rand // of the goroutine that kills
	out  io.Writer
	book *book

	began     time.Time
	ceremony  *repotest.Ceremony
	store     *dirstore.Store
	url       string
	root      []byte
	noted     int64 // versions up to it are in the book
	roots     atomic.Int64
	kills     atomic.Int64
	refreshes atomic.Int64
	downloads atomic.Int64 // of target files
}

func (h *hammer) run(ctx context.Context, duration time.Duration) error {
	h.began = time.Now()
	if err := h.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	server := httptest.NewServer(web.Handler(web.Config{Store: h.store, Files: web.Dir(os.DirFS(filepath.Join(h.dir, targetsDir)))}))
	defer server.Close()
	h.url = server.URL

	over, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(over)
	for i := range clients {
		g.Go(func() error { return h.updateUntil(gctx, i) })
	}
	g.Go(func() error { return h.report(gctx) })
	g.Go(func() error {
		defer stop() // the clients go on until all is settled
		return h.killUntil(gctx, time.Now().Add(duration))
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer h.progress()
	return h.finalCheck(ctx)
}

func (h *hammer) prepare(ctx context.Context) (err error) {
	if h.ceremony, err = makeSite(ctx, h.dir, h.rng); err != nil {
		return err
	}
	if h.store, err = dirstore.Open(filepath.Join(h.dir, repotest.SiteStore)); err != nil {
		return err
	}
	h.roots.Store(int64(len(h.ceremony.Documents().Roots)))
	h.root, err = h.store.Get(ctx, "1.root.json")
	return err
}

// killUntil starts publishers and kills them. The last one settles everything.
func (h *hammer) killUntil(ctx context.Context, deadline time.Time) error {
	for time.Now().Before(deadline) {
		if h.rng.IntN(8) == 0 && len(h.ceremony.Documents().Roots) < maxRoots {
			h.ceremony.NextRoot(nil)
			h.roots.Store(int64(len(h.ceremony.Documents().Roots)))
			if err := writeDocuments(h.dir, h.ceremony.Documents()); err != nil {
				return err
			}
		}
		dies := end{after: h.upTo(time.Second), opened: true}
		if h.rng.IntN(4) == 0 { // perhaps while it opens the repository
			dies = end{after: h.upTo(500 * time.Millisecond)}
		}
		if err := h.start(ctx, dies); err != nil {
			return err
		}
		h.kills.Add(1)
		if err := h.noteNames(ctx); err != nil {
			return err
		}
	}
	if err := h.start(ctx, end{never: true, opened: true}); err != nil {
		return err
	}
	return h.book.settled()
}

func (h *hammer) upTo(d time.Duration) time.Duration { return time.Duration(h.rng.Int64N(int64(d))) }

// updateUntil runs one client. Now and then it starts anew, with nothing but root 1.
func (h *hammer) updateUntil(ctx context.Context, number int) error {
	rng := rand.New(rand.NewPCG(h.seed, uint64(number)+1))
	var c *client
	for n := 0; ctx.Err() == nil; n++ {
		if n%50 == 0 {
			if c != nil {
				if err := os.RemoveAll(c.dir); err != nil {
					return err
				}
			}
			c = h.newClient(fmt.Sprintf("client-%d-%d", number, n))
		}
		if _, err := c.update(rng, rng.IntN(lanes)); err != nil {
			return fmt.Errorf("client %d: %w", number, err)
		}
		h.refreshes.Add(1)
	}
	return nil
}

func (h *hammer) newClient(name string) *client {
	return &client{book: h.book, url: h.url, root: h.root, dir: filepath.Join(h.dir, name), downloads: &h.downloads}
}

// finalCheck lets a new client check everything.
func (h *hammer) finalCheck(ctx context.Context) error {
	c := h.newClient("client-last")
	all := make([]int, lanes)
	for i := range all {
		all[i] = i
	}
	u, err := c.update(h.rng, all...)
	if err != nil {
		return fmt.Errorf("the last client: %w", err)
	}
	for lane := range lanes {
		accepted := h.book.lanes[lane].accepted
		if c.counts[lane] != accepted {
			return fmt.Errorf("lane %d: %d items were accepted, and %d are published", lane, accepted, c.counts[lane])
		}
		if err := c.checkKept(u, lane, accepted); err != nil {
			return fmt.Errorf("lane %d: %w", lane, err)
		}
	}
	h.refreshes.Add(1)
	for info, err := range h.store.List(ctx) {
		if err != nil {
			return err
		}
		if info.Name == "timestamp.json" {
			continue
		}
		data, err := h.store.Get(ctx, info.Name)
		if err == nil {
			err = h.book.see(info.Name, data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noteNames records what the killed publisher may have written. The next one must not write other
// contents under these names.
func (h *hammer) noteNames(ctx context.Context) error {
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	if err != nil {
		return err
	}
	names := []string{metadata.SNAPSHOT}
	for i := range layout.Len() {
		names = append(names, layout.Name(i))
	}
	// A burnt generation may have left no name at all.
	for version, empty := h.noted+1, 0; empty < 10; version++ {
		found := false
		for _, role := range names {
			name := fmt.Sprintf("%d.%s.json", version, role)
			data, err := h.store.Get(ctx, name)
			if errors.Is(err, repository.ErrNotExist) {
				continue
			}
			if err == nil {
				err = h.book.see(name, data)
			}
			if err != nil {
				return err
			}
			found = true
		}
		if found {
			empty, h.noted = 0, version
		} else {
			empty++
		}
	}
	return nil
}

func (h *hammer) report(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.progress()
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *hammer) progress() {
	_, _, generation := h.book.counts()
	fmt.Fprintf(h.out, "%v generation=%d roots=%d downloads=%d %s\n",
		time.Since(h.began).Round(time.Second), generation, h.roots.Load(), h.downloads.Load(), h.line())
}

func (h *hammer) line() string {
	accepted, published, _ := h.book.counts()
	return fmt.Sprintf("accepted=%d published=%d kills=%d refreshes=%d", accepted, published, h.kills.Load(), h.refreshes.Load())
}
