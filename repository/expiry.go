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

// How often the log says that offline documents expire soon, or have expired.
const (
	soonEvery    = 24 * time.Hour
	expiredEvery = time.Hour
)

// warnOffline logs which offline documents expire within 30 days, once a day, and which have
// expired, once an hour.
func (p *publisher) warnOffline(now time.Time) {
	expiries := p.docs.expiries()
	every := soonEvery
	for _, expires := range expiries {
		if !expires.After(now) {
			every = expiredEvery
		}
	}
	if since := now.Sub(p.warned); since >= 0 && since < every {
		return
	}
	for _, role := range slices.SortedFunc(maps.Keys(expiries), topLevelFirst) {
		s := RoleStatus{p.docs.installed[role].Version, expiries[role]}
		left := s.Expires.Sub(now)
		if err := s.expired(role, now); err != nil {
			p.warned = now
			p.log.Error(err.Error(), "role", role, "expires", s.Expires)
		} else if left < 30*24*time.Hour {
			p.warned = now
			p.log.Warn("an offline document expires soon: hold a ceremony",
				"role", role, "expires", s.Expires, "days", int(left.Hours()/24))
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
