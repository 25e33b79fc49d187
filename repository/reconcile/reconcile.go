// Package reconcile makes a repository publish what an index has. It submits the differences
// and nothing else.
//
//	report, err := reconcile.Run(ctx, repo, index, reconcile.Options{Remove: true})
//	fmt.Println(report) // 2,000,000 targets: 1,999,990 right, 7 added, 3 removed
//
// An index needs it once, when its first files come under TUF, and later after an accident: a
// backup of its database was restored, or a bug let uploads through that it never submitted.
// It may run at any time, alongside uploads and removals.
//
// # What keeps it right
//
// Run compares what the index yields with one published generation. Both may change meanwhile. So
// Run looks at each difference again while the index holds its path still (see Index.Hold). It
// submits the difference on the condition that the path is still published as Run saw it. An index
// must change a path, and submit the change, under the same lock. Then it gets these guarantees:
//
//   - A path that is right stays right.
//   - No path goes back to what it was before an upload or a removal, not even for one
//     generation.
//   - When Run returns nil, every path is published as the index has it, except those that the
//     report names, and except changes that the index itself made and submitted meanwhile.
//
// Nothing is removed unless Options.Remove says so: an index whose database is empty by
// accident would remove everything. An index that has written files and not synced them may lose
// them with the machine's power: it would remove them too.
package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Index is what an index says that it has. Its methods are called from several goroutines.
type Index interface {
	// Targets yields everything that the index has, in any order. It may read page by page, and
	// the index may change meanwhile. An error ends it, and Run.
	Targets(ctx context.Context) iter.Seq2[roles.Target, error]

	// Hold calls f with what the index has at path, nil for nothing, and returns f's error. If
	// the index's storage can't be read, Hold returns an error and doesn't call f: nil would be
	// taken for a path that was deleted.
	//
	// Until f returns, the index neither changes the path nor submits an item for it. For that,
	// Hold takes the lock, or the row in a transaction, under which the index does both. An index
	// that records an upload only once clients can see it keeps that lock from its Submit until
	// the upload is recorded, Wait included. f takes as long as a Submit.
	Hold(ctx context.Context, path string, f func(has *roles.Target) error) error
}

// Repository is a *repository.Repository or a *service.Service.
type Repository[R Receipt] interface {
	View(ctx context.Context) (*repository.View, error)
	Submit(ctx context.Context, it repository.Item) (R, error)
}

// Receipt is what Submit returns.
type Receipt interface {
	Wait(ctx context.Context) (repository.Outcome, error)
}

// Options are how to reconcile. The zero value adds and changes, and removes nothing.
type Options struct {
	Remove bool   // what is published and not in the index
	DryRun bool   // submit nothing: the report says what would be done
	By     string // who asks, as the items and their outcomes name it
	// Each is called once for each difference, before anything is submitted for it. It is called by
	// one goroutine at a time. nil: not called.
	Each func(Difference)
}

// Difference is a path that is not published as the index has it.
type Difference struct {
	Path      string        `json:"path"`
	Published *roles.Target `json:"published,omitempty"` // nil: nothing
	Index     *roles.Target `json:"index,omitempty"`     // nil: nothing
}

// Report says what was done. Each path counts once, or as often as Index.Targets yields it.
type Report struct {
	Right   int `json:"right"`   // were published as the index has them
	Added   int `json:"added"`   // were not published
	Changed int `json:"changed"` // were published with other content
	Removed int `json:"removed"` // were published, and the index doesn't have them
	Kept    int `json:"kept"`    // the same, without Options.Remove
	Settled int `json:"settled"` // were right after all when the index was asked again
	// Failed are the paths that could not be made right, at most 1,000 of them: FailedCount
	// counts them all.
	Failed      []Failure `json:"failed,omitempty"`
	FailedCount int       `json:"failed_count"`
}

