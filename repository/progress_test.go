package repository

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// What is deleted of one generation's garbage says nothing of the next one's, when the list drops the
// first because it is too long.
func TestProgressOfDroppedGarbage(t *testing.T) {
	p := &publisher{clock: newClock(time.Now, time.Hour), state: &ledger.State{Generation: 3, Garbage: []ledger.Garbage{
		{Generation: 2, Files: []string{"1.a.json", "1.b.json", "1.c.json"}},
		{Generation: 3, Files: []string{"2.a.json", "2.b.json"}},
	}}}
	p.collection.done = p.advance(2, &ledger.Collected{})
	names, more := p.deletable(2)
	require.Equal(t, []string{"1.c.json", "2.a.json"}, names)
	require.True(t, more)
	p.state.Garbage = p.state.Garbage[1:]
	names, more = p.deletable(2)
	require.Equal(t, []string{"2.a.json", "2.b.json"}, names)
	require.False(t, more)
	record := &ledger.Collected{}
	require.Zero(t, p.advance(2, record))
	require.EqualValues(t, 3, record.Through)
}

// Two targets may share a file. What is settled about one of them doesn't end the claim of the other.
func TestSettledTargetLeavesOtherClaims(t *testing.T) {
	claimed := ledger.RemovedTarget{Path: "a", Hashes: map[string]string{"sha256": "1"}}
	other := ledger.RemovedTarget{Path: "a", Hashes: map[string]string{"sha256": "1", "sha512": "2"}}
	p := &publisher{}
	c := &p.collection
	c.deleting = newDeletions()
	require.True(t, c.deleting.claim(claimed))
	c.deleting.begin()
	c.gone = append(c.gone, other) // it was removed once more
	p.forget(&ledger.Collected{Settled: c.gone})
	require.False(t, c.deleting.claim(claimed))

	c.deleting.end(claimed, nil)
	p.takeResults()
	require.False(t, c.deleting.claim(claimed), "that it is deleted isn't recorded yet")
	p.forget(&ledger.Collected{Settled: c.gone})
	require.True(t, c.deleting.claim(claimed))
	c.deleting.begin()
	c.deleting.end(claimed, errors.New("in use"))
	require.True(t, c.deleting.claim(claimed), "one that failed can be submitted again at once")
}
