package repository_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

const (
	cacheAge  = time.Hour
	clientRun = 30 * time.Minute
	grace     = cacheAge + clientRun
	// sweepInterval is the longest that a file stays in a test once it can be deleted. Nothing is deleted
	// while a sealed generation can't be committed.
	sweepInterval = 5 * time.Minute
)

// collected is a repository that is collected.
type collected struct {
	*env
	opened time.Time

	mu          sync.Mutex
	generations []int64     // those that were committed
	at          []time.Time // when each was
}

// commits returns the committed generations, oldest first, and when each was.
func (c *collected) commits() (generations []int64, at []time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.generations), slices.Clone(c.at)
}

func collecting(t *testing.T, bins int, f func(c *collected)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &collected{env: newEnv(t, bins, delegation.Succinct)}
		c.cfg.CollectPerMinute, c.cfg.CacheAge, c.cfg.ClientRun = 0, cacheAge, clientRun
		c.cfg.Observe = func(e repository.Event) {
			if e.Stage == repository.StageCommit && e.Err == nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				if len(c.generations) == 0 || e.Generation > c.generations[len(c.generations)-1] {
					c.generations, c.at = append(c.generations, e.Generation), append(c.at, time.Now())
				}
			}
		}
		c.create()
		c.opened = time.Now()
		f(c)
		c.close()
	})
}

func (c *collected) restart() {
	c.t.Helper()
	c.close()
	c.open()
	c.opened = time.Now()
}

// names are those in the store now, sorted.
func (e *env) names() []string {
	e.t.Helper()
	var all []string
	for info, err := range e.store.List(e.t.Context()) {
		require.NoError(e.t, err)
		all = append(all, info.Name)
	}
	slices.Sort(all)
	return all
}

func (e *env) generation() int64 {
	e.t.Helper()
	s, err := e.repo.Status(e.t.Context())
	require.NoError(e.t, err)
	return s.Generation
}

// filesOf are the files that clients of a generation look for, but roots and the timestamp.
func (e *env) filesOf(generation int64) []string {
	e.t.Helper()
	own := ledger.Name(generation, "snapshot")
	data := e.store.History(own)
	require.NotEmpty(e.t, data, own)
	snapshot, err := roles.ParseSnapshot(data[0])
	require.NoError(e.t, err)
	files := []string{own}
	for m, err := range snapshot.Meta() {
		require.NoError(e.t, err)
		files = append(files, ledger.Name(m.Version, m.Role))
	}
	return files
}

// superseded is when a generation was; the zero time if it is the newest.
func (c *collected) superseded(generation int64) time.Time {
	generations, at := c.commits()
	i, _ := slices.BinarySearch(generations, generation+1)
	if i == len(at) {
		return time.Time{}
	}
	return at[i]
}

// requireOnly requires that the store has no files but roots, the timestamp, and those of
// generations that were not superseded a grace period and a sweep interval ago.
func (c *collected) requireOnly() {
	c.t.Helper()
	wanted := map[string]bool{"timestamp.json": true}
	kept := func(generation int64) bool {
		at := c.superseded(generation)
		if at.Before(c.opened) && !at.IsZero() {
			at = c.opened
		}
		return at.IsZero() || time.Since(at) < grace+sweepInterval
	}
	generations, _ := c.commits()
	for _, generation := range generations {
		if kept(generation) {
			for _, name := range c.filesOf(generation) {
				wanted[name] = true
			}
		}
	}
	for _, name := range c.names() {
		if version, _, _ := ledger.ParseName(name); version > 0 && !slices.Contains(generations, version) && kept(version) {
			continue // of a burnt attempt, or a document
		}
		require.True(c.t, wanted[name] || strings.HasSuffix(name, ".root.json"), "%s is still there", name)
	}
}

