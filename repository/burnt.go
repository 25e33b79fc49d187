package repository

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// A burnt generation's files. Whoever wrote them, and never handed a seal of that generation
// to the journal, or was told that it isn't there, knows that nothing will ever refer to them. It
// deletes them before it tries again: a disk that has room for one generation must not be filled by attempts. Files of other
// processes' attempts stay: a publisher that is paused might still have their seal.

// errTaken is wrapped when a name of a generation holds bytes that nobody here wrote.
var errTaken = errors.New("somebody else wrote a file of this name")

// written are the files of an attempt, and those of burnt ones that are not deleted yet.
type written struct {
	mu    sync.Mutex
	now   map[string]writtenFile
	burnt map[string]writtenFile
}

// writtenFile is what a name was given.
type writtenFile struct {
	blob    ledger.Blob
	certain bool // false: the call failed, and the file may be there or not
}

// write makes a file of the attempt under way durable.
func (p *publisher) write(ctx context.Context, name string, data []byte) error {
	err := p.storeFile(ctx, name, data)
	switch {
	case err == nil:
		p.wrote.note(name, writtenFile{certain: true})
		return nil
	case errors.Is(err, ErrConflict):
		p.log.Error("somebody else writes into the store: the name of a coming generation is taken: another number is used",
			"name", name, "err", err)
		return fmt.Errorf("write %s: %w: %w", name, errTaken, err)
	default:
		p.wrote.note(name, writtenFile{blob: ledger.BlobOf(data)})
		return fmt.Errorf("write %s: %w", name, err)
	}
}

func (w *written) note(name string, f writtenFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now == nil {
		w.now = map[string]writtenFile{}
	}
	w.now[name] = f
}

// keep is called once the seal may be in the journal.
func (w *written) keep() { w.now = nil }

// burn says that nothing will refer to some files of the attempt.
func (w *written) burn(these func(name string) bool) {
	if w.burnt == nil {
		w.burnt = map[string]writtenFile{}
	}
	for name, f := range w.now {
		if these(name) {
			w.burnt[name] = f
			delete(w.now, name)
		}
	}
}

// discard deletes what an attempt wrote that was given up, and what is left of earlier ones.
// What can't be deleted now is tried again by the next attempt, which doesn't depend on it.
func (p *publisher) discard(ctx context.Context) {
	p.wrote.burn(func(string) bool { return true })
	p.deleteBurnt(ctx)
}

func (p *publisher) deleteBurnt(ctx context.Context) {
	if len(p.wrote.burnt) == 0 {
		return
	}
	var mu sync.Mutex
	var deleted []string
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.cfg.Workers)
	for name, f := range p.wrote.burnt {
		g.Go(func() error {
			if gctx.Err() != nil {
				return gctx.Err()
			}
			if err := p.deleteOwn(gctx, name, f); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			deleted = append(deleted, name)
			return nil
		})
	}
	err := g.Wait()
	for _, name := range deleted {
		delete(p.wrote.burnt, name)
	}
	if err != nil {
		p.log.Warn("files of an attempt that failed are still in the store", "files", len(p.wrote.burnt), "err", err)
	}
}

// deleteOwn deletes a file, if it is the one that was written.
func (p *publisher) deleteOwn(ctx context.Context, name string, f writtenFile) error {
	if !f.certain {
		data, err := p.cfg.Store.Get(ctx, name)
		switch {
		case errors.Is(err, ErrNotExist):
			return nil
		case err != nil:
			return err
		case ledger.BlobOf(data) != f.blob:
			return nil
		}
	}
	return p.cfg.Store.Delete(ctx, name)
}
