package repository_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// A repository to which nobody adds anything stays fresh for three weeks, and
// renews its bins a few at a time.
func TestRenewal(t *testing.T) {
	t.Parallel()
	inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 30)...)
		start := time.Now()
		e.run(func() {
			for range 21 * 4 {
				time.Sleep(6 * time.Hour)
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.NoError(t, s.Err)
				// Half a lifetime is left, but for the six hours between two looks.
				require.Greater(t, time.Until(s.Roles["timestamp"].Expires), 12*time.Hour-time.Second)
				require.Greater(t, time.Until(s.Roles["snapshot"].Expires), 12*time.Hour-time.Second)
				require.Greater(t, time.Until(s.FirstBinExpires), 84*time.Hour-time.Second)
			}
		})
		signed := map[int]int{} // how many generations signed so many bins
		times := map[string]int{}
		for _, timestamp := range e.store.History("timestamp.json")[2:] {
			doc, err := roles.Parse[metadata.TimestampType](timestamp)
			require.NoError(t, err)
			n := 0
			for i := range 16 {
				name := fmt.Sprintf("bins-%x", i)
				if _, err := e.store.Get(t.Context(), fmt.Sprintf("%d.%s.json", doc.Version(), name)); err == nil {
					n++
					times[name]++
				}
			}
			signed[n]++
		}
		// 16 bins, every 84 hours: one at a time, and in between, 12 hours after
		// the last generation at the latest, the snapshot alone.
		require.Equal(t, 16, len(times))
		for name, n := range times {
			require.InDelta(t, time.Since(start).Hours()/84, n, 1, name)
		}
		require.Equal(t, 1, len(signed), "bins signed by a generation: %v", signed)
		require.Positive(t, signed[1])
		e.check()
	})
}

// After a long stop everything is expired: the first generations renew it all,
// within the budget of each.
func TestCatchingUpAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 16, delegation.Succinct)
		e.cfg.MaxRenew = 5
		e.create()
		e.publish(files("x", 30)...)
		e.close()
		time.Sleep(30 * 24 * time.Hour)
		e.open()
		e.run(func() {
			synctest.Wait()
			time.Sleep(time.Second)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Err)
			require.EqualValues(t, 6, s.Generation, "four generations of 5, 5, 5 and 1 bins")
			require.Greater(t, time.Until(s.FirstBinExpires), 84*time.Hour)
		})
		e.check()
		e.close()
	})
}

// An empty repository of two bins renews its snapshot and timestamp too.
func TestRenewalOfTheTimestampAlone(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.run(func() { time.Sleep(13 * time.Hour) })
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Greater(t, time.Until(s.Roles["timestamp"].Expires), 22*time.Hour)
		e.check()
	})
}

func TestClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		var offset atomic.Int64 // nanoseconds
		e.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		e.create()
		r := e.add(file("a", "1"))
		offset.Store(int64(-time.Hour))
		e.run(func() {
			time.Sleep(time.Second)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, s.Err, repository.ErrClock)
			require.EqualValues(t, 1, s.Generation)
			offset.Store(0) // put right
			e.wait(r, repository.Published)
		})
		r = e.add(file("a", "2"))
		offset.Store(int64(-time.Hour))
		require.NoError(t, e.repo.AcceptClock(t.Context()))
		e.run(func() { e.wait(r, repository.Published) })
		e.check()
		e.close()
	})
}

// Whatever MaxDelay is, what falls due while items wait for others is renewed, and
// takes them along.
func TestRenewalWhileItemsWait(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.cfg.MaxDelay = 20 * time.Hour
		e.close()
		e.open()
		e.run(func() {
			time.Sleep(11 * time.Hour) // an hour before the timestamp is due
			e.add(file("waits", "1"))
			for range 24 {
				time.Sleep(time.Hour)
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.GreaterOrEqual(t, time.Until(s.Roles["timestamp"].Expires), 11*time.Hour)
			}
		})
		e.check()
	})
}

