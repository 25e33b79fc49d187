package repository_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// heavy makes n targets of one bin with that many bytes of custom data.
func heavy(layout delegation.Bins, bin, first, n, bytes int) []roles.Target {
	out := make([]roles.Target, 0, n)
	for i := first; len(out) < n; i++ {
		t := file(fmt.Sprintf("packages/heavy-%d", i), fmt.Sprint(i))
		if layout.Find(t.Path) != bin {
			continue
		}
		const around = len(`{"x":""}`)
		t.Custom = json.RawMessage(`{"x":"` + strings.Repeat("x", bytes-around) + `"}`)
		out = append(out, t)
	}
	return out
}

// One uploader fills a bin with large targets. Beyond 5,000,000 bytes the snapshot gives its
// length, so that others can go on, and beyond 10,000,000 items are set aside.
func TestFullBin(t *testing.T) {
	if testing.Short() {
		t.Skip("megabytes of targets, and nothing that runs at the same time")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.MaxCustomBytes = 64 << 10
		e.create()
		layout := mustBins(t, 2)
		length := func() int64 {
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, "bins-0", s.Fullest[0].Bin)
			file, err := e.store.Get(t.Context(), fmt.Sprintf("%d.snapshot.json", s.Generation))
			require.NoError(t, err)
			snapshot, err := roles.ParseSnapshot(file)
			require.NoError(t, err)
			var length int64
			for m, err := range snapshot.Meta() {
				require.NoError(t, err)
				if m.Role == "bins-0" {
					length = m.Length
				} else {
					require.Zero(t, m.Length, m.Role)
				}
			}
			if length > 0 {
				require.Equal(t, s.Fullest[0].Bytes, length)
			}
			return length
		}
		e.publish(heavy(layout, 0, 0, 80, 60_000)...)
		require.Zero(t, length())
		largest := heavy(layout, 0, 1000, 1, 65_000)
		e.inject.Plan(nil)
		e.publish(append(heavy(layout, 0, 2000, 4, 60_000), largest...)...)
		require.Greater(t, length(), int64(5_000_000))
		var written []string
		for _, c := range e.inject.Calls() {
			if c.Op == "store.Create" || c.Op == "store.Swap" {
				written = append(written, c.Name)
			}
		}
		require.Equal(t, []string{"3.bins-0.json", "3.snapshot.json", "timestamp.json"}, written)
		e.checkNewest()

		// What fills it is shown, a while later.
		time.Sleep(time.Hour)
		e.publish(heavy(layout, 0, 3000, 1, 100)...)
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, largest[0].Path, s.Fullest[0].Largest)
		require.EqualValues(t, largest[0].Size(), s.Fullest[0].LargestBytes)
		require.Equal(t, 86, s.Fullest[0].Targets)
		require.Len(t, s.Fullest, 2)

		// At the end of the room an item is set aside, alone.
		e.publish(heavy(layout, 0, 4000, 75, 60_000)...)
		require.Greater(t, length(), int64(9_500_000))
		many, err := e.repo.Add(t.Context(), heavy(layout, 0, 5000, 10, 60_000)...)
		require.NoError(t, err)
		small := e.add(heavy(layout, 0, 6000, 1, 100)...)
		elsewhere := e.add(heavy(layout, 1, 6000, 1, 100)...)
		e.run(func() {
			_, err := many.Wait(t.Context())
			require.ErrorIs(t, err, repository.ErrSetAside)
			require.ErrorContains(t, err, "bin bins-0 would have 10")
			require.ErrorContains(t, err, "and at most 10000000 can be published")
			e.wait(small, repository.Published)
			e.wait(elsewhere, repository.Published)
		})

		// The length stays: where the bin isn't touched, after Open, after a renewal, and when
		// the journal is made again.
		e.close()
		e.open()
		e.publish(heavy(layout, 1, 7000, 1, 100)...)
		require.Greater(t, length(), int64(9_500_000))
		e.close()
		e.journal = storetest.NewJournal()
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
		require.NoError(t, err)
		require.Greater(t, length(), int64(9_500_000))
		e.checkNewest()

		// And it goes once there is room.
		var paths []string
		for _, t := range heavy(layout, 0, 0, 80, 60_000) {
			paths = append(paths, t.Path)
		}
		r := e.remove(paths...)
		e.run(func() { e.wait(r, repository.Published) })
		require.Zero(t, length())
		e.checkNewest()
		e.close()
	})
}

// A full bin, whose length the snapshot gives, is built before all others. If it can't be
// written, they are published without it, and it follows with its length.
func TestFullBinLeftOut(t *testing.T) {
	if testing.Short() {
		t.Skip("megabytes of targets, and nothing that runs at the same time")
	}
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.MaxCustomBytes = 64 << 10
		e.create()
		layout := mustBins(t, 4)
		e.publish(heavy(layout, 0, 0, 84, 60_000)...)
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.HasSuffix(c.Name, ".bins-0.json") {
				return faulty.Before
			}
			return faulty.None
		})
		stuck := e.add(heavy(layout, 0, 1000, 1, 60_000)...)
		var others []*repository.Receipt
		for bin := 1; bin < 4; bin++ {
			others = append(others, e.add(heavy(layout, bin, 1000, 1, 100)...))
		}
		e.run(func() {
			for _, r := range others {
				require.EqualValues(t, 3, e.wait(r, repository.Published))
			}
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.ErrorContains(t, s.Err, "bins-0")
			e.inject.Plan(nil)
			e.wait(stuck, repository.Published)
			synctest.Wait()
			s, err = e.repo.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Err)
			require.Equal(t, "bins-0", s.Fullest[0].Bin)
			require.Greater(t, s.Fullest[0].Bytes, int64(5_000_000))
		})
		e.check()
		e.close()
	})
}

func TestMaxCustomBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.create()
		add := func(custom string) error {
			x := file("a", "1")
			x.Custom = json.RawMessage(custom)
			_, err := e.repo.Add(t.Context(), x)
			return err
		}
		text := func(n int) string { return `{"x":"` + strings.Repeat("x", n-len(`{"x":""}`)) + `"}` }
		require.NoError(t, add(text(8<<10)))
		require.NoError(t, add(strings.Replace(text(8<<10), ":", ":   ", 1)), "white space isn't published")
		require.EqualError(t, add(text(8<<10+1)), `submit: target "a": custom: 8193 bytes, and at most 8192 are accepted here (Config.MaxCustomBytes)`)
		e.close()
		e.cfg.MaxCustomBytes = 10
		e.open()
		require.NoError(t, add(text(10)))
		require.ErrorContains(t, add(text(11)), "at most 10 are accepted here")
		// What was accepted under another limit is published.
		r := e.add(file("b", "1"))
		e.run(func() { e.wait(r, repository.Published) })
		e.close()
		for _, n := range []int{-1, 64<<10 + 1} {
			e.cfg.MaxCustomBytes = n
			_, err := repository.Open(t.Context(), e.config())
			require.ErrorContains(t, err, "config: MaxCustomBytes")
		}
	})
}
