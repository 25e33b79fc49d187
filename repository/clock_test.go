package repository

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset time.Duration
		c := newClock(func() time.Time { return time.Now().Add(offset) }, 24*time.Hour)
		last := time.Now().UTC().Truncate(time.Second)
		ok := func() {
			t.Helper()
			now, err := c.check(last)
			require.NoError(t, err)
			require.Zero(t, now.Nanosecond())
			require.Equal(t, time.UTC, now.Location())
		}
		ok()
		time.Sleep(100 * 24 * time.Hour)
		ok() // time that passes is no jump
		last = time.Now()

		offset = -4 * time.Minute
		ok()
		offset = -6 * time.Minute
		_, err := c.check(last)
		require.ErrorIs(t, err, ErrClock)
		require.ErrorContains(t, err, "the last generation was signed at")

		offset = 25 * time.Hour
		_, err = c.check(last)
		require.ErrorIs(t, err, ErrClock)
		require.ErrorContains(t, err, "jumped ahead by 25h0m0s")
		c.accept()
		ok()
	})
}

// A clock that was wrong for long, and right again at the next start.
func TestClockBackAfterRestart(t *testing.T) {
	last := time.Now().Add(time.Hour)
	c := newClock(time.Now, 24*time.Hour)
	_, err := c.check(last)
	require.ErrorIs(t, err, ErrClock)
	c.accept()
	now, err := c.check(last)
	require.NoError(t, err)
	_, err = c.check(now)
	require.NoError(t, err)
	_, err = c.check(last)
	require.ErrorIs(t, err, ErrClock, "accepted once, not for ever")
}
