package repository

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// publisher writes everything after an item was queued. Repository lets one goroutine at a time use
// it: the owner. This file tells what it does in the order in which it happens: step, read, plan,
// intent, build, seal, commit, checkpoint. What fails on the way is in other files: quarantine.go,
// leftout.go, burnt.go.
type publisher struct {
	cfg   Config
	log   *slog.Logger
	lead  Lead
	epoch int64 // the lead's own; every record carries it
	clock *clock
	state *ledger.State
	docs  *documents
	cache *binCache

	// stateMu is held while state or docs change, once there is a Repository, so that a View
	// always sees one generation. The owner reads them without it.
	stateMu sync.Mutex

	// unwritten are the accepted documents that may not be in the store yet, and those of
	// online roles that no generation has signed yet.
	unwritten []ledger.File

	snapshot *roles.Snapshot // of the committed generation, kept to be edited
	next     *roles.Snapshot // of the sealed one

	// accepted is called when documents were accepted, and decided with outcomes that have become
	// final. Nil: not called.
	accepted func()
	decided  func([]ledger.ItemOutcome)

	began      time.Time // when the last generation with items began
	looked     time.Time // when the public timestamp was last seen, or looked for
	unread     error     // why it couldn't be read then
	swaps      swapping
	rebuild    *rebuilder          // makes bins again that the store lost
	quarantine map[int]*quarantine // roles whose stored bytes aren't what the journal says
	lookAgain  pause               // until some of them are looked at again
	leftOut    map[int]error       // roles that could not be read, signed or written
	tryAgain   pause               // until they are tried again
	fullest    fullest             // what fills the bins with the most bytes
	waiting    int                 // pending items that wait for quarantined or left out roles
	held       int64               // bytes of the bodies of those items
	filled     int                 // how many items filled the cache, if that ended the last batch
	bare       bool                // the generation takes no items and renews no role
	wrote      written             // by an attempt that isn't sealed
	taken      int                 // generations in a row whose names others had used
	logged     int                 // bytes of records and items since the last checkpoint
	budget     budget              // of renewals
	burnt      spending            // what the last intent may have signed, if no seal follows it
	warned     map[string]warning  // what was last said about documents of people that expire
	collection collection          // of what is superseded
}

// fatalError is an error after which the publisher must not go on: the
// repository has to be opened again, and Open decides.
type fatalError struct{ err error }

func (e fatalError) Error() string { return e.err.Error() }
func (e fatalError) Unwrap() error { return e.err }

func fatal(err error) error { return fatalError{err} }

func isFatal(err error) bool {
	var f fatalError
	return errors.As(err, &f) || errors.Is(err, ErrUnknown) || errors.Is(err, ErrFenced) || errors.Is(err, ErrClosed)
}

// append makes a record durable and only then part of the state. It doesn't begin once ctx has
// ended. Once it has begun it waits for the journal's answer for a minute, even if ctx ends. Only the
// journal knows what is durable, and without its answer the repository would have to be opened again.
func (p *publisher) append(ctx context.Context, generation int64, body ledger.Body) error {
	rec, err := p.record(generation, body)
	if err != nil {
		return fatal(err)
	}
	return p.appendAll(ctx, rec)
}

func (p *publisher) record(generation int64, body ledger.Body) (ledger.Record, error) {
	return p.state.Next(p.epoch, generation, p.cfg.Now(), body)
}

func (p *publisher) appendAll(ctx context.Context, recs ...ledger.Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := p.lead.Append(ctx, recs...); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, r := range recs {
		p.logged += len(r.Bytes())
		if err := p.apply(r); err != nil {
			return fatal(err)
		}
	}
	return nil
}

func (p *publisher) apply(r ledger.Record) error {
	p.stateMu.Lock()
	defer p.stateMu.Unlock()
	return p.state.Apply(r)
}

// step does what Run woke up for. It makes a generation if items arrived or something is due.
// Otherwise it only looks at the clock and at the quarantined bins.
func (p *publisher) step(ctx context.Context, arrived bool) error {
	// A sealed generation is committed whatever the clock says.
	if err := p.finish(ctx); err != nil {
		return err
	}
	if err := p.checkPublic(ctx); err != nil {
		return err
	}
	now, err := p.checkClock()
	if err != nil {
		return err
	}
	p.warnOffline(now)
	again := p.recheck(ctx)
	again = p.retryLeftOut() || again
	if !arrived && !again && p.dueAt(now).After(now) {
		return nil
	}
	err = p.publish(ctx)
	p.fullest.look(ctx, p)
	return err
}

// stepAndCollect is step, and then collect, also after a failure: it makes room on a full disk. It returns
// target files for which Config.DeleteTarget is to be called.
func (p *publisher) stepAndCollect(ctx context.Context, arrived bool) ([]ledger.RemovedTarget, error) {
	err := p.step(ctx, arrived)
	if isFatal(err) || errors.Is(err, ErrClock) {
		return nil, err
	}
	claimed, fatal := p.collect(ctx)
	return claimed, cmp.Or(fatal, err)
}

// mostTries is how many attempts publish makes in a row.
const mostTries = 16

// publish makes one generation of what is pending and due, and commits it. It first completes what
// is sealed. After a failure before the seal the items stay pending, and the generation's number is
// never used again. Its files are deleted: see burnt.go.
func (p *publisher) publish(ctx context.Context) error {
	if err := p.finish(ctx); err != nil {
		return err
	}
	for try := 1; ; try++ {
		apart := len(p.quarantine) + len(p.leftOut)
		err := p.generation(ctx)
		switch {
		case err == nil:
			return p.checkpoint(ctx)
		case ctx.Err() != nil || try == mostTries:
			return err
		case errors.Is(err, errTaken): // on to the next number
			p.taken++
		case errors.Is(err, errGoOnWithout) && len(p.quarantine)+len(p.leftOut) > apart:
			// What is in the way is known now: go on without it and its items.
		default:
			return err
		}
	}
}

// errGoOnWithout is wrapped when an attempt is given up because of single roles, which are
// quarantined or left out from then on.
var errGoOnWithout = errors.New("other bins can go on")

// generation is one attempt.
func (p *publisher) generation(ctx context.Context) error {
	start := p.begins()
	e := Event{Stage: StageGeneration}
	committed, err := p.attempt(ctx, &e)
	if e.Generation > 0 {
		if !committed {
			e.Err = err
		}
		p.observe(start, e)
	}
	return err
}

