package repository

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Restoration. A repository is restored in these steps, each durable before the next begins.
// If the power is lost, repeat the call.
//
//	examined   what is published, or what the journal says, was read and verified; nothing
//	           has changed
//	reserved   an intent names a generation above every version that clients may have seen,
//	           with all files that it may write; the restoration writes no other file of its own
//	written    the offline documents, and all bins of that generation, are in the store
//	sealed     one append holds a checkpoint of the restored state and the seal of the
//	           generation; from here on Open completes it
//	committed  the timestamp is swapped
//
// RestoreStore trusts the journal, RestoreJournal the store.

// Restoration is what an operator knows and neither store nor journal does. The
// zero value is right where only one of them was lost or restored.
type Restoration struct {
	// Past is the highest version of timestamp.json that clients may ever have seen, as a mirror
	// or a log shows it. What is published will be above it. Config.Witness says the same with a
	// signature. Zero: clients have seen nothing above what the store and the journal know. Leave out a
	// version that an attacker raised, and that only replaced keys signed: clients forget it.
	Past int64

	// Documents are the offline documents that were in force, if the backup has older ones:
	// clients refuse earlier versions. Or they are new ones that name other online keys, after a
	// compromise: see the package comment. Before anything is accepted, the online keys that they name
	// are checked as Install checks new keys.
	Documents Documents

	// AcceptClock takes the present time for right, after an error that wraps
	// ErrClock: see Repository.AcceptClock.
	AcceptClock bool

	// Root is a root that the operator trusts, of any version, as a file.
	// RestoreJournal needs it if there is no journal to take it from.
	Root []byte
}

// RestoreStore opens a repository whose journal is right and whose store isn't. The store was lost,
// it was restored from an older backup, or somebody else wrote a timestamp there. RestoreStore makes
// again, from the journal's history, what the journal says is published and the store lacks. Then it
// publishes everything, every bin too, in a new generation above every version that clients may have
// seen. A generation that was sealed and not committed is given up, and its items are decided again.
// Nothing that was accepted or published is lost.
//
// Use it too if store and journal were restored from one backup. Then Past or Config.Witness is
// needed. What was published since the backup is lost, and no version is used twice.
//
// If the store's timestamp is newer than the journal, and signed by a key in force, it is refused:
// RestoreJournal keeps what such a store publishes. To publish what the journal says instead, set Past
// to that version, or give new keys in Documents if the old ones were stolen. No file of the store but the timestamp is overwritten. If a name holds other bytes
// than it must, the error wraps ErrConflict and names it: move that file away.
//
// A store that is another repository's, by the rules of Belong, is refused with ErrDiverged, also if some of its files were moved
// away. Nothing of it is changed. If you mean to publish in that place all the same, give an empty store.
//
// If older history was put away (see Repository.Archive), a bin is made again from its base in the store. The
// error names the bases that are missing: put them, or the archived files of the journal, back.
//
// The cost is that of Create, one more read of each bin, and, if bins are made again, some readings of
// the whole history. After an error repeat the call. Don't call Open instead: it doesn't know Past. It
// completes the work only if the journal has it already. If store and journal are of one backup and
// there is no Witness, it would simply go on from that.
func RestoreStore(ctx context.Context, cfg Config, r Restoration) (*Repository, error) {
	p, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("restore store: %w", err)
	}
	if err := p.restoreStore(ctx, r); err != nil {
		return nil, errors.Join(fmt.Errorf("restore store: %w", err), giveUpLead(p.lead))
	}
	return newRepository(p), nil
}

func (p *publisher) restoreStore(ctx context.Context, r Restoration) error {
	s := p.state
	if s.Chain == "" {
		return fmt.Errorf("%w: the journal is empty: use RestoreJournal", ErrNotRepository)
	}
	history, err := p.replay().run(ctx, p.lead, s.Chain)
	if err != nil {
		return err
	}
	if err := p.notAnothers(ctx, history.files, "RestoreStore fills an empty store: to publish this journal's repository, give one"); err != nil {
		return err
	}
	p.unwritten = allFiles(history.files, p.unwritten)
	if err := p.loadDocuments(ctx, p.cfg.isOnline); err != nil {
		return err
	}
	p.unwritten = p.current(p.unwritten)
	if r.AcceptClock {
		p.clock.accept()
	}
	now, err := p.clock.check(s.Signed, p.docs.offlineUntil())
	if err != nil {
		return fmt.Errorf("%w: if this is right, set Restoration.AcceptClock", err)
	}
	before := p.docs.root
	if err := p.restoreDocuments(ctx, r.Documents, now); err != nil {
		return err
	}
	p.warnHalfReplaced(before)
	// By an older root the store's timestamp may look like somebody else's.
	if err := p.compareRoots(ctx); err != nil {
		return err
	}
	if err := p.cfg.checkBudget(p.docs.online.len()); err != nil {
		return err
	}
	signers, err := p.docs.signers(p.cfg, p.state.Rotations)
	if err != nil {
		return err
	}
	found, public, err := p.publicVersion(ctx, r)
	if err != nil {
		return err
	}
	if last, seen := s.Last(), found.version; seen > last && seen > r.Past {
		return fmt.Errorf("%w: the store's timestamp is version %d, and by the journal %d is the last: "+
			"RestoreJournal keeps what the store publishes; to publish what the journal says instead, set Past to %d",
			ErrDiverged, seen, last, seen)
	}
	gen, err := p.unused(ctx, public)
	if err != nil {
		return err
	}
	lost, err := p.lostBins(ctx)
	if err != nil {
		return err
	}
	if err := p.reserve(ctx, gen); err != nil {
		return err
	}
	p.rebuild.want(s.Chain, lost...)
	if err := p.rebuild.checkBases(ctx, lost); err != nil {
		return err
	}
	p.log.Info("restoring the store", "bins", len(lost), "generation", gen)

	a := &attempt{number: gen, now: now, signers: signers, wholly: true, batch: newBatch()}
	b := &a.batch
	for n, e := range history.history.Sealed() {
		q := p.interpret(e)
		// The seal's word holds: Config.Approve isn't asked again.
		if o := history.history.State.Sealed.Outcomes[n]; o.State == SetAside && q.err == nil {
			q.err = errors.New(o.Reason)
		}
		b.items = append(b.items, q)
	}
	if outage, err := p.lookUp(ctx, a, b, pathsOf(b.items)); err != nil || outage != nil {
		return cmp.Or(err, outage)
	}
	planner := p.planner(ctx, *b, signers)
	planner.blocked = func(int) bool { return false }
	plan, err := planner.plan(b.items, gen)
	if err != nil {
		return fmt.Errorf("plan generation %d: %w", gen, err)
	}
	if s.Sealed != nil {
		a.givenUp = filesOf(s)
	}
	a.givenUp = append(a.givenUp, p.neverPublished()...)
	if err := p.restart(ctx, nil, found.data, a, plan); err != nil {
		return err
	}
	p.warnCaches()
	return nil
}

