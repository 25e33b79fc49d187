package dirjournal

import (
	"context"
	"math"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
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

func leaderOf(t *testing.T, j *Journal) repository.Lead {
	t.Helper()
	leader, _, err := j.Lead(t.Context())
	require.NoError(t, err)
	for _, err := range leader.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
	}
	return leader
}

// TestPoison: after one failure of which it isn't known what it did, nothing more is written,
// and everybody is told.
func TestPoison(t *testing.T) {
	for _, test := range []struct {
		op   int
		name string
		call func(t *testing.T, j *Journal, l repository.Lead) error
	}{
		{1, "write /journal/000000000003.seg", func(t *testing.T, j *Journal, _ repository.Lead) error {
			return queueUp(t.Context(), j, "b")
		}},
		{2, "sync /journal/000000000003.seg", func(t *testing.T, j *Journal, _ repository.Lead) error {
			return queueUp(t.Context(), j, "b")
		}},
		{1, "write /journal/000000000003.seg", func(t *testing.T, _ *Journal, l repository.Lead) error {
			return l.Append(t.Context(), rec(intent, 0))
		}},
		{5, "rename /journal/000000000004.seg", func(t *testing.T, _ *Journal, l repository.Lead) error {
			return l.Append(t.Context(), rec(checkpoint, 0))
		}},
		{5, "syncdir /journal", func(t *testing.T, j *Journal, l repository.Lead) error {
			require.NoError(t, l.Release(t.Context()))
			_, _, err := j.Lead(t.Context())
			return err
		}},
	} {
		for _, f := range failures {
			if f == crashfs.Fail && (strings.HasPrefix(test.name, "write") || strings.HasPrefix(test.name, "rename")) {
				continue // it certainly did nothing: see TestFailedBefore
			}
			j, d := newJournal(t, defaults)
			require.NoError(t, queueUp(t.Context(), j, "0"))
			leader := leaderOf(t, j)
			require.NoError(t, queueUp(t.Context(), j, "a"))
			waiting := make(chan error)
			go func() { waiting <- leader.Await(t.Context(), 100, math.MaxInt64) }()

			d.InjectNext(test.op, f)
			err := test.call(t, j, leader)
			require.ErrorIs(t, err, repository.ErrUnknown, test.name)
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, test.name)
			require.NotErrorIs(t, err, repository.ErrClosed)
			require.ErrorIs(t, <-waiting, repository.ErrClosed)

			ops := d.Ops()
			_, backlogErr := j.Backlog(t.Context())
			_, outcomesErr := j.Outcomes(t.Context(), "a")
			_, decidedErr := j.Decided(t.Context(), 0)
			_, _, leadErr := j.Lead(t.Context())
			_, pendingErr := leader.Pending(t.Context(), 1, 1)
			var readErr error
			for _, readErr = range leader.Read(t.Context(), ledger.FromBeginning) {
				require.Error(t, readErr)
			}
			for _, err := range []error{
				backlogErr, outcomesErr, decidedErr, leadErr, pendingErr, readErr, queueUp(t.Context(), j, "c"),
				leader.Append(t.Context(), rec(intent, 0)), leader.Await(t.Context(), 0, math.MaxInt64),
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

// TestFailedBefore: what failed before a byte of it was in the journal had no effect. The call
// says so, the journal goes on, and the next call tries it again.
func TestFailedBefore(t *testing.T) {
	for _, test := range []struct {
		op    int
		name  string
		fault crashfs.Fault
		call  func(t *testing.T, j *Journal, l repository.Lead, id string) error
	}{
		{1, "write /journal/000000000003.seg", crashfs.Fail, enqueueOne},
		{1, "write /journal/000000000003.seg", crashfs.Fail, appendOne},
		{1, "create /journal/next.tmp", crashfs.Fail, appendCheckpoint},
		{1, "create /journal/next.tmp", crashfs.FailAfter, appendCheckpoint},
		{2, "write /journal/next.tmp", crashfs.Fail, appendCheckpoint},
		{2, "write /journal/next.tmp", crashfs.FailAfter, appendCheckpoint},
		{4, "sync /journal/next.tmp", crashfs.Fail, appendCheckpoint},
		{4, "sync /journal/next.tmp", crashfs.FailAfter, appendCheckpoint},
		{5, "rename /journal/000000000004.seg", crashfs.Fail, appendCheckpoint},
		{1, "create /journal/next.tmp", crashfs.Fail, leadAgain},
		{4, "rename /journal/000000000004.seg", crashfs.Fail, leadAgain},
	} {
		for seed := range uint64(10) {
			d := startOn(crashfs.New(seed))
			j, err := create(d, "/journal", defaults)
			require.NoError(t, err)
			require.NoError(t, queueUp(t.Context(), j, "0"))
			leader := leaderOf(t, j)
			require.NoError(t, queueUp(t.Context(), j, "a"))

			d.InjectNext(test.op, test.fault)
			err = test.call(t, j, leader, "b")
			require.ErrorIs(t, err, syscall.ENOSPC, test.name)
			require.ErrorContains(t, err, "nothing was written; the call can be repeated")
			require.ErrorContains(t, err, test.name)
			require.NotErrorIs(t, err, repository.ErrUnknown)
			require.NotErrorIs(t, err, repository.ErrClosed)
			require.Zero(t, outcomeOf(t, j, "b"))
			backlog, err := j.Backlog(t.Context())
			require.NoError(t, err)
			require.Equal(t, 2, backlog.Pending)

			want := []string{"0", "a", "c", "b"}
			if seed%2 == 0 { // killed at once
				d.powerLoss(d.AnyCut())
				j.Close()
				want = want[:2]
			} else {
				require.NoError(t, queueUp(t.Context(), j, "c"))
				require.NoError(t, test.call(t, j, leader, "b"))
				require.NoError(t, queueUp(t.Context(), j, "b"))
				if seed%4 == 1 {
					require.NoError(t, j.Close())
				} else {
					d.powerLoss(loseAll)
					j.Close()
				}
			}
			got, err := pending(t, d)
			require.NoError(t, err)
			require.ElementsMatch(t, want, got, "%s, seed %d", test.name, seed)
		}
	}
}

func enqueueOne(t *testing.T, j *Journal, _ repository.Lead, id string) error {
	return queueUp(t.Context(), j, id)
}

func appendOne(t *testing.T, _ *Journal, l repository.Lead, _ string) error {
	return l.Append(t.Context(), rec(intent, 0))
}

func appendCheckpoint(t *testing.T, _ *Journal, l repository.Lead, _ string) error {
	return l.Append(t.Context(), rec(checkpoint, 0))
}

func leadAgain(t *testing.T, j *Journal, l repository.Lead, _ string) error {
	require.NoError(t, l.Release(t.Context()))
	_, _, err := j.Lead(t.Context())
	return err
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
	go func() { written <- queueUp(ctx, j, "written") }()
	<-syncing
	go func() { withdrawn <- queueUp(ctx, j, "withdrawn") }()
	go func() { stays <- queueUp(t.Context(), j, "stays") }()
	synctest.Wait() // until they wait for the writer

	cancel()
	err := <-written
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, repository.ErrUnknown)
	err = <-withdrawn
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, repository.ErrUnknown)
	outcomes, err := j.Outcomes(t.Context(), "written")
	require.NoError(t, err)
	require.Zero(t, outcomes[0], "it isn't durable yet")

	release()
	require.NoError(t, <-stays)
	outcomes, err = j.Outcomes(t.Context(), "written", "withdrawn", "stays")
	require.NoError(t, err)
	accepted := ledger.Outcome{State: ledger.Accepted}
	require.Equal(t, []ledger.Outcome{accepted, {}, accepted}, outcomes)
	require.NoError(t, queueUp(t.Context(), j, "written", "withdrawn"), "asking again is harmless")
	backlog, err := j.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, backlog.Pending)
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
	go func() { first <- queueUp(t.Context(), j, "first") }()
	<-syncs
	for i := range callers {
		go func() { results <- queueUp(t.Context(), j, string(rune('A'+i%50))) }() // each ID twice
	}
	synctest.Wait()      // until they wait for the writer
	defer d.Observe(nil) // for Close, which syncs too
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
		backlog, err := j.Backlog(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1+callers/2, backlog.Pending)
		require.Equal(t, uint64(3), j.next, "two frames")
	}
}

