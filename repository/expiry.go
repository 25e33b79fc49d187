package repository

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/internal/clients"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ErrExpired is wrapped if metadata has expired. Clients refuse it, and everything that they reach by
// way of it. The error says for each role since when it has expired and what clients refuse.
var ErrExpired = errors.New("expired")

// Expired returns an error that wraps ErrExpired and names every role that clients refuse at
// the time given, or nil if there is none.
func (s Status) Expired(now time.Time) error {
	var all []error
	for _, role := range slices.SortedFunc(maps.Keys(s.Roles), topLevelFirst) {
		all = append(all, s.Roles[role].expired(role, now))
	}
	if at := s.FirstBinExpires; s.BinCount > 0 && !at.IsZero() && !at.After(now) {
		all = append(all, fmt.Errorf("a bin %w %s: clients refuse every target in it, until it is signed again", ErrExpired, clients.Ago(at, now)))
	}
	return errors.Join(all...)
}

// expired returns nil for a role that has not expired.
func (s RoleStatus) expired(role string, now time.Time) error {
	if s.Version == 0 || s.Expires.After(now) {
		return nil
	}
	return fmt.Errorf("%s version %d %w %s: clients refuse %s", role, s.Version, ErrExpired, clients.Ago(s.Expires, now), clients.Refuse(role))
}

// topLevelFirst orders roles as clients come to them.
func topLevelFirst(a, b string) int {
	place := func(role string) int {
		return slices.Index([]string{metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP, metadata.ROOT}, role)
	}
	return cmp.Or(cmp.Compare(place(b), place(a)), cmp.Compare(a, b))
}

// expiredFor returns an error that wraps ErrExpired if clients that search for these paths come to a
// role that has expired.
func (r *Repository) expiredFor(paths []string) error {
	now := r.cfg.Now()
	r.mu.Lock()
	published := r.published
	r.mu.Unlock()
	expired := map[string]error{}
	for role, s := range published.Roles {
		if err := s.expired(role, now); err != nil {
			expired[role] = err
		}
	}
	if len(expired) == 0 {
		return nil
	}
	met := map[string]bool{metadata.ROOT: true, metadata.TIMESTAMP: true, metadata.SNAPSHOT: true}
	tree := r.online.Load().tree
	for _, path := range paths {
		owner, _ := tree.Owner(path)
		for _, role := range tree.Search(path) {
			met[role] = true
			if role == owner.Name {
				break
			}
		}
	}
	var all []error
	for _, role := range slices.SortedFunc(maps.Keys(expired), topLevelFirst) {
		if met[role] {
			all = append(all, expired[role])
		}
	}
	return errors.Join(all...)
}

// Expiry says that a document that people sign expires soon, or has expired: see Config.WarnExpiry.
type Expiry struct {
	Role    string
	Version int64
	Expires time.Time
	// Left is the threshold that was passed: no more than this time is left. Zero: it has expired.
	Left time.Duration
}

// expiryThresholds are how much of a document's time is left when that is said.
var expiryThresholds = []time.Duration{0, 1 * day, 3 * day, 7 * day, 14 * day, 30 * day, soonOffline}

const day = 24 * time.Hour

// How often the log says so again.
const (
	lastWeekEvery = day
	expiredEvery  = time.Hour
)

// warning is what was last said about a document of people.
type warning struct {
	version int64
	left    time.Duration // the threshold
	logged  time.Time
}

// warnOffline says which documents of people expire soon, or have expired: once for each threshold,
// once a day in the last week, and once an hour after that.
func (p *publisher) warnOffline(now time.Time) {
	expiries := p.docs.expiries()
	for _, role := range slices.SortedFunc(maps.Keys(expiries), topLevelFirst) {
		s := RoleStatus{p.docs.installed[role].Version, expiries[role]}
		at := slices.IndexFunc(expiryThresholds, func(d time.Duration) bool { return s.Expires.Sub(now) <= d })
		if at < 0 {
			continue
		}
		left := expiryThresholds[at]
		before, known := p.warned[role]
		passed := !known || before.version != s.Version || left < before.left
		since := now.Sub(before.logged)
		again := since < 0 || left == 0 && since >= expiredEvery || left <= 7*day && since >= lastWeekEvery
		if !passed && !again {
			continue
		}
		p.warned[role] = warning{s.Version, left, now}
		if err := s.expired(role, now); err != nil {
			p.log.Error(err.Error(), "role", role, "expires", s.Expires)
		} else {
			p.log.Warn("an offline document expires soon: hold a ceremony",
				"role", role, "expires", s.Expires, "days", int(s.Expires.Sub(now)/day))
		}
		if passed && p.cfg.WarnExpiry != nil {
			p.cfg.WarnExpiry(Expiry{role, s.Version, s.Expires, left})
		}
	}
}

// expiries are those of the documents that people sign, root too.
func (o *documents) expiries() map[string]time.Time {
	out := map[string]time.Time{metadata.ROOT: o.root.Expires()}
	for role, d := range o.roles {
		if _, online := o.online.index(role); !online {
			out[role] = d.Expires()
		}
	}
	return out
}
