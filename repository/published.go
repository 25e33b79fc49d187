package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// published is what a store publishes, verified as a client does that trusts one
// root, but for expiries: a repository that expired can be restored.
type published struct {
	offline   *offline
	files     []file // the offline documents
	timestamp *roles.Document[metadata.TimestampType]
	snapshot  blob
	expires   time.Time // of the snapshot
	keys      []string
	bins      []binState
}

// readPublished reads and verifies all metadata that clients can come to now. The
// cost is one read and one verification of each bin. It fails if anything is
// missing or not as it was signed, and names all bins of which that is true.
func readPublished(ctx context.Context, cfg Config, root []byte) (*published, error) {
	p := &published{offline: &offline{}}
	if err := p.readRoots(ctx, cfg.Store, root); err != nil {
		return nil, err
	}
	data, err := cfg.Store.Get(ctx, timestampName)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", timestampName, err)
	}
	if p.timestamp, err = roles.Parse[metadata.TimestampType](data); err == nil {
		err = verifyRole(p.offline.root, p.timestamp, metadata.TIMESTAMP)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", timestampName, err)
		if version := p.offline.root.Version(); version > 1 {
			// See Repository.InstallAfterCompromise.
			err = fmt.Errorf("%w; if the publisher died between that root and its first timestamp, "+
				"move %s away and give it in Restoration.Documents", err, versioned(version, metadata.ROOT))
		}
		return nil, err
	}
	versions, err := p.readSnapshot(ctx, cfg.Store)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		role string
		doc  **roles.Document[metadata.TargetsType]
	}{{metadata.TARGETS, &p.offline.targets}, {delegation.BinsRole, &p.offline.bins}} {
		name := versioned(versions[d.role], d.role)
		data, err := cfg.Store.Get(ctx, name)
		if err == nil {
			*d.doc, err = roles.Parse[metadata.TargetsType](data)
		}
		if err == nil && (*d.doc).Version() != versions[d.role] {
			err = fmt.Errorf("it is version %d", (*d.doc).Version())
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.files = append(p.files, file{Name: name, Data: data})
	}
	if err := p.offline.derive(); err != nil {
		return nil, err
	}
	return p, p.readBins(ctx, cfg, versions)
}

// readRoots follows the chain of roots from the trusted one, and adds those before
// it, from which clients may start.
func (p *published) readRoots(ctx context.Context, store Store, trusted []byte) error {
	root, err := roles.Parse[metadata.RootType](trusted)
	if err == nil {
		err = verifyRole(root, root, metadata.ROOT)
	}
	if err != nil {
		return fmt.Errorf("the trusted root: %w", err)
	}
	for version := root.Version(); version >= 1; version-- {
		name := versioned(version, metadata.ROOT)
		data, err := store.Get(ctx, name)
		if errors.Is(err, ErrNotExist) && version < root.Version() {
			break // the repository was made from this one on
		}
		if err != nil {
			return fmt.Errorf("store: %s: %w", name, err)
		}
		if version == root.Version() && !bytes.Equal(data, trusted) {
			return fmt.Errorf("store: %s isn't the trusted root of that version", name)
		}
		p.files = slices.Insert(p.files, 0, file{Name: name, Data: data})
	}
	for {
		name := versioned(root.Version()+1, metadata.ROOT)
		data, err := store.Get(ctx, name)
		if errors.Is(err, ErrNotExist) {
			p.offline.root = root
			return nil
		}
		if err != nil {
			return fmt.Errorf("store: %s: %w", name, err)
		}
		next, err := roles.Parse[metadata.RootType](data)
		if err == nil {
			err = roles.VerifyRootUpdate(root, next)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		root, p.files = next, append(p.files, file{Name: name, Data: data})
	}
}

// readSnapshot returns the versions that the snapshot of the timestamp names.
func (p *published) readSnapshot(ctx context.Context, store Store) (map[string]int64, error) {
	meta := p.timestamp.Signed().Meta[metadata.SNAPSHOT+".json"]
	name := versioned(meta.Version, metadata.SNAPSHOT)
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
		if auth, err = roles.RootAuthority(p.offline.root, metadata.SNAPSHOT); err == nil {
			err = auth.Verify(snapshot)
		}
	}
	if err == nil && (snapshot.Version() != meta.Version || meta.Version != p.timestamp.Version()) {
		err = fmt.Errorf("it is version %d, and the timestamp is %d: a generation has one number for both", snapshot.Version(), p.timestamp.Version())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.snapshot, p.expires = blobOf(data), snapshot.Expires()
	versions := map[string]int64{}
	for m, err := range snapshot.Meta() {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		versions[m.Role] = m.Version
	}
	return versions, nil
}

// readBins fills the table of bins.
func (p *published) readBins(ctx context.Context, cfg Config, versions map[string]int64) error {
	layout := p.offline.layout
	for role := range versions {
		if _, ok := layout.Index(role); !ok && role != metadata.TARGETS && role != delegation.BinsRole {
			return fmt.Errorf("the snapshot names %s, which is none of %d bins named %s-…", role, layout.Len(), layout.Prefix())
		}
	}
	p.bins = make([]binState, layout.Len())
	for _, k := range p.offline.binKeys.Keys {
		p.keys = append(p.keys, keyName(k))
	}
	var mu sync.Mutex
	bad := map[int]error{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cfg.Workers)
	for i := range p.bins {
		g.Go(func() error {
			b, err := p.readBin(gctx, cfg, i, versions[layout.Name(i)])
			if gctx.Err() != nil {
				return gctx.Err()
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				bad[i] = err
			}
			p.bins[i] = b
			return nil
		})
	}
	if err := g.Wait(); err != nil || len(bad) == 0 {
		return err
	}
	var all []string
	for _, i := range slices.Sorted(maps.Keys(bad)) {
		all = append(all, bad[i].Error())
	}
	return fmt.Errorf("%d bins can't be read; put copies of a backup or a mirror into the store: %s", len(bad), strings.Join(all, "; "))
}

func (p *published) readBin(ctx context.Context, cfg Config, i int, version int64) (binState, error) {
	name := versioned(version, p.offline.layout.Name(i))
	if version == 0 {
		return binState{}, fmt.Errorf("%s isn't in the snapshot", p.offline.layout.Name(i))
	}
	data, err := cfg.Store.Get(ctx, name)
	if err != nil {
		return binState{}, fmt.Errorf("%s: %w", name, err)
	}
	bin, err := roles.ParseBin(data)
	switch {
	case err != nil:
		return binState{}, fmt.Errorf("%s: %w", name, err)
	case bin.Version() != version || version > p.timestamp.Version():
		return binState{}, fmt.Errorf("%s: it is version %d in generation %d", name, bin.Version(), p.timestamp.Version())
	case len(data) > targetsLimit:
		return binState{}, fmt.Errorf("%s: %d bytes, and clients accept %d", name, len(data), targetsLimit)
	}
	for key, k := range p.offline.binKeys.Keys {
		one := p.offline.binKeys
		one.Keys = one.Keys[key : key+1]
		if one.Verify(bin) == nil {
			return binState{
				Version: version, blob: blobOf(data), Key: slices.Index(p.keys, keyName(k)),
				Signed: bin.Expires().Add(-cfg.BinLifetime).Unix(), Expires: bin.Expires().Unix(),
			}, nil
		}
	}
	return binState{}, fmt.Errorf("%s: bins version %d names no key that signed it: %w", name, p.offline.bins.Version(), p.offline.binKeys.Verify(bin))
}
