package repository_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// deleter is an index that deletes its target files.
type deleter struct {
	mu      sync.Mutex
	offered []string // paths, and the first letters of their hashes
	fail    func(t ledger.RemovedTarget) error
	hold    chan struct{} // calls wait for it, unless nil
}

func (d *deleter) delete(ctx context.Context, t ledger.RemovedTarget) error {
	d.mu.Lock()
	d.offered = append(d.offered, offered(t.Path, t.Hashes))
	fail, hold := d.fail, d.hold
	d.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail(t)
	}
	return nil
}

func offered(path string, hashes map[string]string) string {
	return fmt.Sprintf("%s %.8s", path, hashes["sha256"])
}

func named(targets ...roles.Target) (all []string) {
	for _, t := range targets {
		all = append(all, offered(t.Path, t.Hashes))
	}
	return all
}

// took returns what was offered since the last call, sorted.
func (d *deleter) took() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.offered
	d.offered = nil
	slices.Sort(all)
	return all
}

func (d *deleter) set(fail func(t ledger.RemovedTarget) error, hold chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.hold = fail, hold
}

func offering(t *testing.T, f func(c *collected, d *deleter)) {
	t.Helper()
	collecting(t, 2, func(c *collected) {
		d := &deleter{}
		c.cfg.DeleteTarget = d.delete
		c.restart()
		f(c, d)
	})
}

func (c *collected) pass(d time.Duration) {
	c.t.Helper()
	c.run(func() { time.Sleep(d) })
}

func (c *collected) waiting() int {
	c.t.Helper()
	s, err := c.repo.Status(c.t.Context())
	require.NoError(c.t, err)
	return s.Collection.Targets
}

// A target file is offered once, when the grace of the generation that removed it is over.
func TestTargetsAreOffered(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		all := files("x", 50)
		c.publish(all...)
		replaced := file(all[0].Path, "new")
		c.publish(replaced)
		r := c.remove(all[1].Path)
		c.run(func() { c.wait(r, repository.Published) })
		require.Equal(c.t, 2, c.waiting())
		c.pass(grace - time.Minute)
		require.Empty(c.t, d.took())
		c.pass(time.Minute + sweepInterval)
		require.Equal(c.t, named(all[0], all[1]), d.took())
		require.Zero(c.t, c.waiting())

		var paths []string
		for _, t := range all[1:] {
			paths = append(paths, t.Path)
		}
		r = c.remove(append(paths, replaced.Path)...) // one of them is gone already
		c.run(func() { c.wait(r, repository.Published) })
		c.pass(grace + sweepInterval)
		want := named(append(all[2:], replaced)...)
		slices.Sort(want)
		require.Equal(c.t, want, d.took(), "more than there are workers")
		c.restart()
		c.pass(grace + sweepInterval)
		require.Empty(c.t, d.took())
		c.requireOnly()
	})
}

// One that is given back is offered again after a pause that grows, and holds up no other.
func TestTargetIsGivenBack(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		all := files("x", 3)
		c.publish(all...)
		r := c.remove(all[0].Path, all[1].Path, all[2].Path)
		c.run(func() { c.wait(r, repository.Published) })
		d.set(func(t ledger.RemovedTarget) error {
			if t.Path == all[1].Path {
				return errors.New("in use")
			}
			return nil
		}, nil)
		c.pass(grace + sweepInterval)
		require.Subset(c.t, d.took(), named(all...))
		require.Equal(c.t, 1, c.waiting())
		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Contains(c.t, fmt.Sprint(status.Problems), `1 target files can't be deleted: target "`+all[1].Path+`": in use`)
		c.pass(5 * time.Hour)
		times := len(d.took())
		require.Greater(c.t, times, 5)
		require.Less(c.t, times, 15, "the pause grows to an hour")
		d.set(nil, nil)
		c.pass(time.Hour + sweepInterval)
		require.Equal(c.t, named(all[1]), d.took())
		require.Zero(c.t, c.waiting())
		status, err = c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Zero(c.t, status.Collection.GivenBack)
	})
}

