package dirjournal

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
)

// ReadLog sees, beside the leader that wrote it, what the next one will.
func TestReadLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	_, err := ReadLog(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	j, err := Create(dir)
	require.NoError(t, err)
	l, err := j.Lead(t.Context())
	require.NoError(t, err)
	log, err := l.Load(t.Context())
	require.NoError(t, err)
	record := func(kind repository.RecordKind, generation int64) repository.Record {
		return repository.Record{Epoch: log.Epoch, Kind: kind, Generation: generation}
	}
	require.NoError(t, l.Append(t.Context(), record(repository.KindIntent, 1)))
	require.NoError(t, l.Append(t.Context(), record(repository.KindCheckpoint, 1), record(repository.KindIntent, 2)))
	require.NoError(t, j.Enqueue(t.Context(), repository.Item{ID: "a", Remove: []string{"x"}}))

	before, err := list(j.fsys, dir)
	require.NoError(t, err)
	got, err := ReadLog(dir)
	require.NoError(t, err)
	after, err := list(j.fsys, dir)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoError(t, j.Close())

	j, err = Open(dir)
	require.NoError(t, err)
	l, err = j.Lead(t.Context())
	require.NoError(t, err)
	next, err := l.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, next.Records, got.Records)
	require.Len(t, got.Records, 2)
	require.Equal(t, log.Epoch, got.Epoch)
	require.NoError(t, j.Close())
}
