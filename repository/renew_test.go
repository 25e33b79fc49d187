package repository

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

func noBin(int) bool { return false }

// Bins that were all signed at one moment are renewed evenly over the next half
// of their lifetime, and from then on every half lifetime.
func TestRenewalIsSpread(t *testing.T) {
	for _, bins := range []int{2, 8, 256, 1024, 16384} {
		s := schedule{roles: bins, period: 84 * time.Hour, lifetime: 7 * 24 * time.Hour}
		period := int64(s.period / time.Second)
		signed := func(at int64) ledger.Row { return ledger.Row{Signed: at, Expires: at + int64(s.lifetime/time.Second)} }
		start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Unix()
		count := map[int64]int{}
		for i := range bins {
			first := s.next(i, signed(start))
			require.Greater(t, first, start)
			require.LessOrEqual(t, first-start, period)
			require.Equal(t, first+period, s.next(i, signed(first)), "bin %d: half a lifetime later", i)
			count[first]++
		}
		groups := min(bins, renewGroups)
		require.Len(t, count, groups)
		for at, n := range count {
			require.Equal(t, bins/groups, n, "bins due at %v", at)
		}
	}
}

func TestRenewalOfShortestLifetime(t *testing.T) {
	s := schedule{roles: 4, period: time.Second, lifetime: 2 * time.Second}
	const now = 1_800_000_000
	for i := range 4 {
		require.EqualValues(t, now+1, s.next(i, ledger.Row{Signed: now, Expires: now + 2}))
	}
}

func TestDueBins(t *testing.T) {
	s := schedule{roles: 4, period: 4 * time.Hour, lifetime: 8 * time.Hour}
	now := time.Unix(1_800_000_000, 0)
	signedAgo := func(d time.Duration) ledger.Row {
		return ledger.Row{Version: 1, Signed: now.Add(-d).Unix(), Expires: now.Add(s.lifetime - d).Unix()}
	}
	bins := []ledger.Row{signedAgo(5 * time.Hour), signedAgo(0), signedAgo(7 * time.Hour), signedAgo(6 * time.Hour)}
	row := func(i int) ledger.Row { return bins[i] }
	require.Equal(t, []int{2, 3, 0}, s.dueRoles(row, now, noBin), "the soonest to expire first")
	require.Equal(t, []int{3, 0}, s.dueRoles(row, now, func(i int) bool { return i == 2 }))

	bins[1].Expires = now.Add(s.lifetime + time.Second).Unix()
	require.Contains(t, s.dueRoles(row, now, noBin), 1, "an expiry further away than a lifetime")
}