// While the call lasts, Submit refuses the file, and nothing else.
func TestTargetIsClaimed(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		old := file("packages/x/x-0.tar.gz", "old")
		c.publish(old)
		r := c.remove(old.Path)
		c.run(func() { c.wait(r, repository.Published) })
		hold := make(chan struct{})
		d.set(nil, hold)
		c.run(func() {
			time.Sleep(grace + sweepInterval)
			require.Equal(c.t, named(old), d.took())
			_, err := c.repo.Add(c.t.Context(), old)
			require.ErrorIs(c.t, err, repository.ErrBeingDeleted)
			require.ErrorContains(c.t, err, "store it again, and submit it again later")
			c.wait(c.add(file(old.Path, "new")), repository.Published)
			c.wait(c.remove(old.Path), repository.Published)

			// Another process can write into a shared journal.
			entry, err := repository.Item{ID: "foreign", Add: []roles.Target{old}}.Entry()
			require.NoError(c.t, err)
			_, err = c.journal.Enqueue(c.t.Context(), entry)
			require.NoError(c.t, err)
			o, err := c.repo.Receipt("foreign", old.Path).Wait(c.t.Context())
			require.ErrorIs(c.t, err, repository.ErrSetAside)
			require.Contains(c.t, o.Reason, "being deleted")

			close(hold)
			synctest.Wait()
			time.Sleep(time.Second)
			c.wait(c.add(old), repository.Published)
		})
		require.Empty(c.t, d.took())
	})
}

// The context of a call ends with Run, and the file is offered again.
func TestRunEndsDeletions(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		old := file("packages/x/x-0.tar.gz", "old")
		c.publish(old)
		c.publish(file(old.Path, "new"))
		d.set(nil, make(chan struct{}))
		c.pass(grace + sweepInterval)
		require.Equal(c.t, named(old), d.took())
		require.Equal(c.t, 1, c.waiting())
		d.set(nil, nil)
		c.pass(3 * time.Minute)
		require.Equal(c.t, named(old), d.took())
		require.Zero(c.t, c.waiting())

		// A call that never ends is given up after 10 minutes.
		c.publish(file(old.Path, "newer"))
		d.set(nil, make(chan struct{}))
		c.run(func() {
			time.Sleep(grace + sweepInterval)
			require.Len(c.t, d.took(), 1)
			d.set(nil, nil)
			time.Sleep(12 * time.Minute)
			require.Len(c.t, d.took(), 1)
		})
	})
}

// Close gives the lead up once no call is under way: the next publisher accepts the file.
func TestCloseWaitsForDeletions(t *testing.T) {
	for _, long := range []bool{false, true} {
		t.Run(fmt.Sprint(long), func(t *testing.T) {
			offering(t, func(c *collected, d *deleter) {
				old := file("packages/x/x-0.tar.gz", "old")
				c.publish(old)
				c.publish(file(old.Path, "new"))
				took := 3 * time.Second
				if long {
					took = time.Minute
				}
				deleting, deleted := make(chan struct{}), make(chan struct{})
				d.set(func(ledger.RemovedTarget) error { // it doesn't heed its context
					close(deleting)
					time.Sleep(took)
					close(deleted)
					return nil
				}, nil)
				ran := make(chan error, 1)
				go func() { ran <- c.repo.Run(c.t.Context()) }()
				<-deleting
				began := time.Now()
				err := c.repo.Close()
				require.Equal(c.t, min(took, 10*time.Second), time.Since(began))
				if long {
					require.ErrorContains(c.t, err, "Config.DeleteTarget didn't stop within 10s")
				} else {
					require.NoError(c.t, err)
				}
				<-deleted
				require.NoError(c.t, <-ran)
				d.set(nil, nil)
				c.open()
				c.opened = time.Now()
			})
		})
	}
}