// attempt makes a generation, if there is anything to publish, and describes it in e. Even if it is
// committed there may be an error: why items or some roles were left out.
func (p *publisher) attempt(ctx context.Context, e *Event) (committed bool, err error) {
	start := time.Now()
	now, err := p.checkClock()
	if err != nil {
		return false, err
	}
	p.discard(ctx) // what an earlier attempt could not
	if err := p.writeDocuments(ctx, false); err != nil {
		return false, err
	}
	signers, err := p.docs.signers(p.cfg, p.state.Rotations)
	if err != nil {
		return false, err
	}
	a := &attempt{number: p.nextGeneration(), now: now, signers: signers, wholly: p.state.Generation == 0, together: p.together()}
	plan, outage, err := p.readAndPlan(ctx, a)
	if err != nil {
		return false, err
	}
	if len(plan.edits) == 0 && p.topDueAt(now).After(now) {
		if a.apart > 0 && len(plan.outcomes) == 0 {
			outage = p.leftOutErr() // nothing was done but to fail
		}
		if outage != nil {
			return false, outage
		}
		return false, p.decide(ctx, plan) // nothing is to be signed
	}
	if len(a.batch.items) > 0 {
		p.began = start
	}
	e.Generation, e.Cause, e.Items, e.Roles = a.number, p.cause(plan), len(plan.items), len(plan.edits)
	begun := p.begins()
	err = p.append(ctx, a.number, p.docs.online.writes(plan.roles()))
	p.observe(begun, Event{Stage: StageIntent, Generation: a.number, Roles: len(plan.edits), Err: err})
	if err != nil {
		return false, fmt.Errorf("plan generation %d: %w", a.number, err)
	}
	again := p.signedAgain(plan)
	plan, seal, err := p.build(ctx, a, plan)
	p.budget.spend(p.cfg.Now(), again)
	if err != nil {
		p.discard(ctx)
		return false, fmt.Errorf("publish generation %d: %w", a.number, err)
	}
	e.Items, e.Roles = len(plan.items), len(plan.edits)
	p.logged += plan.size()
	begun = p.begins()
	// All is signed and written: seal it even if the caller stops waiting now.
	err = p.append(context.WithoutCancel(ctx), a.number, seal)
	p.observe(begun, Event{Stage: StageSeal, Generation: a.number, Items: e.Items, Roles: e.Roles, Err: err})
	if err != nil && !isFatal(err) { // it is not in the journal: see Lead.Append
		p.discard(ctx)
	}
	p.wrote.forget()
	if err != nil {
		return false, fmt.Errorf("seal generation %d: %w", a.number, err)
	}
	if err := p.finish(ctx); err != nil {
		return false, err
	}
	p.taken = 0
	if len(p.leftOut) == 0 {
		p.tryAgain = pause{}
	}
	p.log.Info("published", "generation", a.number, "items", len(plan.items), "roles", len(plan.edits),
		"waiting", p.waiting, "took", time.Since(start))
	return true, outage
}

// attempt is what the making of one generation works with.
type attempt struct {
	number  int64
	now     time.Time
	signers signers
	wholly  bool // no role may be left out
	// together are roles that may not be left out. The generation is the first with new documents,
	// and under these clients would refuse what is published of the roles now.
	together map[int]bool
	batch    batch
	served   int // how many bins were read from the store
	apart    int // how many roles were left out

	approval approval
	givenUp  []string // names of files to which only a generation refers that was given up
}

// needs reports whether one of the failed roles may not be left out.
func (a *attempt) needs(failed map[int]error) bool {
	for i := range failed {
		if a.wholly || a.together[i] {
			return true
		}
	}
	return false
}

// together are the roles that must be signed in the generation that publishes new documents.
func (p *publisher) together() map[int]bool {
	if !p.documentsWait() {
		return nil
	}
	out := map[int]bool{}
	for _, i := range p.mustSign() {
		out[i] = true
	}
	return out
}

// readAndPlan reads what the plan needs, and makes the plan. If the store can't be read, outage says
// why, and the plan has only roles that are due and whose content is in memory. If items can't be
// approved now, it has only roles that are due.
func (p *publisher) readAndPlan(ctx context.Context, a *attempt) (plan plan, outage, err error) {
	if p.bare {
		a.batch = newBatch()
		plan.edits = map[int][]roles.TargetEdit{}
		return plan, nil, nil
	}
	var notNow notNowError
	begun := p.begins()
	a.batch, outage, err = p.read(ctx, a)
	p.observe(begun, Event{Stage: StageRead, Generation: a.number, Items: len(a.batch.items), Roles: len(a.batch.bins), Bytes: a.batch.kept, Err: cmp.Or(err, outage)})
	if err != nil {
		return plan, nil, err
	}
	if outage == nil {
		planner := p.planner(ctx, a.batch, a.signers)
		planner.approve = p.approver(ctx, a)
		begun = p.begins()
		plan, err = planner.plan(a.batch.items, a.number)
		p.observe(begun, Event{Stage: StagePlan, Generation: a.number, Items: len(plan.items), Roles: len(plan.edits), Err: err})
		switch {
		case errors.As(err, &notNow):
			a.batch.items, a.batch.published, plan.edits = nil, nil, map[int][]roles.TargetEdit{}
		case err != nil:
			return plan, nil, fmt.Errorf("plan generation %d: %w", a.number, err)
		default:
			p.waiting, p.held = len(plan.waiting), plan.held
		}
		plan.alsoSign(p.mustSign()...)
		plan.alsoSign(p.renewals(a.now, func(i int) bool {
			_, signed := plan.edits[i]
			return signed || p.blocked(i)
		})...)
		outage, err = p.readRenewed(ctx, a, plan)
	}
	if outage != nil && err == nil {
		a.batch.items, a.batch.published = nil, nil
		plan = p.atHandOnly(a)
		for i := range a.together {
			if !p.atHand(i) {
				err = outage
			}
		}
	}
	if outage == nil && notNow.error != nil {
		outage = notNow
	}
	return plan, outage, err
}