// TestCloseDuringSync: the call that is being written gets its result, the one
// that waits is refused.
func TestCloseDuringSync(t *testing.T) { synctest.Test(t, testCloseDuringSync) }

func testCloseDuringSync(t *testing.T) {
	j, syncing, release := held(t)
	written, waits, closed := make(chan error), make(chan error), make(chan error)
	go func() { written <- queueUp(t.Context(), j, "written") }()
	<-syncing
	go func() { waits <- queueUp(t.Context(), j, "waits") }()
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
	require.NoError(t, leader.Append(ctx, rec(intent, 0)))
	require.ErrorIs(t, leader.Append(ctx, rec(intent, 0)), context.Canceled)
}

// TestRecordOfNobody: what neither ledger.NewRecord nor ledger.ParseRecord made is refused
// before anything is written.
func TestRecordOfNobody(t *testing.T) {
	j, d := newJournal(t, defaults)
	leader := leaderOf(t, j)
	ops := d.Ops()
	for _, bad := range []ledger.Record{{}, {Epoch: 1}, {Epoch: 1, Body: &ledger.Commit{}}} {
		require.ErrorContains(t, leader.Append(t.Context(), rec(intent, 0), bad), "a record without a body or bytes")
	}
	require.Equal(t, ops, d.Ops())
	require.NoError(t, leader.Append(t.Context(), rec(intent, 0)))
}