// filesOf names the files of the sealed generation.
func filesOf(s *ledger.State) []string {
	names := []string{ledger.Name(s.Last(), metadata.SNAPSHOT)}
	for _, r := range s.Sealed.Rows {
		names = append(names, ledger.Name(s.Last(), r.Role))
	}
	return names
}

// allFiles returns every document that was ever accepted. A file in unwritten keeps AtCommit: that
// root still waits for its timestamp. All other files lose AtCommit: they are written at once.
func allFiles(ever, unwritten []ledger.File) []ledger.File {
	var all []ledger.File
	for _, f := range ever {
		if !slices.ContainsFunc(unwritten, func(u ledger.File) bool { return u.Name() == f.Name() }) {
			f.AtCommit = false
			all = append(all, f)
		}
	}
	return append(all, unwritten...)
}

// restoreDocuments makes all offline documents durable in the store, and the given ones in the
// journal before that. Roots that must appear together with a timestamp aren't written yet.
func (p *publisher) restoreDocuments(ctx context.Context, d Documents, now time.Time) error {
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	next, files, err := p.withNewer(ctx, d, now)
	if err != nil || len(files) == 0 {
		return err
	}
	if err := p.checkPossible(ctx, next, files); err != nil {
		return err
	}
	if err := p.acceptDocuments(ctx, next, files); err != nil {
		return err
	}
	return p.writeDocuments(ctx, false)
}

// foundTimestamp is what the store holds.
type foundTimestamp struct {
	data    []byte // nil if there is none
	version int64  // 0 unless clients accept its signature
}

// publicVersion returns the store's timestamp, and the highest version of one that
// clients may have seen.
func (p *publisher) publicVersion(ctx context.Context, r Restoration) (found foundTimestamp, public int64, err error) {
	found.data, err = p.cfg.Store.Get(ctx, ledger.Timestamp)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return found, 0, fmt.Errorf("store: %w", err)
	}
	if t, err := roles.Parse[metadata.TimestampType](found.data); err == nil && p.docs.timestampKeys.Verify(t) == nil {
		found.version = t.Version()
	}
	public = max(found.version, r.Past)
	if p.cfg.Witness != nil {
		t, err := p.witness(ctx)
		if err != nil {
			return found, 0, err
		}
		if !p.isForgotten(t) {
			public = max(public, t.Version())
		}
	}
	if public > maxGeneration {
		return found, 0, fmt.Errorf("version %d of the timestamp, at most %d leaves room for more: %s", public, maxGeneration, nothingAbove)
	}
	return found, public, nil
}

// nothingAbove says what helps if clients accepted a version near the largest one that they read.
const nothingAbove = "nothing could be published above it. Install a root that replaces the keys of timestamp and of snapshot, " +
	"with none of the old ones (see Restoration.Documents), and leave that version out of Past: clients then forget it"

// maxLeap is more generations than a publisher makes in a century. A higher version was raised by an
// attacker. If replaced keys signed it, clients forget it. To follow it would waste the versions.
const maxLeap int64 = 1 << 32

// leap is the highest version that a restoration goes above even if only replaced keys signed it. A cache may keep a file of that
// version, and a name must not get a second content.
func (p *publisher) leap(public int64) int64 {
	return max(public, p.state.Planned, p.state.Generation) + maxLeap
}

// isForgotten reports whether clients forget a timestamp that an attacker raised, and logs it.
func (p *publisher) isForgotten(t *roles.Document[metadata.TimestampType]) bool {
	if t.Version() <= p.leap(0) || p.docs.timestampKeys.Verify(t) == nil {
		return false
	}
	p.log.Warn("left out of account: a timestamp of a version that no publisher reaches, which no key in force signed", "version", t.Version())
	return true
}

// warnHalfReplaced logs if a root has replaced the keys of one of timestamp and snapshot, and not of the
// other. It is what clients need after a fast-forward: they drop what they have of a role once it
// doesn't verify any more, and compare versions with what they keep.
func (p *publisher) warnHalfReplaced(before *roles.Document[metadata.RootType]) {
	replaced := map[string]bool{}
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
		old, err := roles.RootAuthority(before, role)
		now, nowErr := roles.RootAuthority(p.docs.root, role)
		replaced[role] = err == nil && nowErr == nil && !slices.ContainsFunc(old.Keys, func(k *keys.PublicKey) bool { return slices.ContainsFunc(now.Keys, k.Same) })
	}
	if replaced[metadata.TIMESTAMP] != replaced[metadata.SNAPSHOT] {
		p.log.Warn("the new root replaces the keys of timestamp or of snapshot, and not of both: "+
			"if an attacker raised the versions of the other, clients that saw them fail until both are replaced",
			"root", p.docs.root.Version(), "timestamp replaced", replaced[metadata.TIMESTAMP], "snapshot replaced", replaced[metadata.SNAPSHOT])
	}
}