// A machine that slept, or whose clock was set, is asked within a minute what is due: timers
// stood still, and clients see an old timestamp.
func TestRenewalAfterSleep(t *testing.T) {
	for _, items := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, 2, delegation.Succinct)
			var slept atomic.Int64 // nanoseconds
			e.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
			e.cfg.MaxDelay = 20 * time.Hour
			e.create()
			e.publish(file("first", "1"))
			e.run(func() {
				if items {
					e.add(file("waits", "1"))
				}
				time.Sleep(time.Hour)
				before, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				slept.Store(int64(13 * time.Hour))
				time.Sleep(time.Minute)
				synctest.Wait()
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.Equal(t, before.Generation+1, s.Generation)
				require.Zero(t, s.Queue.Pending)
			})
			require.NoError(t, e.repo.Close())
		})
	}
}

// A clock that is years ahead when the repository is opened signs nothing: an operator must
// say that it is right.
func TestClockFarAheadAtOpen(t *testing.T) {
	for name, c := range map[string]struct {
		years  int // by which the clock is ahead
		ofDocs int // for which offline documents are valid
		want   string
	}{
		"all documents have expired": {2, 1, "the last offline document expired at"},
		"the last generation is old": {2, 9, "was signed at 2000-01-01T00:00:00Z, over 400 days ago"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 2, delegation.Succinct)
				e.ceremony = repotest.NewCeremony(t, mustBins(t, 2), time.Now().AddDate(c.ofDocs-1, 0, 0))
				e.cfg.Bins, e.cfg.Snapshot, e.cfg.Timestamp = e.ceremony.Bins, e.ceremony.Online, e.ceremony.Online
				e.create()
				e.close()
				e.cfg.Now = func() time.Time { return time.Now().AddDate(c.years, 0, 0) }
				e.open()
				receipt := e.add(file("a", "1"))
				e.inject.Plan(nil)
				e.run(func() {
					time.Sleep(time.Hour)
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					require.ErrorIs(t, s.Err, repository.ErrClock)
					require.ErrorContains(t, s.Err, c.want)
					for _, call := range e.inject.Calls() {
						require.NotContains(t, []string{"leader.Append", "store.Create"}, call.Op)
					}
					require.NoError(t, e.repo.AcceptClock(t.Context()))
					o, err := receipt.Wait(t.Context())
					require.Equal(t, repository.Published, o.State)
					if err != nil { // by this clock the documents of people have expired
						require.ErrorIs(t, err, repository.ErrExpired)
					}
				})
				e.close()
			})
		})
	}
}

// Whoever restores a journal, or completes what Create began, is asked as well.
func TestClockFarAheadElsewhere(t *testing.T) {
	ahead := func() time.Time { return time.Now().AddDate(2, 0, 0) }
	t.Run("RestoreJournal", func(t *testing.T) {
		inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
			e.close()
			e.journal = storetest.NewJournal()
			e.cfg.Now = ahead
			r := repository.Restoration{Root: e.ceremony.Documents().Roots[0]}
			_, err := repository.RestoreJournal(t.Context(), e.config(), r)
			require.ErrorIs(t, err, repository.ErrClock)
			e.journal.Close()
			r.AcceptClock = true
			e.repo, err = repository.RestoreJournal(t.Context(), e.config(), r)
			require.NoError(t, err)
		})
	})
	t.Run("Open of what Create began", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, 2, delegation.Succinct)
			e.inject.Plan(func(c faulty.Call) faulty.Fault {
				if c.Name == "1.snapshot.json" {
					return faulty.Before
				}
				return faulty.None
			})
			_, err := repository.Create(t.Context(), e.config(), e.ceremony.Documents())
			require.ErrorIs(t, err, faulty.ErrInjected)
			e.journal.Close()
			e.inject.Plan(nil)
			e.cfg.Now = ahead
			e.open()
			e.run(func() {
				time.Sleep(time.Minute)
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.ErrorIs(t, s.Err, repository.ErrClock)
				require.Zero(t, s.Generation)
				require.NoError(t, e.repo.AcceptClock(t.Context()))
				o, err := e.add(file("a", "1")).Wait(t.Context())
				require.ErrorIs(t, err, repository.ErrExpired, "by that clock")
				require.Equal(t, repository.Published, o.State)
			})
			e.close()
		})
	})
}
