package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// The journal's older history is put away in these steps, each durable before the next begins:
//
//	checked      every file that a replay will begin with is in the store, as it was published
//	checkpoint   one append holds a checkpoint, which names those files as bases, and all documents of
//	             people, so that RestoreStore can still write them
//	copied       the archive has all files of the journal with earlier history
//	removed      the journal has them no more, and the store no bases of an earlier call

// Archive says what Repository.Archive does with the older history. Either To or Delete is needed.
type Archive struct {
	// To is the folder to which the files go. It must exist, and may be on another disk. Several calls may name the
	// same one.
	To string
	// Delete deletes the files instead. Nothing brings them back.
	Delete bool
	// DryRun changes nothing. The result says what the call would do.
	DryRun bool
}

// Archived is what Repository.Archive did, or would do. String says it in words.
type Archived struct {
	// Begins is the generation with which the history that is left begins.
	Begins int64 `json:"begins"`

	// Files of the journal go, with this many bytes.
	Files []ArchivedFile `json:"files"`
	Bytes int64          `json:"bytes"`

	// Bases are the files of the store with which a replay of the history begins: the newest of each online
	// role. They are kept, even once they are superseded, until the next Archive. So they cost at most
	// BaseBytes.
	Bases     int   `json:"bases"`
	BaseBytes int64 `json:"base_bytes"`

	archive Archive
}

// String says what goes, from where on history is left, and what is not possible without the rest.
func (a Archived) String() string {
	goes := fmt.Sprintf("go to %s", a.archive.To)
	back := "Once the files are put back into the journal's folder, all of this is possible again."
	if a.archive.Delete {
		goes, back = "are deleted", "Nothing brings the files back."
	}
	return fmt.Sprintf(`%d files of the journal with %d bytes %s.
The history that is left begins at generation %d. What came before can't be asked for: ReadGenerations and ReadLife begin there, and ReadDiff compares no earlier generation.
A bin can't be made again from the journal alone any more: Rebuild and RestoreStore begin with its file of generation %[4]d or before. These %d files of the store are kept until the next call even if newer ones replace them, which costs up to %d bytes. Keep copies of them in each backup.
%s
`, len(a.Files), a.Bytes, goes, a.Begins, a.Bases, a.BaseBytes, back)
}

// Archive makes the journal's history begin now, and puts what came before into a folder, or deletes it.
// Without it the journal grows for ever. The journal must be an Archiver, as that of package dirjournal is; otherwise
// the error wraps errors.ErrUnsupported. A dry run says beforehand what goes, and what is then no longer
// possible.
//
// Publishing goes on meanwhile. What is queued, published, and remembered of items stays. Every bin is read once
// before, because the history must not go while a published file is missing or altered: the error then names
// the files. It is also an error if documents were accepted and can't be published yet.
//
// After any other error, or if the process is killed, nothing is lost: repeat the call. The history may begin now by
// then. A result comes with the error if it does.
func (r *Repository) Archive(ctx context.Context, a Archive) (Archived, error) {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	result, err := r.archive(ctx, a)
	if err != nil {
		return result, fmt.Errorf("archive history: %w", r.orEnded(err))
	}
	return result, nil
}

