package repository

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/roles"
)

// rebuildBytes is about how many bytes of bins are made again in one reading of
// the history. In memory they take several times as much.
const rebuildBytes = 64 << 20

// Rebuild makes a bin again whose file in the store was lost or altered, from the
// journal's history, and publishes it in a generation of its own; its items, which
// waited, follow. A bin whose file is what was published is released
// from quarantine, and nothing else is done. It doesn't need Run.
//
// The Journal must be a Historian. If the bin was published before the history
// begins (see RestoreJournal), the error names the file that it was read from:
// a copy of it from a backup or from any mirror, put back into the store, will do.
// The cost is that of reading the history. After an error nothing has changed, or
// Run publishes the bin.
func (r *Repository) Rebuild(ctx context.Context, bin string) error {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	err := r.exclusively(func(p *publisher) error { return p.rebuildBin(ctx, bin) })
	r.wakeRun()
	if err != nil {
		return fmt.Errorf("rebuild bin %s: %w", bin, err)
	}
	return nil
}

func (p *publisher) rebuildBin(ctx context.Context, name string) error {
	i, ok := p.offline.layout.Index(name)
	if !ok {
		return errors.New("there is no such bin")
	}
	if err := p.finish(ctx); err != nil {
		return err
	}
	p.cache.remove(i) // what counts is the store
	_, err := p.loadBin(ctx, i, p.state.bins[i])
	switch {
	case err == nil:
		delete(p.quarantine, i)
		return nil
	case !errors.Is(err, errQuarantine):
		return err
	}
	p.noteQuarantine(i, err)
	p.rebuild.want(p.state.chain, i)
	if _, err := p.rebuild.bin(ctx, i); err != nil {
		p.rebuild.forget(i)
		return err
	}
	delete(p.quarantine, i)
	p.log.Info("bin rebuilt from the journal", "bin", name)
	return p.publish(ctx)
}

// rebuilder makes bins again whose files in the store are of no use, in groups, as
// they are asked for: by the many goroutines that make a generation.
type rebuilder struct {
	p      *publisher
	chain  string       // up to which history tells what is in them
	wanted map[int]bool // until a generation has them anew; not changed while one is made

	mu   sync.Mutex
	made map[int]*roles.Bin // those that are at hand
}

func newRebuilder(p *publisher) *rebuilder {
	return &rebuilder{p: p, wanted: map[int]bool{}, made: map[int]*roles.Bin{}}
}

func (r *rebuilder) want(chain string, bins ...int) {
	r.chain = chain
	for _, i := range bins {
		r.wanted[i] = true
	}
}

func (r *rebuilder) wants(i int) bool { return r.wanted[i] }

// forget is called for a bin whose newest file is in the store.
func (r *rebuilder) forget(i int) {
	delete(r.wanted, i)
	r.drop(i)
}

// drop frees the memory of a bin that was used; it can be made once more.
func (r *rebuilder) drop(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.made, i)
}

// bin returns the content of a wanted bin. If it isn't at hand it is made with
// others that are likely to be asked for next: those that follow it.
func (r *rebuilder) bin(ctx context.Context, i int) (*roles.Bin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bin := r.made[i]; bin != nil {
		return bin, nil
	}
	group, size := []int{i}, r.p.state.bins[i].Length
	for k := i + 1; k < len(r.p.state.bins) && size < rebuildBytes; k++ {
		if r.wanted[k] && r.made[k] == nil {
			group, size = append(group, k), size+r.p.state.bins[k].Length
		}
	}
	history, err := replayHistory(ctx, r.p.cfg.Journal, r.chain, r.p.offline.layout, group...)
	if err != nil {
		return nil, err
	}
	for _, k := range group {
		bin, err := r.make(ctx, k, history.bins[k])
		if err != nil {
			return nil, err
		}
		r.made[k] = bin
	}
	return r.made[i], nil
}

// checkBases makes sure that every bin can be made, as far as the store is
// concerned, and otherwise names all files that it needs for that.
func (r *rebuilder) checkBases(ctx context.Context, bins []int) error {
	if len(bins) == 0 {
		return nil
	}
	h := newReplay(r.p.offline.layout, bins...)
	h.bases = true
	if _, err := h.run(ctx, r.p.cfg.Journal, r.chain); err != nil {
		return err
	}
	var missing []error
	for _, i := range bins {
		if _, err := r.base(ctx, i, h.bins[i].base); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			missing = append(missing, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d files are missing: %w", len(missing), errors.Join(missing...))
	}
	return nil
}

// base returns the bin on which the history goes on.
func (r *rebuilder) base(ctx context.Context, i int, b binState) (*roles.Bin, error) {
	if b.Version == 0 {
		return roles.NewBin(), nil
	}
	name := versioned(b.Version, r.p.offline.layout.Name(i))
	data, err := r.p.cfg.Store.Get(ctx, name)
	if err == nil && blobOf(data) != b.blob {
		err = errors.New("it was altered")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: the journal doesn't tell what is in it: "+
			"put a copy with the SHA-256 %s, of a backup or a mirror, into the store", name, err, b.SHA256)
	}
	bin, err := roles.OpenBin(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bin, nil
}

func (r *rebuilder) make(ctx context.Context, i int, c *contents) (*roles.Bin, error) {
	base, err := r.base(ctx, i, c.base)
	if err != nil {
		return nil, err
	}
	edits := make([]roles.TargetEdit, 0, len(c.since))
	for path, target := range c.since {
		edits = append(edits, roles.TargetEdit{Path: path, Target: target})
	}
	b := r.p.state.bins[i]
	return base.Edit(b.Version, time.Unix(b.Expires, 0), edits)
}
