package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Quarantine. A role's published file may be missing from the store or altered in it. Such a
// role goes through these states:
//
//	sound        its file is what the journal recorded; nobody looks unless it is needed
//	quarantined  somebody read the file and it was not: the role isn't changed or renewed, its
//	             items wait, and it is looked at again, first after a second and in the end
//	             once a minute; all other roles are published
//	sound        once the file is back, be it by an operator's hand
//	wanted       Rebuild made its content again from the journal: the next generation signs it
//	sound        once that generation is committed
//
// A read that fails is no reason for quarantine: it says nothing of the file. See leftout.go.
//
// The state is in memory only. After Open, the next read of the file finds out again.

// errQuarantine is wrapped when a bin's file is missing, or isn't what the journal recorded.
var errQuarantine = errors.New("published file missing or altered in the store")

// quarantine says why a role's stored bytes can't be used.
type quarantine struct {
	err    error
	looked time.Time // when its file was last looked at
}

// noteQuarantine quarantines a bin if the error says that its file is missing or altered, and reports
// whether it does.
func (p *publisher) noteQuarantine(i int, err error) bool {
	if !errors.Is(err, errQuarantine) {
		return false
	}
	if len(p.quarantine) == 0 {
		p.lookAgain = pause{time.Now(), firstRecheck}
	}
	p.quarantine[i] = &quarantine{err, time.Now()}
	p.log.Error("bin quarantined: it and its items wait, all others are published: put its file back, or call Rebuild",
		"bin", p.name(i), "err", err)
	return true
}

// How long quarantined bins wait to be looked at again: it doubles from the
// first to the last.
const (
	firstRecheck = time.Second
	lastRecheck  = time.Minute
)

// mostLooks is how many quarantined bins are looked at in a row: publishing waits meanwhile.
const mostLooks = 256

// recheck looks at quarantined bins once the pause is over, those first that waited longest. It ends
// the quarantine of bins whose files are right again, and reports whether there were any.
func (p *publisher) recheck(ctx context.Context) (any bool) {
	if len(p.quarantine) == 0 || p.lookAgain.left() > 0 {
		return false
	}
	oldest := slices.SortedFunc(maps.Keys(p.quarantine), func(a, b int) int {
		return cmp.Or(p.quarantine[a].looked.Compare(p.quarantine[b].looked), cmp.Compare(a, b))
	})
	oldest = oldest[:min(len(oldest), mostLooks)]
	well := make([]bool, len(oldest))
	gate := parallel.NewGate(p.cfg.Workers)
	var looks sync.WaitGroup
	for n, i := range oldest {
		p.quarantine[i].looked = time.Now()
		if !gate.Enter() {
			break // the store can't be read
		}
		looks.Go(func() {
			_, err := p.loadBin(ctx, i)
			switch well[n] = err == nil; {
			case err == nil:
				gate.Leave(parallel.Succeeded)
			case errors.Is(err, errQuarantine):
				gate.Leave(parallel.Other)
			default:
				gate.Leave(parallel.Failed)
			}
		})
	}
	looks.Wait()
	for n, i := range oldest {
		if well[n] {
			p.unquarantine(i)
			any = true
		}
	}
	if any {
		p.lookAgain = pause{}
	}
	p.lookAgain.grow(firstRecheck, lastRecheck)
	return any
}

// unquarantine ends the quarantine of a bin, and tries a bin again that was left out.
func (p *publisher) unquarantine(i int) {
	if p.quarantine[i] != nil {
		p.log.Info("bin released from quarantine", "bin", p.name(i))
	}
	delete(p.quarantine, i)
	delete(p.leftOut, i)
	p.resetWaiting()
}

// rebuildBytes is about how many bytes of bins are made again in one reading of
// the history. In memory they take several times as much.
const rebuildBytes = 64 << 20

// Rebuild makes a bin again whose file in the store was lost or altered, from the journal's history.
// It publishes a generation with the bin, at once. The items that waited for the bin follow. If the
// file is what was published, Rebuild only ends the bin's quarantine. It doesn't need Run.
//
// The history may begin after the bin was first published: see Archive and RestoreJournal. Then the error names an
// earlier file of the bin. Put a copy of it, from a backup or from any mirror, back into the store, and
// call Rebuild again.
//
// The cost is that of reading the history. After an error nothing has changed, or Run publishes the
// bin.
func (r *Repository) Rebuild(ctx context.Context, bin string) error {
	ctx, cancel := r.untilClosed(ctx)
	defer cancel()
	err := r.exclusively(ctx, func(ctx context.Context, p *publisher) error { return p.rebuildBin(ctx, bin) })
	r.wakeRun()
	if err != nil {
		return fmt.Errorf("rebuild bin %s: %w", bin, err)
	}
	return nil
}