// signedAgain is how many roles the plan signs that count for Config.RenewalsPerMinute.
func (p *publisher) signedAgain(plan plan) (n int) {
	refused := p.refuses()
	for i, edits := range plan.edits {
		if len(edits) == 0 && !refused(i, p.row(i)) {
			n++
		}
	}
	return n
}

// atHandOnly is the plan of an attempt while the store can't be read.
func (p *publisher) atHandOnly(a *attempt) plan {
	out := plan{edits: map[int][]roles.TargetEdit{}}
	skip := func(i int) bool { return p.blocked(i) || !p.atHand(i) }
	out.alsoSign(slices.DeleteFunc(p.mustSign(), skip)...)
	out.alsoSign(p.renewals(a.now, skip)...)
	return out
}

// writeDocuments writes all accepted documents to the store, with two exceptions. A root that must
// appear together with a timestamp is for finish, which sets atCommit. A document of an online role
// is for the next generation, which signs what it says.
func (p *publisher) writeDocuments(ctx context.Context, atCommit bool) error {
	var left, now []ledger.File
	for _, f := range p.unwritten {
		if p.signsAnew(f) || f.AtCommit && !atCommit {
			left = append(left, f)
		} else {
			now = append(now, f)
		}
	}
	err := parallel.All(ctx, p.cfg.Workers, now, func(ctx context.Context, f ledger.File) error {
		if err := p.storeFile(ctx, f.Name(), f.Data); err != nil {
			return p.explainConflict(f, fmt.Errorf("write %s: %w", f.Name(), err))
		}
		return nil
	})
	if err == nil {
		p.unwritten = left
	}
	return err
}

// explainConflict says what to do if the store has another file under the name of an accepted
// document. A root can't be replaced: clients follow every one. Any other document can, until a
// generation is sealed with it.
func (p *publisher) explainConflict(f ledger.File, err error) error {
	switch {
	case !errors.Is(err, ErrConflict):
		return err
	case f.Role == metadata.ROOT:
		return fatal(fmt.Errorf("%w: somebody else wrote it, and clients follow it: move it away, and open the repository again", err))
	case p.state.Sealed != nil:
		return fmt.Errorf("%w: somebody else wrote it, and generation %d is sealed with what was accepted: move it away", err, p.state.Last())
	default:
		return fmt.Errorf("%w: somebody else wrote it: move it away, or install a higher version of %s", err, f.Role)
	}
}

// signsAnew reports whether the index signs what a document says, so that the document itself is not
// written. That stays so if the index has no signer for the role any more, and a generation signed
// the document before: until people sign another one, the role has that generation's file.
func (p *publisher) signsAnew(f ledger.File) bool {
	_, online := p.docs.online.index(f.Role)
	_, row := p.state.Table.Roles[f.Role]
	return f.Online && (online || row || p.docs.installed[f.Role] != f.Doc)
}

// conflictIsFatal makes an unexpected content in the store an error to stop at:
// somebody else writes there, or store and journal don't belong together.
func conflictIsFatal(err error) error {
	if errors.Is(err, ErrConflict) {
		return fatal(err)
	}
	return err
}

// batch is what one generation decides about.
type batch struct {
	items     []queued
	published map[place]*roles.Target // what the roles list of the paths that the items name
	bins      map[int]*roles.Bin      // those that were read, as many as memory allows
	kept      int64                   // their bytes
}

// queued is an entry and the item that it encodes, or why it encodes none.
type queued struct {
	entry  ledger.Entry
	item   Item
	leaves [][]int // of each edit, in order: see online.leaves
	roles  []int   // all leaves, each once
	err    error   // why it can't be published
}

// places yields each edit of the item with the roles that may list its path.
func (q queued) places(yield func(roles.TargetEdit, []int) bool) {
	n := 0
	for e := range q.item.Edits {
		if !yield(e, q.leaves[n]) {
			return
		}
		n++
	}
}

// place is a path in one role.
type place struct {
	role int
	path string
}

// read takes the oldest pending items and reads the bins that they touch, in parallel. The
// batch ends before the item whose bins would exceed the cache. Items that wait for blocked bins don't
// count: the planner leaves them pending. If the store can't be read, outage says why.
func (p *publisher) read(ctx context.Context, a *attempt) (b batch, outage, err error) {
	entries, err := p.lead.Pending(ctx, p.cfg.MaxBatch+p.waiting, p.cfg.MaxBatchBytes+p.held)
	if err == nil && p.waiting > 0 && len(entries) == p.waiting {
		// The first one that doesn't wait may have any size.
		entries, err = p.lead.Pending(ctx, p.waiting+1, math.MaxInt64)
	}
	if err != nil {
		return b, nil, fmt.Errorf("journal: %w", err)
	}
	b = newBatch()
	p.filled = 0
	paths := map[int][]string{} // by role
	held := holding{}
	var taken int         // items that don't wait
	var size, bytes int64 // of the bins, and of those items
	for _, e := range entries {
		q := p.interpret(e)
		if held.takes(q, p.blocked) {
			b.items = append(b.items, q)
			continue
		}
		// Fewer may wait than last time.
		bytes += int64(len(e.Body))
		if taken == p.cfg.MaxBatch || taken > 0 && bytes > p.cfg.MaxBatchBytes {
			break
		}
		var more int64
		for _, i := range q.roles {
			if paths[i] == nil {
				more += int64(p.row(i).Length)
			}
		}
		if len(paths) > 0 && more > 0 && p.cfg.CacheBytes > 0 && size+more > p.cfg.CacheBytes {
			p.filled = taken
			break
		}
		taken++
		size += more
		b.items = append(b.items, q)
		q.addPaths(paths)
	}
	outage, err = p.lookUp(ctx, a, &b, paths)
	return b, outage, err
}

// addPaths adds the paths that the item names to those of each role.
func (q queued) addPaths(paths map[int][]string) {
	if q.err != nil {
		return
	}
	for e, leaves := range q.places {
		for _, i := range leaves {
			paths[i] = append(paths[i], e.Path)
		}
	}
}

func newBatch() batch {
	return batch{published: map[place]*roles.Target{}, bins: map[int]*roles.Bin{}}
}

