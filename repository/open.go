package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

var (
	// ErrNotRepository is wrapped by Open for a journal that has no repository.
	ErrNotRepository = errors.New("not a repository")

	// ErrExists is wrapped by Create for a journal or store that has a repository.
	ErrExists = errors.New("there is a repository already")

	// ErrDiverged is wrapped by Open when store and journal disagree about what
	// is published, or a witness disagrees with both. One of them was restored from a
	// backup, somebody else publishes there, or they belong to different repositories: see Belong. Nothing was changed. Run ends with it if that happens
	// while it runs.
	ErrDiverged = errors.New("store and journal disagree")
)

// Create makes a new repository of offline documents and publishes its first
// generation: every bin, empty, and the first snapshot and timestamp. The repository owns
// journal and store from then on. The cost is one signature and one durable write for each
// bin: seconds for 16,384.
//
// If Create fails before it accepted the documents, nothing was changed. If it fails after that,
// they are durable in the journal, and Open completes the work. Until the first generation is
// published, Create may also be called again. It takes the same documents, or higher versions that
// supersede them: for instance, if a key that they name doesn't sign.
//
// Errors wrap ErrExists, ErrLocked (see Open) or ErrWrongKey, or name the document. After an error
// the journal is still the caller's to close. To call Create again in another process, open store and
// journal: that of a directory was made the first time, and OpenOrCreate of its package does either.
func Create(ctx context.Context, cfg Config, d Documents) (*Repository, error) {
	p, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	if err := p.create(ctx, d); err != nil {
		return nil, errors.Join(fmt.Errorf("create repository: %w", err), giveUpLead(p.lead))
	}
	return newRepository(p), nil
}

func (p *publisher) create(ctx context.Context, d Documents) error {
	s := p.state
	if s.Generation > 0 || s.Sealed != nil || s.Chain != "" && s.Documents[metadata.ROOT].Version == 0 {
		return fmt.Errorf("journal: %w: use Open", ErrExists)
	}
	if s.Chain != "" { // an earlier Create accepted documents
		if err := p.loadDocuments(ctx, p.cfg.isOnline); err != nil {
			return err
		}
	}
	switch _, err := p.cfg.Store.Get(ctx, ledger.Timestamp); {
	case err == nil:
		return fmt.Errorf("store: %w: it has a %s: if the journal that belongs to it is another, use Open with that; for a new repository, give an empty store", ErrExists, ledger.Timestamp)
	case !errors.Is(err, ErrNotExist):
		return fmt.Errorf("store: %w", err)
	}
	now, err := p.checkClock()
	if err != nil {
		return err
	}
	next, files, err := p.withNewer(ctx, d, now)
	if err != nil {
		return err
	}
	if err := judgeNew(files, next.root.Version()); err != nil {
		return err
	}
	if err := p.checkPossible(ctx, next, files); err != nil {
		if errors.Is(err, ErrConflict) {
			err = fmt.Errorf("%w: %w", ErrExists, err)
		}
		return err
	}
	if len(files) > 0 {
		if err := p.acceptDocuments(ctx, next, files); err != nil {
			return err
		}
	}
	p.snapshot = roles.NewSnapshot()
	return p.publish(ctx)
}

// Open opens a repository that Create made, as its publisher. If an earlier publisher sealed a
// generation and didn't commit it, Open commits it. A generation without a seal needs no work: its
// items are still queued, and the journal knows that its number was used.
//
// Open reads the journal from its newest checkpoint, and the offline documents, but no bin. Neither
// time nor memory depend on the number of targets. A process that is killed while it writes may leave
// half a write at the journal's end. The log says then where that begins and how many bytes it has.
// Nothing of it was acknowledged, unless the disk damaged it since.
//
// Errors wrap ErrNotRepository, ErrDiverged, ErrLocked, ledger.ErrNewer if a newer version of Bindery published before, or, unless Config.UncheckedKeys is set,
// ErrWrongKey. A store that can't be read or written is an error too. ErrLocked means that another
// process leads a shared journal. Of a local one it means that this process leads it already: another
// process gets ErrLocked sooner, from dirjournal.Open.
//
// Whatever the error, what was published or accepted stays as it is, and the journal is still the
// caller's to close. The journal may have noted the new epoch.
func Open(ctx context.Context, cfg Config) (*Repository, error) {
	p, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if err := p.orAnother(ctx, p.stillLeads(ctx, p.recover(ctx))); err != nil {
		return nil, errors.Join(fmt.Errorf("open repository: %w", err), giveUpLead(p.lead))
	}
	return newRepository(p), nil
}

