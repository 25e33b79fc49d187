package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// ErrLocksOut is wrapped by Install for a root under which clients would refuse
// what is published now.
var ErrLocksOut = errors.New("clients would refuse what is published now")

// Install takes newer versions of root, targets or delegated roles, which belong together,
// into force. When it returns nil they are published: a root as soon as it was
// written, the others by a generation of their own. It doesn't need Run.
// Documents that are in force already are skipped.
//
// A document is refused, with nothing changed, if a client would refuse it; if
// the configured online keys could not go on signing; and, with an error that
// wraps ErrLocksOut, if under a new root what is published now would not verify.
// A root that drops an online key is therefore installed only after a generation
// was signed by another one that both roots name.
//
// After any other error the documents may be accepted: they are durable in the
// journal and will be published, by Run or after Open.
func (r *Repository) Install(ctx context.Context, d Documents) error {
	return r.install(ctx, d, false)
}

// InstallAfterCompromise is Install without ErrLocksOut: a new root and a
// generation that verifies under it are written back to back, the last root just
// before the timestamp. Clients that come in between fail once and
// succeed when they try again. Bins signed by a key that is no longer trusted
// are all signed again in that generation.
func (r *Repository) InstallAfterCompromise(ctx context.Context, d Documents) error {
	return r.install(ctx, d, true)
}

func (r *Repository) install(ctx context.Context, d Documents, compromise bool) error {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	err := r.exclusively(ctx, func(p *publisher) error { return p.install(ctx, d, compromise) })
	var accepted acceptedError
	if err == nil || errors.As(err, &accepted) {
		r.noteErr(err)
		r.wakeRun()
	}
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	return nil
}

func (p *publisher) install(ctx context.Context, d Documents, compromise bool) error {
	if err := p.settle(ctx); err != nil {
		return err
	}
	now, err := p.clock.check(p.state.Signed)
	if err != nil {
		return err
	}
	if d.Roots, err = p.newRoots(ctx, d.Roots); err != nil {
		return err
	}
	next, files, err := p.docs.with(d, p.cfg.isOnline, now)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return nil
	}
	if err := judgeNew(files, 0); err != nil {
		return err
	}
	if _, err := next.signers(p.cfg); err != nil {
		return err
	}
	if err := p.checkHandOver(ctx, next, files); err != nil {
		return err
	}
	if compromise {
		for i := range files {
			files[i].AtCommit = files[i].Role == metadata.ROOT
		}
	} else if err := p.checkRoots(ctx, d.Roots); err != nil {
		return err
	}
	if err := p.acceptDocuments(ctx, next, files); err != nil {
		return err
	}
	if err := p.settle(ctx); err != nil {
		return acceptedError{err}
	}
	return nil
}

// acceptedError is why documents that are in the journal aren't published yet.
type acceptedError struct{ err error }

func (e acceptedError) Error() string { return "accepted, and not yet published: " + e.err.Error() }
func (e acceptedError) Unwrap() error { return e.err }

// settle publishes the documents that were accepted and aren't published yet, by
// this Install or by an earlier one that got stuck.
func (p *publisher) settle(ctx context.Context) error {
	if err := p.finish(ctx); err != nil {
		return err
	}
	if err := p.writeDocuments(ctx, false); err != nil {
		return err
	}
	if len(p.unwritten) > 0 || !sameInSnapshot(p.state.Documents, p.state.Published) {
		return p.publish(ctx)
	}
	return nil
}

// newRoots leaves out the roots before the one in force that the store holds.
func (p *publisher) newRoots(ctx context.Context, files [][]byte) ([][]byte, error) {
	var out [][]byte
	for _, data := range files {
		h, err := roles.Peek(data)
		if err != nil {
			return nil, fmt.Errorf("root: %w", err)
		}
		if h.Type == metadata.ROOT && h.Version < p.docs.root.Version() {
			published, err := p.cfg.Store.Get(ctx, ledger.Name(h.Version, metadata.ROOT))
			if err != nil && !errors.Is(err, ErrNotExist) {
				return nil, fmt.Errorf("read root version %d: %w", h.Version, err)
			}
			if bytes.Equal(data, published) {
				continue
			}
		}
		out = append(out, data)
	}
	return out, nil
}

// acceptDocuments makes documents durable in the journal and brings them into force.
func (p *publisher) acceptDocuments(ctx context.Context, next *documents, files []ledger.File) error {
	if err := p.append(ctx, p.state.Generation, &ledger.Documents{InForce: next.installed, Files: files}); err != nil {
		return err
	}
	p.unwritten = append(p.unwritten, files...)
	p.bringIntoForce(next)
	return nil
}

// checkHandOver refuses documents with which a role's version would go down, or its targets
// vanish: a role that is signed online has versions and targets that no document knows.
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

// bringIntoForce makes documents those in force. Other roles may be online by them, under
// other numbers.
func (p *publisher) bringIntoForce(next *documents) {
	old := p.docs
	p.docs = next
	if old == nil || slices.Equal(old.online.names(), next.online.names()) {
		return
	}
	p.cache = newBinCache(p.cfg.CacheBytes)
	quarantine := map[int]error{}
	for i, err := range p.quarantine {
		if k, ok := next.online.index(old.online.name(i)); ok {
			quarantine[k] = err
		}
	}
	p.quarantine = quarantine
	p.rebuild.renumber(old.online, next.online)
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

// checkRoots makes sure that what is published now verifies under each new root,
// since clients see a root as soon as it is written.
func (p *publisher) checkRoots(ctx context.Context, data [][]byte) error {
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
		targets := p.docs.roles[metadata.TARGETS]
		for role, d := range map[string]roles.Signed{
			metadata.TIMESTAMP: timestamp, metadata.SNAPSHOT: snapshot, metadata.TARGETS: targets,
		} {
			auth, err := roles.RootAuthority(root, role)
			if err == nil {
				err = auth.Verify(d)
			}
			if err != nil {
				return fmt.Errorf("root version %d: %w: %s: %w", root.Version(), ErrLocksOut, role, err)
			}
		}
	}
	return nil
}
