package dirjournal_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// upload is an entry of about 300 bytes.
func upload(n int64) (ledger.Entry, error) {
	id := fmt.Sprintf("%026d", n)
	return ledger.Item{
		ID: id, Accepted: time.Unix(1_800_000_000, 0).UTC(),
		Add: []roles.Target{{
			Path: "packages/" + id + "/example-1.0-py3-none-any.whl", Length: 123456,
			Hashes: map[string]string{"sha256": strings.Repeat("0123456789abcdef", 4)},
		}},
	}.Entry()
}

// BenchmarkEnqueue has 64 callers that enqueue durably, one item a call. Its peer
// in the same run is one caller that writes and syncs 300 bytes at a time, as a
// journal without shared syncs would; the ratio to it is what travels.
func BenchmarkEnqueue(b *testing.B) {
	peer := bareSyncs(b, 300)
	j, err := dirjournal.Create(filepath.Join(b.TempDir(), "journal"))
	require.NoError(b, err)
	defer j.Close()

	const callers, each = 64, 20
	var n atomic.Int64
	b.ReportAllocs()
	for b.Loop() {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					e, err := upload(n.Add(1))
					if err == nil {
						_, err = j.Enqueue(b.Context(), e)
					}
					if err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	rate := float64(n.Load()) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "items/s")
	b.ReportMetric(rate/peer, "×bare-syncs")
}

// bareSyncs returns how many writes of size bytes the disk makes durable a second.
func bareSyncs(b *testing.B, size int) float64 {
	f, err := os.Create(filepath.Join(b.TempDir(), "peer"))
	require.NoError(b, err)
	defer f.Close()
	const writes = 500
	start := time.Now()
	for range writes {
		_, err := f.Write(make([]byte, size))
		require.NoError(b, err)
		require.NoError(b, f.Sync())
	}
	return writes / time.Since(start).Seconds()
}

// BenchmarkOpen opens a journal whose newest checkpoint holds as many outcomes as are
// remembered, and 10,000 pending items. Its peer in the same run reads and hashes the
// segment. BenchmarkCheckpoint writes that checkpoint; its peer is one durable write of
// as many bytes.
func BenchmarkOpen(b *testing.B) {
	dir, j, _ := fullJournal(b)
	require.NoError(b, j.Close())
	b.ReportAllocs()
	for b.Loop() {
		j, err := dirjournal.Open(dir)
		require.NoError(b, err)
		require.NoError(b, j.Close())
	}
	ours := b.Elapsed()
	start := time.Now()
	for range b.N {
		data, err := os.ReadFile(largestFile(b, dir))
		require.NoError(b, err)
		sha256.Sum256(data)
	}
	b.ReportMetric(float64(ours)/float64(time.Since(start)), "×reading")
}

func BenchmarkCheckpoint(b *testing.B) {
	dir, j, leader := fullJournal(b)
	defer j.Close()
	checkpoint := newRecord(b, &ledger.Checkpoint{})
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, leader.Append(b.Context(), checkpoint))
	}
	ours := b.Elapsed()
	data, err := os.ReadFile(largestFile(b, dir))
	require.NoError(b, err)
	bare := b.TempDir()
	start := time.Now()
	for n := range b.N {
		f, err := os.Create(filepath.Join(bare, fmt.Sprint(n)))
		require.NoError(b, err)
		_, err = f.Write(data)
		require.NoError(b, err)
		require.NoError(b, f.Sync())
		require.NoError(b, f.Close())
	}
	b.ReportMetric(float64(ours)/float64(time.Since(start)), "×writing")
}

// largestFile returns the segment with the checkpoint.
func largestFile(b *testing.B, dir string) string {
	entries, err := os.ReadDir(dir)
	require.NoError(b, err)
	largest, size := "", int64(0)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(b, err)
		if info.Size() > size {
			largest, size = e.Name(), info.Size()
		}
	}
	return filepath.Join(dir, largest)
}

func newRecord(b *testing.B, body ledger.Body) ledger.Record {
	r, err := ledger.NewRecord(1, 1, "", time.Unix(1_800_000_000, 0), body)
	require.NoError(b, err)
	return r
}