func (p *publisher) rebuildBin(ctx context.Context, name string) error {
	i, ok := p.docs.online.index(name)
	if !ok {
		return errors.New("no role of this name is signed online")
	}
	if err := p.finish(ctx); err != nil {
		return err
	}
	p.cache.remove(i, func(int64) bool { return true }) // what counts is the store
	_, err := p.loadBin(ctx, i)
	switch {
	case err == nil:
		p.unquarantine(i)
		return nil
	case !errors.Is(err, errQuarantine):
		return err
	}
	p.noteQuarantine(i, err)
	p.rebuild.want(p.state.Chain, i)
	if _, err := p.rebuild.bin(ctx, i); err != nil {
		p.rebuild.forget(i)
		return err
	}
	p.unquarantine(i)
	p.log.Info("bin rebuilt from the journal", "bin", name)
	return ignoreNotNow(p.publish(ctx))
}

// rebuilder makes bins again whose files in the store are of no use. The goroutines that make a
// generation ask for them one by one. It makes them in groups.
type rebuilder struct {
	p       *publisher
	journal Reader
	chain   string       // hash of the last record of history that counts
	wanted  map[int]bool // bins to be made again, until a generation has them; not changed while one is made

	mu   sync.Mutex
	made map[int]*roles.Bin // those that are at hand
}

func newRebuilder(p *publisher, journal Reader) *rebuilder {
	return &rebuilder{p: p, journal: journal, wanted: map[int]bool{}, made: map[int]*roles.Bin{}}
}

func (r *rebuilder) want(chain string, bins ...int) {
	r.chain = chain
	for _, i := range bins {
		r.wanted[i] = true
	}
}

// renumber is called when roles get other numbers.
func (r *rebuilder) renumber(old, next online) {
	wanted := map[int]bool{}
	for i := range r.wanted {
		if k, ok := next.index(old.name(i)); ok {
			wanted[k] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted, r.made = wanted, map[int]*roles.Bin{}
}

func (r *rebuilder) wants(i int) bool { return r.wanted[i] }

// forget is called once the newest file of a bin is in the store, or if the bin can't be made.
func (r *rebuilder) forget(i int) {
	delete(r.wanted, i)
	r.drop(i)
}

// drop frees the memory of a bin that was used. It can be made once more.
func (r *rebuilder) drop(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.made, i)
}

// bin returns the content of a wanted bin. If it isn't in memory, it is made together with the wanted
// bins that follow it: they are likely to be asked for next.
func (r *rebuilder) bin(ctx context.Context, i int) (*roles.Bin, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if bin := r.made[i]; bin != nil {
		return bin, nil
	}
	group, size := []int{i}, int64(r.p.row(i).Length)
	for k := i + 1; k < r.p.docs.online.len() && size < rebuildBytes; k++ {
		if r.wanted[k] && r.made[k] == nil {
			group, size = append(group, k), size+int64(r.p.row(k).Length)
		}
	}
	history, err := r.p.replay(r.p.names(group)...).run(ctx, r.journal, r.chain)
	if err != nil {
		return nil, err
	}
	for k, b := range parallel.InOrder(ctx, r.p.cfg.readers(), slices.Values(group), func(ctx context.Context, k int) (b madeBin) {
		b.bin, b.err = r.make(ctx, k, history.bins[r.p.name(k)])
		return b
	}) {
		if b.err != nil {
			return nil, b.err
		}
		r.made[k] = b.bin
	}
	return r.made[i], nil
}

// madeBin is what make returns.
type madeBin struct {
	bin *roles.Bin
	err error
}

// only is bin for a reader who asks for one bin after the other: what was made before is forgotten when
// more is made.
func (r *rebuilder) only(ctx context.Context, i int) (*roles.Bin, error) {
	r.mu.Lock()
	if r.made[i] == nil {
		clear(r.made)
	}
	r.mu.Unlock()
	return r.bin(ctx, i)
}

// checkBases makes sure that the store has every file from which the bins are made. The error names
// all that are missing.
func (r *rebuilder) checkBases(ctx context.Context, bins []int) error {
	if len(bins) == 0 {
		return nil
	}
	h := r.p.replay(r.p.names(bins)...)
	h.bases = true
	if _, err := h.run(ctx, r.journal, r.chain); err != nil {
		return err
	}
	var missing []error
	for _, err := range parallel.InOrder(ctx, r.p.cfg.readers(), slices.Values(bins), func(ctx context.Context, i int) error {
		_, err := r.base(ctx, i, h.bins[r.p.name(i)])
		return err
	}) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			missing = append(missing, err)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d files are missing: put archived segments back into the journal, if there are any, or these files into the store: %w",
			len(missing), errors.Join(missing...))
	}
	return nil
}

