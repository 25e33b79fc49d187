package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Rotation of online keys. A role goes over to another key while both are trusted, in these steps:
//
//	install   People install documents that name both keys.
//	begin     Rotate writes the direction into the journal. Every publisher that has the new key
//	          signs with it from then on.
//	signing   Snapshot and timestamp are signed again at once. Bins are signed again within the
//	          budget of renewals, those first that expire first.
//	waiting   Caches may still serve what the old key signed. This concerns the keys that root names
//	          (timestamp, snapshot, targets), because clients fetch root anew. The keys of other
//	          roles stand in a document that the snapshot names by its version, as it does the
//	          role itself: a client that has an older snapshot uses the older document. The
//	          time between the last generation and Open doesn't count, because the clock may
//	          have been set meanwhile.
//	ready     People install documents that name only the new key. This ends the rotation.
//
// Which bins are left follows from the table: each row has its key. So a restart loses nothing.

// RotationState is how far a Rotation has come.
type RotationState string

// The states of a rotation, in order.
const (
	RotationSigning RotationState = "signing" // the newest file of a role is still signed by another key
	RotationWaiting RotationState = "waiting" // all is signed by the new key, and caches may serve what isn't
	RotationReady   RotationState = "ready"   // the other keys may be dropped: install documents without them
)

// Rotation is the way of an online role from one key to another: see Repository.Rotate.
type Rotation struct {
	Role  string        `json:"role"` // as in Config.Signers
	State RotationState `json:"state"`
	To    string        `json:"to"`    // ID of the new key
	From  []string      `json:"from"`  // IDs of the other keys that the documents in force name
	Begun time.Time     `json:"begun"` // when Rotate was called
	Left  int           `json:"left"`  // how many roles are still signed by another key
	// Next is what happens next, in words. At is when that is expected. It is zero if that depends on
	// people, or isn't known.
	Next string    `json:"next"`
	At   time.Time `json:"at,omitzero"`

	served    time.Time // until when caches may serve what another key signed
	elsewhere bool      // the new key isn't configured here
}

// Rotate begins the rotation of an online role to the first signer that is configured for it. The
// role is named as in Config.Signers: "snapshot", "timestamp", "bins-*" for the hashed bins of that
// prefix, or another role that is signed online. The documents in force must name both keys: see
// Install. When Rotate returns nil, the direction is durable in the journal. From then on each
// publisher that has the new key configured, in whatever order, signs the role with it. A publisher
// that has only an old key goes on with that one, and undoes nothing.
//
// Run does the work. It signs snapshot and timestamp at once. Bins are signed again gradually, within
// Config.RenewalsPerMinute and MaxRenew. Without such a limit that takes one generation for each
// MaxRenew bins. Status.Rotations shows what is left, what comes next, and when. Once it shows
// RotationReady, install documents that name only the new key. That ends the rotation. If the
// publisher is restarted before that, the keys that root names may have to wait again, for at most a
// grace period: nobody knows whether the clock was set meanwhile. To give a rotation up, install
// documents that name only the old key.
//
// If the same rotation is under way, Rotate does nothing. It returns an error, and changes nothing, if
// the role goes to another key already, if the documents don't name the first signer, if they name no
// other key, or if the new key doesn't sign a probe within a minute. ErrWrongKey is wrapped if the
// signer is to blame. RestoreJournal doesn't know of a rotation that only the lost journal knew: then
// call Rotate again.
func (r *Repository) Rotate(ctx context.Context, role string) error {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	err := r.exclusively(ctx, func(ctx context.Context, p *publisher) error { return p.rotate(ctx, role) })
	if err != nil {
		return fmt.Errorf("rotate %s: %w", role, err)
	}
	r.wakeRun()
	return nil
}