// interpret reads an entry. In a shared journal it may be no item: others can write there.
func (p *publisher) interpret(e ledger.Entry) queued {
	q := queued{entry: e}
	if q.item, q.err = e.Item(); q.err != nil {
		return q
	}
	if q.err = q.item.Validate(); q.err != nil {
		return q
	}
	n := len(q.item.Add) + len(q.item.Remove)
	q.leaves = make([][]int, 0, n)
	all := make([]int, 0, n)
	for e := range q.item.Edits {
		before := len(all)
		if all, q.err = p.docs.online.leaves(all, e); q.err != nil {
			return queued{entry: q.entry, item: q.item, err: q.err}
		}
		q.leaves = append(q.leaves, all[before:len(all):len(all)])
	}
	q.roles = slices.Compact(slices.Sorted(slices.Values(all)))
	q.err = p.collection.deleting.adds(q.item)
	return q
}

// lookUp reads roles and looks up paths in them.
func (p *publisher) lookUp(ctx context.Context, a *attempt, b *batch, paths map[int][]string) (outage, err error) {
	var mu sync.Mutex
	return p.readBins(ctx, a, b, slices.Sorted(maps.Keys(paths)), func(i int, bin *roles.Bin) error {
		for _, path := range paths[i] {
			t, ok, err := bin.Lookup(path)
			if err != nil {
				return err
			}
			if ok {
				mu.Lock()
				b.published[place{i, path}] = &t
				mu.Unlock()
			}
		}
		return nil
	})
}

// readRenewed reads bins that are signed again unchanged. It reads as many as there is memory for,
// and at least as many as there are workers, so that an outage of the store shows before anything is
// signed. A role that can't be read leaves the plan.
func (p *publisher) readRenewed(ctx context.Context, a *attempt, plan plan) (outage, err error) {
	var renewed []int
	size := a.batch.kept
	for _, i := range plan.roles() {
		if plan.edits[i] != nil || p.row(i).Version == 0 || p.rebuild.wants(i) {
			continue
		}
		if size += int64(p.row(i).Length); size > max(p.cfg.CacheBytes, 0) && len(renewed) >= p.cfg.Workers {
			break
		}
		renewed = append(renewed, i)
	}
	outage, err = p.readBins(ctx, a, &a.batch, renewed, nil)
	for _, i := range renewed {
		if p.blocked(i) {
			delete(plan.edits, i)
		}
	}
	return outage, err
}

// errNotTried is why a bin wasn't read, or signed and written, after as many others as there are workers
// failed one after the other. A store or a key that is out of order must not be stormed.
var errNotTried = errors.New("not tried, because others failed")