// base returns the bin to which the changes since then are added.
func (r *rebuilder) base(ctx context.Context, i int, c *contents) (*roles.Bin, error) {
	if c.file != nil {
		return roles.ParseBin(c.file)
	}
	if c.base.Version == 0 {
		return roles.NewBin(), nil
	}
	name := ledger.Name(c.base.Version, r.p.name(i))
	data, err := r.p.cfg.Store.Get(ctx, name)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if err == nil && ledger.BlobOf(data) != c.base.Blob() {
		err = errors.New("it was altered")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: the journal doesn't tell what is in it: "+
			"put a copy with the SHA-256 %s, of a backup or a mirror, into the store", name, err, c.base.Blob().SHA256)
	}
	bin, err := roles.OpenBin(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return bin, nil
}

func (r *rebuilder) make(ctx context.Context, i int, c *contents) (*roles.Bin, error) {
	base, err := r.base(ctx, i, c)
	if err != nil {
		return nil, err
	}
	edits := make([]roles.TargetEdit, 0, len(c.since))
	for path, target := range c.since {
		edits = append(edits, roles.TargetEdit{Path: path, Target: target})
	}
	b := r.p.row(i)
	return base.Edit(b.Version, time.Unix(b.Expires, 0), edits)
}

// names are those of some roles.
func (p *publisher) names(numbers []int) []string {
	out := make([]string, len(numbers))
	for n, i := range numbers {
		out[n] = p.name(i)
	}
	return out
}

// replay folds a journal's history. The result is the publisher's state, the contents of some bins,
// and all documents. The state itself has only their digests.
type replay struct {
	history ledger.History
	bins    map[string]*contents // the bins that are asked for
	bases   bool                 // only the bases of those bins are asked for, not what happened since
	files   []ledger.File        // the offline documents ever accepted, in that order

	// online are the online roles at the time of the newest seal, by the documents in force then. If
	// the history doesn't have those, it is now: the online roles by the documents in force today.
	online online
	now    online
	docs   documents       // of the history so far
	signed map[string]bool // roles of docs that people don't sign
	stale  bool            // docs, or who signs them, changed since online was made
}

// contents is what a bin holds: the targets of an earlier version of its file, the base, and what
// changed since. A base of version 0 is empty.
type contents struct {
	base ledger.Row
	file []byte // a document of people that takes the place of base; nil: none
	// since are the targets added since base, nil for those removed.
	since map[string]*roles.Target
}

// replay prepares a fold of the journal's history that notes what is in these bins.
func (p *publisher) replay(bins ...string) *replay {
	h := &replay{bins: make(map[string]*contents, len(bins)), signed: map[string]bool{}, stale: true}
	for _, role := range bins {
		h.bins[role] = &contents{since: map[string]*roles.Target{}}
	}
	if p.docs != nil {
		h.now = p.docs.online
	}
	h.docs = documents{roles: map[string]*roles.Document[metadata.TargetsType]{}}
	return h
}

// run folds the history up to the record whose hash is chain. It checks every record against the one
// before it, and every entry against the digest in the record that decided it. It reads the whole
// history, and takes memory for the bins and for the queue at its longest.
func (h *replay) run(ctx context.Context, from Reader, chain string) (*replay, error) {
	for step, err := range from.Read(ctx, ledger.FromBeginning) {
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		if err := h.step(step); err != nil {
			return nil, err
		}
		if step.Record != nil && h.history.State.Chain == chain {
			return h, nil
		}
	}
	return nil, fmt.Errorf("journal: its history ends with record %.12s, before %.12s", h.history.State.Chain, chain)
}

