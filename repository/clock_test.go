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
			now, err := c.check(last, time.Time{})
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
		_, err := c.check(last, time.Time{})
		require.ErrorIs(t, err, ErrClock)
		require.ErrorContains(t, err, "the last generation was signed at")

		offset = 25 * time.Hour
		_, err = c.check(last, time.Time{})
		require.ErrorIs(t, err, ErrClock)
		require.ErrorContains(t, err, "jumped ahead by 25h4m0s", "from the last time that was believed")
		c.accept()
		ok()
	})
}

// A clock that was wrong for long, and right again at the next start.
func TestClockBackAfterRestart(t *testing.T) {
	last := time.Now().Add(time.Hour)
	c := newClock(time.Now, 24*time.Hour)
	_, err := c.check(last, time.Time{})
	require.ErrorIs(t, err, ErrClock)
	c.accept()
	now, err := c.check(last, time.Time{})
	require.NoError(t, err)
	_, err = c.check(now, time.Time{})
	require.NoError(t, err)
	_, err = c.check(last, time.Time{})
	require.ErrorIs(t, err, ErrClock, "accepted once, not for ever")
}

// Between two readings of time.Now, package time reckons by the monotonic clock, which nobody sets.
func TestClockIsTheWallClock(t *testing.T) {
	at := newClock(time.Now, time.Hour).look()
	require.NotContains(t, at.wall.String(), " m=")
	require.Contains(t, at.mono.String(), " m=")
}

// Suspensions don't add up: each step is judged alone. Where the system counts sleep, none
// is a step at all.
func TestClockAcrossSuspensions(t *testing.T) {
	const night = 24 * time.Hour
	for _, counted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var asleep time.Duration
			start := time.Now()
			c := newClock(func() time.Time { return time.Now().Add(asleep) }, 7*24*time.Hour)
			c.sinceBoot = func() (time.Duration, bool) { return time.Since(start) + asleep, true }
			if !counted {
				c.sinceBoot = func() (time.Duration, bool) { return 0, false }
			}
			last := time.Now()
			sleep := func(d time.Duration) (err error) {
				time.Sleep(night)
				asleep += d
				if now, err := c.check(last, time.Time{}); err == nil {
					last = now
					return nil
				}
				_, err = c.check(last, time.Time{})
				return err
			}
			for range 500 {
				require.NoError(t, sleep(8*time.Hour))
			}
			if counted {
				require.NoError(t, sleep(30*night))
			} else {
				require.ErrorIs(t, sleep(30*night), ErrClock, "it may as well have been set")
			}
		})
	}
}

// A system that counts sleep says so.
func TestSinceBoot(t *testing.T) {
	first, ok := sinceBoot()
	if !ok {
		t.Skip("this system doesn't tell the time with sleep")
	}
	require.Positive(t, first)
	second, _ := sinceBoot()
	require.GreaterOrEqual(t, second, first)
}