// fullJournal returns a journal after its first checkpoint.
func fullJournal(b *testing.B) (string, *dirjournal.Journal, repository.Lead) {
	dir := filepath.Join(b.TempDir(), "journal")
	j, err := dirjournal.Create(dir)
	require.NoError(b, err)
	entries := make([]ledger.Entry, dirjournal.Remembered+10_000)
	outcomes := make([]ledger.ItemOutcome, dirjournal.Remembered)
	for i := range entries {
		entries[i], err = upload(int64(i))
		require.NoError(b, err)
		if i < len(outcomes) {
			outcomes[i] = ledger.OutcomeOf(entries[i], ledger.Outcome{State: ledger.Published, Generation: 1})
		}
	}
	for part := range slices.Chunk(entries, 10_000) {
		_, err := j.Enqueue(b.Context(), part...)
		require.NoError(b, err)
	}
	leader, _, err := j.Lead(b.Context())
	require.NoError(b, err)
	for _, err := range leader.Read(b.Context(), ledger.FromCheckpoint) {
		require.NoError(b, err)
	}
	require.NoError(b, leader.Append(b.Context(), newRecord(b, &ledger.Seal{Outcomes: outcomes}), newRecord(b, &ledger.Commit{})))
	require.NoError(b, leader.Append(b.Context(), newRecord(b, &ledger.Checkpoint{})))
	return dir, j, leader
}

// BenchmarkMany has a journal that remembers 1,000,000 outcomes of the last 7 days: how long Open takes, how much
// memory they take, and what an Outcome of one that is on disk costs. Its peer is the reading of all of its files.
func BenchmarkMany(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "journal")
	j, err := dirjournal.Create(dir)
	require.NoError(b, err)
	leader, _, err := j.Lead(b.Context())
	require.NoError(b, err)
	for _, err := range leader.Read(b.Context(), ledger.FromCheckpoint) {
		require.NoError(b, err)
	}
	const all, part = 1_000_000, 10_000
	for n := 0; n < all; n += part {
		entries, outcomes := make([]ledger.Entry, part), make([]ledger.ItemOutcome, part)
		for i := range entries {
			entries[i] = ledger.Entry{ID: fmt.Sprintf("%026d", n+i), Accepted: time.Unix(1_800_000_000, 0).UTC(), Body: []byte("{}")}
			outcomes[i] = ledger.OutcomeOf(entries[i], ledger.Outcome{State: ledger.Published, Generation: 1})
		}
		_, err := j.Enqueue(b.Context(), entries...)
		require.NoError(b, err)
		require.NoError(b, leader.Append(b.Context(), newRecord(b, &ledger.Decided{Outcomes: outcomes})))
	}
	require.NoError(b, leader.Append(b.Context(), newRecord(b, &ledger.Checkpoint{})))
	require.NoError(b, j.Close())
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			j, err := dirjournal.Open(dir)
			require.NoError(b, err)
			require.NoError(b, j.Close())
		}
		ours := b.Elapsed()
		start := time.Now()
		for range b.N {
			data, err := os.ReadFile(largestFile(b, dir))
			require.NoError(b, err)
			sha256.Sum256(data)
		}
		b.ReportMetric(float64(ours)/float64(time.Since(start)), "×reading")
	})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	j, err = dirjournal.Open(dir)
	require.NoError(b, err)
	defer j.Close()
	b.Run("Outcomes", func(b *testing.B) {
		used := heap() - before
		for n := 0; b.Loop(); n++ {
			o, err := j.Outcomes(b.Context(), fmt.Sprintf("%026d", n*7919%(all-2*dirjournal.Remembered)))
			require.NoError(b, err)
			require.Equal(b, ledger.Published, o[0].State)
		}
		b.ReportMetric(float64(used), "heap-bytes")
	})
	b.Run("Enqueue", func(b *testing.B) { // of new IDs
		n := all
		for b.Loop() {
			entries := make([]ledger.Entry, 1000)
			for i := range entries {
				n++
				entries[i] = ledger.Entry{ID: fmt.Sprintf("%026d", n), Accepted: time.Unix(1_800_000_000, 0).UTC(), Body: []byte("{}")}
			}
			_, err := j.Enqueue(b.Context(), entries...)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/item")
	})
}
