package dirjournal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

var errStopped = errors.New("the loop was left")

// steps returns what replay is to call for a reader that yields steps.
func steps(ctx context.Context, yield func(ledger.Step, error) bool) func(part) error {
	return func(p part) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.kind == outcomePart || p.kind == filePart {
			return nil
		}
		s, err := p.step()
		if err == nil && !yield(s, nil) {
			err = errStopped
		}
		return err
	}
}

// Read implements repository.Reader. The first read from the checkpoint returns what Open read;
// later ones read the disk. If segments were moved elsewhere, the beginning is the first segment
// left, which must begin with a checkpoint.
func (l *lead) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		err := l.readTo(ctx, from, yield)
		if err != nil && !errors.Is(err, errStopped) {
			yield(ledger.Step{}, fmt.Errorf("read journal %s: %w", l.journal.dir.name, err))
		}
	}
}

func (l *lead) readTo(ctx context.Context, from ledger.From, yield func(ledger.Step, error) bool) error {
	j := l.journal
	var opened []ledger.Step
	fromDisk := false
	var segments []uint64
	var until, newest uint64
	// The writer runs this, so it begins no segment meanwhile: a listing with a later segment
	// and without the one before it would look like damage. Every frame before j.next is durable.
	err := j.do(ctx, func() error {
		if err := l.enter(ctx); err != nil {
			return err
		}
		if from == ledger.FromCheckpoint && j.opened != nil {
			opened = j.opened.steps
			for _, k := range j.queue.pending[j.opened.pending:] {
				opened = append(opened, k.step())
			}
			j.opened = nil
			j.mu.Unlock()
			return nil
		}
		j.mu.Unlock()
		found, err := list(j.dir.fsys, j.dir.name)
		segments, until, newest, fromDisk = found.segments, j.next, j.coming.after, true
		if j.segment != nil {
			newest = j.segment.number
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range opened {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !yield(s, nil) {
			return errStopped
		}
	}
	if fromDisk {
		if !slices.Contains(segments, newest) {
			return place(newest, fmt.Errorf("it was removed or moved while the journal was open: put it back: %w", fs.ErrNotExist))
		}
		if segments, err = beginning(j.dir.fsys, j.dir.name, segments, from); err != nil {
			return err
		}
		e, err := replay(j.dir.fsys, j.dir.name, segments, until, steps(ctx, yield))
		if err != nil {
			return err
		}
		if e.next < until {
			return place(newest, fmt.Errorf("it ends before frame %d, and frames up to %d were written: it was cut, or an older copy was put in its place", e.next, until-1))
		}
	}
	if err := l.enter(ctx); err != nil {
		return err
	}
	defer j.mu.Unlock()
	l.read = l.read || from == ledger.FromCheckpoint
	return nil
}

// Reader is a repository.Reader of the journal in a directory. Any number of them read
// alongside the process that has the journal open, without its lock. That is safe because
// segments only grow, or are replaced as a whole by one with the same frames; a frame that is
// being written doesn't count yet. A Reader needs no permission to write, holds no file open,
// and is safe for concurrent use.
type Reader struct {
	fsys disk.FS
	dir  string
}

var _ repository.Reader = (*Reader)(nil)

// String says in which folder the journal is.
func (r *Reader) String() string { return "folder " + r.dir }

// OpenReader returns a Reader of the journal in dir. The error wraps fs.ErrNotExist if dir
// doesn't exist or holds no journal.
func OpenReader(dir string) (*Reader, error) { return openReaderOn(disk.OS(), dir) }

func openReaderOn(fsys disk.FS, dir string) (*Reader, error) {
	r := &Reader{fsys, absolute(dir)}
	if _, err := r.segments(); err != nil {
		return nil, r.fail(err)
	}
	return r, nil
}

// Read implements repository.Reader. It names damage as Open does. If segments were moved
// elsewhere, the beginning is the first segment left, which must begin with a checkpoint.
func (r *Reader) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		if err := r.readTo(ctx, from, yield); err != nil && !errors.Is(err, errStopped) {
			yield(ledger.Step{}, r.fail(err))
		}
	}
}

// readTo retries if the directory changed during a read: a listing may miss a segment and have
// the next, if both were made meanwhile. An error is final once no segment was begun since the
// last attempt. Steps that were yielded are not yielded again.
func (r *Reader) readTo(ctx context.Context, from ledger.From, yield func(ledger.Step, error) bool) error {
	var first uint64 // the segment with which reading began
	yielded := 0
	segments, err := r.segments()
	for err == nil {
		at := 0
		readErr := r.read(segments, from, &first, steps(ctx, func(s ledger.Step, err error) bool {
			if at++; at <= yielded {
				return true
			}
			yielded++
			return yield(s, err)
		}))
		if readErr == nil || errors.Is(readErr, errStopped) {
			return readErr
		}
		before := segments
		if segments, err = r.segments(); err == nil {
			err = ctx.Err()
		}
		if err == nil && slices.Equal(before, segments) {
			err = readErr
		}
	}
	return err
}

// read reads from segment first on. If first is 0, read chooses the segment and sets first.
func (r *Reader) read(segments []uint64, from ledger.From, first *uint64, visit func(part) error) error {
	if *first == 0 {
		chosen, err := beginning(r.fsys, r.dir, segments, from)
		if err != nil {
			return err
		}
		*first = chosen[0]
	}
	at, _ := slices.BinarySearch(segments, *first)
	if at == len(segments) || segments[at] != *first {
		return place(*first, errors.New("it was moved while it was read"))
	}
	_, err := replay(r.fsys, r.dir, segments[at:], whole, visit)
	return err
}

func (r *Reader) segments() ([]uint64, error) {
	l, err := list(r.fsys, r.dir)
	if err == nil && len(l.segments) == 0 {
		err = errNoJournal
	}
	return l.segments, err
}

func (r *Reader) fail(err error) error { return fmt.Errorf("read journal %s: %w", r.dir, err) }