// TestWakesWhomItConcerns: an entry wakes nobody who waits for more, and nobody who waits for
// outcomes; a generation wakes nobody who waits for entries.
func TestWakesWhomItConcerns(t *testing.T) { synctest.Test(t, testWakesWhomItConcerns) }

func testWakesWhomItConcerns(t *testing.T) {
	j, _ := newJournal(t, defaults)
	leader := leaderOf(t, j)
	ctx, cancel := context.WithCancel(t.Context())
	const crowd = 50
	results := make(chan error, 2*crowd)
	for range crowd {
		go func() { results <- leader.Await(ctx, 4, math.MaxInt64) }()
		go func() {
			_, err := j.Decided(ctx, 1)
			results <- err
		}()
	}
	synctest.Wait()
	state := func() (awaiting []*awaiter, decided chan struct{}) {
		synctest.Wait()
		j.mu.Lock()
		defer j.mu.Unlock()
		return append(awaiting, j.awaiting...), j.decided
	}
	awaiting, decided := state()
	require.Len(t, awaiting, crowd)
	for _, id := range []string{"a", "b", "c"} {
		require.NoError(t, queueUp(t.Context(), j, id))
	}
	for _, r := range []ledger.Record{rec(intent, 1), rec(seal, 1, "a")} {
		require.NoError(t, leader.Append(t.Context(), r))
	}
	nowAwaiting, nowDecided := state()
	require.Equal(t, awaiting, nowAwaiting)
	require.True(t, decided == nowDecided)

	require.NoError(t, leader.Append(t.Context(), rec(commit, 1)))
	nowAwaiting, nowDecided = state()
	require.Equal(t, awaiting, nowAwaiting)
	require.False(t, decided == nowDecided)
	for range crowd {
		require.NoError(t, <-results)
	}
	require.NoError(t, queueUp(t.Context(), j, "d", "e"))
	for range crowd {
		require.NoError(t, <-results)
	}
	go func() { results <- leader.Await(ctx, 100, math.MaxInt64) }()
	synctest.Wait()
	cancel()
	require.ErrorIs(t, <-results, context.Canceled)
	nowAwaiting, _ = state()
	require.Empty(t, nowAwaiting, "who went away is forgotten")
}

// TestLeadReadsDurable: what is written while a leader reads may be readable and not durable.
// It isn't read.
func TestLeadReadsDurable(t *testing.T) { synctest.Test(t, testLeadReadsDurable) }

func testLeadReadsDurable(t *testing.T) {
	j, d := newJournal(t, defaults)
	require.NoError(t, queueUp(t.Context(), j, "a"))
	leader := leaderOf(t, j) // in a segment of its own
	require.NoError(t, queueUp(t.Context(), j, "b"))
	syncing, gate := make(chan string, 1), make(chan struct{})
	d.Observe(func(op crashfs.Op) {
		if op.Kind == "sync" {
			syncing <- op.Path
			<-gate
		}
	})
	late := make(chan error)
	var ids []string
	for s, err := range leader.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
		if ids = append(ids, s.Entry.ID); len(ids) == 1 {
			go func() { late <- queueUp(t.Context(), j, "late") }()
			<-syncing
		}
	}
	require.Equal(t, []string{"a", "b"}, ids)
	close(gate)
	require.NoError(t, <-late)
}
