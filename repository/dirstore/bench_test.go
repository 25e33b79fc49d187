package dirstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// BenchmarkCreate has 32 callers, as many as an engine's Workers, each of which makes a
// bin of 610 targets durable, over and over. Its peer in the same run is the least that
// this can be: open, write, sync and close of a file by as many callers, and one sync of
// the directory for all; the ratio to it is what travels.
func BenchmarkCreate(b *testing.B) {
	const callers, each, size = 32, 8, 131_000
	data := make([]byte, size)
	var serial atomic.Int64
	all := func(create func(name string) error) {
		var g errgroup.Group
		for range callers {
			g.Go(func() error {
				for range each {
					if err := create(fmt.Sprintf("%d.bins-0000.json", serial.Add(1))); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(b, g.Wait())
	}
	s, err := dirstore.Create(filepath.Join(b.TempDir(), "store"))
	require.NoError(b, err)
	b.ReportAllocs()
	b.SetBytes(callers * each * size)
	bare := b.TempDir()
	theirs := peer{b: b}
	for b.Loop() {
		all(func(name string) error { return s.Create(context.Background(), name, data) })
		theirs.run(func() {
			all(func(name string) error { return disk.WriteFile(disk.OS(), filepath.Join(bare, name), data, 0o644) })
			require.NoError(b, disk.OS().SyncDir(bare))
		})
	}
	theirs.report()
}

// peer is what a benchmark is compared with. It runs in turn with it, because disks
// are now fast and now slow.
type peer struct {
	b    *testing.B
	took time.Duration
}

func (p *peer) run(f func()) {
	p.b.StopTimer()
	start := time.Now()
	f()
	p.took += time.Since(start)
	p.b.StartTimer()
}

func (p *peer) report() { p.b.ReportMetric(float64(p.took)/float64(p.b.Elapsed()), "×bare-writes") }

// BenchmarkSwap replaces a timestamp. Its peer is the same with bare system calls.
func BenchmarkSwap(b *testing.B) {
	s, err := dirstore.Create(filepath.Join(b.TempDir(), "store"))
	require.NoError(b, err)
	var old []byte
	bare := b.TempDir()
	temp := filepath.Join(bare, "temp")
	theirs := peer{b: b}
	b.ReportAllocs()
	for n := byte(0); b.Loop(); n++ {
		data := make([]byte, 500)
		data[0] = n
		require.NoError(b, s.Swap(context.Background(), "timestamp.json", old, data))
		old = data
		theirs.run(func() {
			require.NoError(b, disk.WriteFile(disk.OS(), temp, data, 0o644))
			require.NoError(b, os.Rename(temp, filepath.Join(bare, "timestamp.json")))
			require.NoError(b, disk.OS().SyncDir(bare))
		})
	}
	theirs.report()
}
