package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

var (
	// ErrNotRepository is wrapped by Open for a journal in which no repository
	// was ever created.
	ErrNotRepository = errors.New("not a repository")

	// ErrExists is wrapped by Create for a journal or store that is in use.
	ErrExists = errors.New("there is a repository already")

	// ErrDiverged is wrapped by Open when store and journal disagree about what
	// is published: one of them was restored from a backup, or somebody else
	// publishes there. Nothing was changed.
	ErrDiverged = errors.New("store and journal disagree")
)

// Create makes a new repository of offline documents and publishes its first
// generation: every bin, empty, and the first snapshot and timestamp. It owns the
// journal and the store from now on. The cost is one signature and one durable
// write for each bin, which takes seconds for 16,384.
//
// If Create fails after it accepted the documents, they are durable in the
// journal and Open completes the work; if it fails before, nothing was changed.
// Errors wrap ErrExists, ErrLocked and ErrWrongKey, or name the document; the
// journal is still the caller's to close then.
func Create(ctx context.Context, cfg Config, d Documents) (*Repository, error) {
	p, log, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	if err := p.create(ctx, log, d); err != nil {
		return nil, errors.Join(fmt.Errorf("create repository: %w", err), release(p.leader))
	}
	return newRepository(p), nil
}

func (p *publisher) create(ctx context.Context, log Log, d Documents) error {
	if len(log.Records) > 0 {
		return fmt.Errorf("journal: %w: use Open", ErrExists)
	}
	switch _, err := p.cfg.Store.Get(ctx, timestampName); {
	case err == nil:
		return fmt.Errorf("store: %w: it has a %s", ErrExists, timestampName)
	case !errors.Is(err, ErrNotExist):
		return fmt.Errorf("store: %w", err)
	}
	now, err := p.clock.check(p.state.signed)
	if err != nil {
		return err
	}
	next, files, err := p.offline.with(d, now)
	if err != nil {
		return err
	}
	if err := judgeNew(files, next.root.Version()); err != nil {
		return err
	}
	if _, err := next.signers(p.cfg); err != nil {
		return err
	}
	for _, f := range files {
		switch data, err := p.cfg.Store.Get(ctx, f.Name); {
		case err == nil && !bytes.Equal(data, f.Data):
			return fmt.Errorf("store: %w: it has another %s", ErrExists, f.Name)
		case err != nil && !errors.Is(err, ErrNotExist):
			return fmt.Errorf("store: %w", err)
		}
	}
	if err := p.acceptDocuments(ctx, next, files); err != nil {
		return err
	}
	p.snapshot = roles.NewSnapshot()
	return p.publish(ctx)
}

// Open opens a repository that Create made, as its publisher. It brings what an
// earlier publisher left half done to its end, with the code that publishes:
// what was sealed is committed, what was only planned is burnt and its items
// stay queued. It reads the journal's tail and the offline documents, but no
// bin: neither time nor memory depend on the number of targets.
//
// Errors wrap ErrLocked while another publisher is alive, ErrNotRepository, or
// ErrDiverged; a store that can't be read or written is an error too. Whatever the
// error, nothing that was published or accepted has changed (a journal may have
// noted the new epoch), and the journal is still the caller's to close.
func Open(ctx context.Context, cfg Config) (*Repository, error) {
	p, log, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if err := p.recover(ctx, log); err != nil {
		return nil, errors.Join(fmt.Errorf("open repository: %w", err), release(p.leader))
	}
	return newRepository(p), nil
}

// lead makes a publisher that has read the journal and nothing else.
func lead(ctx context.Context, cfg Config) (*publisher, Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, Log{}, err
	}
	// A store that can't be read is no reason to take the lead from anybody.
	if _, err := cfg.Store.Get(ctx, timestampName); err != nil && !errors.Is(err, ErrNotExist) {
		return nil, Log{}, fmt.Errorf("store: %w", err)
	}
	leader, err := cfg.Journal.Lead(ctx)
	if err != nil {
		return nil, Log{}, fmt.Errorf("journal: %w", err)
	}
	log, err := leader.Load(ctx)
	if err != nil {
		return nil, Log{}, errors.Join(fmt.Errorf("journal: %w", err), release(leader))
	}
	p := &publisher{
		cfg: cfg, log: cfg.Logger, leader: leader,
		clock:      newClock(cfg.Now, max(cfg.BinLifetime, cfg.SnapshotLifetime, cfg.TimestampLifetime)),
		state:      &state{epoch: log.Epoch},
		cache:      newBinCache(cfg.CacheBytes),
		quarantine: map[int]error{}, patience: firstRecheck,
	}
	p.rebuild = newRebuilder(p)
	return p, log, nil
}

// release gives the lead up, also after the caller's context ended, but a journal
// that doesn't answer keeps nobody for long.
func release(l Leader) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return l.Release(ctx)
}

