package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// This file puts new documents of people into use. A document goes through these stages:
//
//	accepted    The journal has it: see acceptDocuments. Until the store has it too,
//	            ledger.State.Unwritten lists it.
//	in force    The engine goes by it: State.Documents and publisher.docs have it. This
//	            begins with the same record that accepts it.
//	written     The store has it. Clients follow a new root from here on.
//	published   A committed generation names it: State.Published has it.
//
// Installing is all of this together: Install returns nil once the documents are published. There
// are three special cases. A root needs no generation: once it is written, clients find it. A root of
// InstallAfterCompromise is held back: it is written just before the timestamp of the next
// generation. A document of an online role is never written itself: the next generation signs what it
// says.

// ErrLocksOut is wrapped by Install for a root under which clients would refuse
// what is published now.
var ErrLocksOut = errors.New("clients would refuse what is published now")

// Install takes newer versions of root, targets or delegated roles, which belong together, into
// force. When it returns nil they are published: a root as soon as it was written, the others by a
// generation of their own. It doesn't need Run. Documents that are in force already are skipped.
//
// Install refuses documents, and changes nothing, in these cases:
//
//   - A client would refuse a document, for instance a root of over 512,000 bytes, or any other of over
//     10,000,000.
//   - The documents don't name a configured online key. Or a new online key doesn't sign a probe within
//     a minute, or can't sign the largest message that it will have to.
//   - What is published now, or what a cache may still serve, would not verify under a new root. The
//     error wraps ErrLocksOut, and says when the root can be installed. To drop a key, first publish a
//     generation signed by another key that both roots name. Then wait for Config.CacheAge and
//     ClientRun: see Rotate.
//   - A bin is still signed by a key that the documents drop, while Rotate has the bins signed again by
//     another one. The error wraps ErrLocksOut, and says by when that is done.
//   - Clients would no longer find a target of an online role: nobody delegates to the role any more,
//     or with other patterns, or a delegation that ends the search comes first. The error names the
//     role and one target. Remove the target first, or keep the delegation.
//   - People take over an online role, and their document lacks a target of it, or its version isn't
//     above the role's.
//   - The store has another file under the name of a new document. The error wraps ErrConflict.
//
// It reads the online roles that this is about, but no hashed bins, because there may be thousands. If
// a new delegation sends clients elsewhere for paths of bins, and ends the search, they no longer
// find what the bins list there.
//
// After any other error the documents may be accepted, and are if it wraps ErrAccepted: they are
// durable in the journal, and Run, or Open, publishes them. If that is impossible, a later Install
// helps: a document of a higher version supersedes them, and a root is followed by the next one,
// signed as it demands. If documents are accepted and not published, an Install that has waited for 10
// seconds ends what is under way: a generation, or another Install, which returns an error.
func (r *Repository) Install(ctx context.Context, d Documents) error {
	return r.install(ctx, d, false)
}

// InstallAfterCompromise is Install without ErrLocksOut. It makes a generation that verifies under
// the new root. All bins whose key is no longer trusted are signed again in it. The root is written
// just before that generation's timestamp. Clients that update in between fail once, and succeed when
// they try again. Clients behind a cache fail until it serves a timestamp that verifies under the new
// root: for Config.CacheAge and ClientRun at most. The log says until when, and so does the error with
// which Install refuses the same documents.
//
// If an attacker may have raised versions, the new root must replace the keys of both timestamp and
// snapshot, with none of the old ones: see "After a compromise" in the package comment. A root that
// replaces one of the two is installed, and warned of in the log.
func (r *Repository) InstallAfterCompromise(ctx context.Context, d Documents) error {
	return r.install(ctx, d, true)
}

func (r *Repository) install(ctx context.Context, d Documents, compromise bool) error {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	myTurn := r.insist()
	err := r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
		myTurn()
		return p.install(ctx, d, compromise)
	})
	myTurn()
	if err == nil || errors.Is(err, ErrAccepted) {
		r.noteErr(err)
		r.wakeRun()
	}
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return nil
}

