package dirjournal

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// fold reads a journal from the beginning.
func fold(ctx context.Context, r repository.Reader) (steps int, h ledger.History, err error) {
	for s, err := range r.Read(ctx, ledger.FromBeginning) {
		if err == nil {
			err = h.Apply(s)
		}
		if err != nil {
			return 0, h, err
		}
		steps++
	}
	return steps, h, nil
}

// archivable returns a disk with a closed journal of many segments, the hash of its newest checkpoint, and
// what reading it gives.
func archivable(t *testing.T) (d *simDisk, hash string, steps int, h ledger.History) {
	t.Helper()
	d = newSimDisk()
	p := &process{open: d.openJournal}
	j, err := create(d.FS, "/journal", tiny)
	require.NoError(t, err)
	p.j = j
	for _, s := range append(slices.Clone(workload), record(checkpoint, 4), enqueue("m")) {
		require.NoError(t, s(p))
	}
	for s := range p.leader.Read(t.Context(), ledger.FromCheckpoint) {
		if s.Record != nil && s.Record.Kind() == checkpoint {
			hash = s.Record.Hash()
		}
	}
	steps, h, err = fold(t.Context(), p.leader)
	require.NoError(t, err)
	require.NoError(t, p.j.Close())
	require.NoError(t, d.Mkdir("/archive", 0o700))
	require.NoError(t, d.SyncDir("/"))
	return d, hash, steps, h
}

// requireHistory requires that a reader finds the state and the queue, and returns how many steps it has.
func requireHistory(t *testing.T, d *simDisk, want ledger.History, where string) int {
	t.Helper()
	r, err := openReaderOn(d, "/journal")
	require.NoError(t, err, where)
	steps, h, err := fold(t.Context(), r)
	require.NoError(t, err, where)
	require.Equal(t, want.State, h.State, where)
	require.Equal(t, want.Queue(), h.Queue(), where)
	return steps
}

// archive opens the journal and archives.
func archive(d *simDisk, hash, to string) ([]repository.ArchivedFile, error) {
	j, err := open(d.FS, "/journal", tiny)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	return j.Archive(context.Background(), hash, to)
}

// segmentsIn are the names and contents of the segments in a directory.
func segmentsIn(d *simDisk, dir string) map[string][]byte {
	all := map[string][]byte{}
	for name, data := range d.Files() {
		if base, ok := strings.CutPrefix(name, dir+"/"); ok && strings.HasSuffix(base, ".seg") {
			all[base] = data
		}
	}
	return all
}

func TestArchive(t *testing.T) {
	for _, to := range []string{"/archive", ""} {
		d, hash, steps, h := archivable(t)
		before := segmentsIn(d, "/journal")
		j, err := open(d.FS, "/journal", tiny)
		require.NoError(t, err)
		could, err := j.Archivable(t.Context(), to)
		require.NoError(t, err)
		require.Len(t, could, len(segmentsIn(d, "/journal")))
		require.NoError(t, j.Close())
		went, err := archive(d, hash, to)
		require.NoError(t, err)
		require.Greater(t, len(went), 5)
		for i, f := range went {
			require.Equal(t, could[i], f)
			require.Len(t, before[f.Name], int(f.Bytes))
		}
		left := segmentsIn(d, "/journal")
		for _, f := range went {
			require.NotContains(t, left, f.Name)
			if to != "" {
				require.Equal(t, before[f.Name], segmentsIn(d, to)[f.Name])
			}
		}
		clipped := requireHistory(t, d, h, to)
		require.Less(t, clipped, steps)
		d.powerLoss(loseAll)
		require.Equal(t, clipped, requireHistory(t, d, h, to))

		// It goes on: more is written, and archived.
		p := &process{open: d.openJournal}
		for _, s := range []step{reopen, takeOver, enqueue("n"), record(intent, 5), record(seal, 5, "n"), record(commit, 5), record(checkpoint, 5), reopen, takeOver} {
			require.NoError(t, s(p))
		}
		_, h, err = fold(t.Context(), p.leader)
		require.NoError(t, err)
		require.NoError(t, p.j.Close())
		_, err = archive(d, hash, to)
		require.NoError(t, err, "nothing is left to be done for the first one")
		again, err := archive(d, checkpointIn(t, d), to)
		require.NoError(t, err)
		require.NotEmpty(t, again)
		requireHistory(t, d, h, to)

		// Put back, all is there again.
		if to != "" {
			for name, data := range segmentsIn(d, to) {
				d.Put("/journal/"+name, data)
			}
			require.Greater(t, requireHistory(t, d, h, to), steps)
		}
	}
}

// checkpointIn is the hash of the newest checkpoint.
func checkpointIn(t *testing.T, d *simDisk) (hash string) {
	t.Helper()
	r, err := openReaderOn(d, "/journal")
	require.NoError(t, err)
	for s, err := range r.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		if s.Record != nil && s.Record.Kind() == checkpoint {
			hash = s.Record.Hash()
		}
	}
	return hash
}

