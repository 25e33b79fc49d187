package repository_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// swept returns what a sweep says, by name.
func (c *collected) swept(dryRun bool) map[string]repository.SweptFile {
	c.t.Helper()
	all := map[string]repository.SweptFile{}
	for f, err := range c.repo.Sweep(c.t.Context(), dryRun) {
		require.NoError(c.t, err)
		require.NotContains(c.t, all, f.Name)
		all[f.Name] = f
	}
	return all
}

func (c *collected) sweepErr() (err error) {
	c.t.Helper()
	for _, e := range c.repo.Sweep(c.t.Context(), false) {
		err = e
	}
	return err
}

// plant makes a file that the repository doesn't know.
func (c *collected) plant(names ...string) {
	c.t.Helper()
	for _, name := range names {
		require.NoError(c.t, c.store.Create(c.t.Context(), name, []byte(name)))
	}
}

// A sweep says of each file why it stays or goes, deletes what no list has, and nothing that it doesn't
// understand.
func TestSweep(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		c.publish(files("x", 10)...)
		c.close()
		c.journal = storetest.NewJournal() // it is lost, and with it what generation 2 superseded
		var err error
		c.repo, err = repository.RestoreJournal(c.t.Context(), c.config(), repository.Restoration{Root: c.ceremony.Documents().Roots[0]})
		require.NoError(c.t, err)
		c.pass(grace + sweepInterval)
		c.publish(file("packages/x/x-0.tar.gz", "more"))
		require.EqualValues(c.t, 4, c.generation())
		changed, stays := "bins-0", "bins-1"
		if mustBins(c.t, 2).Find("packages/x/x-0.tar.gz") == 1 {
			changed, stays = stays, changed
		}
		foreign := []string{"notes.txt", "5.snapshot.json", "99.bins-0.json", "7.other.json", "2.targets.json", "12.root.json", "003.bins-0.json", "index.html"}
		c.plant(foreign...)

		all := c.swept(true)
		why := map[string]string{}
		for name, f := range all {
			why[name] = fmt.Sprint(f.Delete, " ", f.Why)
			require.Positive(c.t, f.Bytes, name)
		}
		until := time.Now().Add(grace).UTC().Format(time.RFC3339)
		require.Equal(c.t, map[string]string{
			"timestamp.json": "false published", "1.root.json": "false root: clients follow every version of it", "12.root.json": "false root: clients follow every version of it",
			"1.targets.json": "false published", "1.bins.json": "false published", "4.snapshot.json": "false published",
			"4." + changed + ".json": "false published", "3." + stays + ".json": "false published",
			"3.snapshot.json":        "false superseded by generation 4, kept until " + until,
			"3." + changed + ".json": "false superseded by generation 4, kept until " + until,
			"2.bins-0.json":          "false a replay of the journal begins with it",
			"2.bins-1.json":          "false a replay of the journal begins with it",
			"1.snapshot.json":        "true a snapshot before generation 4",
			"1." + changed + ".json": "true superseded: version 4 is published",
			"1." + stays + ".json":   "true superseded: version 3 is published",
			"notes.txt":              "false not a name of metadata", "index.html": "false not a name of metadata", "003.bins-0.json": "false not a name of metadata",
			"5.snapshot.json": "false generation 5 is not published, and a later one is not either",
			"99.bins-0.json":  "false generation 99 is not published, and a later one is not either",
			"7.other.json":    "false no role of this name is known",
			"2.targets.json":  "false nobody accepted it: version 1 is published",
		}, why)
		read := map[string]repository.SweptFile{}
		for f, err := range repository.ReadSweep(c.t.Context(), c.store, c.journal, grace) {
			require.NoError(c.t, err)
			read[f.Name] = f
		}
		require.Equal(c.t, all, read)

		status, err := c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Contains(c.t, fmt.Sprint(status.Problems), "call Sweep once")
		require.Equal(c.t, all, c.swept(false))
		for name, f := range all {
			require.Equal(c.t, !f.Delete, slices.Contains(c.names(), name), name)
		}
		status, err = c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Zero(c.t, status.Collection.Unlisted)
		for name := range c.swept(true) {
			require.False(c.t, all[name].Delete, name)
		}
		c.restart()
		status, err = c.repo.Status(c.t.Context())
		require.NoError(c.t, err)
		require.Zero(c.t, status.Collection.Unlisted)
	})
}

