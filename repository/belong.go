package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Whether a store and a journal are those of one repository is decided by their roots, which are never
// deleted:
//
//	the store has a root of the journal      they belong together
//	it has another first root                they don't: clients that begin with it trust nobody else
//	it has another later root, which         they don't. If the journal's keys did sign it, people
//	no key of the journal's roots vouches    signed two roots of one version: the repository is the same
//	for
//	it has none of these roots               one file of each role is looked at. They belong together if
//	                                         a key signed one that the journal knows. They don't if all
//	                                         are metadata of others
//
// Anything else is a store that is empty or damaged. An attacker who can write to the store can make it look like
// another's only if he deletes every root and replaces everything else: then an empty store is needed anyway.

// Belong returns nil if store and journal are those of one repository. Both may be in use. What is published isn't
// compared: the store may be ahead of the journal or behind it. Open compares that.
//
// Errors wrap ErrDiverged if they are of two repositories, or if the journal has published and nothing in the store is of
// its repository: there is a message for each. Errors wrap ErrNotRepository if the journal or the store has nothing yet
// that could be compared. Other errors are those of reading. What a newer version of Bindery wrote is left out: the error wraps
// ledger.ErrNewer if nothing else decides.
//
// The cost is one reading of the journal from its newest checkpoint, and one of the root in force. If the store doesn't
// have that, it is one reading of the history and one listing of the store, and of 100 files at most besides the roots.
func Belong(ctx context.Context, store Store, journal Reader) error {
	if err := belong(ctx, store, journal); err != nil {
		return fmt.Errorf("do store and journal belong together: %w", err)
	}
	return nil
}