func (r *Repository) archive(ctx context.Context, a Archive) (Archived, error) {
	archiver, ok := r.cfg.Journal.(Archiver)
	switch {
	case !ok:
		return Archived{}, fmt.Errorf("a journal of type %T keeps all of its history: %w", r.cfg.Journal, errors.ErrUnsupported)
	case a.Delete == (a.To != ""):
		return Archived{}, errors.New("name a folder in Archive.To, or set Archive.Delete")
	}
	files, err := archiver.Archivable(ctx, a.To)
	if err != nil {
		return Archived{}, err
	}
	var bases map[string]ledger.Blob // of the store, by name
	err = r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
		bases, err = p.archivable(ctx)
		return err
	})
	if err != nil {
		return Archived{}, err
	}
	bad, err := damagedFiles(ctx, r.cfg.Store, r.cfg.Workers, bases)
	if err != nil {
		return Archived{}, err
	}
	if len(bad) > 0 {
		return Archived{}, fmt.Errorf("%d files are missing or altered in the store, and can be made again only from the history: call Rebuild for each of their bins first: %s",
			len(bad), strings.Join(bad, ", "))
	}
	var roots []ledger.File
	if !a.DryRun {
		if roots, err = readRoots(ctx, r.pub.lead); err != nil {
			return Archived{}, err
		}
	}
	result := Archived{archive: Archive{To: a.To, Delete: a.Delete}, Files: files}
	var checkpoint string
	var dropped []string
	err = r.exclusively(ctx, func(ctx context.Context, p *publisher) error {
		// What was published since is in the store: this process wrote it.
		if bases, err = p.archivable(ctx); err != nil {
			return err
		}
		result.Begins = p.state.Generation
		if !a.DryRun {
			checkpoint, dropped, err = p.beginHistory(ctx, roots)
		}
		return err
	})
	if err != nil {
		return Archived{}, err
	}
	for _, blob := range bases {
		result.Bases++
		result.BaseBytes += blob.Length
	}
	if !a.DryRun {
		if result.Files, err = archiver.Archive(ctx, checkpoint, a.To); err == nil {
			r.deleteAll(ctx, dropped)
		}
	}
	for _, f := range result.Files {
		result.Bytes += f.Bytes
	}
	return result, err
}

// archivable makes sure that the history may begin now, and returns the files with which it would begin.
func (p *publisher) archivable(ctx context.Context) (map[string]ledger.Blob, error) {
	if err := p.finish(ctx); err != nil {
		return nil, err
	}
	switch {
	case p.state.Generation == 0:
		return nil, errors.New("no generation is published yet")
	case p.documentsWait():
		return nil, errors.New("documents were accepted and are not published yet: call Install for them again, and then Archive")
	case len(p.quarantine) > 0:
		return nil, errors.New("bins are quarantined, and can be made again only from the history: call Rebuild for each of Status.Quarantined first")
	}
	files := map[string]ledger.Blob{}
	for i := range p.docs.online.len() {
		if row := p.row(i); row.Version > 0 {
			files[p.fileName(i)] = row.Blob()
		}
	}
	return files, nil
}

// damagedFiles returns those names that the store lacks, or has with other contents, in order.
func damagedFiles(ctx context.Context, store Store, workers int, want map[string]ledger.Blob) ([]string, error) {
	var mu sync.Mutex
	var bad []string
	err := parallel.All(ctx, workers, slices.Sorted(maps.Keys(want)), func(ctx context.Context, name string) error {
		_, err := getPublished(ctx, store, name, want[name])
		if errors.Is(err, errQuarantine) {
			mu.Lock()
			defer mu.Unlock()
			bad = append(bad, name)
			return nil
		}
		return err
	})
	slices.Sort(bad)
	return bad, err
}

// readRoots returns every root that the history has, oldest first. The store may lack earlier ones, and
// clients need all.
func readRoots(ctx context.Context, from Reader) ([]ledger.File, error) {
	found := map[int64]ledger.File{}
	for step, err := range from.Read(ctx, ledger.FromBeginning) {
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if step.Record == nil {
			continue
		}
		if b, ok := step.Record.Body.(*ledger.Documents); ok {
			for _, f := range b.Files {
				if f.Role == metadata.ROOT { // in the place of one that was withdrawn
					f.AtCommit = false
					found[f.Version] = f
				}
			}
		}
	}
	var all []ledger.File
	for _, version := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[version])
	}
	return all, nil
}

