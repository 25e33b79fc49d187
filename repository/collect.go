package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Collection. The journal lists what each commit superseded (ledger.Garbage). A file goes through
// these states:
//
//	listed     the commit record of the generation that superseded it is durable
//	deletable  a grace period has passed, by this process's monotonic clock, since it wrote that
//	           record, or since it opened the repository
//	deleted    the store deleted it; a deletion may be repeated
//	collected  a collected record says so, once all of its generation's garbage is deleted
//
// Run deletes between generations, a chunk at a time, at the rate of Config.CollectPerMinute. Nothing
// lists the store. Sweep does, for what no list has.
//
// Target files are deleted by the index. From the collected record on they are offered, one by one:
//
//	offered    no generation that a client may need names the file
//	claimed    no pending item and no published role names it either; Config.DeleteTarget is running,
//	           and Submit refuses the file
//	settled    it was deleted, or is published again
//
// If DeleteTarget fails, the file is offered again after a pause.

const (
	// mostCollected is how many files are deleted in a row: publishing waits meanwhile.
	mostCollected = 1000

	// collectInterval is how long collection rests once it has deleted all that it could.
	collectInterval = time.Minute

	// lateCollection is by how much garbage may be overdue before Status calls it a problem.
	lateCollection = time.Hour

	// How long a target file is left alone that DeleteTarget gave back: it doubles from the first to the
	// last.
	firstOffer = time.Minute
	lastOffer  = time.Hour

	// patienceOfDelete is how long one call of DeleteTarget may take.
	patienceOfDelete = 10 * time.Minute

	never time.Duration = math.MaxInt64
)

// ErrBeingDeleted is wrapped by Submit for a target whose file is being deleted: the path was removed a
// grace period ago, and Config.DeleteTarget is running for the file. Store the file again, and submit
// the item again a little later.
var ErrBeingDeleted = errors.New("its file is being deleted: store it again, and submit it again later")

// collection is what the publisher knows of garbage in addition to the state.
type collection struct {
	known map[int64]moment // when it wrote the commit record of a generation

	done progress  // what is deleted of the oldest garbage
	last time.Time // when the last chunk began; zero: none that left something
	rest pause     // until the next one
	err  error     // why the last one failed

	look     pause                       // until the offered target files are looked through
	back     map[ledger.TargetFile]pause // those that were given back
	held     map[ledger.TargetFile]pause // those that pending items name
	givenErr error                       // why the last of those given back was
	gone     []ledger.RemovedTarget      // those that need not be offered again, until that is recorded
	deleted  []ledger.RemovedTarget      // those of gone that are claimed until then

	deleting *deletions // nil: target files aren't offered
}

// committed notes that a commit record is durable.
func (c *collection) committed(generation int64, at moment) {
	if c.known == nil {
		c.known = map[int64]moment{}
	}
	c.known[generation] = at
}

// graceLeft returns how long clients may still need what the commit of a generation superseded. It
// counts from when this process learned of the commit, by clocks that nobody sets.
func (p *publisher) graceLeft(generation int64) time.Duration {
	learned, ok := p.collection.known[generation]
	if !ok {
		learned = p.clock.opened
	}
	return p.cfg.grace() - passed(learned, p.clock.look())
}

// collectIn returns how long it is until there is anything to collect.
func (p *publisher) collectIn() time.Duration {
	if p.cfg.CollectPerMinute < 0 || p.state.Sealed != nil {
		return never
	}
	wait := min(p.filesIn(), p.offerIn())
	if wait < never && p.collection.err != nil {
		wait = max(wait, p.collection.rest.left())
	}
	return wait
}

// filesIn returns how long it is until files of the store are to be deleted.
func (p *publisher) filesIn() time.Duration {
	if len(p.state.Garbage) == 0 {
		return never
	}
	return max(p.graceLeft(p.state.Garbage[0].Generation), p.collection.rest.left())
}

