package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/tufclient"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/web"
	"github.com/bindery-tuf/bindery/roles"
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

	began    time.Time
	ceremony *repotest.Ceremony
	store    *dirstore.Store
	url      string
	root     []byte
	noted    int64 // versions up to it are in the book

	keys      []seed // online keys that the documents name, the newest first
	installed bool   // a publisher installed the newest documents
	begun     bool   // a publisher began the rotation to the newest key
	ready     bool   // that rotation is ready

	roots     atomic.Int64
	kills     atomic.Int64
	refreshes atomic.Int64
	downloads atomic.Int64 // of target files
	collected atomic.Int64 // files that were deleted
	rotations atomic.Int64 // that ended
	slow      atomic.Int64 // updates that took longer than the grace, and failed
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
	h.keys = []seed{newSeed(h.rng)}
	if h.ceremony, err = makeSite(ctx, h.dir, h.keys[0]); err != nil {
		return err
	}
	if h.store, err = dirstore.Open(filepath.Join(h.dir, repotest.SiteStore)); err != nil {
		return err
	}
	h.roots.Store(int64(len(h.ceremony.Documents().Roots)))
	h.root, err = h.store.Get(ctx, "1.root.json")
	return err
}

// killUntil starts publishers and kills them. At the end everything is settled and collected.
func (h *hammer) killUntil(ctx context.Context, deadline time.Time) error {
	for time.Now().Before(deadline) {
		if h.rng.IntN(8) == 0 && len(h.ceremony.Documents().Roots) < maxRoots {
			h.ceremony.NextRoot(nil)
			if err := h.bringDocuments(); err != nil {
				return err
			}
		}
		if err := h.rotate(); err != nil {
			return err
		}
		dies := end{after: h.upTo(time.Second), opened: true}
		switch h.rng.IntN(16) {
		case 0, 1, 2, 3: // perhaps while it opens the repository
			dies = end{after: h.upTo(500 * time.Millisecond)}
		case 4, 5: // it collects: that begins a grace after it opened the repository
			dies.after = grace + h.upTo(3*time.Second)
		}
		if err := h.start(ctx, dies); err != nil {
			return err
		}
		h.kills.Add(1)
		if err := h.noteNames(ctx, h.noted); err != nil {
			return err
		}
	}
	for settled := false; !settled || h.ready; settled = true {
		if err := h.rotate(); err != nil { // it may end one: the next publisher installs that
			return err
		}
		if err := h.start(ctx, end{settles: true, opened: true}); err != nil {
			return err
		}
	}
	if err := h.noteNames(ctx, 0); err != nil {
		return err
	}
	if err := h.book.settled(); err != nil {
		return err
	}
	return h.collectAll(ctx)
}

// rotate now and then begins a rotation of the online keys to a new one, and ends it once it is ready.
func (h *hammer) rotate() error {
	switch {
	case h.ready:
		h.keys, h.begun, h.ready = h.keys[:1], false, false
		h.rotations.Add(1)
	case len(h.keys) == 1 && h.installed && h.rng.IntN(4) == 0 && len(h.ceremony.Documents().Roots) < maxRoots:
		h.keys = []seed{newSeed(h.rng), h.keys[0]}
	default:
		return nil
	}
	signers, err := online(h.keys)
	if err != nil {
		return err
	}
	named := repotest.Of(1, signers...)
	h.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = named, named })
	h.ceremony.NextBins(func(a *roles.Authority) { *a = named })
	return h.bringDocuments()
}

// bringDocuments leaves the newest documents for the next publisher.
func (h *hammer) bringDocuments() error {
	d := h.ceremony.Documents()
	h.roots.Store(int64(len(d.Roots)))
	h.installed = false
	return writeDocuments(h.dir, d)
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
		began := time.Now()
		_, err := c.update(rng, rng.IntN(lanes))
		if tufclient.IsMissing(err) && time.Since(began) > grace {
			h.slow.Add(1)
			continue
		}
		if err != nil {
			return fmt.Errorf("client %d, after %v: %w", number, time.Since(began).Round(time.Millisecond), err)
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
	return h.noteNames(ctx, 0)
}

// noteNames records what publishers may have written: all names but those of versions up to after.
// Later publishers must not write other contents under these names. None may be alive.
func (h *hammer) noteNames(ctx context.Context, after int64) error {
	for info, err := range h.store.List(ctx) {
		if err != nil {
			return err
		}
		version, role, ok := ledger.ParseName(info.Name)
		if !ok || version <= after && role != metadata.ROOT {
			continue
		}
		data, err := h.store.Get(ctx, info.Name)
		if err == nil {
			err = h.book.contents.See(info.Name, data)
		}
		if err != nil {
			return err
		}
		if role != metadata.ROOT { // its versions are others
			h.noted = max(h.noted, version)
		}
	}
	return nil
}

// collectAll lets an idle publisher collect. Then nothing may be left that nobody needs.
func (h *hammer) collectAll(ctx context.Context) error {
	if err := h.start(ctx, end{collects: true, opened: true}); err != nil {
		return err
	}
	journal, err := dirjournal.OpenReader(filepath.Join(h.dir, repotest.SiteJournal))
	if err != nil {
		return err
	}
	for f, err := range repository.ReadSweep(ctx, h.store, journal, 0) {
		if err != nil {
			return err
		}
		if f.Delete {
			return fmt.Errorf("%s was never deleted: %s", f.Name, f.Why)
		}
	}
	return h.checkFiles()
}

// checkFiles requires that targets have no files but those that clients find.
func (h *hammer) checkFiles() error {
	wanted := map[string]bool{}
	want := func(targetPath string, n int) { wanted[fileName(targetPath, target(targetPath, n).Hashes)] = true }
	for lane, a := range h.book.lanes {
		for k := keeps; k <= a.accepted; k += keeps {
			want(keptPath(lane, k), k)
		}
		for n := slots; n <= a.accepted; n += slots {
			// What one generation adds and replaces was never published, and isn't offered for deletion.
			if n+slots > a.accepted || a.generations[n] == a.generations[n+slots] {
				want(slotPath(lane, 0), n)
			}
		}
	}
	return fs.WalkDir(os.DirFS(filepath.Join(h.dir, targetsDir)), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == ".bindery": // the store's own
			return fs.SkipDir
		case !d.IsDir() && !wanted[name]:
			return fmt.Errorf("%s was never deleted: no target has it", name)
		}
		return nil
	})
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
	fmt.Fprintf(h.out, "%v generation=%d roots=%d downloads=%d slow=%d %s\n",
		time.Since(h.began).Round(time.Second), generation, h.roots.Load(), h.downloads.Load(), h.slow.Load(), h.line())
}

func (h *hammer) line() string {
	accepted, published, _ := h.book.counts()
	return fmt.Sprintf("accepted=%d published=%d kills=%d refreshes=%d collected=%d rotations=%d",
		accepted, published, h.kills.Load(), h.refreshes.Load(), h.collected.Load(), h.rotations.Load())
}
