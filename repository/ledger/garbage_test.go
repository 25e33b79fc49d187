package ledger_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

func bins(first, last int) *ledger.Intent {
	return &ledger.Intent{Roles: []string{"snapshot"}, Bins: []ledger.BinRange{{Prefix: "bins", Digits: 4, First: first, Last: last}}}
}

// same makes sure that the history gives the same state from a checkpoint that is written now.
func (b *book) same() {
	b.Helper()
	require.Equal(b, b.history.State, fold(b, b.steps).State)
	r, err := b.history.State.Next(b.epoch, b.history.State.Generation, noon, b.history.State.Checkpoint())
	require.NoError(b, err)
	r, err = ledger.ParseRecord(r.Bytes())
	require.NoError(b, err)
	var s ledger.State
	require.NoError(b, s.Apply(r))
	now := &b.history.State
	require.Equal(b, now.Garbage, s.Garbage)
	require.Equal(b, now.Attempts, s.Attempts)
	require.Equal(b, now.Targets, s.Targets)
	require.Equal(b, []any{now.Collected, now.Unlisted, now.Bases}, []any{s.Collected, s.Unlisted, s.Bases})
	files, targets := now.Uncollected()
	again, andTargets := s.Uncollected()
	require.Equal(b, []int{files, targets}, []int{again, andTargets})
}

func names(g ledger.Garbage) []string { return slices.Collect(g.Names) }

// What a commit supersedes is listed until a collected record: the seal's own list, the generations
// that were burnt before it, and what its intent named in vain.
func TestGarbage(t *testing.T) {
	b := newBook(t)
	s := &b.history.State
	b.write(1, bins(0, 1))
	b.write(2, &ledger.Intent{Roles: []string{"snapshot", "claimed", "other"}})
	require.Len(t, s.Attempts, 2)
	require.Empty(t, s.Garbage, "nothing is garbage before a commit")
	b.same()
	seal := sealOf(2)
	seal.Superseded, seal.Removed = []string{"0.claimed.json"}, []ledger.RemovedTarget{removed("a.whl"), removed("b.whl")}
	b.write(2, seal)
	require.Empty(t, s.Garbage)
	b.write(2, &ledger.Commit{})
	require.Empty(t, s.Attempts)
	require.Len(t, s.Garbage, 1)
	require.Equal(t, s.Committed, s.Garbage[0].Time)
	require.Equal(t, []string{"0.claimed.json", "2.other.json", "1.snapshot.json", "1.bins-0000.json", "1.bins-0001.json"}, names(s.Garbage[0]))
	require.Equal(t, seal.Removed, s.Garbage[0].Targets)
	files, targets := s.Uncollected()
	require.Equal(t, []int{5, 2}, []int{files, targets})
	b.same()

	b.publish(3)
	require.Len(t, s.Garbage, 2, "one entry for each commit")
	b.write(3, s.Checkpoint())
	b.write(3, &ledger.Collected{Through: 2, Offered: []ledger.RemovedTarget{removed("a.whl"), removed("b.whl")}})
	require.Len(t, s.Garbage, 1)
	require.Equal(t, seal.Removed, s.Targets)
	b.same()
	b.write(3, &ledger.Collected{Through: 2, Settled: []ledger.RemovedTarget{removed("a.whl")}})
	require.Equal(t, []ledger.RemovedTarget{removed("b.whl")}, s.Targets)
	b.same()
	b.write(3, &ledger.Collected{Through: 3, Settled: []ledger.RemovedTarget{removed("b.whl")}})
	files, targets = s.Uncollected()
	require.Equal(t, []int{0, 0}, []int{files, targets})
	b.same()
	b.refuses("swept through generation 4: not from 0 to 3", 3, &ledger.Collected{Through: 3, Swept: 4})
}

