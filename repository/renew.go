package repository

import (
	"cmp"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Renewal. Each bin has moments of its own, once in half its lifetime. If it wasn't signed since the
// last one, it is signed again. The moments of the bins are spread evenly over that period, in at most
// renewGroups groups, because each renewal costs a new snapshot. So 16,384 bins of 7 days make 64
// renewals about every 20 minutes, and not one storm every 84 hours.
const renewGroups = 256

// schedule says when bins are due.
type schedule struct {
	roles    int // how many are renewed
	lifetime time.Duration
}

// next returns when bin i, signed at the time given, is due; both are Unix seconds.
func (s schedule) next(i int, signed int64) int64 {
	period := max(int64(s.lifetime/time.Second)/2, 1)
	groups := int64(min(s.roles, renewGroups))
	offset := int64(i) % groups * period / groups
	// The first moment offset + k*period that is later than signed. Unix times
	// are positive here: no clock of ours is set before 1970.
	k := (signed-offset)/period + 1
	return offset + k*period
}

// due reports whether role i must be signed again. If its expiry is further away than one lifetime,
// the clock was wrong, or the lifetime was longer then.
func (s schedule) due(i int, b ledger.Row, now time.Time) bool {
	return s.next(i, b.Signed) <= now.Unix() ||
		time.Unix(b.Expires, 0).Sub(now) > s.lifetime
}

// dueRoles returns at most limit roles to renew, the soonest to expire first.
func (s schedule) dueRoles(row func(i int) ledger.Row, now time.Time, limit int, skip func(i int) bool) []int {
	var due []int
	for i := range s.roles {
		if s.due(i, row(i), now) && !skip(i) {
			due = append(due, i)
		}
	}
	slices.SortStableFunc(due, func(a, b int) int { return cmp.Compare(row(a).Expires, row(b).Expires) })
	return due[:min(len(due), limit)]
}

// mustSign lists the roles that the next generation must sign, whatever their age: those never
// published, those whose files the store lost, those signed by a key that the document in force
// doesn't name, and those for which people signed a new document.
func (p *publisher) mustSign() []int {
	refused := p.refuses()
	var must []int
	for i := range p.docs.online.len() {
		if refused(i, p.row(i)) && !p.blocked(i) {
			must = append(must, i)
		}
	}
	return must
}

// refuses returns a function that reports whether a role must be signed by its row: see mustSign.
func (p *publisher) refuses() func(i int, row ledger.Row) bool {
	l := p.docs.online
	trusted := func(auth roles.Authority) []bool {
		out := make([]bool, len(p.state.Table.Keys))
		for n, name := range p.state.Table.Keys {
			out[n] = slices.ContainsFunc(auth.Keys, func(k *keys.PublicKey) bool { return keyName(k) == name })
		}
		return out
	}
	bySet := make([][]bool, len(l.sets))
	for s := range l.sets {
		bySet[s] = trusted(l.sets[s].Keys)
	}
	return func(i int, row ledger.Row) bool {
		if row.Version == 0 || p.rebuild.wants(i) {
			return true
		}
		if s := l.set(i); s >= 0 {
			return !bySet[s][row.Key]
		}
		name := p.name(i)
		return !trusted(l.keys(i))[row.Key] ||
			slices.ContainsFunc(p.unwritten, func(f ledger.File) bool { return f.Online && f.Role == name })
	}
}

// topDueAt returns when the next generation is due even if no bin is. It is the zero time if there is
// work left, or if an expiry is further away than it can be by the clock.
func (p *publisher) topDueAt(now time.Time) time.Time {
	s := p.state
	if s.Generation == 0 || s.Sealed != nil || len(p.unwritten) > 0 || !sameInSnapshot(s.Documents, s.Published) ||
		time.Unix(s.Expires.Snapshot, 0).Sub(now) > p.cfg.SnapshotLifetime ||
		time.Unix(s.Expires.Timestamp, 0).Sub(now) > p.cfg.TimestampLifetime {
		return time.Time{}
	}
	return s.Signed.Add(min(p.cfg.SnapshotLifetime, p.cfg.TimestampLifetime) / 2)
}

// dueAt returns when the next generation is due even if nobody adds anything. It is the zero time if
// that is now.
func (p *publisher) dueAt(now time.Time) time.Time {
	at := p.topDueAt(now)
	if at.IsZero() {
		return at
	}
	// One walk over the table: this is asked for at every wake-up.
	schedule, refused := p.schedule(), p.refuses()
	for i := range p.docs.online.len() {
		if p.blocked(i) {
			continue
		}
		row := p.row(i)
		if refused(i, row) || schedule.due(i, row, now) {
			return time.Time{}
		}
		if t := time.Unix(schedule.next(i, row.Signed), 0); t.Before(at) {
			at = t
		}
	}
	return at
}

// sameInSnapshot reports whether a snapshot would say the same of the documents a as of b. Root is not
// in it.
func sameInSnapshot(a, b map[string]ledger.Doc) bool {
	for role, d := range a {
		if role != metadata.ROOT && b[role] != d {
			return false
		}
	}
	return true
}
