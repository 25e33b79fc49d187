package dirjournal

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/stretchr/testify/require"
)

// newJournal returns a new journal and its disk.
func newJournal(t *testing.T, lim limits) (*Journal, *simDisk) {
	t.Helper()
	d := newSimDisk()
	j, err := create(d, "/journal", lim)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, j.Close()) })
	return j, d
}

func leaderOf(t *testing.T, j *Journal) repository.Leader {
	t.Helper()
	leader, err := j.Lead(t.Context())
	require.NoError(t, err)
	_, err = leader.Load(t.Context())
	require.NoError(t, err)
	return leader
}

// TestPoison: after one failure nothing more is written, and everybody is told.
func TestPoison(t *testing.T) {
	for _, test := range []struct {
		op   int
		name string
		call func(t *testing.T, j *Journal, l repository.Leader) error
	}{
		{1, "write /journal/000000000002.seg", func(t *testing.T, j *Journal, _ repository.Leader) error {
			return j.Enqueue(t.Context(), item("b"))
		}},
		{2, "sync /journal/000000000002.seg", func(t *testing.T, j *Journal, _ repository.Leader) error {
			return j.Enqueue(t.Context(), item("b"))
		}},
		{1, "write /journal/000000000002.seg", func(t *testing.T, _ *Journal, l repository.Leader) error {
			return l.Append(t.Context(), repository.Record{Epoch: 1, Kind: intent})
		}},
		{1, "create /journal/next.tmp", func(t *testing.T, _ *Journal, l repository.Leader) error {
			return l.Append(t.Context(), repository.Record{Epoch: 1, Kind: checkpoint})
		}},
		{5, "syncdir /journal", func(t *testing.T, j *Journal, l repository.Leader) error {
			require.NoError(t, l.Release(t.Context()))
			_, err := j.Lead(t.Context())
			return err
		}},
	} {
		for _, f := range failures {
			j, d := newJournal(t, defaults)
			leader := leaderOf(t, j)
			require.NoError(t, j.Enqueue(t.Context(), item("a")))
			waiting := make(chan error)
			go func() { waiting <- leader.Await(t.Context(), 100) }()

			d.InjectNext(test.op, f)
			err := test.call(t, j, leader)
			require.ErrorIs(t, err, repository.ErrUnknown, test.name)
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, test.name)
			require.NotErrorIs(t, err, repository.ErrClosed)
			require.ErrorIs(t, <-waiting, repository.ErrClosed)

			ops := d.Ops()
			_, statsErr := j.Stats(t.Context())
			_, outcomeErr := j.Outcome(t.Context(), "a")
			_, leadErr := j.Lead(t.Context())
			_, pendingErr := leader.Pending(t.Context(), 1)
			for _, err := range []error{
				statsErr, outcomeErr, leadErr, pendingErr, j.Enqueue(t.Context(), item("c")),
				leader.Append(t.Context(), repository.Record{Epoch: 1, Kind: intent}), leader.Await(t.Context(), 0),
			} {
				require.ErrorIs(t, err, repository.ErrClosed)
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.NotErrorIs(t, err, repository.ErrUnknown, "it was certainly not done")
			}
			require.Equal(t, ops, d.Ops(), "something was written after the failure")
			require.NoError(t, leader.Release(t.Context()))
		}
	}
}

// held returns a journal whose next sync waits until release is called.
func held(t *testing.T) (j *Journal, syncing chan string, release func()) {
	j, d := newJournal(t, defaults)
	syncing, gate := make(chan string, 100), make(chan struct{})
	d.Observe(func(op crashfs.Op) {
		if op.Kind == "sync" {
			syncing <- op.Path
			<-gate
		}
	})
	return j, syncing, func() { close(gate) }
}

// TestContextEndsDuringSync: what is being written is unknown, what still waits is
// withdrawn, and neither waits for the disk.
func TestContextEndsDuringSync(t *testing.T) { synctest.Test(t, testContextEndsDuringSync) }