// patienceOfInstall is how long Install waits for a generation or another Install that is under way
// while documents are accepted and not published. Their key, or the store, may never answer.
const patienceOfInstall = 10 * time.Second

// insist waits patienceOfInstall, and then ends what the owner of the publisher is doing before a
// seal, if documents are stuck. It repeats that until myTurn is called.
func (r *Repository) insist() (myTurn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	waits := true
	var again *time.Timer
	again = time.AfterFunc(patienceOfInstall, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !waits {
			return
		}
		if r.stuck && r.preempt != nil {
			r.preempt()
		}
		again.Reset(patienceOfInstall)
	})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		waits = false
		again.Stop()
	}
}

// preemptible returns a context that Install may end until done is called.
func (r *Repository) preemptible(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.preempt = cancel
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.preempt = nil
		cancel()
	}
}

// noteStuck notes whether documents are accepted that aren't published.
func (r *Repository) noteStuck(stuck bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = stuck
}

// install completes a sealed generation first. It doesn't wait for documents that were accepted before
// and got stuck: they may need a key that the new ones replace.
func (p *publisher) install(ctx context.Context, d Documents, compromise bool) error {
	if err := p.finish(ctx); err != nil {
		return err
	}
	now, err := p.checkClock()
	if err != nil {
		return err
	}
	if d.Roots, err = p.newRoots(ctx, d.Roots); err != nil {
		return err
	}
	if err := p.refreshOnline(ctx); err != nil {
		return err
	}
	next, files, err := p.docs.with(d, p.cfg.isOnline, now)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		if err = p.settle(ctx); err != nil && p.documentsWait() {
			err = fmt.Errorf("%w: %w", ErrAccepted, err) // by an earlier Install
		}
		return err
	}
	if err := judgeNew(files, 0); err != nil {
		return err
	}
	if err := p.checkPossible(ctx, next, files); err != nil {
		return err
	}
	if err := p.checkHandOver(ctx, next, files); err != nil {
		return err
	}
	if err := p.checkReach(ctx, next, files); err != nil {
		return err
	}
	// A root after one that is held back can't be written before it.
	if compromise = compromise || len(p.heldBack()) > 0; compromise {
		for i := range files {
			files[i].AtCommit = files[i].Role == metadata.ROOT
		}
	} else if err := p.checkRotations(next); err != nil {
		return err
	} else if err := p.checkRoots(ctx, d.Roots, now); err != nil {
		return err
	}
	before := p.docs.root
	if err := p.acceptDocuments(ctx, next, append(files, p.newestFiles(next, files)...)); err != nil {
		return err
	}
	if compromise {
		p.warnHalfReplaced(before)
	}
	if err := p.settle(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrAccepted, err)
	}
	if compromise {
		p.warnCaches()
	}
	return nil
}

// refreshOnline takes the newest file of an online role that has a document in place of that, if another
// key signed it since. It says the same, and the new documents are checked against it.
func (p *publisher) refreshOnline(ctx context.Context) error {
	fresh := *p.docs
	fresh.roles = maps.Clone(p.docs.roles)
	changed := false
	var stale []int
	for _, r := range p.docs.online.others {
		i, _ := p.docs.online.index(r.Name)
		row, doc := p.row(i), p.docs.roles[r.Name]
		if doc == nil || row.Version == 0 || p.document(i) != nil {
			continue
		}
		newest := slices.IndexFunc(r.Keys.Keys, func(k *keys.PublicKey) bool { return keyName(k) == p.state.Table.Keys[row.Key] })
		if newest < 0 || (roles.Authority{Keys: r.Keys.Keys[newest : newest+1], Threshold: 1}).Verify(doc) == nil {
			continue
		}
		stale = append(stale, i)
	}
	for i, f := range parallel.InOrder(ctx, p.cfg.Workers, slices.Values(stale), func(ctx context.Context, i int) fetched {
		data, err := getPublished(ctx, p.cfg.Store, p.fileName(i), p.row(i).Blob())
		return fetched{data, err}
	}) {
		if errors.Is(f.err, errQuarantine) {
			continue
		}
		err := f.err
		if err == nil {
			fresh.roles[p.name(i)], err = roles.Parse[metadata.TargetsType](f.data)
			changed = true
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name(i), err)
		}
	}
	if changed {
		p.stateMu.Lock()
		defer p.stateMu.Unlock()
		p.docs = &fresh
	}
	return nil
}

