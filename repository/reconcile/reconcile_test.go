package reconcile_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/reconcile"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

func file(path, content string) *roles.Target {
	sum := sha256.Sum256([]byte(content))
	return &roles.Target{Path: path, Length: int64(len(content)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}

// index has files, and changes a path and submits the change under that path's lock.
type index struct {
	repo  *repository.Repository
	locks [16]chan struct{} // of paths; in a bubble, time goes on while a channel is waited for

	mu    sync.Mutex
	files map[string]*roles.Target
	was   map[string][]*roles.Target // what each path was, newest last; nil is nothing
	fails error
}

func newIndex(repo *repository.Repository, files ...*roles.Target) *index {
	x := &index{repo: repo, files: map[string]*roles.Target{}, was: map[string][]*roles.Target{}}
	for i := range x.locks {
		x.locks[i] = make(chan struct{}, 1)
	}
	for _, f := range files {
		x.set(f.Path, f)
	}
	return x
}

func (x *index) set(path string, f *roles.Target) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.was[path] = append(x.was[path], f)
	if f == nil {
		delete(x.files, path)
	} else {
		x.files[path] = f
	}
}

func (x *index) lock(path string) func() {
	l := x.locks[sha256.Sum256([]byte(path))[0]%16]
	l <- struct{}{}
	return func() { <-l }
}

// change is what an upload or a removal does.
func (x *index) change(ctx context.Context, path string, f *roles.Target) error {
	defer x.lock(path)()
	it := repository.Item{Remove: []string{path}}
	if f != nil {
		it = repository.Item{Add: []roles.Target{*f}}
	}
	if _, err := x.repo.Submit(ctx, it); err != nil {
		return err
	}
	x.set(path, f)
	return nil
}

func (x *index) Targets(context.Context) iter.Seq2[roles.Target, error] {
	return func(yield func(roles.Target, error) bool) {
		x.mu.Lock()
		files := slices.Collect(maps.Values(x.files))
		x.mu.Unlock()
		for _, f := range files {
			if !yield(*f, nil) {
				return
			}
		}
		if x.fails != nil {
			yield(roles.Target{}, x.fails)
		}
	}
}

func (x *index) Hold(_ context.Context, path string, f func(*roles.Target) error) error {
	defer x.lock(path)()
	x.mu.Lock()
	has := x.files[path]
	x.mu.Unlock()
	time.Sleep(time.Millisecond) // a database takes its time
	return f(has)
}

// bench is a running repository in memory.
type bench struct {
	t       *testing.T
	repo    *repository.Repository
	journal *storetest.MemJournal
}

// inBubble runs a test with a repository that publishes, in fake time.
func inBubble(t *testing.T, change func(*repository.Config), f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		layout, err := delegation.New("bins", 16, delegation.Succinct)
		require.NoError(t, err)
		c := repotest.NewCeremony(t, layout, time.Now())
		b := &bench{t: t, journal: storetest.NewJournal()}
		cfg := repository.Config{Store: storetest.NewStore(), Journal: b.journal, Bins: c.Bins, Snapshot: c.Online, Timestamp: c.Online, MaxDelay: -1}
		if change != nil {
			change(&cfg)
		}
		b.repo, err = repository.Create(t.Context(), cfg, c.Documents())
		require.NoError(t, err)
		done := make(chan error)
		go func() { done <- b.repo.Run(t.Context()) }()
		f(t, b)
		require.NoError(t, b.repo.Close())
		require.NoError(t, <-done)
	})
}

// publish publishes files without the index.
func (b *bench) publish(files ...*roles.Target) {
	b.t.Helper()
	for _, f := range files {
		receipt, err := b.repo.Add(b.t.Context(), *f)
		require.NoError(b.t, err)
		_, err = receipt.Wait(b.t.Context())
		require.NoError(b.t, err)
	}
}

func (b *bench) published() map[string]string {
	b.t.Helper()
	view, err := b.repo.View(b.t.Context())
	require.NoError(b.t, err)
	return sums(b.t, view.Targets(b.t.Context()))
}

func sums(t *testing.T, targets iter.Seq2[roles.Target, error]) map[string]string {
	t.Helper()
	out := map[string]string{}
	for f, err := range targets {
		require.NoError(t, err)
		out[f.Path] = f.Hashes["sha256"]
	}
	return out
}