// stillLeads returns err. If that says that store and journal disagree, it asks the journal first whether this
// publisher still leads: one that was paused finds what its successor published, and nothing is wrong.
func (p *publisher) stillLeads(ctx context.Context, err error) error {
	if !errors.Is(err, ErrDiverged) {
		return err
	}
	switch _, lost := p.lead.Pending(ctx, 1, 0); {
	case errors.Is(lost, ErrFenced):
		return fmt.Errorf("journal: %w", lost)
	case lost != nil:
		return fmt.Errorf("journal: %w; whether it agrees with the store isn't known: %v", lost, err)
	}
	return err
}

// lead makes a publisher that has read the journal and nothing else.
func lead(ctx context.Context, cfg Config) (*publisher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	// A store that can't be read is no reason to take the lead from anybody.
	if _, err := cfg.Store.Get(ctx, ledger.Timestamp); err != nil && !errors.Is(err, ErrNotExist) {
		return nil, fmt.Errorf("store: %w", err)
	}
	if j, ok := cfg.Journal.(interface{ Cut() string }); ok && j.Cut() != "" {
		cfg.Logger.Warn("the end of the journal is no whole write and was left out: a process was killed while it wrote, "+
			"or the disk damaged what was accepted last: compare with a backup if nothing was killed", "cut", j.Cut())
	}
	lead, epoch, err := cfg.Journal.Lead(ctx)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	p := &publisher{
		cfg: cfg, log: cfg.Logger, lead: lead, epoch: epoch,
		clock:      newClock(cfg.Now, max(cfg.BinLifetime, cfg.SnapshotLifetime, cfg.TimestampLifetime)),
		state:      &ledger.State{},
		cache:      newBinCache(cfg.CacheBytes),
		quarantine: map[int]*quarantine{}, leftOut: map[int]error{}, warned: map[string]warning{},
		swaps: newSwapping(cfg.MinInterval),
	}
	p.clock.keep(cfg.Doubt)
	p.rebuild = newRebuilder(p, lead)
	if err := p.readJournal(ctx); err != nil {
		return nil, errors.Join(err, giveUpLead(lead))
	}
	return p, nil
}

// readJournal folds what the journal says from its newest checkpoint on.
func (p *publisher) readJournal(ctx context.Context) error {
	for step, err := range p.lead.Read(ctx, ledger.FromCheckpoint) {
		if errors.Is(err, ledger.ErrNewer) {
			return fmt.Errorf("journal: %w: a newer publisher led before: upgrade this one; the lead is given up, so that the newer one can go on, and nothing was changed", err)
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if step.Record == nil {
			p.logged += step.Entry.Size()
			continue
		}
		if step.Record.Kind() == ledger.KindCheckpoint {
			p.logged = 0
		}
		p.logged += len(step.Record.Bytes())
		switch b := step.Record.Body.(type) {
		case *ledger.Intent:
			p.burnt = spending{at: step.Record.Time}
			for range b.Names {
				p.burnt.roles++
			}
		case *ledger.Seal:
			p.burnt = spending{}
		}
		if err := p.state.Apply(*step.Record); err != nil {
			return err
		}
	}
	p.unwritten = stillWanted(p.state.Unwritten, p.state.Documents)
	return nil
}

// giveUpLead gives the lead up, even if the caller's context has ended. It waits 10 seconds at
// most for the journal.
func giveUpLead(l Lead) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return l.Release(ctx)
}

func (p *publisher) recover(ctx context.Context) error {
	if p.state.Chain == "" {
		return p.notYet(ctx)
	}
	if err := p.loadDocuments(ctx, p.cfg.isOnline); err != nil {
		return p.orBehind(ctx, err)
	}
	if err := p.cfg.checkBudget(p.docs.online.len()); err != nil {
		return err
	}
	if err := p.compare(ctx); err != nil {
		return err
	}
	if !p.cfg.UncheckedKeys {
		if err := p.checkSigners(); err != nil {
			return err
		}
	}
	err := p.writeDocuments(ctx, false)
	switch {
	case errors.Is(err, ErrConflict) && !isFatal(err) && p.state.Sealed == nil && p.state.Generation > 0:
		p.log.Error("a document that was accepted can't be published", "err", err) // Run says so too, and Install helps
	case err != nil:
		return err
	}
	if p.state.Sealed != nil {
		p.log.Info("completing a generation that was sealed", "generation", p.state.Last())
		if err := p.checkSealed(ctx); err != nil {
			return err
		}
		if err := p.finish(ctx); err != nil {
			return err
		}
	}
	if p.snapshot, err = p.publishedSnapshot(); err != nil {
		return err
	}
	for role, row := range p.state.Table.Roles {
		if _, online := p.docs.online.index(role); !online && p.docs.roles[role] != nil && !p.peopleTookOver(role) {
			p.log.Warn("a role was signed online, and no signer is configured for it: it is not renewed",
				"role", role, "expires", time.Unix(row.Expires, 0).UTC())
		}
	}
	if p.state.Generation == 0 { // Create was interrupted
		err := p.publish(ctx)
		if errors.Is(err, ErrClock) { // Run goes on once AcceptClock was called
			p.log.Error("the first generation isn't published yet", "err", err)
			return nil
		}
		if err != nil && !isFatal(err) {
			err = fmt.Errorf("the first generation: %w; Create may be called again, with newer documents if the accepted ones can't be published", err)
		}
		return err
	}
	// Fail now, and not at the first upload, if the store can't be written.
	if err := p.swapSame(ctx); err != nil {
		return conflictIsFatal(fmt.Errorf("store: %w", err))
	}
	return nil
}