// unused returns a generation whose file names are all free. It is above public, above every
// generation that the journal knows, and above every version of an online role or a snapshot that the
// store has a file of. A version raised beyond leap counts only if the keys in force signed the file.
func (p *publisher) unused(ctx context.Context, public int64) (int64, error) {
	gen := max(public, p.state.Planned, p.state.Generation)
	leap := p.leap(public)
	var raised []string
	for info, err := range p.cfg.Store.List(ctx) {
		if err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
		n, role, ok := ledger.ParseName(info.Name)
		if _, isOnline := p.docs.online.index(role); !ok || !isOnline && role != metadata.SNAPSHOT {
			continue
		}
		if n > leap {
			raised = append(raised, info.Name)
		} else {
			gen = max(gen, n)
		}
	}
	for name, s := range parallel.InOrder(ctx, p.cfg.Workers, slices.Values(raised), p.isSigned) {
		n, _, _ := ledger.ParseName(name)
		switch {
		case s.err != nil:
			return 0, s.err
		case !s.signed:
			p.log.Warn("left out of account: a file of a version that no publisher reaches, which no key in force signed", "name", name)
		case n > maxGeneration:
			return 0, fmt.Errorf("store: %s is signed by a key in force, and nothing could be published after such a version: replace that key (see Restoration.Documents), or move the file away", name)
		default:
			gen = max(gen, n)
		}
	}
	if gen > maxGeneration {
		return 0, fmt.Errorf("generation %d was used: at most %d leaves room for more: the versions were raised on purpose; replace the online keys (see Restoration.Documents)", gen, maxGeneration)
	}
	return gen + 1, nil
}

// verified says whether a file is signed as clients demand, or why that isn't known.
type verified struct {
	signed bool
	err    error
}

// isSigned is for a file of the store that has the name of a snapshot or of an online role.
func (p *publisher) isSigned(ctx context.Context, name string) verified {
	_, role, _ := ledger.ParseName(name)
	i, isOnline := p.docs.online.index(role)
	data, err := p.cfg.Store.Get(ctx, name)
	if errors.Is(err, ErrNotExist) {
		return verified{}
	}
	if err != nil {
		return verified{err: fmt.Errorf("store: %w", err)}
	}
	var signed roles.Signed
	auth := p.docs.snapshotKeys
	if isOnline {
		auth = p.docs.online.keys(i)
		signed, err = roles.ParseBin(data)
	} else {
		signed, err = roles.ParseSnapshot(data)
	}
	return verified{signed: err == nil && auth.Verify(signed) == nil}
}

// maxGeneration leaves room for generations up to 2^53-1, the largest version that
// all clients read.
const maxGeneration int64 = 1 << 52

// lostBins lists the online roles whose published files are missing or altered in the store.
func (p *publisher) lostBins(ctx context.Context) ([]int, error) {
	numbers, files := map[string]int{}, map[string]ledger.Blob{}
	for i := range p.docs.online.len() {
		if row := p.row(i); row.Version > 0 {
			numbers[p.fileName(i)], files[p.fileName(i)] = i, row.Blob()
		}
	}
	bad, err := damagedFiles(ctx, p.cfg.Store, p.cfg.Workers, files)
	var lost []int
	for _, name := range bad {
		lost = append(lost, numbers[name])
	}
	slices.Sort(lost)
	return lost, err
}

// prepared are records for one Append. Each is applied to the state when it is made, because the next
// one is chained to it.
type prepared struct {
	p       *publisher
	records []ledger.Record
}

func (b *prepared) add(generation int64, body ledger.Body) error {
	rec, err := b.p.record(generation, body)
	if err == nil {
		err = b.p.state.Apply(rec)
	}
	b.records = append(b.records, rec)
	return err
}

// reserve writes the intent of generation gen, before the store has any file of it. If this attempt
// fails, the next one takes another number.
func (p *publisher) reserve(ctx context.Context, gen int64) error {
	return p.append(ctx, gen, p.docs.online.writes(p.all()))
}

// all are the numbers of all online roles.
func (p *publisher) all() []int { return indexes(p.docs.online.len()) }

// pathsOf are the paths that items name, by role.
func pathsOf(items []queued) map[int][]string {
	paths := map[int][]string{}
	for _, q := range items {
		q.addPaths(paths)
	}
	return paths
}

// current leaves out the files of online roles that a generation has signed already, and documents that
// are neither published nor in force: nothing would ever delete them again.
func (p *publisher) current(files []ledger.File) []ledger.File {
	return slices.DeleteFunc(files, func(f ledger.File) bool {
		published := p.state.Published[f.Role]
		if f.Online {
			return published == p.docs.installed[f.Role]
		}
		return f.Role != metadata.ROOT && f.Doc != published && f.Doc != p.docs.installed[f.Role]
	})
}