// A file that anybody may still ask for is not offered: it is published again, or pending, or a client
// may have seen it since.
func TestTargetsInUseAreNotOffered(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		var same []roles.Target // of one bin
		for n := 0; len(same) < 3; n++ {
			if path := fmt.Sprint("packages/y/", n); mustBins(c.t, 2).Find(path) == 0 {
				same = append(same, file(path, "1"))
			}
		}
		again, pending, briefly := same[0], same[1], same[2]
		c.publish(again, pending, briefly)
		r := c.remove(again.Path, pending.Path, briefly.Path)
		c.run(func() { c.wait(r, repository.Published) })
		c.publish(again)
		c.pass(grace - time.Hour)
		c.publish(briefly)
		r = c.remove(briefly.Path)
		c.run(func() { c.wait(r, repository.Published) })

		// The other bin is missing, so an item that names a path there too waits.
		layout := mustBins(c.t, 2)
		n := 0
		for layout.Find(fmt.Sprint("packages/x/", n)) == layout.Find(pending.Path) {
			n++
		}
		beside := file(fmt.Sprint("packages/x/", n), "1")
		missing, data := c.newest(layout.Name(layout.Find(beside.Path)))
		require.NoError(c.t, c.store.Delete(c.t.Context(), missing))
		c.restart()
		c.add(pending, beside)
		c.pass(grace + 10*time.Minute)
		require.Equal(c.t, named(briefly), d.took())
		c.inject.Plan(nil)
		c.pass(time.Hour)
		looks := 0
		for _, call := range c.inject.Calls() {
			if call.Op == "store.Get" && call.Name == "timestamp.json" {
				looks++
			}
		}
		require.Greater(c.t, looks, 30)
		require.Less(c.t, looks, 200, "about one a minute")
		require.NoError(c.t, c.store.Create(c.t.Context(), missing, data))
		c.pass(10 * time.Minute)
		require.Empty(c.t, d.took())
		require.Zero(c.t, c.waiting(), "they are published")
		r = c.remove(again.Path, pending.Path)
		c.run(func() { c.wait(r, repository.Published) })
		c.pass(grace + sweepInterval)
		require.Equal(c.t, named(again, pending), d.took())
	})
}

// A file that was published again for a moment is offered a grace period after its last removal.
func TestTargetRemovedOnceMore(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		briefly := file("packages/x/briefly", "1")
		for range 2 {
			require.Empty(c.t, d.took())
			c.publish(briefly)
			r := c.remove(briefly.Path)
			c.run(func() { c.wait(r, repository.Published) })
			c.pass(grace - 10*time.Minute)
		}
		require.Empty(c.t, d.took())
		c.pass(10*time.Minute + sweepInterval)
		require.Equal(c.t, named(briefly), d.took())
	})
}

// Whatever call fails or ends the process, each file is offered at least once, and none is forgotten.
func TestOffersUnderFaults(t *testing.T) {
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			offering(t, func(c *collected, d *deleter) {
				for at := 1; ; at++ {
					old := file(fmt.Sprintf("packages/x/%d", at), "1")
					c.publish(old)
					r := c.remove(old.Path)
					c.run(func() { c.wait(r, repository.Published) })
					n, met := 0, false
					c.inject.Plan(func(call faulty.Call) faulty.Fault {
						if strings.HasPrefix(call.Op, "leader.Append") && strings.Contains(call.Name, "collected") || call.Op == "leader.Pending" {
							if n++; n == at {
								met = true
								return fault
							}
						}
						return faulty.None
					})
					ctx, cancel := context.WithTimeout(c.t.Context(), grace+sweepInterval)
					_ = c.repo.Run(ctx)
					cancel()
					c.inject.Plan(nil)
					c.repo.Close()
					c.open()
					c.opened = time.Now()
					c.pass(grace + sweepInterval)
					require.Contains(c.t, d.took(), named(old)[0])
					require.Zero(c.t, c.waiting())
					if !met {
						require.Greater(c.t, at, 3)
						return
					}
				}
			})
		})
	}
}

// Without DeleteTarget nothing is kept of removed target files.
func TestTargetsAreNotOffered(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.publish(file("packages/x/x-0", "1"))
		c.publish(file("packages/x/x-0", "2"))
		require.Equal(c.t, 1, c.waiting())
		c.pass(grace + sweepInterval)
		require.Zero(c.t, c.waiting())
	})
}

// A file that was never published, because another of the same batch replaced or removed it, is offered too.
func TestTargetsOfOneBatchAreOffered(t *testing.T) {
	offering(t, func(c *collected, d *deleter) {
		first, second, third := file("packages/x/a", "1"), file("packages/x/a", "2"), file("packages/x/a", "3")
		other := file("packages/x/b", "1")
		var last *repository.Receipt
		for _, it := range []repository.Item{
			{Add: []roles.Target{first}}, {Add: []roles.Target{second, other}}, {Add: []roles.Target{third}},
			{Remove: []string{other.Path}}, {Add: []roles.Target{first}},
		} {
			last = c.submit(it)
		}
		c.run(func() { c.wait(last, repository.Published) })
		c.pass(grace + sweepInterval)
		want := named(second, third, other)
		slices.Sort(want)
		require.Equal(c.t, want, d.took())
	})
}