// For every generation: a client that took its timestamp just before the swap, through a cache at its
// max-age, fetches its last file a second before the grace ends. A sweep interval later the files that only it
// needed are gone. The process ends now and then, attempts fail, and documents are replaced.
func TestCollection(t *testing.T) {
	collecting(t, 4, func(c *collected) {
		r := rand.New(rand.NewPCG(1, 2))
		last, gone := 0, 0 // generations whose last client came, and whose files are gone
		look := func() {
			generations, _ := c.commits()
			for ; last < len(generations)-1; last++ {
				since := time.Since(c.superseded(generations[last]))
				if since < grace-time.Second {
					break
				}
				require.Less(c.t, since, grace)
				repotest.CheckGeneration(c.t, c.store, c.timestamp(generations[last]))
			}
			for ; gone < len(generations)-1; gone++ {
				at := c.superseded(generations[gone])
				if at.Before(c.opened) {
					at = c.opened
				}
				if time.Since(at) < grace+sweepInterval {
					break
				}
				c.requireOnly()
			}
		}
		ctx, cancel := context.WithCancel(c.t.Context())
		done := make(chan error, 1)
		run := func() {
			ctx, cancel = context.WithCancel(c.t.Context())
			go func() { done <- c.repo.Run(ctx) }()
		}
		stop := func() {
			cancel()
			require.NoError(c.t, <-done)
		}
		run()
		end := time.Now().Add(11 * time.Hour)
		for second := 0; time.Now().Before(end); second++ {
			switch {
			case time.Until(end) < grace+time.Hour:
			case second%3000 == 2200: // a seal without a commit, for a while
				c.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
				c.add(file("packages/x/x-0", fmt.Sprint(second)))
			case second%3000 == 2320:
				c.inject.Plan(nil)
			case second == 8800 || second == 18_000: // more than a grace period before and after
				stop()
				c.restart()
				run()
			case second%5000 == 4000:
				require.NoError(c.t, c.repo.Install(c.t.Context(), repository.Documents{
					Roots: [][]byte{c.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"bins": c.ceremony.NextBins(nil)},
				}))
			case second%1000 == 500: // an attempt is burnt
				n := 0
				c.inject.Plan(func(call faulty.Call) faulty.Fault {
					if call.Op == "store.Create" || call.Op == "store.Delete" && n > 0 {
						if n++; n == 1 {
							return faulty.After
						}
						return faulty.Before
					}
					return faulty.None
				})
				c.add(file(fmt.Sprintf("packages/x/x-%d", r.IntN(20)), fmt.Sprint(second)))
			case second%1000 == 510:
				c.inject.Plan(nil)
			case second%1000 > 100 && r.IntN(250) == 0:
				c.add(file(fmt.Sprintf("packages/x/x-%d", r.IntN(20)), fmt.Sprint(second)))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			look()
		}
		stop()
		generations, _ := c.commits()
		require.Greater(c.t, last, 50)
		require.Equal(c.t, len(generations)-1, gone)
		c.requireOnly()
		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Zero(c.t, status.Collection)
	})
}

// timestamp is that of a generation.
func (e *env) timestamp(generation int64) []byte {
	e.t.Helper()
	for _, data := range e.store.History("timestamp.json") {
		if strings.Contains(string(data), fmt.Sprintf(`"version":%d}`, generation)) {
			return data
		}
	}
	require.Fail(e.t, "no such timestamp", generation)
	return nil
}

// The grace is counted by a clock that nobody sets.
func TestCollectionWithAClockThatSteps(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		var mu sync.Mutex
		var offset time.Duration
		c.cfg.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(offset)
		}
		c.restart()
		c.publish(files("x", 3)...)
		full := c.names()
		set := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			offset = d
		}
		set(3 * time.Hour)
		c.run(func() { time.Sleep(grace - time.Second) })
		require.Subset(c.t, c.names(), full)
		set(time.Hour) // back by less than what was signed since; not believed at once
		require.NoError(c.t, c.repo.AcceptClock(c.t.Context()))
		c.run(func() { time.Sleep(sweepInterval) })
		require.NotContains(c.t, c.names(), "1.snapshot.json")
	})
}

// A store that deletes nothing holds up no upload. Status says so, and deleting goes on once it can.
func TestCollectionFails(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After, faulty.Hang} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			collecting(t, 2, func(c *collected) {
				c.publish(files("x", 3)...)
				c.inject.Plan(faulty.On(fault, "store.Delete"))
				c.run(func() {
					time.Sleep(grace + 10*time.Minute)
					ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
					defer cancel()
					_, err := c.add(file("packages/x/x-0.tar.gz", "more")).Wait(ctx)
					require.NoError(c.t, err)
				})
				status, err := c.repo.Status(c.t.Context())
				require.NoError(c.t, err)
				require.Contains(c.t, status.Collection.Error, "delete 1.")
				require.NotZero(c.t, status.Collection.Files)
				require.NotZero(c.t, status.Collection.Oldest)
				require.Contains(c.t, fmt.Sprint(status.Problems), "superseded files can't be deleted")
				c.inject.Plan(nil)
				c.run(func() { time.Sleep(grace + 10*time.Minute) })
				c.requireOnly()
			})
		})
	}
}