// restart publishes a generation whose number is reserved. It starts from p.state, which the journal
// doesn't have yet. One append holds the records first, a checkpoint of the state, and the seal.
// Until then nothing has changed, except that the store has new files. found is the timestamp that
// the store holds now.
func (p *publisher) restart(ctx context.Context, first []ledger.Record, found []byte, a *attempt, plan plan) (err error) {
	recs := prepared{p, first}
	atCommit := p.unwritten // a checkpoint doesn't hold them
	checkpoint := p.state.Checkpoint()
	if checkpoint.Swapped == nil {
		checkpoint.Swapped = map[string][]byte{}
	}
	checkpoint.Swapped[ledger.Timestamp] = found
	checkpoint.Unlisted = a.number - 1 // what else is in the store isn't known
	if err := recs.add(p.state.Generation, checkpoint); err != nil {
		return err
	}
	if len(atCommit) > 0 {
		if err := recs.add(a.number, &ledger.Documents{InForce: p.docs.installed, Files: atCommit}); err != nil {
			return err
		}
	}
	if p.snapshot, err = p.publishedSnapshot(); err != nil {
		return err
	}
	// Which versions of the bins clients have seen is not known for sure.
	plan.alsoSign(p.all()...)
	a.batch.bins = nil // all that is needed was looked up in them; they are read again one by one
	begun := p.begins()
	defer func() {
		p.observe(begun, Event{Stage: StageGeneration, Generation: a.number, Cause: CauseRestore, Items: len(plan.items), Roles: len(plan.edits), Err: err})
	}()
	_, seal, err := p.build(ctx, a, plan)
	if err != nil {
		p.discard(ctx)
		return fmt.Errorf("publish generation %d: %w", a.number, err)
	}
	if err := recs.add(a.number, seal); err != nil {
		return err
	}
	p.wrote.forget()
	sealing := p.begins()
	err = p.lead.Append(ctx, recs.records...)
	p.observe(sealing, Event{Stage: StageSeal, Generation: a.number, Items: len(plan.items), Roles: len(plan.edits), Err: err})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return p.finish(ctx)
}

// witness returns the configured timestamp, if clients accepted it. It must verify under the root in
// force, or under an earlier root that the store has: the online key may have changed since.
func (p *publisher) witness(ctx context.Context) (*roles.Document[metadata.TimestampType], error) {
	t, err := roles.Parse[metadata.TimestampType](p.cfg.Witness)
	if err == nil {
		err = p.docs.timestampKeys.Verify(t)
	}
	if err != nil && t != nil {
		for name, f := range fetch(ctx, p.cfg.Store, rootsAhead, rootsFrom(p.docs.root.Version()-1, -1)) {
			if errors.Is(f.err, ErrNotExist) {
				break // the repository was made from the one after it on
			}
			if f.err != nil {
				return nil, fmt.Errorf("store: %s: %w", name, f.err)
			}
			root, parseErr := roles.Parse[metadata.RootType](f.data)
			if parseErr == nil && verifyRole(root, t, metadata.TIMESTAMP) == nil {
				return t, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the witness is no timestamp by root version %d, the newest that is known here, or one before it: "+
			"it isn't this repository's, or a newer root was lost (see Restoration.Documents): %w", ErrDiverged, p.docs.root.Version(), err)
	}
	return t, nil
}

// compareWitness makes sure that the witness isn't newer than store and journal, which agree.
func (p *publisher) compareWitness(ctx context.Context) error {
	if p.cfg.Witness == nil {
		return nil
	}
	t, err := p.witness(ctx)
	if err != nil {
		return err
	}
	if p.isForgotten(t) {
		return nil
	}
	last, data := p.state.Last(), p.state.Timestamp()
	if p.state.Sealed != nil {
		data = p.state.Sealed.Timestamp()
	}
	switch {
	case t.Version() > last:
		return fmt.Errorf("%w with the witness: clients have seen version %d of the timestamp, and %d is the last one known here: "+
			"both were restored from a backup. Restore newer ones, or publish above all that was seen with RestoreStore",
			ErrDiverged, t.Version(), last)
	case t.Version() == last && !bytes.Equal(t.Bytes(), data):
		return fmt.Errorf("%w with the witness: clients have seen another timestamp of version %d: "+
			"both were restored from a backup, or there are two publishers. RestoreStore publishes above it", ErrDiverged, last)
	}
	return nil
}

// RestoreJournal opens a repository whose store is right and whose journal isn't. The journal was
// lost, and Config.Journal is a new one; or it was cut, or restored from an older backup.
// RestoreJournal first verifies the published metadata, from a root that is trusted:
// Restoration.Root, or the one that the journal knows. Then it makes the journal agree with it, and
// publishes a new generation, every bin too, above every version that clients may have seen.
//
// What was accepted and is neither published nor in the journal is lost: an index must submit again
// what it has no outcome for. Items that wait in an older journal are not published now, because they
// may have been published and replaced since. Such an item is Published if clients see just what it
// asked for, and Superseded if later ones of these items account for its paths. Otherwise it is set
// aside, with the reason.
//
// A store whose timestamp isn't newer than the journal is refused: see RestoreStore. So is a store that is another repository's
// than the journal, by the rules of Belong; an empty journal is nobody's. So is a store in
// which a file is missing or isn't as it was signed: the error names it. The new journal doesn't have
// the targets that are published now. A later Rebuild needs the bins' files of now, or newer ones.
//
// The cost is that of Create, and one more read and verification of each bin. After an error the
// journal is as it was, except that the generation's number is used. Repeat the call. If the journal
// has the work already, Open completes it.
func RestoreJournal(ctx context.Context, cfg Config, r Restoration) (*Repository, error) {
	p, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("restore journal: %w", err)
	}
	if err := p.restoreJournal(ctx, r); err != nil {
		return nil, errors.Join(fmt.Errorf("restore journal: %w", err), giveUpLead(p.lead))
	}
	return newRepository(p), nil
}

