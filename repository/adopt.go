package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Adopted is what Adopt took from the store. String says it in words.
type Adopted struct {
	From int64 `json:"from"` // the newest generation that the journal knew
	To   int64 `json:"to"`   // the one that clients saw, and that the journal knows now

	// Roles is how many online roles, bins included, were signed in the generations that the journal
	// lost. Each was read and verified.
	Roles int `json:"roles"`
	// Targets are the paths that those generations changed: what is published, and what the journal knew.
	// Unread are the roles of which that isn't known, because the store has the file no more that the
	// journal knew.
	Targets []Difference `json:"targets"`
	Unread  []string     `json:"unread"`
	// Documents are those that people signed, and that the journal didn't know.
	Documents []VersionChange `json:"documents"`
}

// String says in words what was adopted, a line for each target and each document.
func (a Adopted) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the journal knew generation %d, and goes on from generation %d: %d online roles were signed between\n", a.From, a.To, a.Roles)
	for _, d := range a.Documents {
		fmt.Fprintf(&b, "document %s\n", d)
	}
	for _, d := range a.Targets {
		fmt.Fprintf(&b, "%s\n", d)
	}
	if len(a.Unread) > 0 {
		fmt.Fprintf(&b, "what changed in these roles isn't known, because their earlier files are gone: %s\n", strings.Join(a.Unread, ", "))
	}
	return b.String()
}

// Adopt opens a repository whose journal lost its last records, and whose store is right: a database
// failed over to a replica that lagged behind, and the public timestamp is ahead of the journal. Open says
// so with ErrDiverged.
//
// Adopt goes from the journal's root to the newest one. It verifies timestamp, snapshot and documents as a client
// does, and compares the snapshot with the journal's table. It reads and verifies every online role that the lost
// generations signed, Config.Workers at a time. Then one append makes the journal go on from there: a checkpoint of what
// is published. Nothing that is published is signed anew.
//
// Make sure that no publisher uses the database that was left. One that is merely paused may still swap a generation in. So
// Adopt publishes a generation of its own at once: a new snapshot and timestamp and nothing else, with a number above
// every one that the store has a file of. From then on the store refuses what such a publisher swaps in. If this
// generation can't be made now, because a key or the store fails or the clock is doubted, Adopt logs that and succeeds, and
// Run makes it first. If such a publisher is faster, Adopt fails with ErrDiverged, and so does Open after it: then
// RestoreStore publishes what Adopt took over.
//
// What the journal has queued stays queued. Such an item may be among what was published: then it is
// decided Unchanged. If it was published and replaced since, by an item that the journal lost, it is
// published again: an index whose own tables are in the same database lost the later one too. Otherwise look at
// Adopted.Targets before you call Run. What was queued after the journal's end and not published is lost.
//
// The store may have files of the lost generations that no list has: see CollectionStatus.Unlisted. Rotations
// that began in them must be begun again: see Rotate.
//
// Adopt refuses, with an error that wraps ErrDiverged, a store that isn't ahead of the journal, whose metadata doesn't verify,
// in which a file is missing or altered, or that lacks a document which the journal accepted: see RestoreStore and
// RestoreJournal, which make every bin anew. After an error nothing has changed, or Open finds that the journal has the work.
//
// The cost is one listing of the store, three reads of each role that was signed, and one generation.
func Adopt(ctx context.Context, cfg Config) (*Repository, Adopted, error) {
	p, err := lead(ctx, cfg)
	if err != nil {
		return nil, Adopted{}, fmt.Errorf("adopt: %w", err)
	}
	a, err := p.adopt(ctx)
	if err != nil {
		return nil, Adopted{}, errors.Join(fmt.Errorf("adopt: %w", p.orAnother(ctx, err)), giveUpLead(p.lead))
	}
	return newRepository(p), a, nil
}