// Whatever happens in the middle, the history can be read, none of it is lost, and the same call goes on.
func TestArchiveCrash(t *testing.T) {
	t.Parallel()
	prepared, hash, steps, h := archivable(t)
	before := segmentsIn(prepared, "/journal")
	healthy := startOn(prepared.Clone(1))
	n := healthy.Ops()
	went, err := archive(healthy, hash, "/archive")
	require.NoError(t, err)
	clipped := requireHistory(t, healthy, h, "")
	ops := healthy.Ops() - n
	t.Logf("%d operations", ops)
	first, step := thorough.OneIn(5)
	for at := 1 + first; at <= ops; at += step {
		for _, f := range faults {
			for name, cut := range map[string]func(d *simDisk){
				"restart":        func(d *simDisk) { d.restart() },
				"power, nothing": func(d *simDisk) { d.powerLoss(loseAll) },
				"power, all":     func(d *simDisk) { d.powerLoss(keepAll) },
				"power, parts":   func(d *simDisk) { d.powerLoss(d.AnyCut()) },
			} {
				where := fmt.Sprintf("operation %d, fault %d, %s", at, f, name)
				d := startOn(prepared.Clone(uint64(at)))
				d.InjectNext(at, f)
				archive(d, hash, "/archive")
				cut(d)
				require.Contains(t, d.Files(), "/journal/"+slices.Max(slices.Collect(maps.Keys(before))), where)
				all := segmentsIn(d, "/archive")
				maps.Copy(all, segmentsIn(d, "/journal"))
				for name, data := range before {
					require.Equal(t, data, all[name], where)
				}
				got := requireHistory(t, d, h, where)
				require.GreaterOrEqual(t, got, clipped, where)
				_, err := archive(d, hash, "/archive")
				require.NoError(t, err, where)
				require.Equal(t, clipped, requireHistory(t, d, h, where), where)
				require.Len(t, segmentsIn(d, "/archive"), len(went), where)
				for name, data := range segmentsIn(d, "/archive") {
					d.Put("/journal/"+name, data)
				}
				require.Equal(t, steps, requireHistory(t, d, h, where), where)
			}
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	d, hash, steps, h := archivable(t)
	j, err := open(d.FS, "/journal", tiny)
	require.NoError(t, err)
	for _, c := range []struct{ hash, to, words string }{
		{hash, "/missing", "the archive must be a folder that exists"},
		{hash, "/journal", "the archive /journal is the journal's own folder: name another one"},
		{hash, "/other", "/other/000000000002.seg is another journal's segment: name another folder"},
		{strings.Repeat("0", 64), "/archive", "no segment begins with the checkpoint record 000000000000"},
	} {
		if c.to == "/other" {
			require.NoError(t, d.Mkdir("/other", 0o700))
			d.Put("/other/000000000002.seg", []byte("x"))
		}
		_, err := j.Archive(t.Context(), c.hash, c.to)
		require.ErrorContains(t, err, c.words)
		if c.hash == hash {
			_, err = j.Archivable(t.Context(), c.to)
			require.ErrorContains(t, err, c.words)
		}
	}
	// Of the same size, only the bytes tell.
	data, _ := d.Read("/journal/000000000002.seg")
	data = slices.Clone(data)
	data[len(data)-1]++
	d.Put("/other/000000000002.seg", data)
	_, err = j.Archive(t.Context(), hash, "/other")
	require.ErrorIs(t, err, fs.ErrExist)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = j.Archive(ended, hash, "/archive")
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, j.Close())
	_, err = j.Archive(t.Context(), hash, "/archive")
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = j.Archivable(t.Context(), "")
	require.ErrorIs(t, err, repository.ErrClosed)
	require.Equal(t, steps, requireHistory(t, d, h, ""))

	// What is damaged is not put away.
	path := "/journal/000000000004.seg"
	data, _ = d.Read(path)
	data = slices.Clone(data)
	data[70]++
	d.Put(path, data)
	_, err = archive(d, hash, "/archive")
	require.ErrorContains(t, err, "segment 000000000004.seg")
	require.NotContains(t, d.Files(), "/journal/begin")
}

// On a real disk.
func TestArchiveOnDisk(t *testing.T) {
	dir, to := filepath.Join(t.TempDir(), "journal"), t.TempDir()
	j, err := Create(dir)
	require.NoError(t, err)
	leader := leaderOf(t, j)
	require.NoError(t, queueUp(t.Context(), j, "a", "b"))
	publish(t, leader, 1, "a")
	c := rec(checkpoint, 1)
	require.NoError(t, leader.Append(t.Context(), c))
	files, err := j.Archive(t.Context(), c.Hash(), to)
	require.NoError(t, err)
	require.Len(t, files, 2)
	require.NoError(t, j.Close())
	l, err := list(disk.OS(), dir)
	require.NoError(t, err)
	require.Equal(t, []uint64{3}, l.segments)
	entries, err := os.ReadDir(to)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	got, err := pendingIn(t, dir)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, got)
}