func (p *publisher) recover(ctx context.Context, log Log) error {
	if len(log.Records) == 0 {
		return fmt.Errorf("%w: the journal is empty: if it was lost, RestoreJournal makes a new one agree with what the store publishes", ErrNotRepository)
	}
	var err error
	if p.state, err = load(log); err != nil {
		return err
	}
	for _, r := range log.Records {
		p.logged += len(r.Body) + 1024*len(r.Outcomes) // what items take, about
	}
	if err := p.loadDocuments(ctx); err != nil {
		return err
	}
	if err := p.compare(ctx); err != nil {
		return err
	}
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	if p.state.sealed != nil {
		p.log.Info("completing a generation that was sealed", "generation", p.state.sealed.generation)
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
	if p.state.generation == 0 { // Create was interrupted
		return p.publish(ctx)
	}
	// That the store can't be written is better known now than at the first upload.
	if err := p.cfg.Store.Swap(ctx, timestampName, p.state.timestamp, p.state.timestamp); err != nil {
		return conflictIsFatal(fmt.Errorf("store: %w", err))
	}
	return nil
}

// compare holds the store's timestamp against what the journal says of it, and that
// against the witness.
func (p *publisher) compare(ctx context.Context) error {
	current, err := p.cfg.Store.Get(ctx, timestampName)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("store: %w", err)
	}
	if bytes.Equal(current, p.state.timestamp) || p.state.sealed != nil && bytes.Equal(current, p.state.sealed.Timestamp) {
		if err := p.compareRoots(ctx); err != nil {
			return err
		}
		return p.compareWitness(ctx)
	}
	known := fmt.Sprintf("version %d", p.state.generation)
	if s := p.state.sealed; s != nil {
		known += fmt.Sprintf(" or %d", s.generation)
	}
	return fmt.Errorf("%w: by the journal the timestamp is %s, and in the store there is %s", ErrDiverged, known, p.explain(current))
}

// compareRoots makes sure that the root in force is the newest that clients find. A
// root may be installed without a generation: no timestamp tells.
func (p *publisher) compareRoots(ctx context.Context) error {
	name := versioned(p.offline.root.Version()+1, metadata.ROOT)
	_, err := p.cfg.Store.Get(ctx, name)
	switch {
	case errors.Is(err, ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("store: %w", err)
	}
	return fmt.Errorf("%w: the store has %s, which clients follow, and the journal doesn't know it: the journal was restored from a backup: "+
		"restore the newest one, or give that root to RestoreStore (see Restoration.Documents); if it is none of this repository's, move it away",
		ErrDiverged, name)
}

// explain says what a timestamp is that the journal doesn't know, how it may have
// come there, and what can be done.
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
	last := p.state.last()
	switch err := p.offline.timestampKeys.Verify(t); {
	case err != nil:
		return fmt.Sprintf("%s, which isn't signed as root version %d demands (%v): somebody else wrote it, or the journal was restored "+
			"from before a newer root: %s; if the store is right, RestoreJournal makes the journal agree with it", found, p.offline.root.Version(), err, onFromJournal)
	case t.Version() > last:
		return fmt.Sprintf("%s: the journal was restored from a backup, or cut: restore the newest journal, or let RestoreJournal "+
			"make it agree with what is published; what was accepted and isn't published is lost with it", found)
	case t.Version() == last || t.Version() == p.state.generation:
		return fmt.Sprintf("%s, but another one: two publishers were at work: %s", found, onFromJournal)
	default:
		return fmt.Sprintf("%s: the store was restored from a backup: %s", found, onFromJournal)
	}
}

// checkSealed makes sure that all the sealed generation newly names is there.
func (p *publisher) checkSealed(ctx context.Context) error {
	s := p.state.sealed
	want := map[string]blob{versioned(s.generation, metadata.SNAPSHOT): s.Snapshot}
	for _, b := range s.Bins {
		want[versioned(b.Version, p.offline.layout.Name(b.Index))] = b.blob
	}
	for name, b := range want {
		data, err := p.cfg.Store.Get(ctx, name)
		if err == nil && blobOf(data) != b {
			err = errQuarantine
		}
		if err != nil {
			return fmt.Errorf("%w: generation %d is sealed and can't be committed: %s: %w: put the file back, "+
				"or let RestoreStore decide its items again", ErrDiverged, s.generation, name, err)
		}
	}
	return nil
}

// loadDocuments reads the offline documents in force, from the journal where
// they may not have reached the store yet.
func (p *publisher) loadDocuments(ctx context.Context) error {
	d := p.state.docs
	if d.Root.Version == 0 {
		return fmt.Errorf("%w yet: RestoreJournal began to make its journal, and must be repeated", ErrNotRepository)
	}
	o := &offline{}
	if err := loadDocument(ctx, p, metadata.ROOT, d.Root, &o.root); err != nil {
		return err
	}
	if err := loadDocument(ctx, p, metadata.TARGETS, d.Targets, &o.targets); err != nil {
		return err
	}
	if err := loadDocument(ctx, p, delegation.BinsRole, d.Bins, &o.bins); err != nil {
		return err
	}
	p.offline = o
	if err := o.derive(); err != nil {
		return err
	}
	if n := o.layout.Len(); p.state.generation > 0 && len(p.state.bins) != n {
		return fmt.Errorf("%w: the journal knows %d bins, and the bins document has %d", ErrDiverged, len(p.state.bins), n)
	}
	return nil
}

func loadDocument[T roles.Type](ctx context.Context, p *publisher, role string, d doc, to **roles.Document[T]) error {
	name := versioned(d.Version, role)
	var data []byte
	if i := slices.IndexFunc(p.state.unwritten, func(f file) bool { return f.Name == name }); i >= 0 {
		data = p.state.unwritten[i].Data
	} else {
		var err error
		data, err = p.cfg.Store.Get(ctx, name)
		if errors.Is(err, ErrNotExist) {
			return fmt.Errorf("%w: %s was installed, and the store doesn't have it: %w: the store was lost, or restored from a backup: "+
				"give the right one, or let RestoreStore make it again from the journal", ErrDiverged, name, err)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	if blobOf(data) != d.blob {
		return fmt.Errorf("%w: %s isn't the document that was installed: move it away, and let RestoreStore write it again from the journal",
			ErrDiverged, name)
	}
	parsed, err := roles.Parse[T](data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*to = parsed
	return nil
}