// Whatever call of a collection fails, or ends the process, the next one completes it.
func TestCollectionUnderFaults(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
		for _, ends := range []bool{false, true} {
			t.Run(fmt.Sprint(fault, ends), func(t *testing.T) {
				collecting(t, 2, func(c *collected) {
					for at := 1; ; at++ {
						c.publish(file("packages/x/x-0.tar.gz", fmt.Sprint(at)))
						met := false
						n := 0
						c.inject.Plan(func(call faulty.Call) faulty.Fault {
							if call.Op == "store.Delete" || call.Op == "leader.Append" {
								if n++; n == at {
									met = true
									return fault
								}
							}
							return faulty.None
						})
						ctx, cancel := context.WithTimeout(c.t.Context(), grace+sweepInterval)
						err := c.repo.Run(ctx)
						cancel()
						if ends || errors.Is(err, repository.ErrClosed) || errors.Is(err, repository.ErrUnknown) {
							c.inject.Plan(nil)
							c.repo.Close()
							c.open()
							c.opened = time.Now()
							c.run(func() { time.Sleep(grace + sweepInterval) })
						} else {
							require.NoError(c.t, err)
						}
						c.inject.Plan(nil)
						c.requireOnly()
						if !met {
							require.Greater(c.t, at, 2)
							return
						}
					}
				})
			})
		}
	}
}

// A publisher that was paused while it wrote a generation, and that another one followed, deletes
// nothing. What it wrote is deleted a grace period after the other one's own commit.
func TestCollectionOfAPausedPublisher(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.publish(file("packages/x/x-0.tar.gz", "1"))
		paused := c.repo
		c.inject.Plan(func(call faulty.Call) faulty.Fault {
			if call.Op == "leader.Append" && call.Name == "seal" {
				return faulty.Hold
			}
			return faulty.None
		})
		c.add(file("packages/x/x-0.tar.gz", "2"))
		ended := make(chan error, 1)
		go func() { ended <- paused.Run(c.t.Context()) }()
		synctest.Wait()
		require.Contains(c.t, c.names(), "3.snapshot.json")
		c.inject.Plan(nil)

		c.journal.Expire()
		c.open()
		c.opened = time.Now()
		time.Sleep(2 * grace)
		require.Contains(c.t, c.names(), "3.snapshot.json", "there was no commit since")
		c.run(func() { time.Sleep(time.Minute) })
		require.EqualValues(c.t, 4, c.generation())
		c.run(func() { time.Sleep(grace - 2*time.Minute) })
		require.Contains(c.t, c.names(), "3.snapshot.json")
		c.run(func() { time.Sleep(sweepInterval + time.Minute) })
		require.NotContains(c.t, c.names(), "3.snapshot.json")
		c.requireOnly()
		c.inject.Release()
		require.ErrorIs(c.t, <-ended, repository.ErrFenced)
		paused.Close()
	})
}

// If somebody else's timestamp is in the store, nothing is deleted.
func TestCollectionStopsForAForeignTimestamp(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.publish(file("packages/x/x-0.tar.gz", "1"))
		c.run(func() { time.Sleep(grace - 10*time.Second) })
		c.publish(file("packages/x/x-0.tar.gz", "2")) // a look at the timestamp
		before := c.names()
		own, err := c.store.Get(c.t.Context(), "timestamp.json")
		require.NoError(c.t, err)
		require.NoError(c.t, c.store.Swap(c.t.Context(), "timestamp.json", own, []byte("{}")))
		ran := make(chan error, 1)
		go func() { ran <- c.repo.Run(c.t.Context()) }()
		time.Sleep(20 * time.Second) // what is superseded may be deleted by now
		require.Equal(c.t, before, c.names())
		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Contains(c.t, status.Collection.Error, "timestamp.json isn't that of generation 3")
		require.ErrorIs(c.t, <-ran, repository.ErrDiverged)
		require.Equal(c.t, before, c.names())
		require.NoError(c.t, c.repo.Close())
		require.NoError(c.t, c.store.Swap(c.t.Context(), "timestamp.json", []byte("{}"), own))
		c.open()
	})
}

