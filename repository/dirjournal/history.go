package dirjournal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
)

var _ repository.Historian = (*Journal)(nil)

// History implements repository.Historian. It reads all segments, one at a time,
// and needs every one that there ever was: if older ones were moved elsewhere, the
// error names the first.
func (j *Journal) History(ctx context.Context) iter.Seq2[repository.Entry, error] {
	return func(yield func(repository.Entry, error) bool) {
		var segments []uint64
		// While the writer does this it begins no segment: a listing that had a
		// later one and not the one before it would look like damage.
		err := j.submit(ctx, &request{done: make(chan error, 1), do: func() error {
			l, err := list(j.fsys, j.dir)
			segments = l.segments
			return err
		}})
		if err == nil {
			err = j.history(ctx, segments, yield)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(repository.Entry{}, fmt.Errorf("history of journal %s: %w", j.dir, err))
		}
	}
}

var errStopped = errors.New("the loop was left")

func (j *Journal) history(ctx context.Context, segments []uint64, yield func(repository.Entry, error) bool) error {
	slices.Sort(segments)
	newest, err := readHeader(j.fsys, j.dir, segments[len(segments)-1])
	if err != nil {
		return err
	}
	if h, err := readHeader(j.fsys, j.dir, segments[0]); err != nil {
		return err
	} else if h.first != 1 {
		return place(h.number, fmt.Errorf("it begins with frame %d: the segments before it are missing", h.first))
	}
	// A frame with a checkpoint has copies of what is pending: no item is yielded
	// that is pending already.
	pending := map[string]bool{}
	_, err = replayAll(j.fsys, j.dir, segments, newest, func(kind byte, data []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var e repository.Entry
		switch kind {
		case itemLine:
			it, err := repository.ParseItem(data)
			if err != nil || pending[it.ID] {
				return err
			}
			pending[it.ID] = true
			e.Item = &it
		case recordLine:
			r, err := jsontext.Decode[repository.Record](data)
			if err != nil {
				return err
			}
			for _, o := range r.Outcomes {
				delete(pending, o.ID)
			}
			e.Record = &r
		default: // what is remembered of items that were yielded
			return nil
		}
		if !yield(e, nil) {
			return errStopped
		}
		return nil
	})
	return err
}
