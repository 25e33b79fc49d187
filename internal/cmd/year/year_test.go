package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// The defaults are those of a short year.
var (
	seed    = flag.Uint64("seed", 1, "of all that is random")
	days    = flag.Int("days", fewDays(), "how many days to go on")
	bins    = flag.Int("bins", 64, "how many hashed bins")
	targets = flag.Int("targets", 1000, "how many targets there are on the first day")
	show    = flag.Bool("print", false, "print what happens, and the last line")
)

// fewDays is how many go on where the program doesn't say it.
func fewDays() int {
	if thorough.Long() {
		return 20
	}
	return 10
}

// summary is printed last.
var summary string

func TestMain(m *testing.M) {
	status := m.Run()
	if *show {
		fmt.Println(summary)
	}
	os.Exit(status)
}

// TestYear is the whole program: see its package comment.
func TestYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, *seed)
		w.fill(*targets)
		w.run365(*days)
	})
}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 0))
	layout, err := delegation.New("bins", *bins, delegation.Succinct)
	require.NoError(t, err)
	var b [32]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	c := repotest.NewSeededCeremony(t, layout, time.Now(), b)
	w := &world{
		t: t, rng: rng, began: time.Now(), ceremony: c, book: newBook(),
		shop: newShop(2 * (cacheAge + clientRun)), disk: crashfs.New(seed),
		signers: map[string][]keys.Signer{"bins-*": {c.Bins}, metadata.SNAPSHOT: {c.Online}, metadata.TIMESTAMP: {c.Online}},
	}
	w.disk.Endless()
	documents := c.Documents()
	w.root = documents.Roots[0]
	require.NoError(t, w.open(func(ctx context.Context, cfg repository.Config) (*repository.Repository, error) {
		return repository.Create(ctx, cfg, documents)
	}))
	w.run()
	return w
}

// event is something that happens on one day.
type event struct {
	day  int
	what string
	do   func()
}

// run365 lets days pass.
func (w *world) run365(days int) {
	var wg sync.WaitGroup
	for _, c := range []*client{
		{name: "hourly", every: time.Hour},
		{name: "behind a cache", every: 5 * time.Hour, edge: &edge{age: cacheAge}},
		{name: "slow", every: 11 * time.Hour, run: clientRun},
		{name: "slow and behind a cache", every: 7 * time.Hour, run: clientRun, edge: &edge{age: cacheAge}},
		{name: "daily", every: day},
		{name: "weekly", every: 7 * day},
		{name: "monthly", every: 30 * day, edge: &edge{age: cacheAge}},
		{name: "after eleven months", every: time.Duration(days) * day * 11 / 12},
	} {
		w.visit(c, &wg)
	}
	events := w.events(days)
	for today := range days {
		for _, e := range events {
			if e.day == today {
				w.say(e.what)
				e.do()
			}
		}
		w.dropOldKeys()
		left := day
		for range 4 + w.rng.IntN(4) {
			pause := time.Duration(w.rng.Int64N(int64(left / 4)))
			left -= pause
			time.Sleep(pause)
			w.upload()
		}
		time.Sleep(left)
	}
	w.quit.Store(true)
	wg.Wait()
	w.report(days)
}

// events are what happens besides uploads. Their days are a year's, made shorter or longer.
func (w *world) events(days int) []event {
	on := func(day int) int { return day * days / 365 }
	events := []event{
		{on(90), "people trust new online keys beside the old ones", w.introduce},
		{on(100), "the publisher has the new keys, and rotates", w.rotate},
		{on(240), "an attacker has the online keys, and publishes", w.attack},
		{on(60), "people renew root", func() { w.install(func(c *repotest.Ceremony) { c.NextRoot(nil) }) }},
		{on(150), "people renew targets and bins", func() {
			w.install(func(c *repotest.Ceremony) { c.NextTargets(nil); c.NextBins(nil) })
		}},
		{on(300), "people renew root", func() { w.install(func(c *repotest.Ceremony) { c.NextRoot(nil) }) }},
	}
	for d := 30; d < days; d += 60 {
		events = append(events, event{d, "older history is archived", w.archive})
	}
	for d := 3; d < days-1; d += 5 {
		events = append(events, event{d, "", w.restart})
	}
	for d := 4; d < days; d += 9 {
		events = append(events, event{d, "", w.cutPower})
	}
	for d := 5; d < days; d += 7 {
		events = append(events, event{d, "", w.sleep})
	}
	return events
}

// sleep lets the publisher's machine sleep for some hours.
func (w *world) sleep() {
	wake := w.shop.sleep()
	time.Sleep(time.Duration(1+w.rng.IntN(6)) * time.Hour)
	wake()
}

func (w *world) say(what string) {
	if *show && what != "" {
		fmt.Printf("day %d: %s\n", int(time.Since(w.began)/day), what)
	}
}

// report waits judges the year.
func (w *world) report(days int) {
	w.say("older history is archived") // the store keeps fewer files for replays then
	w.archive()
	w.upload()
	time.Sleep(2 * time.Minute)
	status, err := w.repo.Status(w.t.Context())
	require.NoError(w.t, err)
	require.Empty(w.t, status.Problems)
	live, grace := w.needed()
	w.shop.mu.Lock()
	final, peak := w.shop.bytes, w.shop.peak
	w.failures = append(w.failures, w.shop.faults...)
	w.shop.mu.Unlock()
	if final > (live+grace)*12/10 {
		why := map[string]int64{} // by the publisher
		for f, err := range w.repo.Sweep(w.t.Context(), true) {
			require.NoError(w.t, err)
			why[f.Why] += f.Bytes
		}
		w.fail(fmt.Errorf("%d bytes are left, and %d + %d are needed: %v", final, live, grace, why))
	}
	if files := len(w.book.files); files > len(w.book.live)+files/10 {
		w.fail(fmt.Errorf("%d target files are left, and %d are published", files, len(w.book.live)))
	}
	w.end()
	for _, err := range w.failures[:min(len(w.failures), 20)] {
		w.t.Error(err)
	}
	summary = fmt.Sprintf("days=%d generations=%d refreshes=%d failures=%d peak_bytes=%d final_bytes=%d live_bytes=%d grace_bytes=%d signatures=%d seed=%d",
		days, status.Generation, w.updates.Load(), len(w.failures), peak, final, live, grace, w.signatures.Load(), *seed)
}

// namesOf lists the files of the generation that a timestamp names, but for roots and timestamp.json.
func namesOf(t *testing.T, s *shop, timestamp []byte) []string {
	ts, err := metadata.Timestamp().FromBytes(timestamp)
	require.NoError(t, err)
	name := ledger.Name(ts.Signed.Meta["snapshot.json"].Version, metadata.SNAPSHOT)
	names := []string{name}
	data, ok := s.read(name)
	if !ok {
		return names // its caller says so
	}
	snapshot, err := metadata.Snapshot().FromBytes(data)
	require.NoError(t, err)
	for file, meta := range snapshot.Signed.Meta {
		names = append(names, fmt.Sprintf("%d.%s", meta.Version, file))
	}
	slices.Sort(names)
	return names
}
