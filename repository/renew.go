package repository

import (
	"cmp"
	"slices"
	"time"
)

// Renewal. Each bin has moments of its own, once in half its lifetime, at which
// it is signed again if it wasn't signed since. The moments of the bins are
// spread evenly over that period, in at most renewGroups groups, because each
// renewal costs a new snapshot: 16,384 bins of 7 days make 64 renewals about
// every 20 minutes and not one storm every 84 hours.
const renewGroups = 256

// schedule says when bins are due.
type schedule struct {
	bins     int
	lifetime time.Duration
}

// next returns when bin i, signed at the time given, is due; both are Unix seconds.
func (s schedule) next(i int, signed int64) int64 {
	period := max(int64(s.lifetime/time.Second)/2, 1)
	groups := int64(min(s.bins, renewGroups))
	offset := int64(i) % groups * period / groups
	// The first moment offset + k*period that is later than signed. Unix times
	// are positive here: no clock of ours is set before 1970.
	k := (signed-offset)/period + 1
	return offset + k*period
}

// due tells whether bin i must be signed again. An expiry further away than one
// lifetime comes from a clock that was wrong or a longer lifetime than now.
func (s schedule) due(i int, b binState, now time.Time) bool {
	return s.next(i, b.Signed) <= now.Unix() ||
		time.Unix(b.Expires, 0).Sub(now) > s.lifetime
}

// dueBins returns at most limit bins to renew, the soonest to expire first.
func (s schedule) dueBins(bins []binState, now time.Time, limit int, skip func(i int) bool) []int {
	var due []int
	for i, b := range bins {
		if s.due(i, b, now) && !skip(i) {
			due = append(due, i)
		}
	}
	slices.SortStableFunc(due, func(a, b int) int { return cmp.Compare(bins[a].Expires, bins[b].Expires) })
	return due[:min(len(due), limit)]
}
