package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// This file deletes what this process itself wrote for generations that it gave up. Repeated attempts
// would otherwise fill the disk. It deletes only if no seal of the generation can be in the journal:
// none was handed to it, or the journal said that the seal isn't there. Then nothing will ever refer
// to the files.
//
// The files of other processes stay, and so do those of this one from before Open. A paused publisher
// might still append their seal.

// errTaken is wrapped if a name of a generation holds bytes that this process didn't write.
var errTaken = errors.New("another program wrote a file of this name")

// written are the files of the present attempt, and those of earlier ones that are not deleted yet.
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

// forget is called once the seal may be in the journal: from then on the files must stay.
func (w *written) forget() { w.now = nil }

// burn marks these files of the attempt as to be deleted.
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

// discard deletes what the attempt wrote, which is given up, and what earlier ones left. The next
// attempt tries what can't be deleted now. It doesn't depend on that.
func (p *publisher) discard(ctx context.Context) {
	if len(p.wrote.now) > 0 {
		p.cache.removeAfter(p.state.Last())
	}
	p.wrote.burn(func(string) bool { return true })
	p.deleteBurnt(ctx)
}

func (p *publisher) deleteBurnt(ctx context.Context) {
	if len(p.wrote.burnt) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(p.wrote.burnt))
	names = names[:min(len(names), mostCollected)]
	var mu sync.Mutex
	var deleted []string
	remove := func(ctx context.Context, name string) error {
		if err := p.deleteOwn(ctx, name, p.wrote.burnt[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		deleted = append(deleted, name)
		return nil
	}
	// The first one alone shows whether the store is still out of order.
	err := remove(ctx, names[0])
	if err == nil {
		err = parallel.All(ctx, p.cfg.Workers, names[1:], remove)
	}
	for _, name := range deleted {
		delete(p.wrote.burnt, name)
	}
	if err != nil {
		p.log.Warn("files of an attempt that failed are still in the store: they are deleted later, and clients never see them", "files", len(p.wrote.burnt), "err", err)
	}
}

// deleteOwn deletes a file, if it has the bytes that were written.
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