// newestFiles returns the newest file of each online role that has a document and loses a key by the new
// documents, unless these have one for it. They go into the journal in place of the document, which may not
// verify without that key. A restoration begins with what the journal has.
func (p *publisher) newestFiles(next *documents, files []ledger.File) (newest []ledger.File) {
	for _, r := range p.docs.online.others {
		doc, isNew := next.roles[r.Name], slices.ContainsFunc(files, func(f ledger.File) bool { return f.Role == r.Name })
		auth, _, online := next.authority(r.Name)
		loses := slices.ContainsFunc(r.Keys.Keys, func(k *keys.PublicKey) bool { return !lists(auth, keyName(k)) })
		if _, signed := p.state.Table.Roles[r.Name]; signed && doc != nil && online && loses && !isNew {
			newest = append(newest, ledger.File{Role: r.Name, Doc: next.installed[r.Name], Data: doc.Bytes(), Online: true})
		}
	}
	return newest
}

// ErrAccepted is wrapped by Install for documents that are in force and durable in the journal,
// and that can't be published at present: Run tries it again.
var ErrAccepted = errors.New("accepted, and not yet published")

// settle publishes the documents that were accepted and aren't published yet, by
// this Install or by an earlier one that got stuck.
func (p *publisher) settle(ctx context.Context) error {
	if err := p.finish(ctx); err != nil {
		return err
	}
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	if p.documentsWait() {
		return ignoreNotNow(p.publish(ctx))
	}
	return nil
}

// documentsWait reports whether documents are accepted and not published.
func (p *publisher) documentsWait() bool {
	return len(p.unwritten) > 0 || !sameInSnapshot(p.state.Documents, p.state.Published)
}