func testContextEndsDuringSync(t *testing.T) {
	j, syncing, release := held(t)
	ctx, cancel := context.WithCancel(t.Context())
	written, withdrawn, stays := make(chan error), make(chan error), make(chan error)
	go func() { written <- j.Enqueue(ctx, item("written")) }()
	<-syncing
	go func() { withdrawn <- j.Enqueue(ctx, item("withdrawn")) }()
	go func() { stays <- j.Enqueue(t.Context(), item("stays")) }()
	synctest.Wait() // until they wait for the writer

	cancel()
	err := <-written
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, repository.ErrUnknown)
	err = <-withdrawn
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, repository.ErrUnknown)
	_, err = j.Outcome(t.Context(), "written")
	require.ErrorIs(t, err, repository.ErrUnknownItem, "it isn't durable yet")

	release()
	require.NoError(t, <-stays)
	for id, known := range map[string]bool{"written": true, "withdrawn": false, "stays": true} {
		_, err := j.Outcome(t.Context(), id)
		require.Equal(t, known, err == nil, id)
	}
	require.NoError(t, j.Enqueue(t.Context(), item("written"), item("withdrawn")), "asking again is harmless")
	stats, err := j.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, stats.Pending)
}

// TestSharedSync: all that wait during one sync share the next, in their order,
// and a failure of it is told to all of them.
func TestSharedSync(t *testing.T) {
	const callers = 100
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { testSharedSync(t, callers, fails) })
	}
}

func testSharedSync(t *testing.T, callers int, fails bool) {
	j, d := newJournal(t, defaults)
	syncs, gate := make(chan string, 1), make(chan struct{})
	d.Observe(func(op crashfs.Op) {
		if op.Kind == "sync" {
			syncs <- op.Path
			<-gate
		}
	})
	first, results := make(chan error), make(chan error, callers)
	go func() { first <- j.Enqueue(t.Context(), item("first")) }()
	<-syncs
	for i := range callers {
		go func() { results <- j.Enqueue(t.Context(), item(string(rune('A'+i%50)))) }() // each ID twice
	}
	synctest.Wait() // until they wait for the writer
	if fails {
		d.InjectNext(2+1, crashfs.Fail) // after this sync comes a write, and then a sync
	}
	gate <- struct{}{}
	require.NoError(t, <-first)
	<-syncs
	gate <- struct{}{}
	for range callers {
		if err := <-results; fails {
			require.ErrorIs(t, err, repository.ErrUnknown)
		} else {
			require.NoError(t, err)
		}
	}
	if !fails {
		stats, err := j.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1+callers/2, stats.Pending)
		require.Equal(t, uint64(3), j.next, "two frames")
	}
}

// TestCloseDuringSync: the call that is being written gets its result, the one
// that waits is refused.
func TestCloseDuringSync(t *testing.T) { synctest.Test(t, testCloseDuringSync) }

func testCloseDuringSync(t *testing.T) {
	j, syncing, release := held(t)
	written, waits, closed := make(chan error), make(chan error), make(chan error)
	go func() { written <- j.Enqueue(t.Context(), item("written")) }()
	<-syncing
	go func() { waits <- j.Enqueue(t.Context(), item("waits")) }()
	synctest.Wait() // until they wait for the writer
	go func() { closed <- j.Close() }()
	err := <-waits
	require.ErrorIs(t, err, repository.ErrClosed)
	require.NotErrorIs(t, err, repository.ErrUnknown)
	release()
	require.NoError(t, <-written)
	require.NoError(t, <-closed)
}

// TestAppendSeesThrough: a publisher whose context ends while its record is being
// written is still told what became of it.
func TestAppendSeesThrough(t *testing.T) {
	j, d := newJournal(t, defaults)
	leader := leaderOf(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	d.Observe(func(op crashfs.Op) {
		if op.Kind == "sync" {
			cancel()
		}
	})
	require.NoError(t, leader.Append(ctx, repository.Record{Epoch: 1, Kind: intent}))
	require.ErrorIs(t, leader.Append(ctx, repository.Record{Epoch: 1, Kind: intent}), context.Canceled)
}

// TestRecordKeepsItsEncoding: what would have another hash after it was read is
// refused before it is written.
func TestRecordKeepsItsEncoding(t *testing.T) {
	j, d := newJournal(t, defaults)
	leader := leaderOf(t, j)
	require.NoError(t, j.Enqueue(t.Context(), item("a")))
	ops := d.Ops()
	bad := repository.Record{Epoch: 1, Kind: seal, Outcomes: []repository.ItemOutcome{
		{ID: "a", Outcome: repository.Outcome{State: repository.SetAside, Reason: "\xff"}},
	}}
	require.ErrorContains(t, leader.Append(t.Context(), bad), "its JSON is another once it was read")
	bad.Outcomes, bad.Body = nil, []byte("{")
	require.Error(t, leader.Append(t.Context(), bad))
	require.Equal(t, ops, d.Ops())
	require.NoError(t, leader.Append(t.Context(), repository.Record{Epoch: 1, Kind: intent}))
}
