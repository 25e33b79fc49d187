package pgjournal

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A claim begins before all places where the oldest entry was seen in the last five seconds.
func TestSightings(t *testing.T) {
	s := newSightings()
	require.Equal(t, int64(math.MinInt64), s.last())
	require.Equal(t, int64(math.MinInt64), s.lowest())
	at := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	for second := range 20 {
		s.add(at.Add(time.Duration(second)*time.Second), int64(100+second))
		require.EqualValues(t, 100+second, s.last())
		require.EqualValues(t, 100+max(0, second-5), s.lowest())
	}
	require.Len(t, s.places, 6)
	s.add(at.Add(20*time.Second), 3) // of a transaction that committed late
	require.EqualValues(t, 3, s.last())
	require.EqualValues(t, 3, s.lowest())
	s.add(at.Add(21*time.Second), 120)
	require.EqualValues(t, 120, s.last())
	require.EqualValues(t, 3, s.lowest())
	s.add(at.Add(30*time.Second), 121)
	require.EqualValues(t, 120, s.lowest())
}

// A sighting is kept as long as a transaction is open that was open at its time, and not for ever.
func TestSightingsBesideOpenTransactions(t *testing.T) {
	s := newSightings()
	at := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	see := func(second, xmin, xmax int64) int64 {
		s.took(snapshot{xmin, xmax})
		s.add(at.Add(time.Duration(second)*time.Second), 100+second)
		return s.lowest()
	}
	require.EqualValues(t, 100, see(0, 50, 51))
	require.EqualValues(t, 100, see(1, 50, 51)) // 50 has begun, and may have an entry before 101
	require.EqualValues(t, 100, see(2, 50, 53))
	require.EqualValues(t, 100, see(60, 50, 60))
	require.EqualValues(t, 102, see(61, 53, 60)) // what was open at 2 has ended, but not all that was open at 60
	s.took(snapshot{1, 2})                       // an older one, of a slow look, changes nothing
	require.EqualValues(t, 102, see(65, 53, 61))
	require.EqualValues(t, 161, see(66, 61, 62)) // all that was open at 61 has ended
	require.EqualValues(t, 165, see(600, 61, 70))
	require.EqualValues(t, 166, see(666, 61, 70)) // nothing is kept for longer than ten minutes
}

// Looking again takes a bounded part of the time.
func TestLooks(t *testing.T) {
	l := newSightings().whole
	now := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	due, slow := l.due(now)
	require.True(t, due)
	require.False(t, slow)
	due, _ = l.due(now) // it is under way
	require.False(t, due)
	l.done, l.took, l.looking = now, 100*time.Millisecond, false
	due, _ = l.due(now.Add(1899 * time.Millisecond))
	require.False(t, due)
	due, slow = l.due(now.Add(1900 * time.Millisecond))
	require.True(t, due)
	require.True(t, slow) // so no claim waits for it
}
