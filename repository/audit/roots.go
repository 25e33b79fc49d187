package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// maxRootSteps is how many roots a client follows in one refresh.
const maxRootSteps = 256

// rootDocument is a root that could be parsed.
type rootDocument = *roles.Document[metadata.RootType]

// roots checks the chain of all roots. It returns the newest that is trusted, and all that could
// be parsed, oldest first. There may be none.
func (a *auditor) roots() (trusted rootDocument, parsed []rootDocument, err error) {
	var versions []int64
	for _, name := range a.listed {
		if version, role, ok := ledger.ParseName(name); ok && role == metadata.ROOT {
			versions = append(versions, version)
		}
	}
	if len(versions) == 0 {
		return nil, nil, a.noRoot()
	}
	slices.Sort(versions)
	versions = append(versions, a.newRoots(versions[len(versions)-1])...)
	if n := versions[len(versions)-1] - 1; n > maxRootSteps {
		a.warnf(checkVersion, ledger.Name(n+1, metadata.ROOT), "clients that begin with root 1 follow %d new roots at a time, and there are %d", maxRootSteps, n)
	}
	var last rootDocument
	before := int64(0)
	for v, read := range parallel.InOrder(a.ctx, a.cfg.Workers, slices.Values(versions), func(ctx context.Context, v int64) *file {
		return a.read(ctx, ledger.Name(v, metadata.ROOT))
	}) {
		if v > before+1 {
			a.rootGap(before+1, v-1)
		}
		before = v
		root, sound := a.root(v, read, last, trusted)
		if root != nil {
			last = root
			parsed = append(parsed, root)
		}
		if sound {
			trusted = root
		}
	}
	if trusted == nil {
		trusted = last // reported; there is nothing better to go on with
	}
	if trusted == nil {
		a.partial = true
		return nil, nil, nil
	}
	a.expiry(metadata.ROOT, ledger.Name(trusted.Version(), metadata.ROOT), trusted.Expires(), a.cfg.Soon)
	return trusted, parsed, nil
}

// noRoot is for a store without any root. If it has other metadata, or the journal knows of a root,
// the roots were deleted: that is a finding. Otherwise it is no repository.
func (a *auditor) noRoot() error {
	name, what := ledger.Name(1, metadata.ROOT), "there is no metadata at all"
	other := slices.ContainsFunc(a.listed, func(name string) bool {
		_, _, versioned := ledger.ParseName(name)
		return versioned || name == ledger.Timestamp
	})
	if other {
		what = "there is other metadata and no root"
	}
	if v := a.installedRoot(); v > 0 {
		name = ledger.Name(v, metadata.ROOT)
		what += fmt.Sprintf(", and by the journal root version %d was installed", v)
	} else if !other {
		return fmt.Errorf("%w: there is no root metadata", repository.ErrNotRepository)
	}
	a.errorf(checkMissing, name, "%s: no client can begin or go on: restore every root, exactly as it was, from a backup, "+
		"a mirror or a client", what)
	return nil
}

// installedRoot is the version of the root that the journal says the store has, or 0.
func (a *auditor) installedRoot() int64 {
	s := a.journal.state
	if s == nil || slices.ContainsFunc(s.Unwritten, func(f ledger.File) bool { return f.Role == metadata.ROOT }) {
		return 0
	}
	return s.Documents[metadata.ROOT].Version
}

// newRoots are those that were written since the store was listed: clients ask for
// the next root until there is none.
func (a *auditor) newRoots(last int64) []int64 {
	var versions []int64
	for !a.done() {
		last++
		if _, err := a.store.Get(a.ctx, ledger.Name(last, metadata.ROOT)); err != nil {
			break
		}
		versions = append(versions, last)
	}
	return versions
}

func (a *auditor) rootGap(first, last int64) {
	name := ledger.Name(first, metadata.ROOT)
	switch {
	case first == 1 && last == 1:
		a.warnf(checkMissing, name, "it does not exist, so nobody can begin with it who doesn't have it")
	case first == last:
		a.errorf(checkMissing, name, "it does not exist: clients that trust an older root don't find the newer ones")
	default:
		a.errorf(checkMissing, name, "roots %d to %d do not exist: clients that trust an older one don't find the newer ones", first, last)
	}
}

