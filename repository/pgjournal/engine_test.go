package pgjournal

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/interop"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// engine is a repository whose journal is in a site's database.
type engine struct {
	site
	store    *storetest.MemStore
	ceremony *repotest.Ceremony
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	return &engine{newSite(t), storetest.NewStore(), repotest.NewCeremony(t, layout, time.Now())}
}

func (e *engine) config(t *testing.T) repository.Config {
	return repository.Config{Store: e.store, Journal: opened(t, e.publisher), Bins: e.ceremony.Bins, Snapshot: e.ceremony.Online, Timestamp: e.ceremony.Online,
		MaxDelay: time.Millisecond}
}

func (e *engine) create(t *testing.T) *repository.Repository {
	t.Helper()
	repo, err := repository.Create(t.Context(), e.config(t), e.ceremony.Documents())
	require.NoError(t, err)
	return repo
}

// run publishes until the test ends or stop is called.
func run(t *testing.T, repo *repository.Repository) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- repo.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

func (e *engine) check(t *testing.T, want ...roles.Target) {
	t.Helper()
	repotest.CheckRepository(t, repotest.Published{Store: e.store, Timestamps: e.store.History("timestamp.json"), Want: want, Now: time.Now()})
}

// A store that only this machine has is refused: a publisher on another machine would publish elsewhere.
func TestStoreOfOneMachine(t *testing.T) {
	e := newEngine(t)
	cfg := e.config(t)
	var err error
	cfg.Store, err = dirstore.Create(filepath.Join(t.TempDir(), "metadata"))
	require.NoError(t, err)
	_, err = repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.ErrorContains(t, err, "set OneMachine if every process that uses the journal runs on this machine")
	cfg.OneMachine = true
	repo, err := repository.Create(t.Context(), cfg, e.ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())
}

// The engine publishes what an index queued in its own transactions. A second repository can't be made in the same
// tables. A standby takes over.
func TestEngine(t *testing.T) {
	e := newEngine(t)
	first := e.create(t)
	_, err := repository.Create(t.Context(), e.config(t), e.ceremony.Documents())
	require.ErrorIs(t, err, repository.ErrLocked)
	stop := run(t, first)

	index := connect(t, e.index)
	upload := func(id string, target roles.Target) {
		t.Helper()
		entry, err := repository.Item{ID: id, Add: []roles.Target{target}}.Entry()
		require.NoError(t, err)
		tx, err := index.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, Enqueue(t.Context(), tx, entry))
		require.NoError(t, tx.Commit(t.Context()))
	}
	a, b, c := repotest.File("a.whl", "a"), repotest.File("b.whl", "b"), repotest.File("c.whl", "c")
	upload("a", a)
	outcome, err := first.Receipt("a", "a.whl").Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, repository.Published, outcome.State)

	// The first leader is silent. Another one takes over, and the first notices.
	e.expire(t)
	second, err := repository.Open(t.Context(), e.config(t))
	require.NoError(t, err)
	stopSecond := run(t, second)
	upload("b", b)
	outcome, err = second.Receipt("b", "b.whl").Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, repository.Published, outcome.State)
	stop()
	require.NoError(t, first.Close())
	receipt, err := second.Add(t.Context(), c)
	require.NoError(t, err)
	_, err = receipt.Wait(t.Context())
	require.NoError(t, err)
	stopSecond()

	archived, err := second.Archive(t.Context(), repository.Archive{Delete: true})
	require.NoError(t, err)
	require.Positive(t, archived.Bytes)
	require.NoError(t, second.Close())
	_, err = repository.Create(t.Context(), e.config(t), e.ceremony.Documents())
	require.ErrorIs(t, err, repository.ErrExists)
	third, err := repository.Open(t.Context(), e.config(t))
	require.NoError(t, err)
	defer third.Close()
	e.check(t, a, b, c)
}

// An index in Python that knows the package comment only.
func TestPython(t *testing.T) {
	python := interop.NeedPython(t, "psycopg")
	script := interop.Script(t, "index.py")
	e := newEngine(t)
	repo := e.create(t)
	defer repo.Close()
	call := func(into any, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), python, append([]string{"-I", script}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		require.NoError(t, json.Unmarshal(out, into))
	}
	var uploaded struct {
		Version int
		IDs     []string
		Again   string
		Refused []string
		Backlog []any
		Moment  []int64
	}
	call(&uploaded, "upload", e.index)
	require.Equal(t, Version, uploaded.Version)
	require.Len(t, uploaded.IDs, 4)
	require.Equal(t, "23505", uploaded.Again)
	require.Equal(t, []string{"23514", "23514", "22021", "23502"}, uploaded.Refused)
	require.Equal(t, []any{4.0, true, true}, uploaded.Backlog)

	type asked struct {
		Outcomes map[string][]any
		Moment   []int64
	}
	var before, after asked
	call(&before, append([]string{"outcomes", e.index, "unknown"}, uploaded.IDs...)...)
	require.Len(t, before.Outcomes, 4)
	for _, id := range uploaded.IDs[:3] {
		require.Equal(t, []any{"warehouse", true, "accepted", 0.0, ""}, before.Outcomes[id])
	}
	require.Equal(t, uploaded.Moment, before.Moment)

	stop := run(t, repo)
	for _, id := range uploaded.IDs {
		repo.Receipt(id).Wait(t.Context()) // the last one is set aside
	}
	stop()
	call(&after, append([]string{"outcomes", e.index}, uploaded.IDs...)...)
	require.NotEqual(t, before.Moment, after.Moment)
	for _, id := range uploaded.IDs[:3] {
		require.Equal(t, "published", after.Outcomes[id][2])
		require.Positive(t, after.Outcomes[id][3])
	}
	require.Equal(t, "set aside", after.Outcomes["no-item"][2])
	require.NotEmpty(t, after.Outcomes["no-item"][4])
	e.check(t, repotest.File("read_committed.whl", "READ_COMMITTED"), repotest.File("repeatable_read.whl", "REPEATABLE_READ"),
		repotest.File("serializable.whl", "SERIALIZABLE"))
}
