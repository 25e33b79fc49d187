package repository

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Renewal. Each bin has moments of its own, once in Config.BinRenewal. If it wasn't signed since the
// last one, it is signed again. The moments of the bins are spread evenly over that period, in at most
// renewGroups groups, because each renewal costs a new snapshot. So 16,384 bins of 7 days make 64
// renewals about every 20 minutes, and not one storm every 84 hours.
const renewGroups = 256

// schedule says when bins are due.
type schedule struct {
	roles            int           // how many are renewed
	period, lifetime time.Duration // Config.BinRenewal and BinLifetime
}

// next returns when bin i, which has this row, is due, in Unix seconds.
func (s schedule) next(i int, row ledger.Row) int64 {
	period := int64(s.period / time.Second)
	groups := int64(min(s.roles, renewGroups))
	offset := int64(i) % groups * period / groups
	// The first moment offset + k*period that is later than the signature. Unix times
	// are positive here: no clock of ours is set before 1970.
	k := (row.Signed-offset)/period + 1
	return min(offset+k*period, renewAt(row.Signed, row.Expires, s.period, s.lifetime))
}

// renewAt returns when a signature has the age at which it is renewed, in Unix seconds. If its
// lifetime is shorter than what is configured now, it is renewed at the same part of it.
func renewAt(signed, expires int64, period, lifetime time.Duration) int64 {
	lasts := min(time.Duration(expires-signed)*time.Second, lifetime)
	return signed + int64(lasts.Seconds()*(period.Seconds()/lifetime.Seconds()))
}

// due reports whether role i must be signed again. If its expiry is further away than one lifetime,
// the clock was wrong, or the lifetime was longer then.
func (s schedule) due(i int, row ledger.Row, now time.Time) bool {
	return s.next(i, row) <= now.Unix() ||
		time.Unix(row.Expires, 0).Sub(now) > s.lifetime
}

// dueRoles returns the roles to renew, the soonest to expire first.
func (s schedule) dueRoles(row func(i int) ledger.Row, now time.Time, skip func(i int) bool) []int {
	var due []int
	for i := range s.roles {
		if s.due(i, row(i), now) && !skip(i) {
			due = append(due, i)
		}
	}
	soonestFirst(due, row)
	return due
}

// soonestFirst sorts roles by expiry.
func soonestFirst(of []int, row func(i int) ledger.Row) {
	slices.SortStableFunc(of, func(a, b int) int { return cmp.Compare(row(a).Expires, row(b).Expires) })
}

// pressing returns how many of the roles that are due must be signed now, whatever the budget is. The
// others can wait for their turn without expiring. due are the roles' expiries, the soonest first.
func (s schedule) pressing(due []int64, now time.Time, perMinute int) int {
	reserve := int64(min((s.lifetime-s.period)/8, time.Hour) / time.Second) // for an attempt that fails
	n := int64(0)
	for k, expires := range due {
		minutes := max(expires-reserve-now.Unix(), 0) / 60
		n = max(n, int64(k+1)-minutes*int64(perMinute))
	}
	return int(n)
}

// budget limits how many roles are signed again in a minute: see Config.RenewalsPerMinute.
type budget struct {
	perMinute int // 0: no limit
	spent     []spending
}

// spending is how many roles were signed. The time is a whole second, not before the last signature.
type spending struct {
	at    time.Time
	roles int
}

// left returns how many more roles may be signed again at this time.
func (b *budget) left(now time.Time) int {
	if b.perMinute == 0 {
		return math.MaxInt
	}
	left := b.perMinute
	b.spent = slices.DeleteFunc(b.spent, func(s spending) bool {
		return !now.Before(s.at.Add(time.Minute)) || s.at.After(now.Add(time.Minute)) // the clock was set back
	})
	for _, s := range b.spent {
		left -= s.roles
	}
	return max(left, 0)
}

// frees returns when some of what is spent counts no more.
func (b *budget) frees(now time.Time) time.Time {
	at := now.Add(time.Minute)
	for _, s := range b.spent {
		if t := s.at.Add(time.Minute); t.Before(at) {
			at = t
		}
	}
	return at
}

