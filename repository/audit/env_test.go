package audit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// env is a repository in memory, in a bubble in which time is fake.
type env struct {
	t        *testing.T
	store    *storetest.MemStore
	journal  *storetest.MemJournal
	inject   *faulty.Injector
	ceremony *repotest.Ceremony
	cfg      repository.Config
	repo     *repository.Repository

	want map[string]roles.Target // published
}

func inBubble(t *testing.T, bins int, form delegation.Form, f func(t *testing.T, e *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, bins, form)
		f(t, e)
		require.NoError(t, e.repo.Close())
	})
}

// newEnv is for a test that is in a bubble.
func newEnv(t *testing.T, bins int, form delegation.Form) *env {
	t.Helper()
	layout, err := delegation.New("bins", bins, form)
	require.NoError(t, err)
	e := &env{
		t: t, store: storetest.NewStore(), journal: storetest.NewJournal(), inject: &faulty.Injector{},
		ceremony: repotest.NewCeremony(t, layout, time.Now()), want: map[string]roles.Target{},
	}
	e.cfg = repository.Config{
		Store: faulty.Store{Injector: e.inject, Inner: e.store},
		Bins:  e.ceremony.Bins, Snapshot: e.ceremony.Online, Timestamp: e.ceremony.Online,
		MaxDelay: -1, CheckpointBytes: 1,
	}
	e.repo, err = repository.Create(t.Context(), e.config(), e.ceremony.Documents())
	require.NoError(t, err)
	return e
}

// config is the configuration of one more process.
func (e *env) config() repository.Config {
	e.journal = e.journal.Handle()
	cfg := e.cfg
	cfg.Journal = faulty.Journal{Injector: e.inject, Inner: e.journal}
	return cfg
}

func (e *env) open() {
	e.t.Helper()
	var err error
	e.repo, err = repository.Open(e.t.Context(), e.config())
	require.NoError(e.t, err)
}

// publish adds targets, and waits until clients see them.
func (e *env) publish(targets ...roles.Target) {
	e.t.Helper()
	receipt, err := e.repo.Add(e.t.Context(), targets...)
	require.NoError(e.t, err)
	ctx, cancel := context.WithCancel(e.t.Context())
	done := make(chan error)
	go func() { done <- e.repo.Run(ctx) }()
	o, err := receipt.Wait(ctx)
	require.NoError(e.t, err)
	require.Equal(e.t, repository.Published, o.State)
	cancel()
	require.NoError(e.t, <-done)
	for _, t := range targets {
		e.want[t.Path] = t
	}
}

var file, files = repotest.File, repotest.Files