// newRoots leaves out the roots that are accepted already, and those before the root in force that
// the store has.
func (p *publisher) newRoots(ctx context.Context, files [][]byte) ([][]byte, error) {
	if p.docs == nil {
		return files, nil
	}
	known := make([]bool, len(files))
	err := parallel.All(ctx, p.cfg.Workers, indexes(len(files)), func(ctx context.Context, n int) error {
		data := files[n]
		h, err := roles.Peek(data)
		if err != nil {
			return fmt.Errorf("root: %w", err)
		}
		if h.Type != metadata.ROOT {
			return nil
		}
		known[n] = slices.ContainsFunc(p.unwritten, func(f ledger.File) bool { return bytes.Equal(f.Data, data) })
		if !known[n] && h.Version < p.docs.root.Version() {
			published, err := p.cfg.Store.Get(ctx, ledger.Name(h.Version, metadata.ROOT))
			if err != nil && !errors.Is(err, ErrNotExist) {
				return fmt.Errorf("read root version %d: %w", h.Version, err)
			}
			known[n] = bytes.Equal(data, published)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for n, data := range files {
		if !known[n] {
			out = append(out, data)
		}
	}
	return out, nil
}

// acceptDocuments makes documents durable in the journal and brings them into force.
func (p *publisher) acceptDocuments(ctx context.Context, next *documents, files []ledger.File) error {
	over := p.rotationsOver(next)
	if err := p.append(ctx, p.state.Generation, &ledger.Documents{InForce: next.installed, Files: files, Rotated: over}); err != nil {
		return err
	}
	if len(over) > 0 {
		p.log.Info("rotations are over", "roles", over)
	}
	p.unwritten = stillWanted(slices.Concat(p.unwritten, files), next.installed)
	p.bringIntoForce(next)
	p.warnRisks()
	p.warnOffline(p.cfg.Now())
	clear(p.leftOut) // by these documents clients may refuse what is published of them
	p.resetWaiting()
	if p.accepted != nil {
		p.accepted()
	}
	return nil
}

// stillWanted leaves out documents that were superseded before they were published. It keeps every
// root: clients follow them one by one.
func stillWanted(files []ledger.File, installed map[string]ledger.Doc) []ledger.File {
	var out []ledger.File
	for _, f := range files {
		if f.Role == metadata.ROOT || installed[f.Role] == f.Doc {
			out = append(out, f)
		}
	}
	return out
}

// heldBack are the roots that wait for the commit of a generation.
func (p *publisher) heldBack() []ledger.File {
	return slices.DeleteFunc(slices.Clone(p.unwritten), func(f ledger.File) bool { return f.Role != metadata.ROOT || !f.AtCommit })
}

// checkPossible makes sure that new documents can be published: the online keys that they name can
// sign, and the store has no other files under their names.
func (p *publisher) checkPossible(ctx context.Context, next *documents, files []ledger.File) error {
	if err := p.cfg.checkBudget(next.online.len()); err != nil {
		return err
	}
	signers, err := next.signers(p.cfg, p.state.Rotations)
	if err != nil {
		return err
	}
	if err := checkKeys(ctx, p.state, signers, files); err != nil {
		return err
	}
	return parallel.All(ctx, p.cfg.Workers, files, func(ctx context.Context, f ledger.File) error {
		if f.Online {
			return nil
		}
		switch data, err := p.cfg.Store.Get(ctx, f.Name()); {
		case err == nil && !bytes.Equal(data, f.Data):
			return fmt.Errorf("store: it has another %s, and nothing was accepted: move that away, or give a higher version: %w", f.Name(), ErrConflict)
		case err != nil && !errors.Is(err, ErrNotExist):
			return fmt.Errorf("store: %w", err)
		}
		return nil
	})
}

// probe is what a new key signs before anything depends on it. It is no metadata.
const probe = "Bindery asks whether this key signs."

// checkKeys makes sure that the keys which sign from now on can do so. Each is compared with the
// largest message that it will have to sign. Each that signed nothing of what is published signs a
// probe.
func checkKeys(ctx context.Context, published *ledger.State, s signers, files []ledger.File) error {
	if err := checkSizes(published, s, files); err != nil {
		return err
	}
	used := map[string]bool{}
	if n := len(published.Signings); n > 0 {
		for _, names := range published.Signings[n-1].SignedBy {
			for _, name := range names {
				used[name] = true
			}
		}
	}
	for _, row := range published.Table.All() {
		if row.Version > 0 && int(row.Key) < len(published.Table.Keys) {
			used[published.Table.Keys[row.Key]] = true
		}
	}
	for role, signer := range s.all {
		name := keyName(signer.Public())
		if used[name] {
			continue
		}
		used[name] = true
		if err := signProbe(ctx, signer); err != nil {
			return fmt.Errorf("%s: its new key doesn't sign a probe, so nothing was accepted: %w", role, err)
		}
	}
	return nil
}

// signProbe doesn't wait for a key that never answers: publishing waits meanwhile.
func signProbe(ctx context.Context, signer keys.Signer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := roles.Sign(ctx, signer, []byte(probe))
	return err
}

// checkSigners makes sure that the documents name the configured keys, and that these can sign
// messages as large as needed.
func (p *publisher) checkSigners() error {
	signers, err := p.docs.signers(p.cfg, p.state.Rotations)
	if err != nil {
		return err
	}
	return checkSizes(p.state, signers, nil)
}

// checkSizes compares the limit of each key with the largest file that it must sign again. A file is
// a little larger than what is signed of it. files are new documents.
func checkSizes(published *ledger.State, s signers, files []ledger.File) error {
	check := func(role string, signer keys.Signer, need int64, of string) error {
		if int64(signer.MaxMessage()) >= need {
			return nil
		}
		return fmt.Errorf("%s: %w: key %s signs at most %d bytes, and %s has %d", role, ErrWrongKey, signer.Public().ID(), signer.MaxMessage(), of, need)
	}
	if err := check(metadata.SNAPSHOT, s.snapshot, published.Snapshot.Length, "the published snapshot"); err != nil {
		return err
	}
	for i := range s.online.len() {
		if n := s.online.row(&published.Table, i).Length; n > 0 {
			if signer := s.of(i); int64(signer.MaxMessage()) < int64(n) {
				return check(s.online.name(i), signer, int64(n), "its published file")
			}
		}
	}
	for _, f := range files {
		if i, ok := s.online.index(f.Role); ok && f.Online {
			if err := check(f.Role, s.of(i), f.Length, "the new document"); err != nil {
				return err
			}
		}
	}
	return nil
}

// WithdrawRoot takes back the roots that InstallAfterCompromise accepted and that still wait for
// their generation, for instance because a key that they name doesn't sign. From then on the root
// before them is in force again, and another one may follow it. Documents of other roles stay in
// force. A rotation that the withdrawn root ended is not resumed: call Rotate again.
//
// It changes nothing and returns an error if no root waits, if a generation was sealed with the root
// and so may have written it, or if another document in force needs it. Then install the next root,
// signed as the one before it demands.
func (r *Repository) WithdrawRoot(ctx context.Context) error {
	myTurn := r.insist()
	defer myTurn()
	err := r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
		myTurn()
		return p.withdrawRoot(ctx)
	})
	if err != nil {
		return fmt.Errorf("withdraw root: %w", err)
	}
	r.wakeRun()
	return nil
}

func (p *publisher) withdrawRoot(ctx context.Context) error {
	held := p.heldBack()
	switch {
	case len(held) == 0:
		return errors.New("no root waits for a generation: it is published, or was never accepted")
	case p.state.Sealed != nil:
		return fmt.Errorf("generation %d is sealed with it and will be published: only a newer root can follow", p.state.Last())
	}
	before := p.state.Published[metadata.ROOT]
	var data []byte
	for _, f := range p.state.Unwritten {
		if f.Role == metadata.ROOT && !f.AtCommit {
			before, data = f.Doc, f.Data
		}
	}
	if data == nil {
		var err error
		if data, err = p.loadDocument(ctx, metadata.ROOT, before); err != nil {
			return err
		}
	}
	next := &documents{roles: maps.Clone(p.docs.roles), installed: maps.Clone(p.docs.installed)}
	var err error
	if next.root, err = roles.Parse[metadata.RootType](data); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	next.installed[metadata.ROOT] = before
	if err := next.derive(p.cfg.isOnline); err != nil {
		return fmt.Errorf("a document in force needs it: %w", err)
	}
	record := &ledger.Documents{InForce: next.installed, Files: []ledger.File{}, Rotated: p.rotationsOver(next)}
	for _, f := range held {
		record.Withdrawn = append(record.Withdrawn, f.Name())
	}
	if err := p.append(ctx, p.state.Generation, record); err != nil {
		return err
	}
	p.unwritten = slices.DeleteFunc(p.unwritten, func(f ledger.File) bool { return f.Role == metadata.ROOT && f.AtCommit })
	p.bringIntoForce(next)
	p.log.Warn("withdrawn: nobody has seen these roots", "names", record.Withdrawn)
	return nil
}

// checkHandOver refuses a document for a role that was signed online, if the role's version would go
// down, or if one of its targets would vanish. No document of people has the versions and targets of
// such a role.
func (p *publisher) checkHandOver(ctx context.Context, next *documents, files []ledger.File) error {
	for _, f := range files {
		row, published := p.state.Table.Roles[f.Role]
		if !published {
			continue
		}
		if !f.Online && f.Version <= row.Version {
			return fmt.Errorf("%s version %d: it was signed online up to version %d: a document that people sign must have a higher one", f.Role, f.Version, row.Version)
		}
		i, ok := p.docs.online.index(f.Role)
		if !ok {
			continue
		}
		bin, err := p.loadBin(ctx, i)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Role, err)
		}
		listed := next.roles[f.Role].Signed().Targets
		for target, err := range bin.Targets() {
			if err != nil {
				return fmt.Errorf("%s: %w", f.Role, err)
			}
			if listed[target.Path] == nil {
				return fmt.Errorf("%s version %d: the role has the target %q, which this document doesn't: remove it first", f.Role, f.Version, target.Path)
			}
		}
	}
	return nil
}

