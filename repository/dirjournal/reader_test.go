package dirjournal_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

func TestReader(t *testing.T) {
	storetest.TestReader(t, func(t *testing.T) (storetest.Place, func() (repository.Reader, error)) {
		dir := t.TempDir()
		j, err := dirjournal.Create(dir)
		require.NoError(t, err)
		require.NoError(t, j.Close())
		place := storetest.Place{Open: func() (repository.Journal, error) { return dirjournal.Open(dir) }}
		return place, func() (repository.Reader, error) { return dirjournal.OpenReader(dir) }
	})
}

// What is read while others write is a ledger up to some moment.
func TestReadWhileWriting(t *testing.T) {
	dir := t.TempDir()
	j, err := dirjournal.Create(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() { wrote <- writeGenerations(ctx, j) }()
	r, err := dirjournal.OpenReader(dir)
	require.NoError(t, err)
	var last int64
	for n := range 200 {
		from := ledger.FromCheckpoint
		if n%20 == 0 {
			from = ledger.FromBeginning
		}
		var h ledger.History
		var newest ledger.Kind
		for s, err := range r.Read(t.Context(), from) {
			require.NoError(t, err)
			require.NoError(t, h.Apply(s))
			if s.Record != nil {
				newest = s.Record.Kind()
			}
		}
		require.GreaterOrEqual(t, h.State.Planned, last)
		last = h.State.Planned
		// The item of a generation is queued after the one before was checkpointed.
		pending := len(h.Queue())
		switch newest {
		case ledger.KindIntent:
			require.Equal(t, 1, pending)
		case ledger.KindSeal, ledger.KindCommit:
			require.Zero(t, pending)
		case ledger.KindCheckpoint:
			require.LessOrEqual(t, pending, 1)
		}
	}
	cancel()
	require.ErrorIs(t, <-wrote, context.Canceled)
	require.NoError(t, j.Close())
}

// writeGenerations goes through generations of one item, each with a checkpoint,
// and so with a segment, of its own.
func writeGenerations(ctx context.Context, j *dirjournal.Journal) error {
	l, epoch, err := j.Lead(ctx)
	if err != nil {
		return err
	}
	for _, err := range l.Read(ctx, ledger.FromCheckpoint) {
		if err != nil {
			return err
		}
	}
	var state ledger.State
	for n := int64(1); ; n++ {
		e, err := ledger.Item{ID: fmt.Sprint(n), Remove: []string{"a"}}.Entry()
		if err == nil {
			_, err = j.Enqueue(ctx, e)
		}
		if err != nil {
			return err
		}
		outcome := ledger.OutcomeOf(e, ledger.Outcome{State: ledger.Published, Generation: n})
		for _, body := range []func() ledger.Body{
			func() ledger.Body { return &ledger.Intent{} },
			func() ledger.Body {
				return &ledger.Seal{Outcomes: []ledger.ItemOutcome{outcome}, Swaps: []ledger.Swap{{Name: ledger.Timestamp}}}
			},
			func() ledger.Body { return &ledger.Commit{} },
			func() ledger.Body { return state.Checkpoint() },
		} {
			r, err := state.Next(epoch, n, time.Unix(n, 0), body())
			if err == nil {
				err = l.Append(ctx, r)
			}
			if err == nil {
				err = state.Apply(r)
			}
			if err != nil {
				return err
			}
		}
	}
}

func TestReaderErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := dirjournal.OpenReader(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = dirjournal.OpenReader(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)

	j, err := dirjournal.Create(dir)
	require.NoError(t, err)
	_, err = j.Enqueue(t.Context(), ledger.Entry{ID: "a"})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	r, err := dirjournal.OpenReader(dir)
	require.NoError(t, err)
	for s, err := range r.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		require.Equal(t, "a", s.Entry.ID)
	}

	name := filepath.Join(dir, "000000000002.seg")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	data[70] ^= 1
	require.NoError(t, os.WriteFile(name, data, 0o600))
	for _, err = range r.Read(t.Context(), ledger.FromBeginning) {
	}
	require.ErrorContains(t, err, "segment 000000000002.seg")
}

// TestReadWhatIsLeft: where older segments were moved elsewhere, the beginning is a
// checkpoint, or there is none.
func TestReadWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	j, err := dirjournal.Create(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() { wrote <- writeGenerations(ctx, j) }()
	for seen := int64(0); seen < 5; {
		seen, err = j.Decided(ctx, seen)
		require.NoError(t, err)
	}
	cancel()
	require.ErrorIs(t, <-wrote, context.Canceled)
	for _, id := range []string{"last-1", "last-2", "last-3"} {
		_, err := j.Enqueue(t.Context(), ledger.Entry{ID: id})
		require.NoError(t, err)
		require.NoError(t, j.Close())
		j, err = dirjournal.Open(dir)
		require.NoError(t, err)
	}
	require.NoError(t, j.Close())
	r, err := dirjournal.OpenReader(dir)
	require.NoError(t, err)
	read := func() (*ledger.History, error) {
		var h ledger.History
		for s, err := range r.Read(t.Context(), ledger.FromBeginning) {
			if err != nil {
				return nil, err
			}
			require.NoError(t, h.Apply(s))
		}
		return &h, nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	require.Greater(t, len(names), 6)
	want, err := read()
	require.NoError(t, err)
	checkpoints, missing := 0, 0
	for _, name := range names[:len(names)-1] {
		require.NoError(t, os.Remove(name))
		h, err := read()
		if err != nil { // the first one left begins after the newest checkpoint
			require.ErrorContains(t, err, "the segments before it are missing")
			missing++
			continue
		}
		require.Zero(t, missing)
		checkpoints++
		require.Equal(t, want.State, h.State)
		require.Equal(t, want.Queue(), h.Queue())
	}
	require.Greater(t, checkpoints, 3)
	require.Positive(t, missing)
}