func (p *publisher) adopt(ctx context.Context) (Adopted, error) {
	s := p.state
	if s.Chain == "" {
		return Adopted{}, p.notYet(ctx)
	}
	if err := hasDocuments(s); err != nil {
		return Adopted{}, err
	}
	root, err := p.trustedRoot(ctx, Restoration{})
	if err != nil {
		return Adopted{}, fmt.Errorf("%w: %w", ErrDiverged, err)
	}
	pub, err := readPublished(ctx, p.cfg, root, s.Table)
	if err != nil {
		return Adopted{}, fmt.Errorf("%w, and what the store publishes can't be adopted: %w", ErrDiverged, err)
	}
	if err := p.checkAhead(pub); err != nil {
		return Adopted{}, err
	}
	if err := p.keepDocuments(ctx, pub); err != nil {
		return Adopted{}, err
	}
	a, err := p.whatChanged(ctx, pub)
	if err != nil {
		return a, err
	}
	p.docs = pub.docs
	if err := p.cfg.checkBudget(p.docs.online.len()); err != nil {
		return a, err
	}
	last, err := p.unused(ctx, pub.timestamp.Version())
	if err != nil {
		return a, err
	}
	_, committed, err := p.undecided(ctx, pub)
	if err != nil {
		return a, err
	}
	recs := prepared{p: p}
	if committed {
		if err := recs.add(s.Last(), &ledger.Commit{}); err != nil {
			return a, err
		}
	}
	if len(pub.files) > 0 {
		if err := recs.add(a.To, &ledger.Documents{InForce: p.docs.installed, Files: pub.files}); err != nil {
			return a, err
		}
	}
	p.state = p.adopted(pub, last-1)
	if p.snapshot, err = p.sameSnapshot(pub); err != nil {
		return a, err
	}
	if !p.cfg.UncheckedKeys {
		if err := p.checkSigners(); err != nil {
			return a, err
		}
	}
	if err := p.compareWitness(ctx); err != nil {
		return a, err
	}
	if err := recs.add(a.To, p.state.Checkpoint()); err != nil {
		return a, err
	}
	// Somebody may publish there still.
	if now, err := p.cfg.Store.Get(ctx, ledger.Timestamp); err != nil || !bytes.Equal(now, p.state.Timestamp()) {
		return a, fmt.Errorf("%w: the store's timestamp changed while it was read: a publisher is at work there: stop it (%w)", ErrDiverged, errors.Join(err, ErrConflict))
	}
	if err := p.lead.Append(ctx, recs.records...); err != nil {
		return a, fmt.Errorf("journal: %w", err)
	}
	p.unwritten, p.logged = nil, 0
	p.log.Warn("the journal had lost records, and goes on from what is published", "from", a.From, "to", a.To,
		"roles", a.Roles, "targets", len(a.Targets), "unread", len(a.Unread), "documents", len(a.Documents))
	if err = p.overtake(ctx); err == nil || isFatal(err) {
		return a, err
	}
	p.log.Warn("no generation could be published above what was adopted: Run makes it first; until then a publisher of the database that was left could still "+
		"swap in a generation: make sure that none runs", "err", err)
	return a, conflictIsFatal(p.swapSame(ctx))
}

// overtake publishes a generation without items and renewals, so that no swap succeeds any more that another publisher
// prepared. Adopted made it due.
func (p *publisher) overtake(ctx context.Context) error {
	p.bare = true
	defer func() { p.bare = false }()
	return p.publish(ctx)
}

// checkAhead makes sure that the store is ahead of the journal, and that the journal knows nothing that the
// store doesn't publish, but what is queued.
func (p *publisher) checkAhead(pub *published) error {
	s := p.state
	version, root := pub.timestamp.Version(), pub.docs.root.Version()
	same := bytes.Equal(pub.timestamp.Bytes(), s.Timestamp())
	switch {
	case same && root == s.Documents[metadata.ROOT].Version,
		s.Sealed != nil && bytes.Equal(pub.timestamp.Bytes(), s.Sealed.Timestamp()):
		return errors.New("the journal agrees with the store: use Open")
	case version <= s.Last() && !same:
		return fmt.Errorf("%w: the store's timestamp is version %d, and the journal knows %d: the store isn't ahead: RestoreStore publishes what the journal says",
			ErrDiverged, version, s.Last())
	}
	for _, role := range slices.Sorted(maps.Keys(s.Documents)) {
		journal, published := s.Documents[role], pub.docs.installed[role]
		if _, delegated := pub.docs.online.tree.Role(role); p.cfg.isOnline(role) || role != metadata.ROOT && !delegated {
			continue // it has another version in each generation that signs it, or nobody asks for it
		}
		if journal.Version > published.Version || journal.Version == published.Version && journal != published {
			return fmt.Errorf("%w: the journal accepted %s version %d, and the store publishes version %d, which isn't that or a newer one: RestoreStore publishes what the journal says",
				ErrDiverged, role, journal.Version, published.Version)
		}
	}
	for role, row := range s.Table.All() {
		if now := pub.versions[role]; now < row.Version {
			return fmt.Errorf("%w: the journal knows version %d of %s, and the store publishes version %d: RestoreStore publishes what the journal says",
				ErrDiverged, row.Version, role, now)
		}
	}
	if s.Generation > 0 {
		for _, size := range pub.docs.online.sizes() {
			if set := s.Table.Set(size.Prefix); set == nil || len(set.Rows) != size.Bins {
				return fmt.Errorf("%w: the store publishes %d bins named %s-…, and the journal knows others: RestoreJournal makes the journal agree with that",
					ErrDiverged, size.Bins, size.Prefix)
			}
		}
	}
	return nil
}