// checkReach refuses documents after which clients would no longer ask an online role for a target
// that it lists. It does nothing if no delegation changes, and doesn't look at bins.
func (p *publisher) checkReach(ctx context.Context, next *documents, files []ledger.File) error {
	changes := func(f ledger.File) bool {
		return f.Role != metadata.ROOT && !sameScopes(delegationsOf(p.docs.roles[f.Role]), delegationsOf(next.roles[f.Role]))
	}
	if !slices.ContainsFunc(files, changes) {
		return nil
	}
	others := p.docs.online.others
	return parallel.All(ctx, p.cfg.Workers, indexes(len(others)), func(ctx context.Context, k int) error {
		r := others[k]
		if !r.Leaf {
			return nil
		}
		bin, err := p.loadBin(ctx, p.docs.online.starts[len(p.docs.online.sets)]+k)
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		for target, err := range bin.Targets() {
			if err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
			if !slices.Contains(next.online.tree.Search(target.Path), r.Name) {
				return fmt.Errorf("%s: clients would look for its target %q in it no more: remove that first, or keep the delegation", r.Name, target.Path)
			}
		}
		return nil
	})
}

// delegationsOf is the zero value for a role that delegates nothing.
func delegationsOf(doc *roles.Document[metadata.TargetsType]) metadata.Delegations {
	if doc == nil || doc.Signed().Delegations == nil {
		return metadata.Delegations{}
	}
	return *doc.Signed().Delegations
}

