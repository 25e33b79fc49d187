package repository_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// What can't be kept is refused, with the figures.
func TestConfigOfRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 16, delegation.Succinct)
		e.create()
		e.close()
		for want, change := range map[string]func(c *repository.Config){
			"BinRenewal is 1.5s: want whole seconds, at least 1":                                func(c *repository.Config) { c.BinRenewal = 1500 * time.Millisecond },
			"SnapshotRenewal is -1s: want whole seconds, at least 1":                            func(c *repository.Config) { c.SnapshotRenewal = -time.Second },
			"BinRenewal is 168h0m0s, and must be less than BinLifetime, which is 168h0m0s":      func(c *repository.Config) { c.BinRenewal = 7 * day },
			"TimestampRenewal is 25h0m0s, and must be less than TimestampLifetime, which is 24": func(c *repository.Config) { c.TimestampRenewal = 25 * time.Hour },
			"RenewalsPerMinute is -1": func(c *repository.Config) { c.RenewalsPerMinute = -1 },
			"RenewalsPerMinute is 1, and at least 16 are needed: 16 bins and other roles are each signed again every 1m0s (BinRenewal)": func(c *repository.Config) {
				c.BinRenewal, c.RenewalsPerMinute = time.Minute, 1
			},
			"RenewalsPerMinute is 15, and at least 16 are needed": func(c *repository.Config) { c.BinRenewal, c.RenewalsPerMinute = time.Minute, 15 },
			"Caching.MaxAge is 10ms: want whole seconds":          func(c *repository.Config) { c.Caching.MaxAge = 10 * time.Millisecond },
			"Caching.StaleIfError is -1s: want whole seconds":     func(c *repository.Config) { c.Caching.StaleIfError = -time.Second },
			"CacheAge is 5m0s, and caches may serve a timestamp for 11m0s (Caching: MaxAge 1m0s plus StaleIfError 10m0s): the grace period would be shorter than caches allow": func(c *repository.Config) {
				c.CacheAge, c.Caching = 5*time.Minute, repository.Caching{MaxAge: time.Minute, StaleIfError: 10 * time.Minute}
			},
			"CacheAge is 0s, and caches may serve a timestamp for 1m0s": func(c *repository.Config) { c.CacheAge, c.Caching.MaxAge = -1, time.Minute },
			"caches would serve metadata that has expired: TimestampRenewal 18h0m0s plus Caching 6h0m0s is 24h0m0s, and must be less than TimestampLifetime, which is 24h0m0s": func(c *repository.Config) {
				c.TimestampRenewal, c.Caching.StaleIfError = 18*time.Hour, 6*time.Hour
			},
		} {
			cfg := e.config()
			change(&cfg)
			_, err := repository.Open(t.Context(), cfg)
			require.ErrorContains(t, err, want)
			e.journal.Close()
		}
		// One with which more bins could not be kept fresh is refused before they exist.
		e.cfg.RenewalsPerMinute, e.cfg.BinRenewal = 16, time.Minute
		e.open()
		e.close()
		other := newEnv(t, 32, delegation.Succinct)
		other.cfg.RenewalsPerMinute, other.cfg.BinRenewal = 16, time.Minute
		_, err := repository.Create(t.Context(), other.config(), other.ceremony.Documents())
		require.ErrorContains(t, err, "RenewalsPerMinute is 16, and at least 32 are needed")
		require.Empty(t, other.store.Names())
	})
}

// The grace period grows with what caches are told.
func TestGraceOfCaching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.Caching = repository.Caching{MaxAge: time.Minute, StaleIfError: 3 * time.Hour}
		e.cfg.ClientRun = 10 * time.Minute
		e.create()
		c := e.ceremony
		next := c.NewP256()
		both := c.NextRoot(func(r *roles.RootSpec) { r.Timestamp = repotest.Of(1, c.Online, next) })
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{both}}))
		e.close()
		e.cfg.Timestamp = next
		e.open()
		e.publish(file("a", "1"))
		drop := repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Timestamp = repotest.Of(1, next) })}}
		require.ErrorContains(t, e.install(drop), "clients behind caches fail for 3h11m0s then")
		time.Sleep(3*time.Hour + 11*time.Minute)
		require.NoError(t, e.install(drop))
		e.check()
		e.close()
	})
}