func (p *publisher) rotate(ctx context.Context, role string) error {
	if err := p.finish(ctx); err != nil {
		return err
	}
	auth, document, ok := p.docs.authority(role)
	if !ok {
		return fmt.Errorf("it is not signed online: want one of %q", p.onlineNames())
	}
	first := p.cfg.signersOf(role)
	signer, err := signerFor(role, first[:min(len(first), 1)], auth, document)
	if err != nil {
		return fmt.Errorf("%w: install documents that name both keys first, and configure the new key as the first one", err)
	}
	to := keyName(signer.Public())
	switch before, under := p.state.Rotations[role]; {
	case under && before.To == to:
		return nil
	case under:
		return fmt.Errorf("it goes to key %s since %s already: let that end (see Status.Rotations), or give it up by documents that don't name this key",
			keyID(before.To), before.Begun.Format(time.RFC3339))
	case len(auth.Keys) == 1:
		return fmt.Errorf("%s names no other key than %s: install documents that name both keys first", document, signer.Public().ID())
	}
	next := maps.Clone(p.state.Rotations)
	if next == nil {
		next = map[string]ledger.Rotating{}
	}
	next[role] = ledger.Rotating{To: to}
	signers, err := p.docs.signers(p.cfg, next)
	if err != nil {
		return err
	}
	if err := checkKeys(ctx, p.state, signers, nil); err != nil {
		return err
	}
	if err := p.append(ctx, p.state.Generation, &ledger.Rotation{Role: role, To: to}); err != nil {
		return err
	}
	p.log.Info("a rotation begins", "role", role, "to", keyID(to))
	return nil
}

// onlineNames are the roles that are signed online, as Config.Signers names them.
func (p *publisher) onlineNames() []string {
	names := []string{metadata.TIMESTAMP, metadata.SNAPSHOT}
	for _, set := range p.docs.online.sets {
		names = append(names, setName(set.Prefix()))
	}
	for _, r := range p.docs.online.others {
		names = append(names, r.Name)
	}
	return names
}

// canRotate returns the name of the key to which a role goes, if it is configured here.
func (p *publisher) canRotate(role string) (to string, ok bool) {
	x, under := p.state.Rotations[role]
	if !under {
		return "", false
	}
	auth, _, _ := p.docs.authority(role)
	_, ok = configuredFor(p.cfg.signersOf(role), auth, x.To)
	return x.To, ok
}

// goesOver returns a function that reports whether a role, which has this row, must be signed again
// because it goes over to another key.
func (p *publisher) goesOver() func(i int, row ledger.Row) bool {
	l := p.docs.online
	if len(p.state.Rotations) == 0 {
		return func(int, ledger.Row) bool { return false }
	}
	const none = -2
	index := func(role string) int {
		to, ok := p.canRotate(role)
		if !ok {
			return none
		}
		return slices.Index(p.state.Table.Keys, to) // -1 if it signed none yet
	}
	var sets, others []int
	for _, set := range l.sets {
		sets = append(sets, index(setName(set.Prefix())))
	}
	for _, r := range l.others {
		others = append(others, index(r.Name))
	}
	return func(i int, row ledger.Row) bool {
		var to int
		if s := l.set(i); s >= 0 {
			to = sets[s]
		} else {
			to = others[i-l.starts[len(l.sets)]]
		}
		return to != none && row.Version > 0 && int(row.Key) != to
	}
}

// topGoesOver reports whether the snapshot or the timestamp must be signed again because it goes over
// to another key.
func (p *publisher) topGoesOver() bool {
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
		if to, ok := p.canRotate(role); ok && !p.newestSignedBy(role, to) {
			return true
		}
	}
	return false
}

// newestSignedBy reports whether this key signed a role that root delegates to in the committed
// generation.
func (p *publisher) newestSignedBy(role, key string) bool {
	n := len(p.state.Signings)
	return n > 0 && slices.Contains(p.state.Signings[n-1].SignedBy[role], key)
}

// leftToRotate counts the rows of a role, or of a set of bins, that other keys signed than those that
// are wanted.
func (p *publisher) leftToRotate(role string, wanted func(key string) bool) (n int) {
	l, t := p.docs.online, &p.state.Table
	first, end := 0, 0
	for s, set := range l.sets {
		if setName(set.Prefix()) == role {
			first, end = l.starts[s], l.starts[s+1]
		}
	}
	for k, r := range l.others {
		if r.Name == role {
			first = l.starts[len(l.sets)] + k
			end = first + 1
		}
	}
	good := make([]bool, len(t.Keys))
	for k, name := range t.Keys {
		good[k] = wanted(name)
	}
	for i := first; i < end; i++ {
		if row := p.row(i); row.Version > 0 && !good[row.Key] {
			n++
		}
	}
	return n
}