func belong(ctx context.Context, store Store, journal Reader) error {
	var s ledger.State
	var newer error // a standby may be older than the publisher: earlier roots will do
	for step, err := range journal.Read(ctx, ledger.FromCheckpoint) {
		if err == nil && step.Record != nil {
			err = s.Apply(*step.Record)
		}
		if errors.Is(err, ledger.ErrNewer) {
			newer = fmt.Errorf("journal: %w", err)
			break
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	root := s.Documents[metadata.ROOT]
	switch {
	case newer != nil:
	case s.Chain == "":
		return fmt.Errorf("%w: %s", ErrNotRepository, emptyJournal)
	case root.Version == 0:
		return hasDocuments(&s)
	}
	if root.Version > 0 {
		data, err := store.Get(ctx, ledger.Name(root.Version, metadata.ROOT))
		if err != nil && !errors.Is(err, ErrNotExist) {
			return fmt.Errorf("store: %w", err)
		}
		if err == nil && ledger.BlobOf(data) == root.Blob {
			return nil
		}
	}
	files, err := acceptedFiles(ctx, journal)
	if err != nil && !errors.Is(err, ledger.ErrNewer) {
		return err
	}
	same, err := isStoreOf(ctx, store, files)
	switch {
	case err != nil:
		return withPlaces(err, store, journal)
	case same:
		return nil
	case newer != nil:
		return newer
	case s.Generation == 0:
		return fmt.Errorf("%w yet: the store has nothing of what the journal accepted: its first generation isn't published", ErrNotRepository)
	}
	return withPlaces(fmt.Errorf("%w: the journal published generation %d, and the store has none of its roots: the store is another one, or was lost: %s; if it was lost, "+
		"stop the publisher, and let RestoreStore make it again from the journal", ErrDiverged, s.Generation, checkPlaces), store, journal)
}

// checkPlaces is what to do if store and journal don't belong together.
const checkPlaces = "check where the configuration says that they are: the store's bucket and prefix, or its folder; the journal's database and schema, or its folder"

// errAnother is wrapped in an error that also wraps ErrDiverged.
var errAnother = errors.New("store and journal belong to different repositories")

// orAnother is the function of this name, for the publisher.
func (p *publisher) orAnother(ctx context.Context, err error) error {
	return orAnother(ctx, p.cfg.Store, p.lead, p.cfg.Journal, err)
}

// notAnothers makes sure, before a restoration changes anything, that the store isn't another repository's than that
// whose journal accepted these files. wayOut is what helps if that is meant.
func (p *publisher) notAnothers(ctx context.Context, accepted []ledger.File, wayOut string) error {
	_, err := isStoreOf(ctx, p.cfg.Store, accepted)
	if errors.Is(err, errAnother) {
		err = withPlaces(fmt.Errorf("%w; %s", err, wayOut), p.cfg.Store, p.cfg.Journal)
	}
	return err
}

// orAnother returns err. If that is a conflict between store and journal, and they turn out to belong to different
// repositories, it returns an error that says this instead: what else err advises would destroy one of them. named is the journal, which may say
// where it is.
func orAnother(ctx context.Context, store Store, journal Reader, named any, err error) error {
	if !errors.Is(err, ErrDiverged) && !errors.Is(err, ErrConflict) {
		return err
	}
	files, readErr := acceptedFiles(ctx, journal)
	if readErr != nil {
		return err
	}
	if _, another := isStoreOf(ctx, store, files); errors.Is(another, errAnother) {
		return withPlaces(another, store, named)
	}
	return err
}

// acceptedFiles are the documents that a journal ever accepted, online ones too. With an error, it returns those before that.
func acceptedFiles(ctx context.Context, journal Reader) ([]ledger.File, error) {
	var files []ledger.File
	for step, err := range journal.Read(ctx, ledger.FromBeginning) {
		if err != nil {
			return files, fmt.Errorf("journal: %w", err)
		}
		if step.Record == nil {
			continue
		}
		if d, ok := step.Record.Body.(*ledger.Documents); ok {
			files = append(files, d.Files...)
		}
	}
	return files, nil
}

// isStoreOf reports whether the store has anything of the repository whose journal accepted these files. If it is
// certain that the store is another repository's, the error wraps errAnother and ErrDiverged.
func isStoreOf(ctx context.Context, store Store, accepted []ledger.File) (bool, error) {
	roots := map[int64][]*roles.Document[metadata.RootType]{} // of one version there may be two: see WithdrawRoot
	known := keysIn(accepted)
	for _, f := range accepted {
		if f.Role != metadata.ROOT {
			continue
		}
		root, err := roles.Parse[metadata.RootType](f.Data)
		if err != nil {
			return false, fmt.Errorf("journal: %s: %w", f.Name(), err)
		}
		roots[f.Version] = append(roots[f.Version], root)
	}
	if len(roots) == 0 {
		return false, nil
	}
	versions := slices.Sorted(maps.Keys(roots))
	names := make([]string, len(versions))
	for n, version := range versions {
		names[n] = ledger.Name(version, metadata.ROOT)
	}
	for name, f := range fetch(ctx, store, usualReaders, slices.Values(names)) {
		version, _, _ := ledger.ParseName(name)
		data, err := f.data, f.err
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		if slices.ContainsFunc(roots[version], func(r *roles.Document[metadata.RootType]) bool { return bytes.Equal(r.Bytes(), data) }) {
			return true, nil
		}
		found, err := parseTrusted(data)
		if err != nil || found.Version() != version {
			continue // it is damaged
		}
		vouched := slices.ContainsFunc(slices.Concat(roots[version-1], roots[version]), func(r *roles.Document[metadata.RootType]) bool {
			if version == versions[0] {
				return bytes.Equal(r.Canonical(), found.Canonical()) // signed once more
			}
			return verifyRole(r, found, metadata.ROOT) == nil
		})
		if !vouched {
			return false, another(fmt.Sprintf("the store's %s is a valid root, and not the journal's", name))
		}
	}
	return hasFilesOf(ctx, store, known)
}

func another(why string) error {
	return fmt.Errorf("%w: %w: %s: nothing was changed; %s", ErrDiverged, errAnother, why, checkPlaces)
}

// keysIn are the keys that documents list, by ID.
func keysIn(files []ledger.File) map[string]*metadata.Key {
	listed := map[string]*metadata.Key{}
	for _, f := range files {
		if f.Role == metadata.ROOT {
			if d, err := roles.Parse[metadata.RootType](f.Data); err == nil {
				maps.Copy(listed, d.Signed().Keys)
			}
		} else if d, err := roles.Parse[metadata.TargetsType](f.Data); err == nil && d.Signed().Delegations != nil {
			maps.Copy(listed, d.Signed().Delegations.Keys)
		}
	}
	return listed
}

// mostLookedAt is how many files of a store without the journal's roots are read, one of each role.
const mostLookedAt = 100

// hasFilesOf is isStoreOf for a store in which no root decides.
func hasFilesOf(ctx context.Context, store Store, known map[string]*metadata.Key) (bool, error) {
	newest := map[string]int64{}
	for info, err := range store.List(ctx) {
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		if info.Name == ledger.Timestamp {
			newest[metadata.TIMESTAMP] = 0
		} else if version, role, ok := ledger.ParseName(info.Name); ok {
			newest[role] = max(newest[role], version)
		}
	}
	first := []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS, metadata.ROOT}
	inOrder := slices.SortedFunc(maps.Keys(newest), func(a, b string) int {
		place := func(role string) int {
			if i := slices.Index(first, role); i >= 0 {
				return i
			}
			return len(first)
		}
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	})
	inOrder = inOrder[:min(len(inOrder), mostLookedAt)]
	names := make([]string, len(inOrder))
	for n, role := range inOrder {
		if names[n] = ledger.Timestamp; role != metadata.TIMESTAMP {
			names[n] = ledger.Name(newest[role], role)
		}
	}
	anyKnown := roles.NewAuthority(known, slices.Collect(maps.Keys(known)), 1)
	var others []string
	for name, f := range fetch(ctx, store, usualReaders, slices.Values(names)) {
		if errors.Is(f.err, ErrNotExist) {
			continue
		}
		if f.err != nil {
			return false, fmt.Errorf("store: %w", f.err)
		}
		doc := parseNamed(name, f.data)
		if doc == nil || len(doc.Signatures()) == 0 {
			continue // it is damaged
		}
		if anyKnown.Verify(doc) == nil {
			return true, nil
		}
		if !slices.ContainsFunc(doc.Signatures(), func(s roles.Signature) bool { return known[s.KeyID] != nil }) {
			others = append(others, name)
		}
	}
	if len(others) > 0 {
		return false, another(fmt.Sprintf("the store has none of the journal's roots, and %s is metadata that was signed by keys which the journal never knew, as is all else that was looked at (%d such files)", others[0], len(others)))
	}
	return false, nil
}

// parseNamed returns the metadata in a file of this name, or nil if it isn't what the name says.
func parseNamed(name string, data []byte) roles.Signed {
	version, role, _ := ledger.ParseName(name)
	switch {
	case name == ledger.Timestamp:
		return parsed[metadata.TimestampType](data, 0)
	case role == metadata.SNAPSHOT:
		return parsed[metadata.SnapshotType](data, version)
	case role == metadata.ROOT:
		return parsed[metadata.RootType](data, version)
	}
	return parsed[metadata.TargetsType](data, version)
}

// parsed returns a document of this version, if it isn't 0, or nil.
func parsed[T roles.Type](data []byte, version int64) roles.Signed {
	d, err := roles.Parse[T](data)
	if err != nil || version != 0 && d.Version() != version {
		return nil
	}
	return d
}

// withPlaces adds to an error where store and journal are, if they say it.
func withPlaces(err error, store, journal any) error {
	if !errors.Is(err, ErrDiverged) {
		return err
	}
	if s, ok := store.(fmt.Stringer); ok {
		err = fmt.Errorf("%w; the store is %s", err, s)
	}
	if j, ok := journal.(fmt.Stringer); ok {
		err = fmt.Errorf("%w; the journal is %s", err, j)
	}
	return err
}
