package dirjournal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
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

// What is read while others write is of one moment: all records up to one, and
// the items that these leave pending.
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
	for range 300 {
		log, queue, err := r.Read(t.Context())
		require.NoError(t, err)
		if len(log.Records) == 0 {
			continue
		}
		newest := log.Records[len(log.Records)-1]
		require.GreaterOrEqual(t, newest.Generation, last)
		last = newest.Generation
		// The item of a generation is queued after the one before was checkpointed.
		switch newest.Kind {
		case repository.KindIntent:
			require.Equal(t, 1, queue.Pending)
		case repository.KindSeal, repository.KindCommit:
			require.Zero(t, queue.Pending)
		case repository.KindCheckpoint:
			require.LessOrEqual(t, queue.Pending, 1)
		}
	}
	cancel()
	require.ErrorIs(t, <-wrote, context.Canceled)
	require.NoError(t, j.Close())
}

// writeGenerations goes through generations of one item, each with a checkpoint,
// and so with a segment, of its own.
func writeGenerations(ctx context.Context, j *dirjournal.Journal) error {
	l, err := j.Lead(ctx)
	if err != nil {
		return err
	}
	log, err := l.Load(ctx)
	if err != nil {
		return err
	}
	for n := int64(1); ; n++ {
		id := fmt.Sprint(n)
		if err := j.Enqueue(ctx, repository.Item{ID: id, Remove: []string{id}}); err != nil {
			return err
		}
		for _, kind := range []repository.RecordKind{
			repository.KindIntent, repository.KindSeal, repository.KindCommit, repository.KindCheckpoint,
		} {
			rec := repository.Record{Epoch: log.Epoch, Kind: kind, Generation: n, Body: json.RawMessage(`{}`)}
			if kind == repository.KindSeal {
				rec.Outcomes = []repository.ItemOutcome{{ID: id, Outcome: repository.Outcome{State: repository.Published, Generation: n}}}
			}
			if err := l.Append(ctx, rec); err != nil {
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
	require.NoError(t, j.Enqueue(t.Context(), repository.Item{ID: "a", Remove: []string{"a"}}))
	require.NoError(t, j.Close())
	j, err = dirjournal.Open(dir) // the frame is copied to a new segment
	require.NoError(t, err)
	require.NoError(t, j.Close())
	r, err := dirjournal.OpenReader(dir)
	require.NoError(t, err)
	_, queue, err := r.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, queue.Pending)

	name := filepath.Join(dir, "000000000003.seg")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	data[70] ^= 1
	require.NoError(t, os.WriteFile(name, data, 0o600))
	_, _, err = r.Read(t.Context())
	require.ErrorContains(t, err, "segment 000000000003.seg")
}