// Failure is a path that could not be made right, with the reason.
type Failure struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// String is one line.
func (r Report) String() string {
	parts := []string{fmt.Sprintf("%d right", r.Right)}
	for _, p := range []struct {
		n    int
		what string
	}{
		{r.Added, "added"}, {r.Changed, "changed"}, {r.Removed, "removed"}, {r.Kept, "published that the index doesn't have"},
		{r.Settled, "settled by the index itself"}, {r.FailedCount, "failed"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

const (
	mostHeld     = 64   // paths at a time: their items share a sync
	mostUnderway = 4096 // paths at a time, most of which wait for their generation
	mostTries    = 5    // of one path that is changed each time
	mostFailed   = 1000 // failures that a report lists

	// Between two tries while the queue is full.
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// Run compares all that index has with all that repo publishes, and submits what differs. It
// returns once each item that it submitted was decided. While the queue is full it waits. A path that
// can't be published is listed in the report, and does not stop the others. An error of the index, of
// the store or of the context ends Run. The report says how far it came, and Run may be repeated at
// any time.
//
// It reads the index once and the published generation twice at most, bin by bin. Meanwhile the store
// must keep that generation. For each published target it holds 32 bytes in memory, in a map: some 150
// MB for 2,000,000.
func Run[R Receipt](ctx context.Context, repo Repository[R], index Index, o Options) (Report, error) {
	r := run[R]{
		repo: repo, index: index, options: o,
		held: make(chan struct{}, mostHeld), underway: make(chan struct{}, mostUnderway),
	}
	err := r.run(ctx)
	slices.SortFunc(r.report.Failed, func(a, b Failure) int { return strings.Compare(a.Path, b.Path) })
	if err != nil {
		return r.report, fmt.Errorf("reconcile: %w", err)
	}
	return r.report, nil
}

type run[R Receipt] struct {
	repo    Repository[R]
	index   Index
	options Options

	held     chan struct{} // has a place for each path that the index holds
	underway chan struct{} // has a place for each path that was found to differ and isn't settled

	mu     sync.Mutex // guards the rest, and calls of Options.Each
	report Report
}

func (r *run[R]) run(ctx context.Context) error {
	view, err := r.repo.View(ctx)
	if err != nil {
		return err
	}
	published := map[key]key{}
	for t, err := range view.Targets(ctx) {
		if err != nil {
			return err
		}
		published[keyOf(t.Path)] = contentOf(t)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return r.compare(ctx, view, published, func(path string) error {
			if err := take(ctx, r.underway); err != nil {
				return err
			}
			g.Go(func() error {
				defer func() { <-r.underway }()
				return r.settle(ctx, view, path)
			})
			return nil
		})
	})
	return g.Wait()
}

// take takes a place.
func take(ctx context.Context, places chan<- struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// compare calls settle with each path that differs.
func (r *run[R]) compare(ctx context.Context, view *repository.View, published map[key]key, settle func(path string) error) error {
	for t, err := range r.index.Targets(ctx) {
		if err != nil {
			return fmt.Errorf("index: %w", err)
		}
		k := keyOf(t.Path)
		content, ok := published[k]
		delete(published, k)
		if ok && content == contentOf(t) {
			r.count(func(rep *Report) { rep.Right++ })
		} else if err := settle(t.Path); err != nil {
			return err
		}
	}
	if len(published) == 0 {
		return nil
	}
	for t, err := range view.Targets(ctx) {
		if err != nil {
			return err
		}
		if _, ok := published[keyOf(t.Path)]; !ok {
			continue
		}
		if err := settle(t.Path); err != nil {
			return err
		}
	}
	return nil
}

// settle makes one path right, which differed in view.
func (r *run[R]) settle(ctx context.Context, view *repository.View, path string) error {
	for try := 1; ; try++ {
		outcome, err := r.try(ctx, view, path, try == 1)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, repository.ErrRefused) && try < mostTries:
			// It was published otherwise than in view when the item was decided.
			if view, err = r.repo.View(ctx); err != nil {
				return err
			}
		case errors.Is(err, repository.ErrRefused), errors.Is(err, repository.ErrSetAside):
			r.fail(path, outcome.Reason)
			return nil
		case errors.Is(err, repository.ErrInvalid), errors.Is(err, repository.ErrSignedByPeople):
			r.fail(path, err.Error())
			return nil
		default:
			return err
		}
	}
}

// try compares a path as it is published in view with what the index has now, submits the
// difference, and waits for its outcome.
func (r *run[R]) try(ctx context.Context, view *repository.View, path string, first bool) (o repository.Outcome, err error) {
	d := Difference{Path: path}
	if d.Published, err = lookUp(ctx, view, path); err != nil {
		return o, err
	}
	var receipt R
	var submitted bool
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err = r.hold(ctx, path, func(has *roles.Target) (err error) {
			d.Index = has
			if first {
				r.show(d)
				first = false
			}
			if submitted = r.wanted(d); submitted {
				receipt, err = r.repo.Submit(ctx, r.item(d))
			}
			return err
		})
		if !errors.Is(err, repository.ErrBusy) {
			break
		}
		select { // the queue is full: the path is not held meanwhile
		case <-time.After(pause):
		case <-ctx.Done():
			return o, context.Cause(ctx)
		}
	}
	if err != nil {
		return o, err
	}
	if submitted {
		if o, err = receipt.Wait(ctx); errors.Is(err, repository.ErrExpired) {
			err = nil // it is published, and Status says what has expired
		}
	}
	if err == nil {
		r.count(func(rep *Report) { *d.tally(rep, r.options, o)++ })
	}
	return o, err
}

func lookUp(ctx context.Context, view *repository.View, path string) (*roles.Target, error) {
	t, err := view.Lookup(ctx, path)
	switch {
	case errors.Is(err, repository.ErrNotPublished):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &t, nil
}

func (r *run[R]) hold(ctx context.Context, path string, f func(has *roles.Target) error) error {
	if err := take(ctx, r.held); err != nil {
		return err
	}
	defer func() { <-r.held }()
	return r.index.Hold(ctx, path, f)
}

// show tells Options.Each of a difference.
func (r *run[R]) show(d Difference) {
	if r.options.Each == nil || d.none() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.options.Each(d)
}

// wanted reports whether a difference is to be submitted.
func (r *run[R]) wanted(d Difference) bool {
	return !d.none() && !r.options.DryRun && (d.Index != nil || r.options.Remove)
}

// none reports whether both are the same.
func (d Difference) none() bool {
	if d.Published == nil || d.Index == nil {
		return d.Published == d.Index
	}
	return contentOf(*d.Published) == contentOf(*d.Index)
}

// tally is where a report counts what became of a difference.
func (d Difference) tally(rep *Report, o Options, outcome repository.Outcome) *int {
	switch {
	case d.none(), outcome.State == repository.Unchanged:
		return &rep.Settled
	case d.Index == nil && !o.Remove:
		return &rep.Kept
	case d.Index == nil:
		return &rep.Removed
	case d.Published == nil:
		return &rep.Added
	default:
		return &rep.Changed
	}
}

// item is what makes a difference go away, if it is still there.
func (r *run[R]) item(d Difference) repository.Item {
	it := repository.Item{By: r.options.By, If: []ledger.Condition{{Path: d.Path, Absent: true}}}
	if d.Published != nil {
		it.If[0] = ledger.Condition{Path: d.Path, SHA256: d.Published.Hashes["sha256"]}
	}
	if d.Index == nil {
		it.Remove = []string{d.Path}
	} else {
		it.Add = []roles.Target{*d.Index}
	}
	return it
}

func (r *run[R]) count(f func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.report)
}

func (r *run[R]) fail(path, reason string) {
	r.count(func(rep *Report) {
		rep.FailedCount++
		if len(rep.Failed) < mostFailed {
			rep.Failed = append(rep.Failed, Failure{path, reason})
		}
	})
}

// key is half of a SHA-256. That two different values have the same key is no accident that happens,
// and no attack that is feasible.
type key [16]byte

func keyOf(path string) key {
	sum := sha256.Sum256([]byte(path))
	return key(sum[:16])
}

// contentOf is the key of a target without its path. The custom data of two targets are equal if
// their canonical forms are.
func contentOf(t roles.Target) key {
	t.Path = ""
	if len(t.Custom) > 0 {
		if canonical, err := cjson.Canonicalize(t.Custom); err == nil {
			t.Custom = canonical
		}
	}
	data, err := json.Marshal(t)
	if err != nil { // custom data that isn't JSON, which Submit refuses
		data = fmt.Append(nil, t)
	}
	return keyOf(string(data))
}