func (p *publisher) restoreJournal(ctx context.Context, r Restoration) error {
	if p.state.Chain != "" {
		// A journal that lost its older history is compared by olderThan alone.
		if files, err := acceptedFiles(ctx, p.lead); err != nil {
			p.log.Warn("whether the store is that of the journal was not looked at by their roots", "err", err)
		} else if err := p.notAnothers(ctx, files, "RestoreJournal fills an empty journal: if the store is right, give one"); err != nil {
			return err
		}
	}
	root, err := p.trustedRoot(ctx, r)
	if err != nil {
		return err
	}
	pub, err := readPublished(ctx, p.cfg, root, ledger.Table{})
	if err != nil {
		return err
	}
	if err := p.olderThan(pub); err != nil {
		return err
	}
	p.docs = pub.docs
	if r.AcceptClock {
		p.clock.accept()
	}
	// When the last generation was signed isn't known for sure: only the documents tell.
	now, err := p.clock.check(time.Time{}, p.docs.offlineUntil())
	if err != nil {
		return fmt.Errorf("%w: if this is right, set Restoration.AcceptClock", err)
	}

	// The offline documents are made durable in the store before the journal relies on them.
	// The journal gets them too, for a later RestoreStore.
	next, files, err := p.withNewer(ctx, r.Documents, now)
	if err != nil {
		return err
	}
	if err := p.cfg.checkBudget(next.online.len()); err != nil {
		return err
	}
	signers, err := next.signers(p.cfg, p.state.Rotations)
	if err != nil {
		return err
	}
	if len(files) > 0 {
		if err := checkKeys(ctx, &ledger.State{Table: pub.table, Snapshot: pub.snapshot}, signers, files); err != nil {
			return err
		}
	}
	files = slices.Concat(pub.files, files)
	p.unwritten = files
	if err := p.writeDocuments(ctx, true); err != nil {
		return err
	}
	p.bringIntoForce(next)
	p.warnRisks()
	_, public, err := p.publicVersion(ctx, r)
	if err != nil {
		return err
	}
	gen, err := p.unused(ctx, max(public, pub.timestamp.Version()))
	if err != nil {
		return err
	}
	if err := p.reserve(ctx, gen); err != nil {
		return err
	}
	items, committed, err := p.undecided(ctx, pub)
	if err != nil {
		return err
	}
	a := &attempt{number: gen, now: now, signers: signers, wholly: true, batch: newBatch(), givenUp: p.neverPublished()}
	if p.state.Sealed != nil && !committed {
		a.givenUp = append(a.givenUp, filesOf(p.state)...)
	}
	first, err := p.agree(pub, files, now, committed)
	if err != nil {
		return err
	}
	plan := plan{edits: map[int][]roles.TargetEdit{}}
	for _, e := range items {
		plan.items = append(plan.items, p.interpret(e))
	}
	if outage, err := p.lookUp(ctx, a, &a.batch, pathsOf(plan.items)); err != nil || outage != nil {
		return cmp.Or(err, outage)
	}
	plan.outcomes = restoredOutcomes(plan.items, a.batch.published, gen)
	p.log.Info("restoring the journal", "published", pub.timestamp.Version(), "generation", gen, "items", len(items))
	return p.restart(ctx, first, pub.timestamp.Bytes(), a, plan)
}

// trustedRoot returns the root from which everything is verified.
func (p *publisher) trustedRoot(ctx context.Context, r Restoration) ([]byte, error) {
	if r.Root != nil {
		return r.Root, nil
	}
	d := p.state.Documents[metadata.ROOT]
	if d.Version == 0 {
		return nil, errors.New("the journal knows no root: a trusted one must be given, such as the one that clients begin with (Restoration.Root)")
	}
	name := ledger.Name(d.Version, metadata.ROOT)
	data, err := p.cfg.Store.Get(ctx, name)
	if err == nil && ledger.BlobOf(data) != d.Blob {
		err = errors.New("it isn't the one that the journal knows: store and journal are of different repositories, or the root was replaced: give one that you trust (Restoration.Root)")
	}
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", name, err)
	}
	return data, nil
}

// olderThan makes sure that everything in the journal, except items, is published.
func (p *publisher) olderThan(pub *published) error {
	s := p.state
	switch version := pub.timestamp.Version(); {
	case s.Chain == "":
		return nil
	case bytes.Equal(pub.timestamp.Bytes(), s.Timestamp()) || s.Sealed != nil && bytes.Equal(pub.timestamp.Bytes(), s.Sealed.Timestamp()):
		if version := pub.docs.root.Version(); version > s.Documents[metadata.ROOT].Version {
			return fmt.Errorf("the journal agrees with the store but for root version %d: give it to RestoreStore (see Restoration.Documents)", version)
		}
		return errors.New("the journal agrees with the store: use Open")
	case version <= s.Last():
		return fmt.Errorf("%w: the store's timestamp is version %d, and the journal knows %d: RestoreStore publishes what the journal says",
			ErrDiverged, version, s.Last())
	}
	for _, role := range slices.Sorted(maps.Keys(s.Documents)) {
		if p.cfg.isOnline(role) {
			continue // it has another version in each generation that signs it
		}
		journal, published := s.Documents[role], pub.docs.installed[role]
		if journal.Version > published.Version || journal.Version == published.Version && journal != published {
			return fmt.Errorf("%w: the journal knows %s version %d, and the store publishes version %d, which isn't newer: RestoreStore publishes what the journal says",
				ErrDiverged, role, journal.Version, published.Version)
		}
	}
	return nil
}

// withNewer returns the documents in force once d is installed, and the new files.
func (p *publisher) withNewer(ctx context.Context, d Documents, now time.Time) (*documents, []ledger.File, error) {
	var err error
	if d.Roots, err = p.newRoots(ctx, d.Roots); err != nil {
		return nil, nil, err
	}
	return p.docs.with(d, p.cfg.isOnline, now)
}

// undecided returns the items of the journal whose outcome isn't known. If the journal ends with a
// sealed generation, it reports whether that was committed. Later generations are published, but
// RestoreStore may have given this one up: then no bin of its version is published.
func (p *publisher) undecided(ctx context.Context, pub *published) (items []ledger.Entry, committed bool, err error) {
	if s := p.state.Sealed; s != nil {
		committed = slices.ContainsFunc(s.Rows, func(r ledger.RoleRow) bool {
			row, ok := pub.table.Row(r.Role)
			return ok && row.Version == r.Row.Version && row.Blob() == r.Row.Blob()
		})
		if !committed {
			history, err := p.replay().run(ctx, p.lead, p.state.Chain)
			if err != nil {
				return nil, false, err
			}
			items = history.history.Sealed()
		}
	}
	pending, err := p.lead.Pending(ctx, math.MaxInt, math.MaxInt64)
	if err != nil {
		return nil, false, fmt.Errorf("journal: %w", err)
	}
	return slices.Concat(items, pending), committed, nil
}