// keepDocuments lets the journal keep what it knows of documents. Of an online role that delegates, the
// published file repeats what its document says, under another version. Of roles to which nobody delegates any more the
// snapshot keeps the names. Only the other files are new.
func (p *publisher) keepDocuments(ctx context.Context, pub *published) error {
	s := p.state
	for role, journal := range s.Documents {
		if _, delegated := pub.docs.online.tree.Role(role); role != metadata.ROOT && !delegated {
			pub.docs.installed[role] = journal
			if s.Published[role].Version == pub.versions[role] {
				if _, row := s.Table.Roles[role]; !row {
					delete(pub.table.Roles, role)
				}
			}
			continue
		}
		row, online := s.Table.Roles[role]
		if !online || pub.docs.roles[role] == nil || !p.cfg.isOnline(role) {
			continue
		}
		same := row.Version == pub.versions[role]
		if !same {
			before, err := getPublished(ctx, p.cfg.Store, ledger.Name(row.Version, role), row.Blob())
			if err != nil && !errors.Is(err, errQuarantine) {
				return err
			}
			if old, parseErr := roles.Parse[metadata.TargetsType](before); err == nil && parseErr == nil {
				same = reflect.DeepEqual(delegationsOf(old), delegationsOf(pub.docs.roles[role]))
			}
		}
		if same {
			pub.docs.installed[role] = journal
		}
	}
	known := func(f ledger.File) bool {
		if f.Role == metadata.ROOT {
			return f.Version <= s.Documents[metadata.ROOT].Version
		}
		return pub.docs.installed[f.Role] == s.Documents[f.Role]
	}
	pub.files = slices.DeleteFunc(pub.files, known)
	return nil
}

// whatChanged compares what is published with what the journal knows.
func (p *publisher) whatChanged(ctx context.Context, pub *published) (Adopted, error) {
	s := p.state
	a := Adopted{From: s.Generation, To: pub.timestamp.Version(), Targets: []Difference{}, Unread: []string{}, Documents: []VersionChange{}}
	before, after := map[string]int64{}, map[string]int64{}
	for role, d := range s.Documents {
		before[role] = d.Version
	}
	for role, d := range pub.docs.installed {
		after[role] = d.Version
	}
	a.Documents = append(a.Documents, diffVersions(before, after)...)
	var changed []string
	for role, row := range pub.table.All() {
		if old, _ := s.Table.Row(role); row.Version != old.Version && row.Blob() != (ledger.Row{}).Blob() {
			changed = append(changed, role)
		}
	}
	slices.Sort(changed)
	a.Roles = len(changed)
	for role, d := range parallel.InOrder(ctx, p.cfg.Workers, slices.Values(changed), func(ctx context.Context, role string) (d roleDiff) {
		d.old, d.err = p.targetsOf(ctx, role, s.Table)
		if d.err == nil {
			d.now, d.err = p.targetsOf(ctx, role, pub.table)
		}
		return d
	}) {
		switch {
		case errors.Is(d.err, errQuarantine):
			a.Unread = append(a.Unread, role)
			continue
		case d.err != nil:
			return a, d.err
		}
		for _, path := range keysOf(d.old, d.now) {
			if !sameTarget(d.old[path], d.now[path]) {
				a.Targets = append(a.Targets, Difference{Path: path, Role: role, Published: d.now[path], Known: d.old[path]})
			}
		}
	}
	return a, ctx.Err()
}

// roleDiff is what a role listed and lists.
type roleDiff struct {
	old, now map[string]*roles.Target
	err      error
}