// notYet is the error for an empty journal. What can be done depends on the store: by RestoreJournal
// nothing can be made of an empty one.
func (p *publisher) notYet(ctx context.Context) error {
	_, err := p.cfg.Store.Get(ctx, ledger.Timestamp)
	switch {
	case errors.Is(err, ErrNotExist):
		return fmt.Errorf("%w: the journal is empty, and the store has no %s: nothing was created here yet: call Create, also again if it was refused. "+
			"If there was a repository, give the journal and the store that it had", ErrNotRepository, ledger.Timestamp)
	case err != nil:
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("%w: the journal is empty, and the store publishes a repository: give the journal that belongs to it; if that was lost, "+
		"RestoreJournal makes a new one agree with what the store publishes", ErrNotRepository)
}

// compare makes sure that the store has the timestamp that the journal says it has, and that
// neither is older than the witness.
func (p *publisher) compare(ctx context.Context) error {
	current, err := p.cfg.Store.Get(ctx, ledger.Timestamp)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	if bytes.Equal(current, p.state.Timestamp()) || p.state.Sealed != nil && bytes.Equal(current, p.state.Sealed.Timestamp()) {
		if err := p.compareRoots(ctx); err != nil {
			return err
		}
		return p.compareWitness(ctx)
	}
	return fmt.Errorf("%w: %s", ErrDiverged, p.differs(current))
}

// differs says what timestamp the store should have, what it has, and what can be done.
func (p *publisher) differs(current []byte) string {
	known := fmt.Sprintf("version %d", p.state.Generation)
	if p.state.Sealed != nil {
		known += fmt.Sprintf(" or %d", p.state.Last())
	}
	return fmt.Sprintf("by the journal the timestamp is %s, and in the store there is %s", known, p.explain(current))
}

// compareRoots makes sure that the root in force is the newest that clients find. The timestamp
// doesn't show that: a root may be installed without a generation.
func (p *publisher) compareRoots(ctx context.Context) error {
	name := ledger.Name(p.docs.root.Version()+1, metadata.ROOT)
	_, err := p.cfg.Store.Get(ctx, name)
	switch {
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("%w: the store has %s, which clients follow, and the journal doesn't know it: the journal lost its last records, or was restored from a backup: "+
		"restore the newest one, or let Adopt go on from what is published, or give that root to RestoreStore (see Restoration.Documents); if it isn't this repository's, move it away",
		ErrDiverged, name)
}

// explain is for a timestamp that the journal doesn't know. It says what it is, how it may have come
// into the store, and what can be done.
func (p *publisher) explain(timestamp []byte) string {
	const onFromJournal = "restore the newest store, or let RestoreStore publish what the journal says, above every version"
	if timestamp == nil {
		return "none: the store was lost, or is another one. Give the right one, or let RestoreStore make it again from the journal"
	}
	t, err := roles.Parse[metadata.TimestampType](timestamp)
	if err != nil {
		return fmt.Sprintf("one that is not valid metadata (%v): somebody else wrote it: %s", err, onFromJournal)
	}
	found := fmt.Sprintf("version %d, expiring %s", t.Version(), t.Expires().Format("2006-01-02 15:04:05Z"))
	last := p.state.Last()
	switch err := p.docs.timestampKeys.Verify(t); {
	case err != nil:
		return fmt.Sprintf("%s, which isn't signed as root version %d demands (%v): somebody else wrote it, or the journal was restored "+
			"from before a newer root: %s; if the store is right, Adopt or RestoreJournal makes the journal agree with it", found, p.docs.root.Version(), err, onFromJournal)
	case t.Version() > last:
		return fmt.Sprintf("%s: the journal was restored from a backup, or cut, or a database lost its last records in a fail-over: restore the newest journal. "+
			"Or let Adopt go on from what is published; RestoreJournal does so if the journal has lost more than its end. What was accepted after the journal's end, and isn't published, is lost with it", found)
	case t.Version() == last || t.Version() == p.state.Generation:
		return fmt.Sprintf("%s, but another one: two publishers were at work: %s", found, onFromJournal)
	default:
		return fmt.Sprintf("%s: the store was restored from a backup: %s", found, onFromJournal)
	}
}

// orBehind adds to an error of the offline documents that the store is ahead of the journal, if it is: the
// documents that the journal knows may be gone.
func (p *publisher) orBehind(ctx context.Context, err error) error {
	if !errors.Is(err, ErrDiverged) {
		return err
	}
	data, getErr := p.cfg.Store.Get(ctx, ledger.Timestamp)
	if getErr != nil {
		return err
	}
	t, parseErr := roles.Parse[metadata.TimestampType](data)
	if parseErr != nil || t.Version() <= p.state.Last() {
		return err
	}
	return fmt.Errorf("%w. The store's timestamp is version %d, and by the journal %d is the last: if the journal lost its last records, let Adopt go on from what is published",
		err, t.Version(), p.state.Last())
}

// checkSealed makes sure that the store has every file that the sealed generation added.
func (p *publisher) checkSealed(ctx context.Context) error {
	s, gen := p.state.Sealed, p.state.Last()
	want := map[string]ledger.Blob{ledger.Name(gen, metadata.SNAPSHOT): s.Snapshot}
	for _, r := range s.Rows {
		want[ledger.Name(r.Row.Version, r.Role)] = r.Row.Blob()
	}
	bad, err := damagedFiles(ctx, p.cfg.Store, p.cfg.Workers, want)
	switch {
	case err != nil:
		return fmt.Errorf("store: %w", err)
	case len(bad) > 0:
		return fmt.Errorf("%w: generation %d is sealed and can't be committed: %s: %w (%d such files): put them back, "+
			"or let RestoreStore decide its items again", ErrDiverged, gen, bad[0], errQuarantine, len(bad))
	}
	return nil
}

// loadDocuments reads the documents in force: from the store, or from the journal if the store may
// not have them yet.
func (p *publisher) loadDocuments(ctx context.Context, isOnline func(role string) bool) error {
	installed := p.state.Documents
	if err := hasDocuments(p.state); err != nil {
		return err
	}
	o := &documents{roles: map[string]*roles.Document[metadata.TargetsType]{}, installed: installed}
	inOrder := slices.SortedFunc(maps.Keys(installed), func(a, b string) int {
		first := func(role string) int { return slices.Index([]string{"", metadata.TARGETS, metadata.ROOT}, role) }
		return cmp.Or(cmp.Compare(first(b), first(a)), cmp.Compare(a, b))
	})
	for role, f := range parallel.InOrder(ctx, p.cfg.readers(), slices.Values(inOrder), func(ctx context.Context, role string) fetched {
		data, err := p.loadDocument(ctx, role, installed[role])
		return fetched{data, err}
	}) {
		if f.err != nil {
			return f.err
		}
		var err error
		if role == metadata.ROOT {
			o.root, err = roles.Parse[metadata.RootType](f.data)
		} else {
			o.roles[role], err = roles.Parse[metadata.TargetsType](f.data)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
	}
	if err := o.derive(isOnline); err != nil {
		return err
	}
	p.docs = o
	if p.state.Generation > 0 && !p.hasSets() {
		return fmt.Errorf("%w: the journal knows other sets of bins than the documents in force: is the journal that of this store, and Config.Signers the one of before?", ErrDiverged)
	}
	return nil
}

// hasDocuments returns nil for a journal that is complete.
func hasDocuments(s *ledger.State) error {
	if s.Documents[metadata.ROOT].Version == 0 {
		return fmt.Errorf("%w yet: RestoreJournal began to make its journal, and must be repeated", ErrNotRepository)
	}
	return nil
}

// loadDocument reads one role's document. A role with a row was signed online. Its newest file
// repeats what the document said. So loadDocument reads that file.
func (p *publisher) loadDocument(ctx context.Context, role string, d ledger.Doc) ([]byte, error) {
	for _, f := range slices.Backward(p.unwritten) {
		if f.Role == role && f.Version == d.Version {
			return f.Data, nil
		}
	}
	name, blob := ledger.Name(d.Version, role), d.Blob
	row, signed := p.state.Table.Roles[role]
	if s := p.state.Sealed; s != nil { // it may take the place of one that was lost: see RestoreStore
		for _, r := range s.Rows {
			if r.Role == role {
				row, signed = r.Row, true
			}
		}
	}
	if signed {
		name, blob = ledger.Name(row.Version, role), row.Blob()
	}
	data, err := p.cfg.Store.Get(ctx, name)
	if errors.Is(err, ErrNotExist) {
		return nil, fmt.Errorf("%w: %s was installed, and the store doesn't have it: %w: the store was lost, or restored from a backup: "+
			"give the right one, or let RestoreStore make it again from the journal", ErrDiverged, name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if ledger.BlobOf(data) != blob {
		return nil, fmt.Errorf("%w: %s isn't the document that was installed: move it away, and let RestoreStore write it again from the journal",
			ErrDiverged, name)
	}
	return data, nil
}