// sameScopes reports whether two documents delegate the same paths to the same roles. The roles' keys
// don't matter.
func sameScopes(a, b metadata.Delegations) bool {
	set := func(s *metadata.SuccinctRoles) (string, int) {
		if s == nil {
			return "", 0
		}
		return s.NamePrefix, s.BitLength
	}
	prefixA, bitsA := set(a.SuccinctRoles)
	prefixB, bitsB := set(b.SuccinctRoles)
	return prefixA == prefixB && bitsA == bitsB && slices.EqualFunc(a.Roles, b.Roles, func(a, b metadata.DelegatedRole) bool {
		return a.Name == b.Name && a.Terminating == b.Terminating &&
			slices.Equal(a.Paths, b.Paths) && slices.Equal(a.PathHashPrefixes, b.PathHashPrefixes)
	})
}

// bringIntoForce makes next the documents in force. They may change which roles are online, and the
// roles' numbers.
func (p *publisher) bringIntoForce(next *documents) {
	old := p.docs
	p.stateMu.Lock()
	p.docs = next
	p.stateMu.Unlock()
	if old == nil || slices.Equal(old.online.names(), next.online.names()) {
		return
	}
	p.cache = newBinCache(p.cfg.CacheBytes)
	p.quarantine = renumber(p.quarantine, old.online, next.online)
	p.leftOut = renumber(p.leftOut, old.online, next.online)
	p.rebuild.renumber(old.online, next.online)
}

// renumber returns what is known of roles by their new numbers.
func renumber[T any](known map[int]T, old, next online) map[int]T {
	out := map[int]T{}
	for i, v := range known {
		if k, ok := next.index(old.name(i)); ok {
			out[k] = v
		}
	}
	return out
}

// names are what numbers the roles: two that are equal number them alike.
func (l online) names() []string {
	var names []string
	for _, s := range l.sizes() {
		names = append(names, fmt.Sprintf("%d %s", s.Bins, setName(s.Prefix)))
	}
	for _, r := range l.others {
		names = append(names, r.Name)
	}
	return names
}