// targetsOf returns what the file lists that a table names for a role.
func (p *publisher) targetsOf(ctx context.Context, role string, table ledger.Table) (map[string]*roles.Target, error) {
	out := map[string]*roles.Target{}
	row, _ := table.Row(role)
	if row.Version == 0 {
		return out, nil
	}
	data, err := getPublished(ctx, p.cfg.Store, ledger.Name(row.Version, role), row.Blob())
	if err != nil {
		return nil, err
	}
	bin, err := roles.OpenBin(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", role, err)
	}
	for t, err := range bin.Targets() {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
		out[t.Path] = &t
	}
	return out, nil
}

// adopted is the state of what is published, with what the journal knows besides. planned is the highest
// version of which the store may have a file.
func (p *publisher) adopted(pub *published, planned int64) *ledger.State {
	s, now := p.state, p.cfg.Now().UTC().Truncate(time.Second)
	signed := pub.timestamp.Expires().Add(-p.cfg.TimestampLifetime)
	if signed.After(now) {
		signed = now // the lifetime was longer then
	}
	// The next generation is due at once, also after a crash: see overtake.
	if due := now.Add(-p.cfg.TimestampRenewal); signed.After(due) {
		signed = due
	}
	out := &ledger.State{
		Epoch: s.Epoch, Chain: s.Chain, Planned: max(s.Planned, planned), Generation: pub.timestamp.Version(), Signed: signed,
		Expires:  ledger.Expires{Snapshot: pub.expires.Unix(), Timestamp: pub.timestamp.Expires().Unix()},
		Swapped:  maps.Clone(s.Swapped),
		Snapshot: pub.snapshot, Documents: pub.docs.installed, Published: pub.docs.installed,
		Table: pub.table, Rotations: p.rotationsUnder(pub.docs),
		Garbage: s.Garbage, Collected: s.Collected, Targets: s.Targets, Bases: basesOf(s, &pub.table),
	}
	if out.Swapped == nil {
		out.Swapped = map[string][]byte{}
	}
	out.Swapped[ledger.Timestamp] = pub.timestamp.Bytes()
	out.Unlisted = out.Planned // what the lost generations superseded isn't known
	// Of the attempts up to this generation the files may be what is published.
	for _, a := range s.Attempts {
		if a.Generation > out.Generation {
			out.Attempts = append(out.Attempts, a)
		}
	}
	// A cache may serve any of the lost generations, signed by any of the keys.
	newest := pub.signedNow()
	for _, g := range slices.Concat(s.Signings, pub.signings(now)) {
		if g.Superseded.IsZero() {
			g.Superseded = now
		}
		at := slices.IndexFunc(out.Signings, func(o ledger.Signing) bool { return reflect.DeepEqual(o.SignedBy, g.SignedBy) })
		switch {
		case reflect.DeepEqual(g.SignedBy, newest):
		case at < 0:
			out.Signings = append(out.Signings, g)
		case out.Signings[at].Superseded.Before(g.Superseded):
			out.Signings[at].Superseded = g.Superseded
		}
	}
	out.Signings = append(out.Signings, ledger.Signing{SignedBy: newest})
	return out
}

// signedNow names the keys that signed what is published.
func (p *published) signedNow() ledger.SignedBy {
	by := ledger.SignedBy{metadata.TARGETS: p.docs.targetsSignedBy}
	if row, online := p.table.Roles[metadata.TARGETS]; online {
		by[metadata.TARGETS] = []string{p.table.Keys[row.Key]}
	}
	note := func(role string, auth roles.Authority, d roles.Signed) {
		for n, k := range auth.Keys {
			if (roles.Authority{Keys: []*keys.PublicKey{auth.Keys[n]}, Threshold: 1}).Verify(d) == nil {
				by[role] = []string{keyName(k)}
				return
			}
		}
	}
	note(metadata.TIMESTAMP, p.docs.timestampKeys, p.timestamp)
	note(metadata.SNAPSHOT, p.docs.snapshotKeys, p.snapshotDocument)
	return by
}

// sameSnapshot makes the published snapshot from the adopted state, and makes sure that it names the same.
func (p *publisher) sameSnapshot(pub *published) (*roles.Snapshot, error) {
	snapshot, err := p.publishedSnapshot()
	if err != nil {
		return nil, err
	}
	made := map[string]int64{}
	for m, err := range snapshot.Meta() {
		if err != nil {
			return nil, err
		}
		made[m.Role] = m.Version
	}
	if diff := diffVersions(pub.versions, made); len(diff) > 0 {
		return nil, fmt.Errorf("%w: the published snapshot can't be gone on from: %s: use RestoreJournal", ErrDiverged, diff[0])
	}
	return snapshot, nil
}