func TestRun(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		ctx := t.Context()
		same := file("same", "1")
		commented := file("commented", "1")
		b.publish(same, file("changed", "old"), file("extra", "1"), commented)
		spaced := *commented
		spaced.Custom = []byte(`{"a": 1}`)
		x := newIndex(b.repo, same, file("changed", "new"), file("missing", "1"), &spaced, file("../bad", "1"))

		var found []string
		options := reconcile.Options{DryRun: true, Remove: true, Each: func(d reconcile.Difference) {
			found = append(found, fmt.Sprintf("%s %t %t", d.Path, d.Published != nil, d.Index != nil))
		}}
		before := b.published()
		report, err := reconcile.Run(ctx, b.repo, x, options)
		require.NoError(t, err)
		require.Equal(t, reconcile.Report{Right: 1, Added: 2, Changed: 2, Removed: 1}, report, "a dry run doesn't ask whether a path may be published")
		slices.Sort(found)
		require.Equal(t, []string{"../bad false true", "changed true true", "commented true true", "extra true false", "missing false true"}, found)
		require.Equal(t, before, b.published())

		report, err = reconcile.Run(ctx, b.repo, x, reconcile.Options{By: "tester"})
		require.NoError(t, err)
		require.Len(t, report.Failed, 1)
		require.Equal(t, "../bad", report.Failed[0].Path)
		require.Contains(t, report.Failed[0].Reason, `"../bad"`)
		report.Failed = nil
		require.Equal(t, reconcile.Report{Right: 1, Added: 1, Changed: 2, Kept: 1, FailedCount: 1}, report)
		require.Equal(t, "1 right, 1 added, 2 changed, 1 published that the index doesn't have, 1 failed", report.String())

		x.set("../bad", nil)
		spaced.Custom = []byte(`{"a":1}`) // is the same
		x.set("commented", &spaced)
		report, err = reconcile.Run(ctx, b.repo, x, reconcile.Options{Remove: true})
		require.NoError(t, err)
		require.Equal(t, reconcile.Report{Right: 4, Removed: 1}, report)
		require.Equal(t, sums(t, x.Targets(ctx)), b.published())
	})
}

// What has changed between the comparison and the second look is not submitted.
func TestSettled(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		b.publish(file("a", "1"))
		x := newIndex(b.repo, file("a", "2"), file("b", "1"))
		report, err := reconcile.Run(t.Context(), b.repo, outdated{x}, reconcile.Options{Remove: true})
		require.NoError(t, err)
		require.Equal(t, reconcile.Report{Settled: 2}, report)
		require.Equal(t, map[string]string{"a": file("a", "1").Hashes["sha256"]}, b.published())
	})
}

// outdated yields what the index had before it got what is published.
type outdated struct{ *index }

func (x outdated) Hold(_ context.Context, path string, f func(*roles.Target) error) error {
	if path == "a" {
		return f(file("a", "1"))
	}
	return f(nil)
}

// An item applies only to what was seen published. What was published meanwhile is seen next.
func TestPublishedMeanwhile(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		b.publish(file("a", "1"))
		repo := &recorder{Repository: b.repo}
		x := &interfering{index: newIndex(b.repo, file("a", "2"), file("b", "2")), publish: func(path string) { b.publish(file(path, "3")) }}
		report, err := reconcile.Run(t.Context(), repo, x, reconcile.Options{})
		require.NoError(t, err)
		require.Equal(t, reconcile.Report{Changed: 2}, report)
		require.Equal(t, sums(t, x.Targets(t.Context())), b.published())
		require.ElementsMatch(t, []repository.Condition{
			{Path: "a", SHA256: file("a", "1").Hashes["sha256"]}, {Path: "a", SHA256: file("a", "3").Hashes["sha256"]},
			{Path: "b", Absent: true}, {Path: "b", SHA256: file("b", "3").Hashes["sha256"]},
		}, repo.conditions)
	})
}

// recorder notes the conditions of items.
type recorder struct {
	*repository.Repository
	mu         sync.Mutex
	conditions []repository.Condition
}

func (r *recorder) Submit(ctx context.Context, it repository.Item) (*repository.Receipt, error) {
	r.mu.Lock()
	r.conditions = append(r.conditions, it.If...)
	r.mu.Unlock()
	return r.Repository.Submit(ctx, it)
}

// interfering has somebody else publish something at each path that is held first.
type interfering struct {
	*index
	publish func(path string)
	seen    sync.Map
}

func (x *interfering) Hold(ctx context.Context, path string, f func(*roles.Target) error) error {
	if _, ok := x.seen.LoadOrStore(path, true); !ok {
		x.publish(path)
	}
	return x.index.Hold(ctx, path, f)
}