// agree makes the state that of what is published, and returns the records that the
// journal needs before a checkpoint of it.
func (p *publisher) agree(pub *published, files []ledger.File, now time.Time, committed bool) ([]ledger.Record, error) {
	recs := prepared{p: p}
	if committed {
		if err := recs.add(p.state.Last(), &ledger.Commit{}); err != nil {
			return nil, err
		}
	}
	if err := recs.add(pub.timestamp.Version(), &ledger.Documents{InForce: p.docs.installed, Files: files}); err != nil {
		return nil, err
	}
	signed := pub.timestamp.Expires().Add(-p.cfg.TimestampLifetime)
	if signed.After(now) {
		signed = now // the lifetime was longer then
	}
	s := p.state
	p.state = &ledger.State{
		Epoch: s.Epoch, Chain: s.Chain, Planned: s.Planned, Generation: pub.timestamp.Version(), Signed: signed,
		Expires:  ledger.Expires{Snapshot: pub.expires.Unix(), Timestamp: pub.timestamp.Expires().Unix()},
		Swapped:  map[string][]byte{ledger.Timestamp: pub.timestamp.Bytes()},
		Snapshot: pub.snapshot, Documents: p.docs.installed, Published: pub.docs.installed,
		Table: pub.table, Signings: pub.signings(now), Rotations: p.rotationsUnder(p.docs),
		Attempts: s.Attempts, Garbage: s.Garbage, Collected: s.Collected, Targets: s.Targets, Bases: basesOf(s, &pub.table),
	}
	return recs.records, nil
}

// basesOf returns the files with which a replay begins if a checkpoint replaces the table of s by one
// that was read from the store: see replay.step.
func basesOf(s *ledger.State, table *ledger.Table) map[string]int64 {
	bases := map[string]int64{}
	for role, row := range table.All() {
		old, _ := s.Table.Row(role)
		if row.Version != old.Version || row.Blob() != old.Blob() {
			bases[role] = row.Version
		} else if base, ok := s.Bases[role]; ok {
			bases[role] = base
		}
	}
	return bases
}

const unknownFate = "the journal was restored from a backup: whether this was published isn't known, and what is published now is another; if it is still wanted, submit it again with another ID"

// restoredOutcomes says what became of the items that an older journal holds, by
// what is published of their paths.
func restoredOutcomes(items []queued, published map[place]*roles.Target, gen int64) []Outcome {
	outcomes := make([]Outcome, len(items))
	later := map[string]bool{} // paths accounted for by a later item
	for n, q := range slices.Backward(items) {
		if q.err != nil { // others may fill a shared journal
			outcomes[n] = Outcome{State: SetAside, Generation: gen, Reason: reasonOf(q.err)}
			continue
		}
		outcome := Outcome{State: Superseded, Generation: gen}
		for e, leaves := range q.places {
			if later[e.Path] {
				continue
			}
			if !isPublished(published, e, leaves) {
				outcome = Outcome{State: SetAside, Generation: gen, Reason: unknownFate}
				break
			}
			outcome.State = Published
		}
		if outcome.State != SetAside {
			for path := range q.item.Paths {
				later[path] = true
			}
		}
		outcomes[n] = outcome
	}
	return outcomes
}

// isPublished reports whether clients who ask these roles see what an edit asks for.
func isPublished(published map[place]*roles.Target, e roles.TargetEdit, leaves []int) bool {
	for _, i := range leaves {
		if t := published[place{i, e.Path}]; t != nil {
			return sameTarget(e.Target, t)
		}
	}
	return e.Target == nil
}

// published is what a store publishes, verified as by a client that trusts one root. Expiries don't
// count: a repository that expired can be restored.
type published struct {
	docs      *documents
	files     []ledger.File // the offline documents
	timestamp *roles.Document[metadata.TimestampType]
	snapshot  ledger.Blob
	expires   time.Time        // of the snapshot
	versions  map[string]int64 // that it gives, by role
	lengths   map[string]int64 // that it gives, by role
	table     ledger.Table

	// known are rows whose files are not read again, if the snapshot gives their versions.
	known            ledger.Table
	snapshotDocument *roles.Snapshot
}

