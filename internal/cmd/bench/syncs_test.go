package main

import (
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/repository"
)

// syncCounter is a disk that counts its syncs.
type syncCounter struct {
	disk.FS
	n *atomic.Int64
}

func (c syncCounter) Create(name string, perm fs.FileMode) (disk.File, error) {
	f, err := c.FS.Create(name, perm)
	return syncedFile{f, c.n}, err
}

func (c syncCounter) SyncDir(name string) error {
	c.n.Add(1)
	return c.FS.SyncDir(name)
}

func (c syncCounter) Lock(name string) (disk.Lock, error) {
	l, err := c.FS.Lock(name)
	return syncedLock{l, c.n}, err
}

type syncedLock struct {
	disk.Lock
	n *atomic.Int64
}

func (l syncedLock) Sync() error {
	l.n.Add(1)
	return l.Lock.Sync()
}

type syncedFile struct {
	disk.File
	n *atomic.Int64
}

func (f syncedFile) Sync() error {
	f.n.Add(1)
	return f.File.Sync()
}

// An upload that is published alone takes ten syncs: the journal's four frames (item,
// intent, seal, commit), and the file and the directory of the bin, of the snapshot
// and of the timestamp. (With more workers bin and snapshot are written at the same time,
// and may share that of the directory.)
func TestSyncsOfAGeneration(t *testing.T) {
	s, err := newSite(t.TempDir(), 4)
	require.NoError(t, err)
	inStore, inJournal := syncCounter{disk.OS(), new(atomic.Int64)}, syncCounter{disk.OS(), new(atomic.Int64)}
	store, err := ondisk.Store.Create(inStore, s.metadata())
	require.NoError(t, err)
	journal, err := ondisk.Journal.Create(inJournal, filepath.Join(s.dir, "journal"))
	require.NoError(t, err)
	cfg := s.Config(store, journal)
	cfg.MaxBatch, cfg.Workers = 1, 1
	r, err := repository.Create(t.Context(), cfg, s.Docs)
	require.NoError(t, err)
	var running errgroup.Group
	running.Go(func() error { return r.Run(t.Context()) })
	for _, target := range s.Uploads(3) {
		ofStore, ofJournal := inStore.n.Load(), inJournal.n.Load()
		receipt, err := r.Add(t.Context(), target)
		require.NoError(t, err)
		_, err = receipt.Wait(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 6, inStore.n.Load()-ofStore)
		require.EqualValues(t, 4, inJournal.n.Load()-ofJournal)
	}
	require.NoError(t, r.Close())
	require.NoError(t, running.Wait())
}