// checkRoots makes sure that what is published now, and what a cache may still serve, verifies under
// each new root: clients see a root as soon as it is written.
func (p *publisher) checkRoots(ctx context.Context, data [][]byte, now time.Time) error {
	var snapshot *roles.Snapshot
	for _, d := range data {
		root, err := roles.Parse[metadata.RootType](d)
		if err != nil {
			return fmt.Errorf("root: %w", err)
		}
		if root.Version() <= p.docs.root.Version() {
			continue
		}
		if snapshot == nil {
			name := ledger.Name(p.state.Generation, metadata.SNAPSHOT)
			file, err := p.cfg.Store.Get(ctx, name)
			if err == nil && ledger.BlobOf(file) != p.state.Snapshot {
				err = ErrDiverged
			}
			if err == nil {
				snapshot, err = roles.ParseSnapshot(file)
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
		timestamp, err := roles.Parse[metadata.TimestampType](p.state.Timestamp())
		if err != nil {
			return fmt.Errorf("%s: %w", ledger.Timestamp, err)
		}
		targets, err := p.publishedTargets(ctx)
		if err != nil {
			return err
		}
		for role, d := range map[string]roles.Signed{
			metadata.TIMESTAMP: timestamp, metadata.SNAPSHOT: snapshot, metadata.TARGETS: targets,
		} {
			auth, err := roles.RootAuthority(root, role)
			if err == nil {
				err = auth.Verify(d)
			}
			if err != nil {
				return fmt.Errorf("root version %d: %w: %s: %w: publish a generation first that it lists the keys of, and wait for %v; "+
					"InstallAfterCompromise doesn't wait, and clients behind caches fail for %v then",
					root.Version(), ErrLocksOut, role, err, p.cfg.grace(), p.cfg.grace())
			}
		}
		until, role := p.servedUntil(p.docs.root, root)
		if until.After(now) {
			return fmt.Errorf("root version %d: %w, or may be served by a cache until %s: %s: it doesn't list the keys of earlier generations: "+
				"install it then; InstallAfterCompromise doesn't wait, and clients behind caches fail for %v then",
				root.Version(), ErrLocksOut, until.Format(time.RFC3339), role, until.Sub(now))
		}
	}
	return nil
}

// servedUntil returns until when a cache may serve a superseded generation that verifies under the
// root before and not under next, and a role of it that doesn't verify. The time is zero if there is
// no such generation.
func (p *publisher) servedUntil(before, next *roles.Document[metadata.RootType]) (until time.Time, role string) {
	for _, g := range p.state.Signings {
		end := p.graceEnds(g.Superseded)
		if g.Superseded.IsZero() || lacks(before, g.SignedBy) != "" {
			continue
		}
		if missing := lacks(next, g.SignedBy); missing != "" && end.After(until) {
			until, role = end, missing
		}
	}
	return until, role
}

// lacks returns a role for which root doesn't list enough of the keys that signed a
// generation, or "".
func lacks(root *roles.Document[metadata.RootType], by ledger.SignedBy) string {
	for _, role := range slices.Sorted(maps.Keys(by)) {
		auth, err := roles.RootAuthority(root, role)
		if err != nil {
			return role
		}
		distinct := map[string]bool{}
		for _, k := range auth.Keys {
			if slices.Contains(by[role], keyName(k)) {
				distinct[k.Fingerprint()] = true
			}
		}
		if len(distinct) < auth.Threshold {
			return role
		}
	}
	return ""
}

// warnCaches logs until when clients that use a cache fail under the root in force.
func (p *publisher) warnCaches() {
	var until time.Time
	for _, g := range p.state.Signings {
		if end := p.graceEnds(g.Superseded); !g.Superseded.IsZero() && lacks(p.docs.root, g.SignedBy) != "" && end.After(until) {
			until = end
		}
	}
	if until.After(p.cfg.Now()) {
		p.log.Warn("clients behind caches that serve an older timestamp fail until then", "until", until, "root", p.docs.root.Version())
	}
}

// publishedTargets is the document of targets that clients see. A newer one may be in force.
func (p *publisher) publishedTargets(ctx context.Context) (*roles.Document[metadata.TargetsType], error) {
	doc := p.state.Published[metadata.TARGETS]
	if _, online := p.docs.online.index(metadata.TARGETS); online || doc == p.docs.installed[metadata.TARGETS] {
		return p.docs.roles[metadata.TARGETS], nil
	}
	name := ledger.Name(doc.Version, metadata.TARGETS)
	data, err := p.cfg.Store.Get(ctx, name)
	if err == nil && ledger.BlobOf(data) != doc.Blob {
		err = ErrDiverged
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return roles.Parse[metadata.TargetsType](data)
}