// readPublished reads and verifies all metadata that clients can come to now, but for bins that are known. It fails if
// anything is missing or not as it was signed, and names all such bins. The cost is one read and one verification
// of each bin.
func readPublished(ctx context.Context, cfg Config, root []byte, known ledger.Table) (*published, error) {
	p := &published{known: known, docs: &documents{
		roles: map[string]*roles.Document[metadata.TargetsType]{}, installed: map[string]ledger.Doc{},
	}}
	if err := p.readRoots(ctx, cfg.Store, root); err != nil {
		return nil, err
	}
	if err := p.readTimestamp(ctx, cfg.Store); err != nil {
		if version := p.docs.root.Version(); version > 1 && !errors.Is(err, ErrNotExist) {
			// See Repository.InstallAfterCompromise.
			err = fmt.Errorf("%w; if the publisher died between that root and its first timestamp, "+
				"move %s away and give it in Restoration.Documents", err, ledger.Name(version, metadata.ROOT))
		}
		return nil, err
	}
	versions, err := p.readSnapshot(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	if snapshot := p.timestamp.Signed().Meta[metadata.SNAPSHOT+".json"].Version; snapshot != p.timestamp.Version() {
		return nil, fmt.Errorf("%s: the timestamp is version %d, and both must be the same: this metadata isn't Bindery's, or somebody else published here too", ledger.Name(snapshot, metadata.SNAPSHOT), p.timestamp.Version())
	}
	if err := p.readDocuments(ctx, cfg.Store, cfg.isOnline, versions); err != nil {
		return nil, err
	}
	if err := p.docs.derive(cfg.isOnline); err != nil {
		return nil, err
	}
	return p, p.readBins(ctx, cfg, versions)
}

// readTimestamp reads the timestamp and verifies it under the newest root.
func (p *published) readTimestamp(ctx context.Context, store Getter) error {
	data, err := store.Get(ctx, ledger.Timestamp)
	if err != nil {
		return fmt.Errorf("store: %s: %w", ledger.Timestamp, err)
	}
	if p.timestamp, err = roles.Parse[metadata.TimestampType](data); err == nil {
		err = verifyRole(p.docs.root, p.timestamp, metadata.TIMESTAMP)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", ledger.Timestamp, err)
	}
	return nil
}

// signings are those of the generations that a cache may still serve. Which of the online keys of the
// root in force signed them isn't known, so it returns every combination.
func (p *published) signings(now time.Time) []ledger.Signing {
	var out []ledger.Signing
	for _, snapshot := range p.docs.snapshotKeys.Keys {
		for _, timestamp := range p.docs.timestampKeys.Keys {
			out = append(out, ledger.Signing{Superseded: now, SignedBy: ledger.SignedBy{
				metadata.SNAPSHOT: {keyName(snapshot)}, metadata.TIMESTAMP: {keyName(timestamp)}, metadata.TARGETS: p.docs.targetsSignedBy,
			}})
		}
	}
	return out
}

// readDocuments reads targets, and then every role to which others delegate, and sets p.docs.online.tree.
// It leaves out hashed bins, and online roles that delegate nothing.
func (p *published) readDocuments(ctx context.Context, store Getter, isOnline func(role string) bool, versions map[string]int64) error {
	rows := map[string]bool{} // roles of which a row says all
	for next := []string{metadata.TARGETS}; len(next) > 0; {
		names := make([]string, len(next))
		for n, role := range next {
			names[n] = ledger.Name(versions[role], role)
		}
		for name, f := range fetch(ctx, store, usualReaders, slices.Values(names)) {
			_, role, _ := ledger.ParseName(name)
			data, err := f.data, f.err
			var doc *roles.Document[metadata.TargetsType]
			if err == nil {
				doc, err = roles.Parse[metadata.TargetsType](data)
			}
			if err == nil && doc.Version() != versions[role] {
				err = fmt.Errorf("it is version %d", doc.Version())
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			online := isOnline(role)
			if rows[role] = online && doc.Signed().Delegations == nil; rows[role] {
				continue
			}
			p.docs.roles[role], p.docs.installed[role] = doc, docOf(doc)
			p.files = append(p.files, ledger.File{Role: role, Doc: docOf(doc), Data: data, Online: online})
		}
		tree, err := delegation.NewTree(p.docs.root, p.docs.roles)
		if err != nil {
			return err
		}
		p.docs.online.tree, next = tree, nil
		for _, r := range tree.Roles() {
			if p.docs.roles[r.Name] == nil && !rows[r.Name] && (versions[r.Name] > 0 || !isOnline(r.Name)) {
				next = append(next, r.Name)
			}
		}
	}
	return nil
}

// readRoots follows the chain of roots from the trusted one. It also reads the roots before that, from
// which clients may start.
func (p *published) readRoots(ctx context.Context, store Store, trusted []byte) error {
	root, err := parseTrusted(trusted)
	if err != nil {
		return err
	}
	var names []string
	for version := root.Version(); version >= 1; version-- {
		names = append(names, ledger.Name(version, metadata.ROOT))
	}
	for name, f := range fetch(ctx, store, usualReaders, slices.Values(names)) {
		version, _, _ := ledger.ParseName(name)
		data, err := f.data, f.err
		if errors.Is(err, ErrNotExist) && version < root.Version() {
			break // the repository was made from this one on
		}
		if err != nil {
			return fmt.Errorf("store: %s: %w", name, err)
		}
		if version == root.Version() && !bytes.Equal(data, trusted) {
			return fmt.Errorf("store: %s isn't the trusted root of that version: the store is another repository's, or the root is: %s", name, checkPlaces)
		}
		f, err := rootFile(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		p.files = slices.Insert(p.files, 0, f)
	}
	return p.followRoots(ctx, store, root)
}

// rootsAhead is how many roots are read at a time where nothing says how many there are.
const rootsAhead = 16

// rootsFrom are the names of the roots from a version on, upwards (step 1) for ever or downwards (-1) to the first.
func rootsFrom(version, step int64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ; version >= 1 && yield(ledger.Name(version, metadata.ROOT)); version += step {
		}
	}
}

// followRoots follows the chain of roots from a trusted one to the newest.
func (p *published) followRoots(ctx context.Context, store Getter, root *roles.Document[metadata.RootType]) error {
	for name, f := range fetch(ctx, store, rootsAhead, rootsFrom(root.Version()+1, 1)) {
		if errors.Is(f.err, ErrNotExist) {
			break
		}
		if f.err != nil {
			return fmt.Errorf("store: %s: %w", name, f.err)
		}
		next, err := roles.Parse[metadata.RootType](f.data)
		if err == nil {
			err = roles.VerifyRootUpdate(root, next)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		root, p.files = next, append(p.files, ledger.File{Role: metadata.ROOT, Doc: docOf(next), Data: f.data})
	}
	p.docs.root, p.docs.installed[metadata.ROOT] = root, docOf(root)
	return nil
}

// parseTrusted parses a root that can only vouch for itself.
func parseTrusted(data []byte) (*roles.Document[metadata.RootType], error) {
	root, err := roles.Parse[metadata.RootType](data)
	if err == nil {
		err = verifyRole(root, root, metadata.ROOT)
	}
	if err != nil {
		return nil, fmt.Errorf("the trusted root: %w", err)
	}
	return root, nil
}

func rootFile(data []byte) (ledger.File, error) {
	root, err := roles.Parse[metadata.RootType](data)
	if err != nil {
		return ledger.File{}, err
	}
	return ledger.File{Role: metadata.ROOT, Doc: docOf(root), Data: data}, nil
}

// readSnapshot returns the versions that the snapshot of the timestamp names.
func (p *published) readSnapshot(ctx context.Context, store Getter) (map[string]int64, error) {
	meta := p.timestamp.Signed().Meta[metadata.SNAPSHOT+".json"]
	name := ledger.Name(meta.Version, metadata.SNAPSHOT)
	data, err := store.Get(ctx, name)
	if err == nil {
		err = meta.VerifyLengthHashes(data)
	}
	var snapshot *roles.Snapshot
	if err == nil {
		snapshot, err = roles.ParseSnapshot(data)
	}
	if err == nil {
		var auth roles.Authority
		if auth, err = roles.RootAuthority(p.docs.root, metadata.SNAPSHOT); err == nil {
			err = auth.Verify(snapshot)
		}
	}
	if err == nil && snapshot.Version() != meta.Version {
		err = fmt.Errorf("it is version %d", snapshot.Version())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.snapshotDocument = snapshot
	p.snapshot, p.expires = ledger.BlobOf(data), snapshot.Expires()
	versions := map[string]int64{}
	p.versions = versions
	p.lengths = map[string]int64{}
	for m, err := range snapshot.Meta() {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		versions[m.Role] = m.Version
		if m.Length > 0 {
			p.lengths[m.Role] = m.Length
		}
	}
	return versions, nil
}

// readBins fills the table.
func (p *published) readBins(ctx context.Context, cfg Config, versions map[string]int64) error {
	l := p.docs.online
	p.table.Roles, p.table.Keys = map[string]ledger.Row{}, p.known.Keys
	for role, version := range versions {
		if _, ok := l.tree.Role(role); !ok { // its name must stay in the snapshot: see publishedSnapshot
			p.table.Roles[role] = ledger.Row{Version: version}
			if row, ok := p.known.Row(role); ok && row.Version == version {
				p.table.Roles[role] = row
			}
		}
	}
	for i := range l.len() {
		for _, k := range l.keys(i).Keys {
			p.table.Keys, _ = keyIndex(p.table.Keys, keyName(k))
		}
	}
	var mu sync.Mutex
	bad := map[int]error{}
	rows := make([]ledger.Row, l.len())
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cfg.Workers)
	for i := range rows {
		if row, ok := p.known.Row(l.name(i)); ok && row.Version > 0 && row.Version == versions[l.name(i)] {
			rows[i] = row
			continue
		}
		g.Go(func() error {
			row, err := p.readBin(gctx, cfg, i, versions[l.name(i)])
			if gctx.Err() != nil {
				return gctx.Err()
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				bad[i] = err
			}
			rows[i] = row
			return nil
		})
	}
	err := g.Wait()
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		var all []string
		for _, i := range slices.Sorted(maps.Keys(bad)) {
			all = append(all, bad[i].Error())
		}
		return fmt.Errorf("%d bins can't be read; put copies of a backup or a mirror into the store: %s", len(bad), strings.Join(all, "; "))
	}
	for s, set := range l.sets {
		p.table.Sets = append(p.table.Sets, ledger.Set{Prefix: set.Prefix(), Rows: rows[l.starts[s]:l.starts[s+1]:l.starts[s+1]]})
	}
	for k, r := range l.others {
		if row := rows[l.starts[len(l.sets)]+k]; row.Version > 0 {
			p.table.Roles[r.Name] = row
		}
	}
	return nil
}

func (p *published) readBin(ctx context.Context, cfg Config, i int, version int64) (ledger.Row, error) {
	role, auth := p.docs.online.name(i), p.docs.online.keys(i)
	name := ledger.Name(version, role)
	if version == 0 {
		return ledger.Row{}, fmt.Errorf("%s isn't in the snapshot", role)
	}
	data, err := cfg.Store.Get(ctx, name)
	if err != nil {
		return ledger.Row{}, fmt.Errorf("%s: %w", name, err)
	}
	bin, err := roles.ParseBin(data)
	switch {
	case err != nil:
		return ledger.Row{}, fmt.Errorf("%s: %w", name, err)
	case bin.Version() != version || version > p.timestamp.Version():
		return ledger.Row{}, fmt.Errorf("%s: it is version %d in generation %d", name, bin.Version(), p.timestamp.Version())
	case p.lengths[role] > 0 && p.lengths[role] != int64(len(data)):
		return ledger.Row{}, fmt.Errorf("%s: %d bytes, and the snapshot says %d", name, len(data), p.lengths[role])
	case p.lengths[role] == 0 && len(data) > roles.MaxTargets:
		return ledger.Row{}, fmt.Errorf("%s: %d bytes, and clients accept %d unless the snapshot says more", name, len(data), roles.MaxTargets)
	}
	for n, k := range auth.Keys {
		one := auth
		one.Keys = one.Keys[n : n+1]
		if one.Verify(bin) == nil {
			return ledger.Row{
				Version: version, SHA256: sha256.Sum256(data), Length: int32(len(data)), Key: int32(slices.Index(p.table.Keys, keyName(k))),
				Signed: bin.Expires().Add(-cfg.BinLifetime).Unix(), Expires: bin.Expires().Unix(),
			}, nil
		}
	}
	delegator, _ := p.docs.online.tree.Role(role)
	return ledger.Row{}, fmt.Errorf("%s: %s names no key that signed it: %w", name, p.docs.named(delegator.Delegator), auth.Verify(bin))
}