// rotations are those that are under way, by role. What depends on the time is left to rotationsAt.
func (p *publisher) rotations() []Rotation {
	var all []Rotation
	for _, role := range slices.Sorted(maps.Keys(p.state.Rotations)) {
		x := p.state.Rotations[role]
		auth, _, _ := p.docs.authority(role)
		out := Rotation{Role: role, State: RotationSigning, To: keyID(x.To), Begun: x.Begun, From: []string{}}
		for _, k := range auth.Keys {
			if keyName(k) != x.To {
				out.From = append(out.From, k.ID())
			}
		}
		_, here := p.canRotate(role)
		out.elsewhere = !here
		switch role {
		case metadata.TIMESTAMP, metadata.SNAPSHOT:
			if !p.newestSignedBy(role, x.To) {
				out.Left = 1
			}
		default:
			out.Left = p.leftToRotate(role, func(key string) bool { return key == x.To })
		}
		if out.Left == 0 {
			out.State, out.served = RotationWaiting, p.neededUntil(role, x.To)
		} else if here {
			out.Next, out.At = fmt.Sprintf("Run signs %d roles again", out.Left), p.rotatedBy(out.Left)
		} else {
			out.Next = fmt.Sprintf("a publisher that has the key signs %d roles again", out.Left)
		}
		all = append(all, out)
	}
	return all
}

// neededUntil returns until when caches may serve a generation for which clients need another key of
// a role. It is the zero time if there was none, or if root doesn't name the role's keys.
func (p *publisher) neededUntil(role, to string) (until time.Time) {
	for _, g := range p.state.Signings {
		by, ofRoot := g.SignedBy[role]
		if end := p.graceEnds(g.Superseded); ofRoot && !slices.Contains(by, to) && !g.Superseded.IsZero() && end.After(until) {
			until = end
		}
	}
	return until
}

// rotatedBy estimates when so many roles are signed again. It is the zero time if that isn't known.
func (p *publisher) rotatedBy(left int) time.Time {
	if p.cfg.Now == nil { // see ReadStatus
		return time.Time{}
	}
	at := p.cfg.Now().UTC().Truncate(time.Second)
	if n := p.cfg.RenewalsPerMinute; n > 0 {
		// All of them are renewed within one period in any case.
		at = at.Add(min(time.Duration((left+n-1)/n)*time.Minute, p.cfg.BinRenewal))
	}
	return at
}

// rotationsAt returns rotations as they are at this time.
func rotationsAt(all []Rotation, now time.Time) []Rotation {
	all = slices.Clone(all)
	for i := range all {
		x := &all[i]
		switch {
		case x.State == RotationSigning:
		case x.served.After(now):
			x.Next, x.At = "caches may serve what another key signed until then", x.served
		default:
			x.State, x.Next, x.At = RotationReady, fmt.Sprintf("install documents that name no other key than %s", x.To), time.Time{}
		}
	}
	return all
}

// rotationsUnder are the rotations that are still under way once these documents are in force: they
// name the new key, and others.
func (p *publisher) rotationsUnder(next *documents) map[string]ledger.Rotating {
	on := map[string]ledger.Rotating{}
	for role, x := range p.state.Rotations {
		auth, _, _ := next.authority(role)
		if lists(auth, x.To) && len(auth.Keys) > 1 {
			on[role] = x
		}
	}
	return on
}

// lists reports whether an authority lists the key with this name.
func lists(auth roles.Authority, key string) bool {
	return slices.ContainsFunc(auth.Keys, func(k *keys.PublicKey) bool { return keyName(k) == key })
}

// rotationsOver are the roles whose rotations these documents end.
func (p *publisher) rotationsOver(next *documents) (over []string) {
	on := p.rotationsUnder(next)
	for _, role := range slices.Sorted(maps.Keys(p.state.Rotations)) {
		if _, ok := on[role]; !ok {
			over = append(over, role)
		}
	}
	return over
}

// checkRotations refuses documents that drop a key which still signs bins, while they are signed again
// by the key to which they go. Without a rotation, the next generation would sign all of them.
func (p *publisher) checkRotations(next *documents) error {
	for _, role := range slices.Sorted(maps.Keys(p.state.Rotations)) {
		auth, document, _ := next.authority(role)
		named := func(key string) bool { return lists(auth, key) }
		if !named(p.state.Rotations[role].To) { // it is given up
			continue
		}
		if n := p.leftToRotate(role, named); n > 0 {
			return fmt.Errorf("%s: %w: of %s, %d are still signed by a key that it drops: the rotation will have signed them again by %s, as estimated: "+
				"install it then; InstallAfterCompromise doesn't wait, and signs all of them at once",
				document, ErrLocksOut, role, n, p.rotatedBy(n).Format(time.RFC3339))
		}
	}
	return nil
}