// collect deletes one chunk of garbage if it is time, and returns target files for which
// Config.DeleteTarget is to be called. An error is fatal: all others are noted, and tried again.
func (p *publisher) collect(ctx context.Context) ([]ledger.RemovedTarget, error) {
	if p.collectIn() > 0 || ctx.Err() != nil {
		return nil, nil
	}
	c := &p.collection
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	record := &ledger.Collected{Through: p.state.Collected}
	p.takeResults()
	err := p.checkOwn(limited)
	done := c.done
	if err == nil && p.filesIn() <= 0 {
		done, err = p.deleteGarbage(limited, record)
	}
	var claimed []ledger.RemovedTarget
	if err == nil && len(c.gone) == 0 { // what is settled is recorded first
		claimed, err = p.claim(limited)
	}
	record.Settled = c.gone
	if record.Through > p.state.Collected || len(record.Settled) > 0 {
		if appendErr := p.append(ctx, p.state.Generation, record); appendErr == nil {
			c.done = done
			p.forget(record)
		} else {
			err = appendErr
		}
	} else {
		c.done = done
	}
	if err != nil && ctx.Err() != nil && !isFatal(err) { // to be told to stop is no failure
		return claimed, nil
	}
	c.err = err
	switch {
	case isFatal(err):
		return nil, fmt.Errorf("collect: %w", err)
	case err != nil:
		c.rest.grow(firstRetry, lastRetry)
		p.log.Error("collection failed, it will be tried again", "err", err, "in", c.rest.length)
	}
	return claimed, nil
}

// chunk returns how many files may be deleted now, and how long it is to the next chunk.
func (p *publisher) chunk() (limit int, interval time.Duration) {
	rate := p.cfg.CollectPerMinute
	usual := min(max(rate/60, 1), 100)
	limit = usual
	if last := p.collection.last; !last.IsZero() {
		// Chunks that come late, because of a generation that takes long, are made up for.
		limit = int(min(min(time.Since(last), time.Minute).Minutes()*float64(rate), mostCollected))
	}
	return max(limit, usual), time.Minute * time.Duration(usual) / time.Duration(rate)
}