// A seal that is given up is an attempt like any other: its files are garbage of the next commit.
func TestGarbageOfGivenUp(t *testing.T) {
	b := newBook(t)
	s := &b.history.State
	b.publish(1)
	b.write(2, bins(0, 0))
	b.write(2, sealOf(2))
	b.write(3, bins(1, 1))
	c := s.Checkpoint()
	c.Bases, c.Unlisted = map[string]int64{"bins-0": 1}, 1
	b.write(1, c)
	require.Len(t, s.Attempts, 2)
	b.write(3, sealOf(3))
	b.write(3, &ledger.Commit{})
	require.Equal(t, []string{"3.bins-0001.json", "2.snapshot.json", "2.bins-0000.json"}, names(s.Garbage[1]))
	require.Equal(t, map[string]int64{"bins-0": 1}, s.Bases)
	require.EqualValues(t, 1, s.Unlisted)
	b.same()
	b.write(3, &ledger.Collected{Through: 1, Swept: 3})
	require.Zero(t, s.Unlisted)
}

// An intent that came after the seal stays an attempt beyond its commit.
func TestAttemptAfterSeal(t *testing.T) {
	b := newBook(t)
	b.write(1, &ledger.Intent{})
	b.write(1, sealOf(1))
	b.write(4, bins(0, 3))
	b.write(1, &ledger.Commit{})
	require.Len(t, b.history.State.Attempts, 1)
	require.Empty(t, names(b.history.State.Garbage[0]))
	b.same()
}

func TestGarbageIsBounded(t *testing.T) {
	b := newBook(t)
	s := &b.history.State
	all := bins(0, 1<<16-1)
	generation := int64(0)
	for range 10 {
		generation++
		b.write(generation, all)
		generation++
		b.publish(generation)
		generation++
		b.write(generation, all)
	}
	require.EqualValues(t, 8, s.Unlisted, "the oldest")
	files, _ := s.Uncollected()
	require.LessOrEqual(t, files, ledger.MaxGarbage)
	b.same()

	b = newBook(t)
	s = &b.history.State
	for n := range int64(20) {
		b.write(n+1, all)
	}
	require.EqualValues(t, 5, s.Unlisted)
	require.Len(t, s.Attempts, 15)
	b.same()
}

// A version that listed no garbage wrote checkpoints without it.
func TestCheckpointWithoutGarbage(t *testing.T) {
	b := newBook(t)
	b.publish(7)
	c := b.history.State.Checkpoint()
	c.Garbage = nil
	b.write(7, c)
	require.EqualValues(t, 7, b.history.State.Unlisted)
}

func TestRefusedGarbage(t *testing.T) {
	b := newBook(t)
	b.publish(1)
	b.publish(2)
	attempt := func(generation int64) []ledger.Attempt { return []ledger.Attempt{{Generation: generation}} }
	for want, f := range map[string]func(*ledger.Checkpoint){
		"garbage of generation 3: not from 1 to 2":    func(c *ledger.Checkpoint) { c.Garbage = []ledger.Garbage{{Generation: 3}} },
		"garbage of generation 1: not from 3 to 2":    func(c *ledger.Checkpoint) { c.Garbage = []ledger.Garbage{{Generation: 2}, {Generation: 1}} },
		"attempt at generation 2: not from 1 to 1":    func(c *ledger.Checkpoint) { c.Garbage = []ledger.Garbage{{Generation: 2, Burnt: attempt(2)}} },
		"attempt at generation 3: not from 1 to 2":    func(c *ledger.Checkpoint) { c.Attempts = attempt(3) },
		"attempt at generation 1: not from 2 to 2":    func(c *ledger.Checkpoint) { c.Attempts = append(attempt(1), attempt(1)...) },
		"attempt at generation 2: bins 0 to 0 of 0 d": func(c *ledger.Checkpoint) { c.Attempts = attempt(2); c.Attempts[0].Bins = make([]ledger.BinRange, 1) },
	} {
		c := b.history.State.Checkpoint()
		f(c)
		b.refuses(want, 2, c)
	}
}

func TestTargetFiles(t *testing.T) {
	var all []string
	for f := range removed("x/a.whl").Files() {
		all = append(all, fmt.Sprint(f))
	}
	require.ElementsMatch(t, []string{"{x/a.whl sha256 " + digest + "}", "{x/a.whl sha512 00}"}, all)
}
