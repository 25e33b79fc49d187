package repository

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Documents are complete, signed offline documents, as files. Create needs all
// of them; Install takes those that are new.
type Documents struct {
	// Roots are consecutive versions of root, oldest first. Create needs all
	// that clients may start from, so usually from version 1.
	Roots [][]byte
	// Targets is the top-level targets role, which delegates everything to bins.
	Targets []byte
	// Bins is the role "bins", which delegates to every bin.
	Bins []byte
}

// Sizes that clients accept without being told a length (FACTS: the defaults of
// go-tuf, python-tuf and tuf-js).
const (
	rootLimit      = 512_000
	timestampLimit = 16_384
	targetsLimit   = 5_000_000 // also each bin
)

// offline is the set of offline documents in force.
type offline struct {
	root    *roles.Document[metadata.RootType]
	targets *roles.Document[metadata.TargetsType]
	bins    *roles.Document[metadata.TargetsType]
	layout  delegation.Bins

	snapshotKeys, timestampKeys, binKeys roles.Authority
}

// with returns the documents in force once d is installed over o, which is nil
// for a new repository, and the files that are new. A document that is in force
// already is skipped, so that an Install can be repeated; a new one must be
// unexpired now.
func (o *offline) with(d Documents, now time.Time) (*offline, []file, error) {
	next := &offline{}
	if o != nil {
		*next = *o
	}
	var files []file
	for i, data := range d.Roots {
		root, isNew, err := parseNewer(data, next.root)
		if err != nil {
			return nil, nil, fmt.Errorf("root: %w", err)
		}
		if !isNew {
			continue
		}
		// The first root of a new repository can only vouch for itself.
		if next.root == nil {
			err = verifyRole(root, root, metadata.ROOT)
		} else {
			err = roles.VerifyRootUpdate(next.root, root)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("root version %d (document %d of %d): %w", root.Version(), i+1, len(d.Roots), err)
		}
		if len(data) > rootLimit {
			return nil, nil, fmt.Errorf("root version %d: %d bytes, and clients accept %d", root.Version(), len(data), rootLimit)
		}
		// Clients mind only whether the last root has expired.
		if i == len(d.Roots)-1 && !root.Expires().After(now) {
			return nil, nil, expired(metadata.ROOT, root.Version(), root.Expires())
		}
		next.root = root
		files = append(files, file{Name: versioned(root.Version(), metadata.ROOT), Data: data})
	}
	for _, part := range []struct {
		name string
		data []byte
		doc  **roles.Document[metadata.TargetsType]
	}{{metadata.TARGETS, d.Targets, &next.targets}, {delegation.BinsRole, d.Bins, &next.bins}} {
		if part.data == nil {
			continue
		}
		doc, isNew, err := parseNewer(part.data, *part.doc)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", part.name, err)
		}
		if isNew {
			if !doc.Expires().After(now) {
				return nil, nil, expired(part.name, doc.Version(), doc.Expires())
			}
			*part.doc = doc
			files = append(files, file{Name: versioned(doc.Version(), part.name), Data: part.data})
		}
	}
	if err := next.derive(); err != nil {
		return nil, nil, err
	}
	if o != nil && (next.layout.Len() != o.layout.Len() || next.layout.Prefix() != o.layout.Prefix()) {
		return nil, nil, fmt.Errorf("bins version %d: %d bins named %s-…, and the repository has %d named %s-…: bins can't be resized by a new document",
			next.bins.Version(), next.layout.Len(), next.layout.Prefix(), o.layout.Len(), o.layout.Prefix())
	}
	return next, files, nil
}

func expired(role string, version int64, at time.Time) error {
	return fmt.Errorf("%s version %d: it expired at %s", role, version, at.Format(time.RFC3339))
}

// derive derives the rest of o from its three documents and checks them against
// each other, as a client would. That they are unexpired was asked when they were
// installed.
func (o *offline) derive() error {
	switch {
	case o.root == nil:
		return errors.New("root is missing")
	case o.targets == nil:
		return errors.New("targets is missing")
	case o.bins == nil:
		return errors.New("bins is missing")
	}
	var err error
	if err := verifyRole(o.root, o.targets, metadata.TARGETS); err != nil {
		return err
	}
	if err := delegation.CheckTargets(o.targets); err != nil {
		return fmt.Errorf("targets version %d: %w", o.targets.Version(), err)
	}
	auth, err := roles.DelegatedAuthority(o.targets, delegation.BinsRole)
	if err != nil {
		return fmt.Errorf("targets version %d: %w", o.targets.Version(), err)
	}
	if err := auth.Verify(o.bins); err != nil {
		return fmt.Errorf("bins version %d: %w", o.bins.Version(), err)
	}
	if o.layout, err = delegation.Parse(o.bins); err != nil {
		return fmt.Errorf("bins version %d: %w", o.bins.Version(), err)
	}
	if o.binKeys, err = roles.DelegatedAuthority(o.bins, o.layout.Name(0)); err != nil {
		return fmt.Errorf("bins version %d: %w", o.bins.Version(), err)
	}
	if o.snapshotKeys, err = roles.RootAuthority(o.root, metadata.SNAPSHOT); err != nil {
		return err
	}
	if o.timestampKeys, err = roles.RootAuthority(o.root, metadata.TIMESTAMP); err != nil {
		return err
	}
	return o.judge()
}