// root checks one root. last is the root before it, if that could be parsed, and trusted the newest
// that clients accept. sound reports whether clients that trust last accept this one. Where last
// isn't trusted it may be the one that was changed: then the keys of either may have signed.
func (a *auditor) root(version int64, read *file, last, trusted rootDocument) (root rootDocument, sound bool) {
	name := ledger.Name(version, metadata.ROOT)
	data, ok := a.get(name, read)
	if !ok {
		return nil, false
	}
	e := expected{name: name, meta: metadata.MetaFiles{Version: version}, limit: roles.MaxRoot}
	root, err := roles.Parse[metadata.RootType](data)
	r := judgeFile(e, data, root, err)
	if r == nil {
		err := signedUnder(root, root)
		if err == nil && last != nil && last.Version()+1 == version {
			err = signedUnder(root, last)
			if err != nil && trusted != nil && trusted != last && signedUnder(root, trusted) == nil {
				err = nil
			}
		}
		if err != nil {
			r = &refusal{checkSignature, err.Error()}
		}
	}
	if r != nil {
		a.errorf(r.check, name, "%s", r.problem)
		return root, false
	}
	judgeForAll(a, name, root)
	if auth, err := roles.RootAuthority(root, metadata.ROOT); err == nil {
		a.spareSignatures(name, auth, root)
	}
	return root, true
}

// signedUnder returns nil if enough of the root keys that by lists signed root.
func signedUnder(root, by rootDocument) error {
	auth, err := rootAuthority(by, metadata.ROOT)
	if err == nil {
		err = verify(auth, root)
	}
	if err != nil {
		return fmt.Errorf("by the keys of root %d: %w", by.Version(), err)
	}
	return nil
}

// rightfulRoot returns the root under which the rest is to be judged. That is root, unless none of
// timestamp, snapshot and targets is signed by any key that root lists for it: then the root was
// exchanged, and not each of the three. It reports that. It then returns an older root under which they are in
// order, or nil if there is none.
func (a *auditor) rightfulRoot(root rootDocument, parsed []rootDocument) rootDocument {
	files := a.topLevelFiles(root.Signed().ConsistentSnapshot)
	if signed, strangers := files.judge(root); signed > 0 || strangers < 2 {
		return root
	}
	name := ledger.Name(root.Version(), metadata.ROOT)
	for _, other := range slices.Backward(parsed) {
		if signed, _ := files.judge(other); other != root && signed > 1 {
			a.errorf(checkSignature, name, "%s are signed by the keys of root version %d, and none by keys that this root lists: "+
				"it was replaced, or installed before they were signed anew: clients that have it refuse all of them", files, other.Version())
			return other
		}
	}
	a.errorf(checkSignature, name, "none of %s is signed by a key that this root lists for it: it isn't the root of this metadata: "+
		"was it replaced? Compare it with a copy that you trust", files)
	return nil
}

// signedFile is one top-level file, as far as it can be parsed.
type signedFile struct {
	role   string
	signed roles.Signed
}

type signedFiles []signedFile

// topLevelFiles reads timestamp, snapshot and targets, whatever their signatures. It reports
// nothing.
func (a *auditor) topLevelFiles(consistent bool) signedFiles {
	var out signedFiles
	name := ledger.Timestamp
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		data, err := a.store.Get(a.ctx, name)
		if err != nil {
			return out
		}
		var next *metadata.MetaFiles
		var nextRole string
		switch role {
		case metadata.TIMESTAMP:
			doc, err := roles.Parse[metadata.TimestampType](data)
			if err != nil {
				return out
			}
			next, nextRole = doc.Signed().Meta["snapshot.json"], metadata.SNAPSHOT
			out = append(out, signedFile{role, doc})
		case metadata.SNAPSHOT:
			doc, err := roles.Parse[metadata.SnapshotType](data)
			if err != nil {
				return out
			}
			next, nextRole = doc.Signed().Meta["targets.json"], metadata.TARGETS
			out = append(out, signedFile{role, doc})
		default:
			if doc, err := roles.Parse[metadata.TargetsType](data); err == nil {
				out = append(out, signedFile{role, doc})
			}
		}
		if next == nil {
			return out
		}
		name = nextRole + ".json"
		if consistent {
			name = ledger.Name(next.Version, nextRole)
		}
	}
	return out
}

// judge counts the files that are signed as root demands, and those that have no signature by any
// key which root lists for their role.
func (files signedFiles) judge(root rootDocument) (signed, strangers int) {
	for _, f := range files {
		auth, err := roles.RootAuthority(root, f.role)
		if err != nil {
			continue
		}
		listed := root.Signed().Roles[f.role].KeyIDs
		switch {
		case auth.Verify(f.signed) == nil:
			signed++
		case !slices.ContainsFunc(f.signed.Signatures(), func(s roles.Signature) bool { return slices.Contains(listed, s.KeyID) }):
			strangers++
		}
	}
	return signed, strangers
}

// String lists the roles.
func (files signedFiles) String() string {
	var names []string
	for _, f := range files {
		names = append(names, f.role)
	}
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " and " + names[n]
	}
	return strings.Join(names, "")
}
