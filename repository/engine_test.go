package repository_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// env is a repository in memory with all that a test needs to know of it. Tests
// run in a synctest bubble, so that days pass in no time.
type env struct {
	t        *testing.T
	store    *storetest.MemStore
	journal  *storetest.MemJournal // the handle in use; every open takes a new one
	inject   *faulty.Injector
	ceremony *repotest.Ceremony
	cfg      repository.Config
	repo     *repository.Repository

	want map[string]roles.Target // accepted
	gone map[string]bool         // removed

	undelegated []string // roles to which nobody delegates any more
	altered     string   // a name that the test itself altered
}

// inBubble runs a test in which time is fake.
func inBubble(t *testing.T, bins int, form delegation.Form, f func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, bins, form)
		e.create()
		f(t, e)
		e.close()
	})
}

func newEnv(t *testing.T, bins int, form delegation.Form) *env {
	t.Helper()
	layout, err := delegation.New("bins", bins, form)
	require.NoError(t, err)
	e := &env{
		t: t, store: storetest.NewStore(), journal: storetest.NewJournal(), inject: &faulty.Injector{},
		ceremony: repotest.NewCeremony(t, layout, time.Now()),
		want:     map[string]roles.Target{}, gone: map[string]bool{},
	}
	e.cfg = repository.Config{
		Store: faulty.Store{Injector: e.inject, Inner: e.store},
		Bins:  e.ceremony.Bins, Snapshot: e.ceremony.Online, Timestamp: e.ceremony.Online,
		MaxDelay: -1, CheckpointBytes: 1, // as often as may be
		CollectPerMinute: -1, // clients of every generation are checked: see collect_test.go
	}
	return e
}

// config is the configuration of one more process.
func (e *env) config() repository.Config {
	e.journal = e.journal.Handle()
	cfg := e.cfg
	cfg.Journal = faulty.Journal{Injector: e.inject, Inner: e.journal}
	return cfg
}

func (e *env) create() {
	e.t.Helper()
	repo, err := repository.Create(e.t.Context(), e.config(), e.ceremony.Documents())
	require.NoError(e.t, err)
	e.repo = repo
}

func (e *env) open() {
	e.t.Helper()
	repo, err := repository.Open(e.t.Context(), e.config())
	require.NoError(e.t, err)
	e.repo = repo
}

func (e *env) close() {
	e.t.Helper()
	require.NoError(e.t, e.repo.Close())
}

// run publishes until f returns.
func (e *env) run(f func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	done := make(chan error)
	go func() { done <- e.repo.Run(ctx) }()
	f()
	cancel()
	require.NoError(e.t, <-done)
}

// submit queues an item and notes what clients must find.
func (e *env) submit(it repository.Item) *repository.Receipt {
	e.t.Helper()
	r, err := e.repo.Submit(e.t.Context(), it)
	require.NoError(e.t, err)
	e.note(it)
	return r
}

func (e *env) note(it repository.Item) {
	for _, t := range it.Add {
		e.want[t.Path] = t
		delete(e.gone, t.Path)
	}
	for _, path := range it.Remove {
		delete(e.want, path)
		e.gone[path] = true
	}
}

func (e *env) add(targets ...roles.Target) *repository.Receipt {
	e.t.Helper()
	return e.submit(repository.Item{Add: targets})
}

func (e *env) remove(paths ...string) *repository.Receipt {
	e.t.Helper()
	return e.submit(repository.Item{Remove: paths})
}

// wait requires that the item of a receipt ends in a state, and returns its generation.
func (e *env) wait(r *repository.Receipt, want repository.State) int64 {
	e.t.Helper()
	o, err := r.Wait(e.t.Context())
	require.NoError(e.t, err)
	require.Equal(e.t, want, o.State)
	return o.Generation
}

// publish adds targets, and waits until clients see them.
func (e *env) publish(targets ...roles.Target) {
	e.t.Helper()
	r := e.add(targets...)
	e.run(func() { e.wait(r, repository.Published) })
}

// check lets clients judge the repository, and requires that no name ever had
// two contents.
func (e *env) check() {
	e.t.Helper()
	for _, name := range e.store.Names() {
		if name != "timestamp.json" && name != e.altered {
			require.Equal(e.t, 1, len(e.store.History(name)), name)
		}
	}
	if e.altered == "" {
		for f, err := range audit.Run(e.t.Context(), e.store, audit.Config{Online: slices.Collect(maps.Keys(e.cfg.Signers))}) {
			require.NoError(e.t, err)
			if strings.Contains(f.Problem, "a key ID must be the SHA-256 of the key's entry") {
				continue // a test's own choice
			}
			require.Equal(e.t, audit.Note, f.Severity, f)
		}
		e.checkViews()
	}
	repotest.CheckRepository(e.t, repotest.Published{
		Store: e.store, Timestamps: e.store.History("timestamp.json"), Now: time.Now(),
		Want: slices.Collect(maps.Values(e.want)), Gone: slices.Collect(maps.Keys(e.gone)),
		Undelegated: e.undelegated,
	})
}

var file, files = repotest.File, repotest.Files
