package repository_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// These benchmarks are of the engine alone, with a store and a journal in memory. What
// is durable is measured where it is written, and all of it together by
// internal/cmd/bench.

// BenchmarkSubmit queues one upload. Its peer in the same run is package encoding/json
// that encodes the item.
func BenchmarkSubmit(b *testing.B) {
	r := benchRepository(b, 2, repository.Config{MaxPending: 1 << 30})
	uploads := benchTargets(4096)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		_, err := r.Add(b.Context(), uploads[n%len(uploads)])
		require.NoError(b, err)
	}
	ours := b.Elapsed()
	start := time.Now()
	for n := range b.N {
		_, err := json.Marshal(repository.Item{ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Add: uploads[n%len(uploads) : n%len(uploads)+1]})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(ours)/float64(time.Since(start)), "×encoding")
}

// BenchmarkGeneration publishes one upload into each of 64 bins. Its peer in the same
// run is the 64 signatures and their verification, on as many processors.
func BenchmarkGeneration(b *testing.B) {
	const bins = 64
	for _, n := range []int{140, 610} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := benchRepository(b, bins, repository.Config{MaxDelay: -1, MaxBatch: 10_000})
			publish := publishing(b, r)
			// As many targets as make n on average, of which one in each bin is replaced.
			for part := range slices.Chunk(benchTargets(n*bins), 5000) {
				publish(part)
			}
			upload := onePerBin(b, bins)
			b.ReportAllocs()
			for b.Loop() {
				for i := range upload {
					upload[i].Length++
				}
				publish(upload)
			}
			ours := b.Elapsed()

			signer, err := keys.GenerateEd25519()
			require.NoError(b, err)
			start := time.Now()
			for range b.N {
				var g errgroup.Group
				for range bins {
					g.Go(func() error {
						_, err := keys.SignVerified(b.Context(), signer, make([]byte, 215*n))
						return err
					})
				}
				require.NoError(b, g.Wait())
			}
			b.ReportMetric(float64(ours)/float64(time.Since(start)), "×signing")
		})
	}
}

// BenchmarkObserve publishes one upload into each of 64 bins with an observer that counts events.
// Its peer in the same run is the same without one, and its allocations are in the metrics too.
func BenchmarkObserve(b *testing.B) {
	const bins = 64
	var events atomic.Int64
	upload := onePerBin(b, bins)
	publisher := func(observe func(repository.Event)) func() {
		publish := publishing(b, benchRepository(b, bins, repository.Config{MaxDelay: -1, Observe: observe}))
		return func() {
			for i := range upload {
				upload[i].Length++
			}
			publish(upload)
		}
	}
	with, without := publisher(func(repository.Event) { events.Add(1) }), publisher(nil)
	allocations := func() float64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.Mallocs)
	}
	var observed, unobserved time.Duration
	var more float64 // allocations
	b.ReportAllocs()
	for b.Loop() { // by turns, so that what else the machine does is the same for both
		before, start := allocations(), time.Now()
		with()
		between, middle := allocations(), time.Now()
		without()
		observed += middle.Sub(start)
		unobserved += time.Since(middle)
		more += (between - before) - (allocations() - between)
	}
	b.ReportMetric(float64(observed)/float64(unobserved), "×unobserved")
	b.ReportMetric(more/float64(b.N), "more-allocs/op")
	b.ReportMetric(float64(events.Load())/float64(b.N), "events/op")
}

// publishing has r publish until the end of the test, and returns what publishes targets.
func publishing(tb testing.TB, r *repository.Repository) (publish func([]roles.Target)) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { return r.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		require.NoError(tb, running.Wait())
	})
	return func(targets []roles.Target) {
		receipt, err := r.Add(ctx, targets...)
		require.NoError(tb, err)
		_, err = receipt.Wait(ctx)
		require.NoError(tb, err)
	}
}

func benchRepository(tb testing.TB, bins int, cfg repository.Config) *repository.Repository {
	tb.Helper()
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	require.NoError(tb, err)
	ceremony := repotest.NewCeremony(tb, layout, time.Now())
	cfg.Store = storetest.NewStore()
	if cfg.Journal == nil {
		cfg.Journal = storetest.NewJournal()
	}
	cfg.Bins, cfg.Snapshot, cfg.Timestamp = ceremony.Bins, ceremony.Online, ceremony.Online
	r, err := repository.Create(tb.Context(), cfg, ceremony.Documents())
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, r.Close()) })
	return r
}

// benchTargets returns n targets that look as on PyPI: some 215 bytes in a bin.
func benchTargets(n int) []roles.Target {
	targets := make([]roles.Target, n)
	for i := range targets {
		sum := sha256.Sum256([]byte(fmt.Sprint(i)))
		digest := hex.EncodeToString(sum[:])
		targets[i] = roles.Target{
			Path:   fmt.Sprintf("packages/%s/%s/%s/project_%s-1.2.3-py3-none-any.whl", digest[:2], digest[2:4], digest[4:], digest[:4]),
			Length: 1_000_000 + int64(i),
			Hashes: map[string]string{"sha256": digest},
		}
	}
	return targets
}

// onePerBin returns a target for each bin, of the first that benchTargets makes.
func onePerBin(tb testing.TB, bins int) []roles.Target {
	tb.Helper()
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	require.NoError(tb, err)
	found := make([]roles.Target, bins)
	for _, t := range benchTargets(20 * bins) {
		found[layout.Find(t.Path)] = t
	}
	return found
}