func (h *replay) step(step ledger.Step) error {
	if step.Record == nil {
		return h.history.Apply(step)
	}
	before := map[string]ledger.Row{}
	var bases map[string]int64
	switch b := step.Record.Body.(type) {
	case *ledger.Checkpoint:
		bases = b.Bases
		for role := range h.bins {
			before[role], _ = h.history.State.Table.Row(role)
		}
	case *ledger.Seal:
		h.sealed(b)
	case *ledger.Commit:
		if err := h.commit(); err != nil {
			return err
		}
	case *ledger.Documents:
		if len(b.Withdrawn) > 0 {
			h.withdraw(b.Withdrawn)
		}
		h.files = append(h.files, b.Files...)
		h.accept(b.Files)
	}
	if err := h.history.Apply(step); err != nil {
		return err
	}
	// What the records before a checkpoint don't explain was read from the store by RestoreJournal, or is in
	// history that was dropped. A newer base takes the place of an older one, which may be deleted.
	for role, old := range before {
		now, _ := h.history.State.Table.Row(role)
		newer := h.bins[role].base.Version > 0 && bases[role] == now.Version
		if newer || now.Version != old.Version || now.Blob() != old.Blob() {
			*h.bins[role] = contents{base: now, since: map[string]*roles.Target{}}
		}
	}
	return nil
}

// withdraw leaves out roots that nobody tried to write.
func (h *replay) withdraw(names []string) {
	h.files = slices.DeleteFunc(h.files, func(f ledger.File) bool { return f.AtCommit && slices.Contains(names, f.Name()) })
	for _, f := range slices.Backward(h.files) {
		if f.Role == metadata.ROOT {
			h.accept([]ledger.File{f})
			return
		}
	}
	h.docs.root, h.stale = nil, true // the history begins after it
}

// accept brings documents into force.
func (h *replay) accept(files []ledger.File) {
	for _, f := range files {
		if f.Role == metadata.ROOT {
			if root, err := roles.Parse[metadata.RootType](f.Data); err == nil {
				h.docs.root = root
			}
			continue
		}
		if doc, err := roles.Parse[metadata.TargetsType](f.Data); err == nil {
			h.docs.roles[f.Role], h.signed[f.Role] = doc, f.Online
		}
		if c := h.bins[f.Role]; c != nil { // also of a time when people signed it
			*c = contents{file: f.Data, since: map[string]*roles.Target{}}
		}
	}
	h.stale = true
}

// sealed finds out which roles are online in the generation of a seal. A role is online if it has no
// document, if its document says so, or if this seal or one before it signed the role after people
// signed its document.
func (h *replay) sealed(seal *ledger.Seal) {
	if len(h.bins) == 0 || h.bases {
		return
	}
	for _, r := range seal.Rows {
		if h.docs.roles[r.Role] != nil && !h.signed[r.Role] {
			h.signed[r.Role], h.stale = true, true
		}
	}
	if !h.stale {
		return
	}
	h.online = h.now
	has := func(role string) bool {
		_, is := h.history.State.Table.Row(role)
		return is || slices.ContainsFunc(seal.Rows, func(r ledger.RoleRow) bool { return r.Role == role })
	}
	next := documents{root: h.docs.root, roles: maps.Clone(h.docs.roles)}
	// A history that begins at a checkpoint lacks older documents.
	err := next.derive(func(role string) bool { return h.signed[role] || h.docs.roles[role] == nil && has(role) })
	if err == nil {
		h.online = next.online
	}
	h.stale = err != nil
}

// commit makes the items of the newest seal part of the bins.
func (h *replay) commit() error {
	if len(h.bins) == 0 || h.bases || h.history.State.Sealed == nil {
		return nil
	}
	outcomes := h.history.State.Sealed.Outcomes
	var leaves []int
	for n, e := range h.history.Sealed() {
		if s := outcomes[n].State; s != Published && s != Superseded {
			continue
		}
		it, err := e.Item()
		if err != nil {
			return fmt.Errorf("journal: item %q was published: %w", e.ID, err)
		}
		for edit := range it.Edits {
			if leaves, err = h.online.leaves(leaves[:0], edit); err != nil {
				return fmt.Errorf("journal: item %q was published: %w", e.ID, err)
			}
			if edit.Target != nil {
				leaves = leaves[:1] // their owner
			}
			for _, i := range leaves {
				if c := h.bins[h.online.name(i)]; c != nil {
					c.since[edit.Path] = edit.Target
				}
			}
		}
	}
	return nil
}