// Roles are valid for a week and signed daily.
func TestRenewalApartFromLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 16, delegation.Succinct)
		e.cfg.BinRenewal, e.cfg.SnapshotLifetime, e.cfg.SnapshotRenewal = day, 7*day, day
		e.cfg.TimestampLifetime, e.cfg.TimestampRenewal = 2*day, 3*time.Hour
		e.create()
		e.run(func() {
			for range 10 * 8 {
				time.Sleep(3 * time.Hour)
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.Empty(t, s.Problems)
				require.GreaterOrEqual(t, time.Until(s.Roles["timestamp"].Expires), 45*time.Hour-time.Second)
				require.GreaterOrEqual(t, time.Until(s.Roles["snapshot"].Expires), 7*day-3*time.Hour-time.Second)
				require.GreaterOrEqual(t, time.Until(s.FirstBinExpires), 6*day-time.Second)
			}
		})
		e.close()
		// A longer lifetime doesn't let expire what was signed for a shorter one.
		e.cfg.BinLifetime, e.cfg.BinRenewal = 30*day, 20*day
		e.cfg.TimestampLifetime, e.cfg.TimestampRenewal = 20*day, 19*day
		e.cfg.SnapshotLifetime, e.cfg.SnapshotRenewal = 30*day, 29*day
		e.open()
		e.run(func() {
			for range 30 * 8 {
				time.Sleep(3 * time.Hour)
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.NoError(t, s.Err)
				require.Greater(t, time.Until(s.FirstBinExpires), day)
				require.Greater(t, time.Until(s.Roles["timestamp"].Expires), time.Hour)
			}
		})
		e.checkNewest()
		e.close()
	})
}

// signatures counts the bins that are signed, and when.
type signatures struct {
	mu   sync.Mutex
	bins []string
	at   []time.Time
}

func (e *env) countBins() *signatures {
	s := &signatures{}
	e.cfg.Observe = func(event repository.Event) {
		if event.Stage == repository.StageSign && strings.HasPrefix(event.Role, "bins-") {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.bins, s.at = append(s.bins, event.Role), append(s.at, time.Now())
		}
	}
	return s
}

// take returns what was signed since it was last called, and the most in any minute.
func (s *signatures) take() (bins []string, mostInAMinute int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.at {
		n := 0
		for _, at := range s.at[i:] {
			if at.Sub(s.at[i]) < time.Minute {
				n++
			}
		}
		mostInAMinute = max(mostInAMinute, n)
	}
	bins = s.bins
	s.bins, s.at = nil, nil
	return bins, mostInAMinute
}

// After a stop the bins are renewed within the budget, those first that expire first, also if the
// publisher is restarted again and again. Uploads don't wait for it.
func TestBudgetAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 64, delegation.Succinct)
		e.cfg.BinLifetime, e.cfg.RenewalsPerMinute = 8*time.Hour, 3
		e.create()
		time.Sleep(2 * time.Hour)
		e.publish(files("x", 40)...) // some bins expire later
		early := map[string]bool{}
		row := func(bin string) time.Time {
			_, data := e.newest(bin)
			opened, err := roles.OpenBin(data)
			require.NoError(t, err)
			return opened.Expires()
		}
		names := mustBins(t, 64)
		for i := range 64 {
			early[names.Name(i)] = time.Until(row(names.Name(i))) < 7*time.Hour
		}
		n := len(slices.DeleteFunc(slices.Collect(maps.Values(early)), func(early bool) bool { return !early }))
		require.Greater(t, n, 20)
		require.Less(t, n, 50)
		e.close()
		s := e.countBins()
		time.Sleep(5 * time.Hour) // all are due, and the first expire in an hour
		e.open()
		e.run(func() { time.Sleep(4*time.Minute + 30*time.Second) })
		e.close()
		signed, most := s.take()
		require.Equal(t, 3, most)
		require.Len(t, signed, 15)
		for _, bin := range signed {
			require.True(t, early[bin], bin)
		}
		for range 5 { // across restarts too
			e.open()
			e.run(func() { time.Sleep(20 * time.Second) })
			e.close()
		}
		signed, most = s.take()
		require.LessOrEqual(t, most, 3)
		require.NotEmpty(t, signed)
		e.open()
		e.run(func() {
			begun := time.Now()
			r := e.add(files("upload", 30)...)
			e.wait(r, repository.Published)
			require.Less(t, time.Since(begun), time.Second)
			s.take()
			time.Sleep(30 * time.Minute)
			signed, most = s.take()
			require.Equal(t, 3, most)
			require.LessOrEqual(t, len(signed), 64)
			status, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, status.Err)
			require.Greater(t, time.Until(status.FirstBinExpires), 4*time.Hour)
		})
		e.check()
		e.close()
	})
}