// readBins reads roles and calls use with each. A role whose file is missing or altered is
// quarantined. A role that can't be read is left out if the store works otherwise. If it doesn't, that
// is the outage.
func (p *publisher) readBins(ctx context.Context, a *attempt, b *batch, numbers []int, use func(i int, bin *roles.Bin) error) (outage, err error) {
	var mu sync.Mutex
	failed := map[int]error{}
	gate := parallel.NewGate(p.cfg.Workers)
	notTried := false
	g, gctx := errgroup.WithContext(ctx)
	for _, i := range numbers {
		if p.blocked(i) {
			continue
		}
		if !gate.Enter() {
			mu.Lock()
			failed[i], notTried = errNotTried, true
			mu.Unlock()
			continue
		}
		g.Go(func() error {
			result := parallel.Other
			defer func() { gate.Leave(result) }()
			if gctx.Err() != nil {
				return gctx.Err()
			}
			atHand := p.atHand(i)
			bin, err := p.loadBin(gctx, i)
			if gctx.Err() != nil {
				return gctx.Err()
			}
			if err == nil && use != nil {
				if err = use(i, bin); err != nil {
					return fmt.Errorf("%s: %w", p.name(i), err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[i] = err
				if !errors.Is(err, errQuarantine) {
					result = parallel.Failed
				}
				return nil
			}
			if !atHand {
				a.served++
				result = parallel.Succeeded
			}
			if size := int64(len(bin.Canonical())); b.kept+size <= max(p.cfg.CacheBytes, 0) {
				b.bins[i], b.kept = bin, b.kept+size
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, i := range slices.Sorted(maps.Keys(failed)) {
		if p.noteQuarantine(i, failed[i]) {
			delete(failed, i)
		}
	}
	if len(failed) == 0 {
		return nil, nil
	}
	because := p.firstOf(failed)
	if a.served == 0 || notTried {
		if _, err := p.cfg.Store.Get(ctx, ledger.Timestamp); err != nil {
			return fmt.Errorf("the store can't be read: %w", because), ctx.Err()
		}
	}
	if a.needs(failed) {
		return nil, because
	}
	p.leaveOut(a, failed)
	return nil, nil
}

// name, row, blocked and fileName are those of role i.
func (p *publisher) name(i int) string    { return p.docs.online.name(i) }
func (p *publisher) row(i int) ledger.Row { return p.docs.online.row(&p.state.Table, i) }
func (p *publisher) blocked(i int) bool {
	return (p.quarantine[i] != nil || p.leftOut[i] != nil) && p.document(i) == nil
}
func (p *publisher) schedule() schedule {
	return schedule{roles: p.docs.online.len(), period: p.cfg.BinRenewal, lifetime: p.cfg.BinLifetime}
}
func (p *publisher) fileName(i int) string { return ledger.Name(p.row(i).Version, p.name(i)) }

// document returns the accepted document of an online role that no generation has signed yet, or
// nil. The next generation must sign what it says.
func (p *publisher) document(i int) []byte {
	if len(p.unwritten) == 0 {
		return nil
	}
	name := p.name(i)
	for _, f := range slices.Backward(p.unwritten) {
		if f.Online && f.Role == name {
			return f.Data
		}
	}
	return nil
}

// atHand reports whether the content of role i is known without the store.
func (p *publisher) atHand(i int) bool {
	version := p.row(i).Version
	return version == 0 || p.cache.get(i, version) != nil || p.document(i) != nil
}

// length is how many bytes the file of role i has whose content loadBin returns.
func (p *publisher) length(i int) int64 {
	if data := p.document(i); data != nil {
		return int64(len(data))
	}
	row := p.row(i)
	if doc := p.docs.roles[p.name(i)]; row.Version == 0 && doc != nil {
		return int64(len(doc.Bytes()))
	}
	return int64(row.Length)
}

// loadBin returns the published content of role i. What comes from the store is checked against the
// journal, and against the signature of the key that made it, see checkSigned.
func (p *publisher) loadBin(ctx context.Context, i int) (*roles.Bin, error) {
	if data := p.document(i); data != nil {
		return roles.ParseBin(data)
	}
	row := p.row(i)
	if row.Version == 0 {
		if doc := p.docs.roles[p.name(i)]; doc != nil { // people signed it until now
			return roles.ParseBin(doc.Bytes())
		}
		return roles.NewBin(), nil
	}
	if p.rebuild.wants(i) {
		return p.rebuild.bin(ctx, i)
	}
	if data := p.cache.get(i, row.Version); data != nil {
		return roles.OpenBin(data)
	}
	return p.loadPublished(ctx, i)
}

// checkSigned returns an error that wraps errQuarantine if the published bin of role i isn't signed by
// the key that the journal says signed it. The digest, which is the journal's too, shows what the store
// did to the bin, and nothing that was done to both. A bin that is signed by a key that the documents
// in force no longer name is only known by its digest: that key's public half is gone with them.
func (p *publisher) checkSigned(i int, bin *roles.Bin) error {
	row := p.row(i)
	for _, k := range p.docs.online.keys(i).Keys {
		if keyName(k) != p.state.Table.Keys[row.Key] {
			continue
		}
		if err := (roles.Authority{Keys: []*keys.PublicKey{k}, Threshold: 1}).Verify(bin); err != nil {
			return fmt.Errorf("%s: %w: the journal has its digest, and its signature is wrong, so somebody altered both: %w", p.fileName(i), errQuarantine, err)
		}
	}
	return nil
}

// getPublished returns the content of a published file. The error wraps errQuarantine if the store
// doesn't have the file, or has another one.
func getPublished(ctx context.Context, store Getter, name string, blob ledger.Blob) ([]byte, error) {
	data, err := store.Get(ctx, name)
	switch {
	case errors.Is(err, ErrNotExist):
		return nil, fmt.Errorf("%s: %w: %w", name, errQuarantine, err)
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", name, err)
	case ledger.BlobOf(data) != blob:
		return nil, fmt.Errorf("%s: %w: it was altered", name, errQuarantine)
	}
	return data, nil
}

// planner decides about a batch.
func (p *publisher) planner(ctx context.Context, b batch, s signers) planner {
	return planner{
		name: p.name, published: b.published, blocked: p.blocked, limit: s.limit,
		length: p.length,
		load: func(i int) (*roles.Bin, error) {
			if bin := b.bins[i]; bin != nil {
				return bin, nil
			}
			bin, err := p.loadBin(ctx, i)
			if p.noteQuarantine(i, err) {
				err = fmt.Errorf("%w: %w", errGoOnWithout, err)
			}
			return bin, err
		},
	}
}

// decide makes outcomes final for which nothing is to be signed.
func (p *publisher) decide(ctx context.Context, plan plan) error {
	if len(plan.outcomes) == 0 {
		return nil // all that arrived waits for quarantined bins
	}
	for n := range plan.outcomes {
		plan.outcomes[n].Generation = p.state.Generation
	}
	p.logged += plan.size()
	outcomes := plan.settled()
	begun := p.begins()
	err := p.append(ctx, p.state.Generation, &ledger.Decided{Outcomes: outcomes})
	p.observe(begun, Event{Stage: StageDecide, Generation: p.state.Generation, Items: len(outcomes), Err: err})
	if err != nil {
		return fmt.Errorf("decide %d items: %w", len(outcomes), err)
	}
	p.tell(outcomes)
	return nil
}

func (p *publisher) tell(outcomes []ledger.ItemOutcome) {
	if p.decided != nil {
		p.decided(outcomes)
	}
}

// build signs a generation, and writes everything but the timestamp, which it returns in the seal. If
// some roles could not be signed or written, the plan that it returns is without them and without the
// items that touch them.
func (p *publisher) build(ctx context.Context, a *attempt, plan plan) (plan, *ledger.Seal, error) {
	// The snapshot gives the length of a bin only if clients would otherwise refuse it. Such
	// bins come first. For the others it names versions only, so it can be signed before
	// them: while a key service is down, nothing is written in vain.
	full := p.mayBeFull(plan)
	rows, failed := map[int]ledger.Row{}, map[int]error{}
	p.buildBins(ctx, a, plan, func(i int) bool { return full[i] }, rows, failed)
	top, err := p.signTop(ctx, a, plan, rows)
	if err != nil {
		return plan, nil, err
	}
	p.buildBins(ctx, a, plan, func(i int) bool { return !full[i] }, rows, failed)
	if len(failed) > 0 {
		if plan, err = p.buildWithout(ctx, a, plan, rows, failed); err != nil {
			return plan, nil, err
		}
		if top, err = p.signTop(ctx, a, plan, rows); err != nil {
			return plan, nil, err
		}
	}
	for i, row := range rows {
		if !full[i] && row.Length > roles.MaxTargets {
			return plan, nil, fmt.Errorf("bin %s: it has %d bytes, and the snapshot doesn't say so", p.name(i), row.Length)
		}
	}
	if err := p.write(ctx, ledger.Name(a.number, metadata.SNAPSHOT), top.snapshotFile); err != nil {
		return plan, nil, err
	}
	p.next = top.snapshot
	return plan, p.seal(a, plan, rows, top), nil
}

// top are the two documents above the bins.
type top struct {
	snapshot     *roles.Snapshot
	snapshotFile []byte
	timestamp    *roles.Document[metadata.TimestampType]
	expires      ledger.Expires
}

// signTop signs the snapshot and the timestamp of a generation. Rows are those of the roles
// that are built already.
func (p *publisher) signTop(ctx context.Context, a *attempt, plan plan, rows map[int]ledger.Row) (t top, err error) {
	t.expires = ledger.Expires{Snapshot: a.now.Add(p.cfg.SnapshotLifetime).Unix(), Timestamp: a.now.Add(p.cfg.TimestampLifetime).Unix()}
	if t.snapshot, err = p.editSnapshot(a.number, time.Unix(t.expires.Snapshot, 0), plan.roles(), rows); err != nil {
		return t, fmt.Errorf("snapshot: %w", err)
	}
	begun := p.begins()
	t.snapshotFile, err = t.snapshot.Sign(ctx, a.signers.snapshot)
	p.signed(begun, a.number, metadata.SNAPSHOT, a.signers.snapshot, len(t.snapshot.Canonical()), err)
	if err != nil {
		return t, fmt.Errorf("snapshot: %w", err)
	}
	t.timestamp, err = roles.NewTimestamp(a.number, time.Unix(t.expires.Timestamp, 0), a.number, t.snapshotFile)
	if err == nil {
		size := len(t.timestamp.Canonical())
		begun = p.begins()
		t.timestamp, err = t.timestamp.Sign(ctx, a.signers.timestamp)
		p.signed(begun, a.number, metadata.TIMESTAMP, a.signers.timestamp, size, err)
	}
	if err != nil {
		return t, fmt.Errorf("timestamp: %w", err)
	}
	return t, nil
}

// buildBins signs and writes those roles of a plan that are wanted. It adds to rows the roles that
// are in the store then, and to failed the others. It ends early if there is no hope for the attempt.
func (p *publisher) buildBins(ctx context.Context, a *attempt, plan plan, wanted func(i int) bool, rows map[int]ledger.Row, failed map[int]error) {
	var mu sync.Mutex // guards rows and failed
	gctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endIfHopeless := func() {
		taken := slices.ContainsFunc(slices.Collect(maps.Values(failed)), func(err error) bool { return errors.Is(err, errTaken) })
		if len(failed) > 0 && (a.wholly || taken || len(failed) > len(rows)+p.cfg.Workers) {
			cancel()
		}
	}
	endIfHopeless()
	gate := parallel.NewGate(p.cfg.Workers)
	var workers sync.WaitGroup
	for _, i := range plan.roles() {
		if !wanted(i) {
			continue
		}
		if !gate.Enter() {
			mu.Lock()
			failed[i] = errNotTried
			mu.Unlock()
			continue
		}
		bin := a.batch.bins[i]
		delete(a.batch.bins, i)
		workers.Go(func() {
			var err error
			row := ledger.Row{Version: a.number, Signed: a.now.Unix(), Expires: a.now.Add(p.cfg.BinLifetime).Unix()}
			if err = gctx.Err(); err == nil && bin == nil { // it is renewed only, or there was no room to keep it
				bin, err = p.loadBin(gctx, i)
			}
			if err == nil {
				err = p.buildBin(gctx, i, bin, plan.edits[i], a.signers, &row)
			}
			result := parallel.Failed
			defer func() { gate.Leave(result) }()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				rows[i], result = row, parallel.Succeeded
			case gctx.Err() == nil || len(failed) == 0: // what fails because of another is of no interest
				failed[i] = err
				endIfHopeless()
			}
			if errors.Is(err, errQuarantine) {
				result = parallel.Other
			}
		})
	}
	workers.Wait()
}

// seal says what will be published.
func (p *publisher) seal(a *attempt, plan plan, rows map[int]ledger.Row, t top) *ledger.Seal {
	changed := plan.roles()
	out := &ledger.Seal{
		Signed: a.now.Unix(), Expires: t.expires, Keys: p.state.Table.Keys, Documents: p.docs.installed,
		Rows: make([]ledger.RoleRow, len(changed)), Outcomes: plan.settled(),
		Superseded: append(p.supersedes(changed), a.givenUp...), Removed: plan.removed, Unseen: plan.unseen,
	}
	if !p.hasSets() {
		out.Sets = p.docs.online.sizes()
	}
	for role := range p.state.Table.Roles {
		if p.peopleTookOver(role) {
			out.Dropped = append(out.Dropped, role)
		}
	}
	slices.Sort(out.Dropped)
	for n, i := range changed {
		row := rows[i]
		out.Keys, row.Key = keyIndex(out.Keys, keyName(a.signers.of(i).Public()))
		out.Rows[n] = ledger.RoleRow{Role: p.name(i), Row: row}
	}
	meta := t.timestamp.Signed().Meta[metadata.SNAPSHOT+".json"]
	out.Snapshot = ledger.Blob{SHA256: meta.Hashes["sha256"].String(), Length: meta.Length}
	out.SignedBy = p.signedBy(out, a.signers)
	out.Swaps = []ledger.Swap{{Name: ledger.Timestamp, Old: p.state.Timestamp(), New: t.timestamp.Bytes()}}
	return out
}

// signedBy names the keys without which clients refuse the generation.
func (p *publisher) signedBy(seal *ledger.Seal, s signers) ledger.SignedBy {
	by := ledger.SignedBy{
		metadata.TIMESTAMP: {keyName(s.timestamp.Public())},
		metadata.SNAPSHOT:  {keyName(s.snapshot.Public())},
		metadata.TARGETS:   p.docs.targetsSignedBy,
	}
	if _, online := p.docs.online.index(metadata.TARGETS); online {
		row := p.state.Table.Roles[metadata.TARGETS]
		for _, r := range seal.Rows {
			if r.Role == metadata.TARGETS {
				row = r.Row
			}
		}
		by[metadata.TARGETS] = []string{seal.Keys[row.Key]}
	}
	return by
}

// mayBeFull finds the roles of a plan that may come out larger than clients read by default.
func (p *publisher) mayBeFull(plan plan) map[int]bool {
	full := map[int]bool{}
	for i, edits := range plan.edits {
		size := p.length(i)
		for _, e := range edits {
			if e.Target != nil { // what it takes at most, whatever is escaped
				size += 512 + 2*int64(len(e.Path)) + 6*int64(len(e.Target.Custom))
			}
		}
		if size+envelopeSlack > roles.MaxTargets {
			full[i] = true
		}
	}
	return full
}

// hasSets reports whether the table has the sets of bins that the documents have.
func (p *publisher) hasSets() bool {
	for _, s := range p.docs.online.sizes() {
		if set := p.state.Table.Set(s.Prefix); set == nil || len(set.Rows) != s.Bins {
			return false
		}
	}
	return true
}

// supersedes names the files that go out of use with the new generation: the old files of the changed
// roles, and of roles that people take over; the old snapshot; and documents that were replaced, or
// whose roles are signed online from now on.
func (p *publisher) supersedes(changed []int) []string {
	if p.state.Generation == 0 {
		return nil
	}
	var names []string
	for _, i := range changed {
		if p.row(i).Version > 0 {
			names = append(names, p.fileName(i))
		}
	}
	names = append(names, ledger.Name(p.state.Generation, metadata.SNAPSHOT))
	for _, role := range slices.Sorted(maps.Keys(p.state.Table.Roles)) {
		if p.peopleTookOver(role) {
			names = append(names, ledger.Name(p.state.Table.Roles[role].Version, role))
		}
	}
	for _, role := range slices.Sorted(maps.Keys(p.state.Published)) {
		// A role with a row has the file that the row names. Its document was never written.
		if _, row := p.state.Table.Roles[role]; role != metadata.ROOT && !row && p.outOfUse(role, p.state.Published[role]) {
			names = append(names, ledger.Name(p.state.Published[role].Version, role))
		}
	}
	return append(names, p.neverPublished()...)
}

// neverPublished names the accepted documents that went out of use before a snapshot named them. (Archive
// writes published ones again.)
func (p *publisher) neverPublished() (names []string) {
	for _, f := range p.state.Unwritten {
		if f.Role != metadata.ROOT && !f.Online && p.outOfUse(f.Role, f.Doc) && p.state.Published[f.Role] != f.Doc {
			names = append(names, f.Name())
		}
	}
	return names
}

// outOfUse reports whether a document that people signed is no longer its role's file.
func (p *publisher) outOfUse(role string, d ledger.Doc) bool {
	_, online := p.docs.online.index(role)
	return online || p.docs.installed[role] != d
}

// buildBin applies edits to a bin, signs it, makes it durable, and completes its row.
func (p *publisher) buildBin(ctx context.Context, i int, bin *roles.Bin, edits []roles.TargetEdit, s signers, row *ledger.Row) error {
	bin, err := bin.Edit(row.Version, time.Unix(row.Expires, 0), edits)
	if err != nil {
		return err
	}
	begun := p.begins()
	data, err := bin.Sign(ctx, s.of(i))
	if !begun.IsZero() {
		p.signed(begun, row.Version, p.name(i), s.of(i), len(bin.Canonical()), err)
	}
	if err != nil {
		return signError{err}
	}
	if len(data) > roles.MaxTargetsWithLength {
		return fmt.Errorf("it would have %d bytes, and clients accept %d", len(data), roles.MaxTargetsWithLength)
	}
	if err := p.write(ctx, ledger.Name(row.Version, p.name(i)), data); err != nil {
		return err
	}
	p.cache.put(i, row.Version, data)
	p.rebuild.drop(i)
	row.SHA256, row.Length = sha256.Sum256(data), int32(len(data))
	return nil
}

// editSnapshot returns the snapshot of a generation in which roles changed. Rows are those of
// the roles that are built already.
func (p *publisher) editSnapshot(gen int64, expires time.Time, changed []int, rows map[int]ledger.Row) (*roles.Snapshot, error) {
	edits := make([]roles.MetaEdit, 0, len(changed)+2)
	for _, i := range changed {
		edits = append(edits, roles.MetaEdit{Role: p.name(i), Version: gen, Length: lengthInSnapshot(int64(rows[i].Length))})
	}
	signedByPeople := maps.Clone(p.docs.installed)
	for role := range signedByPeople {
		_, published := p.state.Table.Roles[role]
		if _, online := p.docs.online.index(role); online || published && !p.peopleTookOver(role) {
			delete(signedByPeople, role)
		}
	}
	edits = append(edits, documentMeta(signedByPeople)...)
	return p.snapshot.Edit(gen, expires, edits)
}

// peopleTookOver reports whether a role was signed online, and people sign it from the next
// generation on.
func (p *publisher) peopleTookOver(role string) bool {
	_, online := p.docs.online.index(role)
	doc := p.docs.installed[role]
	byIndex := func(f ledger.File) bool { return f.Role == role && f.Doc == doc && f.Online }
	return !online && doc.Version > p.state.Table.Roles[role].Version &&
		doc != p.state.Published[role] && !slices.ContainsFunc(p.state.Unwritten, byIndex)
}

// nextGeneration is the number of the next attempt. If others used the names of the last numbers, the
// step is doubled each time. If a role goes from people to the index, its version becomes the
// generation's number: that must be above the version of the people's document.
func (p *publisher) nextGeneration() int64 {
	gen := p.state.Planned + 1<<min(max(p.taken-1, 0), 20)
	for _, r := range p.docs.online.others {
		if _, published := p.state.Table.Roles[r.Name]; !published {
			gen = max(gen, p.state.Published[r.Name].Version+1)
		}
	}
	return gen
}

// lengthInSnapshot is the length of a file that the snapshot gives: none, unless clients would
// refuse the file without it. The lengths of all bins would make the snapshot itself too large.
func lengthInSnapshot(n int64) int64 {
	if n > roles.MaxTargets {
		return n
	}
	return 0
}

// documentMeta is what a snapshot says of the offline documents.
func documentMeta(docs map[string]ledger.Doc) []roles.MetaEdit {
	var edits []roles.MetaEdit
	for role, d := range docs {
		if role == metadata.ROOT {
			continue
		}
		edits = append(edits, roles.MetaEdit{Role: role, Version: d.Version, Length: lengthInSnapshot(d.Length)})
	}
	return edits
}

// publishedSnapshot makes the snapshot of the committed state from the table. Roles to which nobody
// delegates any more stay in it: clients refuse a snapshot from which a name vanished.
func (p *publisher) publishedSnapshot() (*roles.Snapshot, error) {
	edits := make([]roles.MetaEdit, 0, p.state.Table.Len()+len(p.state.Published))
	published := maps.Clone(p.state.Published)
	for role, row := range p.state.Table.All() {
		edits = append(edits, roles.MetaEdit{Role: role, Version: row.Version, Length: lengthInSnapshot(int64(row.Length))})
		delete(published, role)
	}
	edits = append(edits, documentMeta(published)...)
	return roles.NewSnapshot().Edit(p.state.Generation, p.state.Signed, edits)
}

// finish commits a sealed generation, if there is one. Everything that the seal names is durable, so
// finish is tried until it succeeds, also after a restart.
func (p *publisher) finish(ctx context.Context) error {
	s, gen := p.state.Sealed, p.state.Last()
	if s == nil {
		return nil
	}
	begun := p.begins()
	err := p.commit(ctx, s, gen)
	p.observe(begun, Event{Stage: StageCommit, Generation: gen, Items: len(s.Outcomes), Roles: len(s.Rows), Err: err})
	return err
}

func (p *publisher) commit(ctx context.Context, s *ledger.Seal, gen int64) error {
	// A caller that stops waiting must not leave the outcome open.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	swapped, err := p.swaps.await(ctx) // before the documents: clients fail between a root that is held back and the swap
	if err != nil {
		return fmt.Errorf("commit generation %d: %w", gen, err)
	}
	defer swapped()
	if err := p.writeDocuments(ctx, true); err != nil {
		return fmt.Errorf("commit generation %d: %w", gen, err)
	}
	for _, swap := range s.Swaps {
		if err := p.swap(ctx, swap); err != nil {
			err = fmt.Errorf("commit generation %d: %s: %w", gen, swap.Name, err)
			if errors.Is(err, ErrConflict) {
				err = p.foreign(ctx, err)
			}
			return err
		}
	}
	swapped()
	if err := p.append(ctx, gen, &ledger.Commit{}); err != nil {
		return fmt.Errorf("commit generation %d: %w", gen, err)
	}
	p.collection.committed(gen, p.clock.look())
	p.unread = nil
	p.snapshot, p.next = p.next, nil
	p.unwritten = stillWanted(p.state.Unwritten, p.state.Documents) // what was accepted before the seal is written
	for _, r := range s.Rows {
		if i, ok := p.docs.online.index(r.Role); ok {
			p.cache.remove(i, func(version int64) bool { return version != r.Row.Version })
			p.rebuild.forget(i)
		}
	}
	p.tell(s.Outcomes)
	return nil
}

// swapping keeps swaps Config.MinInterval apart.
type swapping struct {
	turn     chan struct{} // has one element while nobody swaps
	interval time.Duration
	last     time.Time // when the last swap ended, or else when this process took the lead: when another process swapped isn't known
}

func newSwapping(interval time.Duration) swapping {
	s := swapping{turn: make(chan struct{}, 1), interval: interval, last: time.Now()}
	s.turn <- struct{}{}
	return s
}

// await waits until something may be swapped. If the error is nil, done must be called after it. A swap that failed
// counts too: the store may have made it.
func (s *swapping) await(ctx context.Context) (done func(), err error) {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if wait := s.interval - time.Since(s.last); wait > 0 && !sleep(ctx, wait) {
		s.turn <- struct{}{}
		return nil, ctx.Err()
	}
	return sync.OnceFunc(func() {
		s.last = time.Now()
		s.turn <- struct{}{}
	}), nil
}

// swap replaces the content of a name. Swaps.await was called before.
func (p *publisher) swap(ctx context.Context, s ledger.Swap) error {
	err := p.cfg.Store.Swap(ctx, s.Name, s.Old, s.New)
	if err == nil {
		p.looked = time.Now()
	}
	return err
}

// swapSame makes sure that the store has the committed timestamp, and can be written. The error wraps ErrConflict
// if it has another one.
func (p *publisher) swapSame(ctx context.Context) error {
	done, err := p.swaps.await(ctx)
	if err != nil {
		return err
	}
	defer done()
	return p.swap(ctx, ledger.Swap{Name: ledger.Timestamp, Old: p.state.Timestamp(), New: p.state.Timestamp()})
}

// TryStore makes sure that the repository could go on with a store, such as its own one with other credentials: that
// timestamp.json is there, can be read, and can be swapped. It replaces the file by the same bytes, and keeps Config.MinInterval
// from the swaps of this repository. A generation under way doesn't delay it, until it is committed. The error is the
// store's: it wraps ErrNotExist if there is no timestamp, and ErrConflict if another publisher changed it meanwhile. The
// cost is one read and one write.
func (r *Repository) TryStore(ctx context.Context, store Store) error {
	done, err := r.pub.swaps.await(ctx)
	if err != nil {
		return fmt.Errorf("try store: %w", err)
	}
	defer done()
	now, err := store.Get(ctx, ledger.Timestamp)
	if err == nil {
		err = store.Swap(ctx, ledger.Timestamp, now, now)
	}
	if err != nil {
		return fmt.Errorf("try store: %w", err)
	}
	return nil
}

// About how many bytes a checkpoint takes for each row, and for each file and target file that is to be
// collected. See Config.CheckpointBytes.
const (
	rowRecord    = 110
	nameRecord   = 25
	targetRecord = 250
)

// checkpoint writes a checkpoint once much was logged, so that a later Open reads little.
func (p *publisher) checkpoint(ctx context.Context) error {
	// A large table is written more rarely. What the journal adds to a checkpoint of its own isn't
	// counted: it is little compared with the bins that were written meanwhile.
	files, targets := p.state.Uncollected()
	least := 4*rowRecord*p.state.Table.Len() + nameRecord*files + targetRecord*targets
	if p.logged < max(p.cfg.CheckpointBytes, least) || p.state.Sealed != nil || len(p.unwritten) > 0 {
		return nil
	}
	if ctx.Err() != nil {
		return nil // the generation is committed: nothing failed
	}
	// It holds the queue too: a long one would be written again after each batch.
	queue, err := p.cfg.Journal.Backlog(ctx)
	if err == nil && int64(p.logged) < queue.Bytes {
		return nil
	}
	if err == nil {
		begun := p.begins()
		err = p.append(ctx, p.state.Generation, p.state.Checkpoint())
		p.observe(begun, Event{Stage: StageCheckpoint, Generation: p.state.Generation, Roles: p.state.Table.Len(), Err: err})
	}
	if err != nil && !isFatal(err) && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	p.logged = 0
	return nil
}

// keyName names a key by its ID and its material. A document may list another key under the same ID,
// or the same key under another ID, and clients tell both apart.
func keyName(k *keys.PublicKey) string { return k.ID() + " " + k.Fingerprint() }

// keyID is the ID in the name of a key.
func keyID(name string) string {
	id, _, _ := strings.Cut(name, " ")
	return id
}

// keyIndex returns the index of a name in names, adding it if need be.
func keyIndex(names []string, name string) ([]string, int32) {
	if i := slices.Index(names, name); i >= 0 {
		return names, int32(i)
	}
	return append(slices.Clip(names), name), int32(len(names))
}