// beginHistory appends the checkpoint with which the history is to begin, and returns its hash and the names of files
// that are no bases any more and that nobody else will delete.
func (p *publisher) beginHistory(ctx context.Context, roots []ledger.File) (hash string, dropped []string, err error) {
	files, err := p.allDocuments(ctx, roots)
	if err != nil {
		return "", nil, err
	}
	begun := p.begins()
	before := p.state.Bases
	body := p.state.Checkpoint()
	body.Bases = map[string]int64{}
	for i := range p.docs.online.len() {
		if row := p.row(i); row.Version > 0 {
			body.Bases[p.name(i)] = row.Version
		}
	}
	checkpoint, err := p.record(p.state.Generation, body)
	if err != nil {
		return "", nil, fatal(err)
	}
	documents, err := ledger.NewRecord(p.epoch, p.state.Generation, checkpoint.Hash(), p.cfg.Now(), &ledger.Documents{InForce: p.state.Documents, Files: files})
	if err != nil {
		return "", nil, fatal(err)
	}
	err = p.appendAll(ctx, checkpoint, documents)
	p.observe(begun, Event{Stage: StageCheckpoint, Generation: p.state.Generation, Roles: p.state.Table.Len(), Err: err})
	if err != nil {
		return "", nil, fmt.Errorf("checkpoint: %w", err)
	}
	p.logged = len(documents.Bytes())
	listed := map[string]bool{} // to be collected, as soon as that may be
	for i := range p.state.Garbage {
		for name := range p.state.Garbage[i].Names {
			listed[name] = true
		}
	}
	for role, version := range before {
		if name := ledger.Name(version, role); keeps(p.state, name) == "" && !listed[name] {
			dropped = append(dropped, name)
		}
	}
	slices.Sort(dropped)
	return checkpoint.Hash(), dropped, nil
}

// allDocuments are the roots, and the other documents in force that people signed.
func (p *publisher) allDocuments(ctx context.Context, roots []ledger.File) ([]ledger.File, error) {
	files := slices.DeleteFunc(slices.Clone(roots), func(f ledger.File) bool { return f.Version >= p.docs.root.Version() })
	version := int64(1)
	if len(files) > 0 {
		version = files[len(files)-1].Version + 1
	}
	var since []string // roots that were installed since the history was read
	for ; version < p.docs.root.Version(); version++ {
		since = append(since, ledger.Name(version, metadata.ROOT))
	}
	for name, f := range fetch(ctx, p.cfg.Store, p.cfg.Workers, slices.Values(since)) {
		if errors.Is(f.err, ErrNotExist) && len(files) == 0 {
			continue // the repository was made from a later one on
		}
		if f.err != nil {
			return nil, fmt.Errorf("store: %s: %w", name, f.err)
		}
		root, err := roles.Parse[metadata.RootType](f.data)
		if err != nil {
			return nil, fmt.Errorf("store: %s: %w", name, err)
		}
		files = append(files, ledger.File{Role: metadata.ROOT, Doc: docOf(root), Data: f.data})
	}
	files = append(files, ledger.File{Role: metadata.ROOT, Doc: docOf(p.docs.root), Data: p.docs.root.Bytes()})
	for _, role := range slices.Sorted(maps.Keys(p.docs.roles)) {
		_, online := p.docs.online.index(role)
		_, row := p.state.Table.Roles[role]
		if doc := p.docs.roles[role]; !online && !row {
			files = append(files, ledger.File{Role: role, Doc: docOf(doc), Data: doc.Bytes()})
		}
	}
	return files, nil
}

// deleteAll deletes files of the store with which an earlier history began. One that stays does no harm.
func (r *Repository) deleteAll(ctx context.Context, names []string) {
	if r.cfg.CollectPerMinute < 0 { // nothing is deleted here
		return
	}
	err := parallel.All(ctx, r.cfg.Workers, names, func(ctx context.Context, name string) error {
		return deleteFile(ctx, r.cfg.Store, name)
	})
	if err != nil {
		r.cfg.Logger.Warn("files with which an earlier history began could not all be deleted, and take space until a Sweep", "files", len(names), "err", err)
	}
}