// What has expired, or would expire before its turn, is signed at once.
func TestBudgetYieldsToExpiry(t *testing.T) {
	for name, c := range map[string]struct {
		stop time.Duration
		want int // bins that are signed at once
	}{
		// 60 minutes are left, of which 30 are a reserve: 30 bins have their turn in time.
		"some would expire": {7 * time.Hour, 64 - 30},
		"all have expired":  {9 * time.Hour, 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 64, delegation.Succinct)
				e.cfg.BinLifetime, e.cfg.RenewalsPerMinute = 8*time.Hour, 1
				e.create()
				e.close()
				time.Sleep(c.stop)
				s := e.countBins()
				e.open()
				e.run(func() {
					time.Sleep(10 * time.Second)
					signed, _ := s.take()
					require.Len(t, signed, c.want)
					time.Sleep(31 * time.Minute)
					status, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					require.Greater(t, time.Until(status.FirstBinExpires), 4*time.Hour)
					require.Empty(t, status.Problems)
				})
				e.check()
				e.close()
			})
		})
	}
}

// A publisher that is killed each time while it signs doesn't spend the budget each time.
func TestBudgetOfBurntGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 64, delegation.Succinct)
		e.cfg.BinLifetime, e.cfg.RenewalsPerMinute = 8*time.Hour, 3
		e.create()
		e.close()
		time.Sleep(5 * time.Hour)
		s := e.countBins()
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.HasSuffix(c.Name, ".snapshot.json") {
				return faulty.Before
			}
			return faulty.None
		})
		for range 6 {
			e.open()
			e.run(func() { time.Sleep(100 * time.Millisecond) })
			e.close()
			time.Sleep(5 * time.Second)
		}
		signed, _ := s.take()
		require.Len(t, signed, 3)
		e.inject.Plan(nil)
		time.Sleep(time.Minute)
		e.open()
		e.run(func() { time.Sleep(30 * time.Second) })
		signed, _ = s.take()
		require.Len(t, signed, 3)
		e.run(func() { time.Sleep(time.Hour) })
		e.check()
		e.close()
	})
}

// Documents of people are warned of once for each threshold, and again after a restart for the last one.
func TestWarnExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		var mu sync.Mutex
		var warned []repository.Expiry                                                              // guarded by mu
		e.cfg.BinLifetime, e.cfg.SnapshotLifetime, e.cfg.TimestampLifetime = 30*day, 30*day, 30*day // fewer generations
		e.cfg.WarnExpiry = func(x repository.Expiry) {
			mu.Lock()
			defer mu.Unlock()
			warned = append(warned, x)
		}
		expires := time.Now().UTC().Truncate(time.Second).Add(70 * day)
		e.ceremony = repotest.NewCeremony(t, mustBins(t, 2), expires.AddDate(-1, 0, 0))
		e.cfg.Bins, e.cfg.Snapshot, e.cfg.Timestamp = e.ceremony.Bins, e.ceremony.Online, e.ceremony.Online
		e.create()
		take := func() (days []int) {
			mu.Lock()
			defer mu.Unlock()
			for i, x := range warned {
				require.Equal(t, []string{"root", "targets", "bins"}[i%3], x.Role)
				require.EqualValues(t, 1, x.Version)
				require.Equal(t, expires, x.Expires)
				if i%3 == 0 {
					days = append(days, int(x.Left/day))
				}
			}
			warned = nil
			return days
		}
		e.run(func() { time.Sleep(time.Until(expires) - 60*day - time.Minute) })
		require.Empty(t, take())
		e.run(func() {
			time.Sleep(3 * time.Minute)
			require.Equal(t, []int{60}, take())
			e.requireProblems("warning: root version 1 expires at", "warning: targets version 1 expires at", "warning: bins version 1 expires at")
			time.Sleep(33 * day)
			require.Equal(t, []int{30}, take())
		})
		e.close()
		e.open()
		e.run(func() {
			time.Sleep(2 * time.Minute)
			require.Equal(t, []int{30}, take(), "after a restart")
			time.Sleep(time.Until(expires) - 2*time.Minute)
			require.Equal(t, []int{14, 7, 3, 1}, take())
			e.ceremony.Now = time.Now()
			require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
			time.Sleep(day)
		})
		require.Len(t, warned, 2)
		for i, role := range []string{"targets", "bins"} {
			require.Equal(t, repository.Expiry{Role: role, Version: 1, Expires: expires}, warned[i])
		}
		e.close()
	})
}