// checkOwn makes sure that the store still serves what this publisher published.
func (p *publisher) checkOwn(ctx context.Context) error {
	if _, err := p.lead.Pending(ctx, 1, 0); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	published, err := p.cfg.Store.Get(ctx, ledger.Timestamp)
	if err == nil && !bytes.Equal(published, p.state.Timestamp()) {
		err = fmt.Errorf("%s isn't that of generation %d: another program writes into the store, and nothing is deleted", ledger.Timestamp, p.state.Generation)
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// deleteGarbage deletes a chunk of files, oldest garbage first. It notes in record whose garbage is all
// gone, and returns how much of the next one is. After an error it does so for the files before the
// first that isn't deleted: the next chunk begins with that one.
func (p *publisher) deleteGarbage(ctx context.Context, record *ledger.Collected) (progress, error) {
	c := &p.collection
	limit, interval := p.chunk()
	c.last = time.Now()
	names, more := p.deletable(limit)
	n, err := p.deleteFiles(ctx, names)
	done := p.advance(n, record)
	if err != nil {
		return done, err
	}
	c.rest = pause{time.Now(), interval}
	if !more {
		c.rest.length, c.last = collectInterval, time.Time{} // from here on no chunk is late
	}
	return done, nil
}

// progress is how many names of a generation's garbage are deleted.
type progress struct {
	generation int64
	names      int
}

// of returns how many names of this garbage are deleted.
func (d progress) of(g *ledger.Garbage) int {
	if d.generation != g.Generation { // its garbage left the list: there is too much
		return 0
	}
	return d.names
}

// deletable returns the first names to be deleted, at most limit, and whether there are more.
func (p *publisher) deletable(limit int) (names []string, more bool) {
	for n := range p.state.Garbage {
		g := &p.state.Garbage[n]
		if p.graceLeft(g.Generation) > 0 {
			break
		}
		skip := p.collection.done.of(g)
		for name := range g.Names {
			if skip > 0 {
				skip--
				continue
			}
			if len(names) == limit {
				return names, true
			}
			names = append(names, name)
		}
	}
	return names, false
}

// advance notes in record whose garbage is all gone once n more names are, and returns how much of the
// next one is.
func (p *publisher) advance(n int, record *ledger.Collected) progress {
	for i := range p.state.Garbage {
		g := &p.state.Garbage[i]
		if p.graceLeft(g.Generation) > 0 {
			break
		}
		before := p.collection.done.of(g)
		left := g.Len() - before
		if left > n {
			return progress{g.Generation, before + n}
		}
		n -= left
		record.Through = g.Generation
		if p.cfg.DeleteTarget != nil {
			record.Offered = append(record.Offered, g.Targets...)
		}
	}
	return progress{}
}

// deleteFiles deletes files of the store that nobody needs. It returns how many are gone before the
// first one that isn't.
func (p *publisher) deleteFiles(ctx context.Context, names []string) (gone int, err error) {
	deleted := make([]bool, len(names))
	err = parallel.All(ctx, p.cfg.Workers, indexes(len(names)), func(ctx context.Context, n int) error {
		name := names[n]
		deleted[n] = true
		switch why := keeps(p.state, name); why {
		case "":
		case keptBase:
			return nil
		default: // no record should list it
			p.log.Error("the journal lists a file to be deleted that must stay: it is not deleted", "name", name, "because", why)
			return nil
		}
		err := deleteFile(ctx, p.cfg.Store, name)
		deleted[n] = err == nil
		return err
	})
	if gone = slices.Index(deleted, false); gone < 0 {
		gone = len(names)
	}
	return gone, err
}

// deleteFile deletes a file that may be gone already.
func deleteFile(ctx context.Context, store Store, name string) error {
	if err := store.Delete(ctx, name); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// indexes are the numbers below n.
func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Why a file of the store must stay.
const (
	keptPublished = "published"
	keptBase      = "a replay of the journal begins with it"
)

// keeps says why a file of the store must stay whatever the garbage lists, or "".
func keeps(s *ledger.State, name string) string {
	if _, swapped := s.Swapped[name]; swapped || name == ledger.Timestamp {
		return keptPublished
	}
	version, role, ok := ledger.ParseName(name)
	if !ok {
		return "not a name of metadata"
	}
	if role == metadata.ROOT {
		return "root: clients follow every version of it"
	}
	row, online := s.Table.Row(role)
	switch {
	case online && row.Version == version,
		role == metadata.SNAPSHOT && version == s.Generation,
		!online && s.Published[role].Version == version:
		return keptPublished
	case (online || role == metadata.SNAPSHOT) && version > s.Generation, named(s.Attempts, version, role):
		return fmt.Sprintf("generation %d is not published, and a later one is not either", version)
	case s.Documents[role].Version == version && s.Documents[role] != s.Published[role],
		slices.ContainsFunc(s.Unwritten, func(f ledger.File) bool { return f.Name() == name }):
		return "accepted, and not yet published"
	case s.Bases[role] == version:
		return keptBase
	}
	return ""
}

// named reports whether one of the attempts may have written a file.
func named(attempts []ledger.Attempt, version int64, role string) bool {
	n, found := slices.BinarySearchFunc(attempts, version, func(a ledger.Attempt, version int64) int { return cmp.Compare(a.Generation, version) })
	if !found {
		return false
	}
	for r := range attempts[n].Names {
		if r == role {
			return true
		}
	}
	return false
}

// forget drops what is known of garbage that is gone, and lets go of settled target files.
func (p *publisher) forget(record *ledger.Collected) {
	c := &p.collection
	for _, t := range c.deleted { // and no others: two targets may share a file, and one be claimed still
		c.deleting.release(t)
	}
	c.gone, c.deleted = nil, nil
	maps.DeleteFunc(c.known, func(generation int64, _ moment) bool { return generation <= record.Through })
	if len(record.Offered) > 0 {
		c.look = pause{}
	}
	for _, t := range record.Settled {
		delete(c.back, oneFile(t))
	}
	if len(c.back) == 0 {
		c.givenErr = nil
	}
}

// collectionStatus is what Status shows.
func (p *publisher) collectionStatus() CollectionStatus {
	s, c := collectionOf(p.state), &p.collection
	if c.err != nil {
		s.Error = c.err.Error()
	}
	if s.GivenBack = len(c.back); s.GivenBack > 0 {
		s.GivenError = c.givenErr.Error()
	}
	if len(p.state.Garbage) > 0 && p.cfg.CollectPerMinute >= 0 && p.clock != nil {
		if left := p.graceLeft(p.state.Garbage[0].Generation); left < 0 {
			s.Overdue = p.cfg.Now().Add(left).UTC()
		}
	}
	return s
}

func collectionOf(state *ledger.State) CollectionStatus {
	s := CollectionStatus{Unlisted: state.Unlisted}
	if s.Files, s.Targets = state.Uncollected(); len(state.Garbage) > 0 && s.Files+s.Targets > 0 {
		s.Oldest = state.Garbage[0].Time
	}
	return s
}

// oneFile is one of the target's files, always the same.
func oneFile(t ledger.RemovedTarget) ledger.TargetFile {
	first := ledger.TargetFile{Path: t.Path}
	for f := range t.Files() {
		if first.Algorithm == "" || f.Algorithm < first.Algorithm {
			first = f
		}
	}
	return first
}

// offerIn returns how long it is until target files are to be looked at.
func (p *publisher) offerIn() time.Duration {
	c := &p.collection
	switch {
	case c.deleting == nil:
		return never
	case c.deleting.ended():
		return 0
	case len(p.state.Targets) == 0 || c.deleting.free(p.cfg.Workers) == 0:
		return never
	}
	return c.look.left()
}

// takeResults takes the results of calls of DeleteTarget.
func (p *publisher) takeResults() {
	c := &p.collection
	if c.deleting == nil {
		return
	}
	for _, r := range c.deleting.results() {
		if r.err == nil {
			c.gone, c.deleted = append(c.gone, r.target), append(c.deleted, r.target)
		} else {
			p.giveBack(r.target, r.err)
		}
	}
}

// giveBack lets a target file wait after a failure.
func (p *publisher) giveBack(t ledger.RemovedTarget, err error) {
	c := &p.collection
	wait := c.back[oneFile(t)]
	wait.grow(firstOffer, lastOffer)
	if c.back == nil {
		c.back = map[ledger.TargetFile]pause{}
	}
	c.back[oneFile(t)] = wait
	c.givenErr = fmt.Errorf("target %q: %w", t.Path, err)
	p.log.Warn("a target file isn't deleted, it is offered again later", "path", t.Path, "err", err, "in", wait.length)
}

// claim claims target files that nothing names. It notes those that need not be offered again: they are
// published, or were removed once more since.
func (p *publisher) claim(ctx context.Context) ([]ledger.RemovedTarget, error) {
	c := &p.collection
	if c.deleting == nil || len(p.state.Targets) == 0 || c.look.left() > 0 {
		return nil, nil
	}
	c.look = pause{time.Now(), collectInterval}
	if p.documentsWait() { // what clients will find isn't published yet
		return nil, nil
	}
	maps.DeleteFunc(c.held, func(_ ledger.TargetFile, wait pause) bool { return wait.left() <= 0 })
	free := c.deleting.free(p.cfg.Workers)
	var claimed []ledger.RemovedTarget
	for _, t := range p.state.Targets { // there may be very many
		file := oneFile(t)
		if wait := max(c.back[file].left(), c.held[file].left()); wait > 0 {
			continue
		}
		if len(claimed) == free {
			c.look = pause{} // as soon as one ends
			break
		}
		if c.deleting.claim(t) {
			claimed = append(claimed, t)
		}
	}
	later := p.removedAgain(claimed)
	claimed = slices.DeleteFunc(claimed, func(t ledger.RemovedTarget) bool {
		if names(later, t) {
			c.deleting.release(t)
			c.gone = append(c.gone, t)
			return true
		}
		return false
	})
	if len(claimed) == 0 {
		return nil, nil
	}
	// An item that entered the journal before the claim is pending, or decided, by now.
	pending, err := p.pendingFiles(ctx)
	if err != nil {
		for _, t := range claimed {
			c.deleting.release(t)
		}
		return nil, err
	}
	var unnamed []ledger.RemovedTarget
	for n, state := range p.publishedFiles(ctx, claimed) {
		t := claimed[n]
		switch {
		case state.err != nil:
			p.giveBack(t, state.err)
		case state.published:
			c.gone = append(c.gone, t)
		case pending != nil && !names(pending, t):
			unnamed = append(unnamed, t)
			continue
		default:
			if c.held == nil {
				c.held = map[ledger.TargetFile]pause{}
			}
			c.held[oneFile(t)] = pause{time.Now(), collectInterval}
		}
		c.deleting.release(t)
	}
	return unnamed, nil
}

// removedAgain returns those of the targets' files that a generation removed whose grace isn't over.
func (p *publisher) removedAgain(targets []ledger.RemovedTarget) map[ledger.TargetFile]bool {
	asked, again := map[ledger.TargetFile]bool{}, map[ledger.TargetFile]bool{}
	for _, t := range targets {
		for f := range t.Files() {
			asked[f] = true
		}
	}
	for _, g := range p.state.Garbage {
		for _, t := range g.Targets {
			for f := range t.Files() {
				if asked[f] {
					again[f] = true
				}
			}
		}
	}
	return again
}

func names(files map[ledger.TargetFile]bool, t ledger.RemovedTarget) bool {
	for f := range t.Files() {
		if files[f] {
			return true
		}
	}
	return false
}

// pendingFiles returns the files of all targets that pending items add. It returns nil while more than
// a batch is pending: uploads come first.
func (p *publisher) pendingFiles(ctx context.Context) (map[ledger.TargetFile]bool, error) {
	most := p.cfg.MaxBatch + p.waiting
	entries, err := p.lead.Pending(ctx, most+1, math.MaxInt64)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if len(entries) > most {
		return nil, nil
	}
	files := map[ledger.TargetFile]bool{}
	for _, e := range entries {
		it, err := e.Item()
		if err != nil {
			continue // it can't be published
		}
		for f := range addedFiles(it) {
			files[f] = true
		}
	}
	return files, nil
}

// addedFiles yields the files of all targets that an item adds.
func addedFiles(it Item) func(yield func(ledger.TargetFile) bool) {
	return func(yield func(ledger.TargetFile) bool) {
		for _, t := range it.Add {
			for f := range ledger.FilesOf(t.Path, t.Hashes) {
				if !yield(f) {
					return
				}
			}
		}
	}
}

// fileState says of a target file whether a role that clients may ask lists it.
type fileState struct {
	published bool
	err       error
}

// publishedFiles looks target files up, in parallel.
func (p *publisher) publishedFiles(ctx context.Context, targets []ledger.RemovedTarget) []fileState {
	out := make([]fileState, len(targets))
	byPeople := sync.OnceValues(p.listedByPeople)
	var g errgroup.Group
	g.SetLimit(p.cfg.Workers)
	for n, t := range targets {
		g.Go(func() error {
			people, err := byPeople()
			for _, role := range p.docs.online.tree.SearchByAny(t.Path) {
				listed := people[role]
				if i, online := p.docs.online.index(role); online && err == nil {
					listed, err = p.loadBin(ctx, i)
				}
				if err != nil {
					break
				}
				if listed == nil {
					continue
				}
				var found roles.Target
				var ok bool
				if found, ok, err = listed.Lookup(t.Path); err != nil {
					break
				}
				if ok && sharesFile(t, found) {
					out[n].published = true
				}
			}
			out[n].err = err
			return nil
		})
	}
	_ = g.Wait()
	return out
}

// sharesFile reports whether a target has one of the removed target's files.
func sharesFile(t ledger.RemovedTarget, published roles.Target) bool {
	for algorithm, hash := range t.Hashes {
		if published.Hashes[algorithm] == hash {
			return true
		}
	}
	return false
}

// listedByPeople returns what the documents in force list.
func (p *publisher) listedByPeople() (map[string]*roles.Bin, error) {
	out := map[string]*roles.Bin{}
	for role, doc := range p.docs.roles {
		listed, err := roles.ParseBin(doc.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
		out[role] = listed
	}
	return out, nil
}

// deletions are the target files that are claimed. The publisher, Submit and the calls of DeleteTarget
// share it.
type deletions struct {
	mu       sync.Mutex
	claimed  map[ledger.TargetFile]bool
	entering map[ledger.TargetFile]int // files of items on their way into the journal
	running  int                       // calls of DeleteTarget
	done     []deletion
}

// deletion is what DeleteTarget returned.
type deletion struct {
	target ledger.RemovedTarget
	err    error
}

func newDeletions() *deletions {
	return &deletions{claimed: map[ledger.TargetFile]bool{}, entering: map[ledger.TargetFile]int{}}
}

// enter announces that an item goes into the journal. It fails if the item adds a claimed file. Call
// leave once the journal has the item. A nil d has no claims.
func (d *deletions) enter(it Item) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range addedFiles(it) {
		if d.claimed[f] {
			return fmt.Errorf("target %q with the %s %s: %w", f.Path, f.Algorithm, f.Hash, ErrBeingDeleted)
		}
	}
	for f := range addedFiles(it) {
		d.entering[f]++
	}
	return nil
}

func (d *deletions) leave(it Item) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range addedFiles(it) {
		if d.entering[f]--; d.entering[f] == 0 {
			delete(d.entering, f)
		}
	}
}

// adds returns an error if an item adds a claimed file. Another process may have queued it.
func (d *deletions) adds(it Item) error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range addedFiles(it) {
		if d.claimed[f] {
			return fmt.Errorf("target %q: %w", f.Path, ErrBeingDeleted)
		}
	}
	return nil
}

// claim reports whether the target's files are claimed from now on. They aren't if some are already, or
// if an item with one of them is on its way into the journal.
func (d *deletions) claim(t ledger.RemovedTarget) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range t.Files() {
		if d.claimed[f] || d.entering[f] > 0 {
			return false
		}
	}
	for f := range t.Files() {
		d.claimed[f] = true
	}
	return true
}

func (d *deletions) release(t ledger.RemovedTarget) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for f := range t.Files() {
		delete(d.claimed, f)
	}
}

// free is how many more calls may run.
func (d *deletions) free(workers int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(workers-d.running, 0)
}

func (d *deletions) ended() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.done) > 0
}

func (d *deletions) results() []deletion {
	d.mu.Lock()
	defer d.mu.Unlock()
	done := d.done
	d.done = nil
	return done
}

func (d *deletions) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running++
}

// end notes a result. A file that was given back can be submitted again at once.
func (d *deletions) end(t ledger.RemovedTarget, err error) {
	if err != nil {
		d.release(t)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running--
	d.done = append(d.done, deletion{t, err})
}

// deleteTargets calls Config.DeleteTarget for claimed target files, each in a goroutine of its own. The
// caller has the turn: once Close has taken it, no more calls begin.
func (r *Repository) deleteTargets(ctx context.Context, claimed []ledger.RemovedTarget) {
	d := r.pub.collection.deleting
	for _, t := range claimed {
		d.begin()
		r.deleting.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, patienceOfDelete)
			defer cancel()
			d.end(t, r.cfg.DeleteTarget(ctx, t))
			r.wakeRun()
		})
	}
}