// spend counts roles that were signed until now.
func (b *budget) spend(now time.Time, roles int) {
	if b.perMinute > 0 && roles > 0 {
		b.spent = append(b.spent, spending{now.Truncate(time.Second).Add(time.Second), roles})
	}
}

// openBudget counts what was signed in the minute before the repository was opened, whatever for.
func (p *publisher) openBudget() {
	p.budget = budget{perMinute: p.cfg.RenewalsPerMinute}
	now := p.cfg.Now()
	if s := p.burnt; s.roles > 0 && now.Sub(s.at) < time.Minute {
		p.budget.spend(now, s.roles)
	}
	recent := 0
	for i := range p.docs.online.len() {
		if signed := time.Unix(p.row(i).Signed, 0); now.Sub(signed) < time.Minute {
			recent++
		}
	}
	p.budget.spend(now, recent)
}

// renewals returns the roles to sign again now, the most urgent first: at most Config.MaxRenew, and no
// more than the budget allows unless they would expire. What the budget has left after those that are
// due is for roles that go over to another key.
func (p *publisher) renewals(now time.Time, skip func(i int) bool) []int {
	s := p.schedule()
	due := s.dueRoles(p.row, now, skip)
	n := p.budget.left(now)
	if n < len(due) {
		expiries := make([]int64, len(due))
		for k, i := range due {
			expiries[k] = p.row(i).Expires
		}
		n = max(n, s.pressing(expiries, now, p.budget.perMinute))
	}
	due = due[:min(len(due), n, p.cfg.MaxRenew)]
	room := min(n, p.cfg.MaxRenew) - len(due)
	if room <= 0 || len(p.state.Rotations) == 0 {
		return due
	}
	var rotate []int
	over := p.goesOver()
	for i := range s.roles {
		if row := p.row(i); over(i, row) && !s.due(i, row, now) && !skip(i) {
			rotate = append(rotate, i)
		}
	}
	soonestFirst(rotate, p.row)
	return append(due, rotate[:min(len(rotate), room)]...)
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
			out[n] = lists(auth, name)
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
	if s.Generation == 0 || s.Sealed != nil || len(p.unwritten) > 0 || p.topGoesOver() || !sameInSnapshot(s.Documents, s.Published) ||
		time.Unix(s.Expires.Snapshot, 0).Sub(now) > p.cfg.SnapshotLifetime ||
		time.Unix(s.Expires.Timestamp, 0).Sub(now) > p.cfg.TimestampLifetime {
		return time.Time{}
	}
	signed := s.Signed.Unix()
	return time.Unix(min(
		renewAt(signed, s.Expires.Snapshot, p.cfg.SnapshotRenewal, p.cfg.SnapshotLifetime),
		renewAt(signed, s.Expires.Timestamp, p.cfg.TimestampRenewal, p.cfg.TimestampLifetime),
	), 0)
}

// dueAt returns when the next generation is due even if nobody adds anything. It is the zero time if
// that is now.
func (p *publisher) dueAt(now time.Time) time.Time {
	at := p.topDueAt(now)
	if at.IsZero() {
		return at
	}
	// One walk over the table: this is asked for at every wake-up.
	schedule, refused, over := p.schedule(), p.refuses(), p.goesOver()
	left := p.budget.left(now)
	var due []int64 // expiries of roles for which there is no budget left
	waits := false  // whether others go over to another key, and there is none either
	for i := range p.docs.online.len() {
		if p.blocked(i) {
			continue
		}
		row := p.row(i)
		isDue := schedule.due(i, row, now)
		rotates := over(i, row)
		if refused(i, row) || (isDue || rotates) && left > 0 {
			return time.Time{}
		}
		waits = waits || rotates
		if isDue {
			due = append(due, row.Expires)
		} else if t := time.Unix(schedule.next(i, row), 0); t.Before(at) {
			at = t
		}
	}
	slices.Sort(due)
	if schedule.pressing(due, now, p.budget.perMinute) > 0 {
		return time.Time{}
	}
	if len(due) > 0 || waits {
		if t := p.budget.frees(now); t.Before(at) {
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