// docs are the versions and digests of the documents.
func (o *offline) docs() docs {
	return docs{
		Root:    doc{o.root.Version(), blobOf(o.root.Bytes())},
		Targets: doc{o.targets.Version(), blobOf(o.targets.Bytes())},
		Bins:    doc{o.bins.Version(), blobOf(o.bins.Bytes())},
	}
}

// signers are the configured online keys under the IDs that the documents give them.
type signers struct{ bins, snapshot, timestamp keys.Signer }

func (o *offline) signers(cfg Config) (signers, error) {
	var s signers
	var err error
	if s.timestamp, err = signerFor(metadata.TIMESTAMP, cfg.Timestamp, o.timestampKeys, o.root.Version()); err != nil {
		return s, err
	}
	if s.snapshot, err = signerFor(metadata.SNAPSHOT, cfg.Snapshot, o.snapshotKeys, o.root.Version()); err != nil {
		return s, err
	}
	if s.bins, err = signerFor("each bin", cfg.Bins, o.binKeys, o.bins.Version()); err != nil {
		return s, err
	}
	// What a key can't sign is refused before it is needed. A bin has the room
	// that its key leaves it: see planner.limit.
	snapshot := (len(o.layout.Name(0))+len(`"".json:{"version":},`)+19)*o.layout.Len() + envelopeSlack
	for _, c := range []struct {
		role   string
		signer keys.Signer
		need   int
	}{{metadata.TIMESTAMP, s.timestamp, envelopeSlack / 4}, {metadata.SNAPSHOT, s.snapshot, snapshot}, {"each bin", s.bins, 4 * envelopeSlack}} {
		if most := c.signer.MaxMessage(); most < c.need {
			return s, fmt.Errorf("%s: %w: key %s signs at most %d bytes, and %d are needed",
				c.role, ErrWrongKey, c.signer.Public().ID(), most, c.need)
		}
	}
	return s, nil
}

// ErrWrongKey is wrapped when a configured online key is not one that root (or,
// for the bins, the bins document) names for its role.
var ErrWrongKey = errors.New("the configured key may not sign it")

func signerFor(role string, s keys.Signer, auth roles.Authority, version int64) (keys.Signer, error) {
	if auth.Threshold != 1 {
		return nil, fmt.Errorf("%s: its threshold is %d: online roles are signed by one key", role, auth.Threshold)
	}
	for _, k := range auth.Keys {
		switch {
		case k.ID() == s.Public().ID() && k.Same(s.Public()):
			return s, nil // as it is: keys.SignVerified knows it
		case k.Same(s.Public()):
			return renamedSigner{s, k}, nil
		}
	}
	return nil, fmt.Errorf("%s: %w: key %s, by document version %d", role, ErrWrongKey, s.Public().ID(), version)
}

// renamedSigner signs under the ID that metadata made by others gave the key.
type renamedSigner struct {
	keys.Signer
	key *keys.PublicKey
}

func (s renamedSigner) Public() *keys.PublicKey { return s.key }

// parseNewer parses data and tells whether it is newer than current, which may
// be nil. The same version with other bytes, or a lower one, is an error.
func parseNewer[T roles.Type](data []byte, current *roles.Document[T]) (*roles.Document[T], bool, error) {
	doc, err := roles.Parse[T](data)
	if err != nil {
		return nil, false, err
	}
	switch {
	case current == nil || doc.Version() > current.Version():
		return doc, true, nil
	case doc.Version() == current.Version() && bytes.Equal(data, current.Bytes()):
		return current, false, nil
	case doc.Version() == current.Version():
		return nil, false, fmt.Errorf("version %d is published already, with other contents", doc.Version())
	default:
		return nil, false, fmt.Errorf("version %d is older than version %d, which is in force", doc.Version(), current.Version())
	}
}

func verifyRole[T roles.Type](root *roles.Document[metadata.RootType], d *roles.Document[T], role string) error {
	auth, err := roles.RootAuthority(root, role)
	if err == nil {
		err = auth.Verify(d)
	}
	if err != nil {
		return fmt.Errorf("%s version %d under root version %d: %w", role, d.Version(), root.Version(), err)
	}
	return nil
}

// versioned is the name of a role's metadata in a consistent snapshot (TUF
// specification, 6.2).
func versioned(version int64, role string) string {
	return fmt.Sprintf("%d.%s.json", version, role)
}