func TestIndexFails(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bench) {
		x := newIndex(b.repo, file("a", "1"))
		x.fails = errors.New("database is gone")
		_, err := reconcile.Run(t.Context(), b.repo, x, reconcile.Options{Remove: true})
		require.EqualError(t, err, "reconcile: index: database is gone")
		x.fails = nil

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = reconcile.Run(ctx, b.repo, x, reconcile.Options{})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// An item that can't be published is reported with the publisher's reason.
func TestSetAside(t *testing.T) {
	approve := func(_ context.Context, _ ledger.Entry, it repository.Item) error {
		if it.Add[0].Path == "bad" {
			return errors.New("it is malware")
		}
		return nil
	}
	inBubble(t, func(c *repository.Config) { c.Approve = approve }, func(t *testing.T, b *bench) {
		report, err := reconcile.Run(t.Context(), b.repo, newIndex(b.repo, file("bad", "1"), file("good", "1")), reconcile.Options{})
		require.NoError(t, err)
		require.Equal(t, reconcile.Report{Added: 1, FailedCount: 1, Failed: []reconcile.Failure{{Path: "bad", Reason: "not approved: it is malware"}}}, report)
	})
}

// While people upload and delete, with a queue that is full most of the time, no path goes
// back to an earlier state, and in the end index and repository are equal.
func TestAmongUploads(t *testing.T) {
	const uploaders, rounds, names = 16, 200, 120
	inBubble(t, func(c *repository.Config) { c.MaxPending, c.MaxBatch = 12, 5 }, func(t *testing.T, b *bench) {
		ctx := t.Context()
		x := newIndex(b.repo)
		name := func(i int) string { return fmt.Sprintf("dir/%d", i) }
		for i := range names { // a third each is right, wrong, missing; and some are published only
			if i%3 < 2 {
				x.set(name(i), file(name(i), "first"))
			}
			if i%3 == 0 {
				b.publish(file(name(i), "first"))
			} else if i%4 == 1 {
				b.publish(file(name(i), "wrong"))
			}
		}
		var g sync.WaitGroup
		for n := range uploaders {
			g.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(n)))
				for k := range rounds {
					path := name(r.IntN(names))
					var f *roles.Target
					if r.IntN(3) > 0 {
						f = file(path, fmt.Sprint(n, k))
					}
					time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
					for errors.Is(x.change(ctx, path, f), repository.ErrBusy) {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		for range 5 {
			report, err := reconcile.Run(ctx, b.repo, x, reconcile.Options{Remove: true})
			require.NoError(t, err)
			require.Empty(t, report.Failed)
		}
		g.Wait()
		report, err := reconcile.Run(ctx, b.repo, x, reconcile.Options{Remove: true})
		require.NoError(t, err)
		require.NoError(t, b.repo.Drain(ctx))
		require.Equal(t, sums(t, x.Targets(ctx)), b.published())
		t.Log(report)

		for path, states := range b.history() {
			was := []string{""}
			for _, f := range x.was[path] {
				was = append(was, sumOf(f))
			}
			for n, sum := range states {
				at := slices.Index(was, sum)
				if n == 0 && at < 0 {
					continue // it began wrong
				}
				require.GreaterOrEqual(t, at, 0, "%s went back: state %d of %d is %q", path, n, len(states), sum)
				was = was[at:]
			}
		}
	})
}

// sumOf is the SHA-256 of a file; "" of none.
func sumOf(f *roles.Target) string {
	if f == nil {
		return ""
	}
	return f.Hashes["sha256"]
}

// history returns the SHA-256 under which each path was published, one generation after the
// other; "" is nothing.
func (b *bench) history() map[string][]string {
	b.t.Helper()
	items := map[string]repository.Item{}
	states := map[string][]string{}
	for step, err := range b.journal.Read(b.t.Context(), ledger.FromBeginning) {
		require.NoError(b.t, err)
		if step.Entry != nil {
			items[step.Entry.ID], err = step.Entry.Item()
			require.NoError(b.t, err)
			continue
		}
		seal, ok := step.Record.Body.(*ledger.Seal)
		if !ok {
			continue
		}
		now := map[string]string{}
		for _, o := range seal.Outcomes {
			if o.State != repository.Published && o.State != repository.Superseded {
				continue
			}
			for e := range items[o.ID].Edits {
				now[e.Path] = sumOf(e.Target)
			}
		}
		for path, sum := range now {
			states[path] = append(states[path], sum)
		}
	}
	return states
}