// Files with which a replay begins stay, so that a bin can be rebuilt years later.
func TestBasesStay(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.publish(files("x", 10)...)
		c.close()
		c.journal = storetest.NewJournal()
		var err error
		c.repo, err = repository.RestoreJournal(c.t.Context(), c.config(), repository.Restoration{Root: c.ceremony.Documents().Roots[0]})
		require.NoError(c.t, err)
		bases := []string{"2.bins-0.json", "2.bins-1.json"}
		require.Subset(c.t, c.names(), bases)
		for range 3 {
			c.publish(file("packages/x/x-0.tar.gz", fmt.Sprint(time.Now())))
			c.run(func() { time.Sleep(4 * 24 * time.Hour) })
			c.restart()
		}
		c.run(func() { time.Sleep(grace + time.Hour) })
		require.Subset(c.t, c.names(), bases)
		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.EqualValues(c.t, 2, status.Collection.Unlisted, "the lost journal knew what generation 2 superseded")
		require.Contains(c.t, c.names(), "1.snapshot.json")
		c.requireRebuilt("bins-0", nil)
		c.requireRebuilt("bins-1", nil)
	})
}

// Nothing is deleted if the index wishes so.
func TestNothingIsCollected(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.cfg.CollectPerMinute = -1
		c.restart()
		c.publish(file("packages/x/x-0.tar.gz", "1"))
		before := c.names()
		c.run(func() { time.Sleep(20 * time.Hour) })
		require.Subset(c.t, c.names(), before)
		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Len(c.t, status.Problems, 1, "Run isn't running")
	})
}

// The rate is kept, and Status says if it is too low.
func TestCollectPerMinute(t *testing.T) {
	collecting(t, 64, func(c *collected) {
		c.cfg.CollectPerMinute, c.cfg.BinLifetime = 2, time.Hour
		c.restart()
		c.publish(files("x", 300)...) // all bins
		start := c.names()
		deleted := func() int { // of those
			now := c.names()
			return len(slices.DeleteFunc(slices.Clone(start), func(name string) bool { return slices.Contains(now, name) }))
		}
		c.run(func() { time.Sleep(grace - time.Minute) })
		require.Zero(c.t, deleted())
		for n := 1; n <= 3; n++ {
			c.run(func() { time.Sleep(10 * time.Minute) })
			require.InDelta(c.t, 20*n, deleted(), 4)
		}
		c.run(func() {
			time.Sleep(20 * time.Hour) // renewals are more
			status, err := c.repo.Status(c.t.Context())
			require.NoError(c.t, err)
			require.Greater(c.t, time.Since(status.Collection.Overdue), time.Hour)
			require.Contains(c.t, fmt.Sprint(status.Problems), "superseded files are not deleted fast enough")
		})
	})
}

// A store that needs more than a minute for a chunk is collected all the same.
func TestCollectionOfASlowStore(t *testing.T) {
	collecting(t, 64, func(c *collected) {
		c.cfg.Workers = 1
		c.restart()
		c.publish(files("x", 300)...) // all bins
		c.inject.Plan(func(call faulty.Call) faulty.Fault {
			if call.Op == "store.Delete" {
				time.Sleep(2 * time.Second)
			}
			return faulty.None
		})
		c.run(func() { time.Sleep(grace + 15*time.Minute) })
		c.requireOnly()
	})
}

// A collection that was told to stop has not failed.
func TestCollectionIsToldToStop(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.publish(files("x", 3)...)
		c.inject.Plan(faulty.On(faulty.Hang, "store.Delete"))
		c.run(func() { time.Sleep(grace + 30*time.Second) })
		require.True(c.t, slices.ContainsFunc(c.inject.Calls(), func(call faulty.Call) bool { return call.Op == "store.Delete" }))
		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Empty(c.t, status.Collection.Error)
		c.inject.Plan(nil)
	})
}

// Time in which there was nothing to delete isn't made up for.
func TestCollectPerMinuteAfterAPause(t *testing.T) {
	collecting(t, 64, func(c *collected) {
		c.cfg.CollectPerMinute = 2
		c.restart()
		c.publish(file("a", "1"))
		c.run(func() { time.Sleep(grace + 10*time.Minute) })
		c.publish(files("x", 300)...) // all bins
		start := c.names()
		c.run(func() { time.Sleep(grace + 10*time.Minute) })
		now := c.names()
		deleted := slices.DeleteFunc(start, func(name string) bool { return slices.Contains(now, name) })
		require.InDelta(c.t, 20, len(deleted), 4)
	})
}