// A sweep is refused while clients may need what no list has. It is also refused to a process that
// doesn't lead.
func TestSweepIsRefused(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		var offset time.Duration
		c.cfg.Now = func() time.Time { return time.Now().Add(offset) }
		c.restart()
		c.publish(file("packages/x/x-0.tar.gz", "1"))
		c.plant("1.bins-7.json")
		until := c.opened.Add(grace).UTC().Format(time.RFC3339)
		require.ErrorContains(c.t, c.sweepErr(), "sweep: it is refused until "+until+": the repository was opened less than a grace period of 1h30m0s ago")
		c.swept(true)
		c.pass(grace)
		c.swept(false)

		offset = time.Hour
		c.run(func() { time.Sleep(time.Minute) })
		require.ErrorContains(c.t, c.sweepErr(), "the clock was set less than a grace period")
		c.pass(grace)
		c.swept(false)
		offset = 40 * 24 * time.Hour
		require.ErrorIs(c.t, c.sweepErr(), repository.ErrClock)
		offset = time.Hour

		before := c.names()
		old := c.repo
		c.journal.Expire()
		c.open()
		c.opened = time.Now()
		for _, err := range old.Sweep(c.t.Context(), false) {
			require.ErrorIs(c.t, err, repository.ErrFenced)
		}
		require.Equal(c.t, before, c.names())
		old.Close()
	})
}

// Uploads are published during a sweep of many files, and a caller may stop.
func TestSweepOfManyFiles(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		for n := range 3 {
			c.publish(file("packages/x/x-0.tar.gz", fmt.Sprint(n)))
		}
		c.pass(grace + sweepInterval)
		bin := fmt.Sprintf("bins-%x", mustBins(c.t, 2).Find("packages/x/x-0.tar.gz"))
		c.publish(file("packages/x/x-0.tar.gz", "last"))
		full := c.names()
		for n := range 2500 {
			c.plant(fmt.Sprintf("1.bins-%04x.json", n))
		}
		for n := int64(1); n < c.generation(); n++ {
			if name := fmt.Sprintf("%d.%s.json", n, bin); !slices.Contains(full, name) {
				c.plant(name)
			}
		}
		seen := 0
		for _, err := range c.repo.Sweep(c.t.Context(), false) {
			require.NoError(c.t, err)
			if seen++; seen == 10 {
				break
			}
		}
		before := c.generation()
		seen = 0
		c.run(func() {
			for _, err := range c.repo.Sweep(c.t.Context(), false) {
				require.NoError(c.t, err)
				if seen++; seen == 1500 {
					c.wait(c.add(file("packages/x/x-1.tar.gz", "meanwhile")), repository.Published)
				}
			}
		})
		require.Greater(c.t, c.generation(), before)
		require.NotContains(c.t, c.names(), "1."+bin+".json")
		require.Contains(c.t, c.names(), "1.bins-0007.json", "no bin of this repository has that name")
	})
}

// A clock that is set during a sweep makes it delete nothing that clients may need.
func TestClockIsSetDuringASweep(t *testing.T) {
	collecting(t, 2, func(c *collected) {
		var offset time.Duration
		c.cfg.Now = func() time.Time { return time.Now().Add(offset) }
		c.restart()
		c.pass(grace)
		for n := range 2500 {
			c.plant(fmt.Sprintf("1.x-%04d.json", n))
		}
		for n := range 40 {
			c.publish(file("packages/x/x-0.tar.gz", fmt.Sprint(n)))
		}
		before := c.names()
		for _, err := range c.repo.Sweep(c.t.Context(), false) {
			require.NoError(c.t, err)
			offset = 2 * grace
		}
		require.Equal(c.t, before, c.names())
		offset = 0
		require.NoError(c.t, c.repo.AcceptClock(c.t.Context()))
	})
}
