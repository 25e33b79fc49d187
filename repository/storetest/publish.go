package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

func testOutcomes(b *bench) {
	require.Empty(b, b.outcomes())
	b.requireUnknown("never")
	all := items("a", 4)
	b.enqueue(all...)
	b.lead()
	tooLarge := ledger.Outcome{State: ledger.SetAside, Generation: 7, Reason: `bin bins-0a3f: it would be of "5 MB" <é>`}
	replaced := ledger.Outcome{State: ledger.Superseded, Generation: 7}
	b.append(b.intent(7))
	b.append(b.sealWith(7, ledger.OutcomeOf(all[2], published(7)), ledger.OutcomeOf(all[0], replaced), ledger.OutcomeOf(all[1], tooLarge)), b.commit(7))
	want := []ledger.Outcome{{}, published(7), replaced, accepted, tooLarge, replaced}
	for i := range 4 {
		require.Equal(b, want, b.outcomes("never", all[2].ID, all[0].ID, all[3].ID, all[1].ID, all[0].ID))
		b.requirePending(all[3])
		b.close() // outcomes last
		if i == 1 {
			b.lead()
			b.append(b.checkpoint())
			b.close()
		}
	}
}

func testOutcomeNeedsCommit(b *bench) {
	all := items("a", 4)
	b.enqueue(all...)
	b.lead()
	b.append(b.intent(1), b.seal(1, all[2], all[1]))
	for range 2 { // also when the publisher ended here
		b.requirePending(all[0], all[3])
		for _, e := range all {
			b.requireOutcome(e.ID, accepted)
		}
		b.close()
		b.lead()
	}
	b.append(b.commit(1))
	for range 2 {
		require.Equal(b, []ledger.Outcome{accepted, published(1), published(1), accepted},
			b.outcomes(all[0].ID, all[1].ID, all[2].ID, all[3].ID))
		b.requirePending(all[0], all[3])
		b.close()
	}
}

// testDecidedRecord: it takes effect at once, also between the seal and the commit of a
// generation.
func testDecidedRecord(b *bench) {
	all := items("a", 4)
	b.enqueue(all...)
	b.lead()
	unchanged := ledger.Outcome{State: ledger.Unchanged}
	refused := ledger.Outcome{State: ledger.Refused, Generation: 3, Reason: "a-1: it is published <é>"}
	b.append(b.decide(ledger.OutcomeOf(all[2], unchanged)))
	b.requireOutcome(all[2].ID, unchanged)
	b.requirePending(all[0], all[1], all[3])
	b.append(b.intent(1), b.seal(1, all[0]))
	b.append(b.decide(ledger.OutcomeOf(all[1], refused)))
	for i := range 3 {
		require.Equal(b, []ledger.Outcome{accepted, refused, unchanged, accepted},
			b.outcomes(all[0].ID, all[1].ID, all[2].ID, all[3].ID))
		b.requirePending(all[3])
		require.NotContains(b, b.enqueue(all...), false)
		for _, e := range all {
			_, err := b.journal().Enqueue(b.Context(), changed(e))
			require.ErrorIs(b, err, repository.ErrIDReused)
		}
		if i == 1 {
			break
		}
		b.close()
		b.lead()
	}
	b.append(b.commit(1))
	b.requireOutcome(all[0].ID, published(1))
}

// testGivenUp: a checkpoint after a seal without a commit gives the seal up. Its entries are
// pending again, in the seal's order, before the others.
func testGivenUp(b *bench) {
	all := items("a", 5)
	b.enqueue(all...)
	b.lead()
	b.append(b.intent(1), b.seal(1, all[3], all[1]))
	b.requirePending(all[0], all[2], all[4])
	b.append(b.checkpoint())
	want := []ledger.Entry{all[3], all[1], all[0], all[2], all[4]}
	for range 2 {
		b.requirePending(want...)
		for _, e := range all {
			b.requireOutcome(e.ID, accepted)
		}
		b.close()
		b.lead()
	}
	require.Equal(b, []bool{true}, b.enqueue(otherwise(all[3])))
	late := item("late")
	b.enqueue(late)
	state := b.folded.State.Checkpoint()
	state.Planned = 2
	b.append(b.intent(2), b.seal(2, all[3], all[0]), b.record(0, state)) // given up in the call that sealed
	want = []ledger.Entry{all[3], all[0], all[1], all[2], all[4], late}
	for range 2 {
		b.requirePending(want...)
		b.close()
		b.lead()
	}
	b.append(b.checkpoint(), b.intent(3), b.seal(3, all[0], all[3]), b.commit(3))
	for range 2 {
		b.requirePending(want[2:]...)
		b.requireOutcome(all[3].ID, published(3))
		b.close()
		b.lead()
	}
}

// testSealedKeepsBodies: what is sealed is neither pending nor forgotten, however often the
// journal is opened, and what it asks for is still there when the seal is given up.
func testSealedKeepsBodies(b *bench) {
	one, two := item("one"), item("two")
	b.enqueue(one, two)
	b.lead()
	b.append(b.intent(1), b.seal(1, one))
	for range 3 {
		b.close()
		b.lead()
		b.requirePending(two)
		require.Equal(b, []bool{true, true}, b.enqueue(one, otherwise(one)))
		_, err := b.journal().Enqueue(b.Context(), changed(one))
		require.ErrorIs(b, err, repository.ErrIDReused)
	}
	b.append(b.checkpoint())
	b.requirePending(one, two)
}

func testAppendAllOrNone(b *bench) {
	all := items("a", 3)
	b.enqueue(all...)
	b.lead()
	b.append(b.intent(1))
	remake := func(r ledger.Record, epoch int64) ledger.Record {
		other, err := ledger.NewRecord(epoch, r.Generation, r.Prev, r.Time, r.Body)
		require.NoError(b, err)
		return other
	}
	for _, bad := range []func() ledger.Record{
		func() ledger.Record { return remake(b.intent(2), b.epoch-1) },
		func() ledger.Record { return remake(b.intent(2), b.epoch+1) },
		func() ledger.Record { return b.seal(2, item("stranger")) },
		func() ledger.Record { return b.decide(ledger.OutcomeOf(item("stranger"), accepted)) },
		func() ledger.Record { return b.seal(2, changed(all[1])) }, // the digest is another entry's
		func() ledger.Record { return b.seal(2, all[0]) },          // the record before decides it
		func() ledger.Record { return b.seal(2, all[1], all[1]) },
		func() ledger.Record { return ledger.Record{} },
	} {
		seal := b.seal(1, all[0])
		b.requireRefused(seal, bad())
		b.requirePending(all...)
	}
	require.ErrorIs(b, b.requireRefused(remake(b.intent(2), b.epoch-1)), repository.ErrFenced)
	require.ErrorIs(b, b.requireRefused(b.seal(1, item("stranger"))), repository.ErrUnknownItem)
	b.append(b.seal(1, all[0]))
	b.requireRefused(b.commit(1), b.seal(2, all[0]))
	b.requireRefused(b.decide(ledger.OutcomeOf(all[0], accepted)))
	b.append(b.commit(1))
	b.requireRefused(b.intent(2), b.seal(2, all[0]))
	b.requireRefused(b.decide(ledger.OutcomeOf(all[0], accepted)))
	b.append(b.decide(ledger.OutcomeOf(all[1], ledger.Outcome{State: ledger.Unchanged})))
	b.requireRefused(b.intent(2), b.seal(2, all[1]))
	for range 2 {
		b.requirePending(all[2])
		b.close()
		b.lead()
	}
}

// testPendingBounds: a count, and bytes of bodies, but always one.
func testPendingBounds(b *bench) {
	var all []ledger.Entry
	for i, size := range []int{100, 0, 50, 200, 1, 1} {
		e := item("%d", i)
		e.Body = bytes.Repeat([]byte{'x'}, size)
		all = append(all, e)
	}
	b.enqueue(all...)
	b.lead()
	for _, test := range []struct {
		max   int
		bytes int64
		want  int
	}{
		{6, 352, 6},
		{100, 1 << 60, 6},
		{6, 351, 5},
		{6, 350, 4},
		{6, 349, 3},
		{2, 349, 2},
		{6, 150, 3},
		{6, 149, 2},
		{6, 100, 2},
		{6, 99, 1},
		{6, 0, 1},
		{6, -1, 1},
		{1, 0, 1},
		{0, 1000, 0},
	} {
		got, err := b.leader.Pending(b.Context(), test.max, test.bytes)
		require.NoError(b, err)
		require.Len(b, got, test.want, "%+v", test)
		for i := range got {
			require.Equal(b, all[i].ID, got[i].ID)
			require.Equal(b, string(all[i].Body), string(got[i].Body))
		}
	}
	b.publish(1, all[0], all[1])
	got, err := b.leader.Pending(b.Context(), 6, 10)
	require.NoError(b, err)
	require.Len(b, got, 1)
	require.Equal(b, all[2].ID, got[0].ID)
}

func testAwait(b *bench) {
	b.lead()
	require.NoError(b, b.leader.Await(b.Context(), 0, math.MaxInt64))
	all := items("a", 10)
	done := make(chan error, 3)
	go func() { done <- b.leader.Await(b.Context(), 10, math.MaxInt64) }()
	go func() { done <- b.leader.Await(b.Context(), 7, math.MaxInt64) }()
	for i, e := range all {
		if i < 7 {
			select {
			case err := <-done:
				b.Fatalf("Await returned %v with %d entries", err, i)
			default:
			}
		}
		b.enqueue(e)
	}
	require.NoError(b, <-done)
	require.NoError(b, <-done)

	b.append(b.intent(1), b.seal(1, all[:3]...)) // decided is no longer pending
	b.append(b.decide(ledger.OutcomeOf(all[3], ledger.Outcome{State: ledger.Unchanged}), ledger.OutcomeOf(all[4], ledger.Outcome{State: ledger.Unchanged})))
	require.NoError(b, b.leader.Await(b.Context(), 5, math.MaxInt64))
	go func() { done <- b.leader.Await(b.Context(), 6, math.MaxInt64) }()
	select {
	case err := <-done:
		b.Fatalf("Await returned %v", err)
	default:
	}
	b.enqueue(item("sixth"))
	require.NoError(b, <-done)

	// Bytes of bodies count as well.
	backlog, err := b.journal().Backlog(b.Context())
	require.NoError(b, err)
	require.NoError(b, b.leader.Await(b.Context(), 100, backlog.Bytes))
	seventh := item("seventh")
	go func() { done <- b.leader.Await(b.Context(), 100, backlog.Bytes+int64(len(seventh.Body))) }()
	select {
	case err := <-done:
		b.Fatalf("Await returned %v", err)
	default:
	}
	b.enqueue(seventh)
	require.NoError(b, <-done)

	go func() { done <- b.leader.Await(b.Context(), 10, math.MaxInt64) }()
	b.append(b.checkpoint()) // what was given up is pending again
	require.NoError(b, <-done)

	ctx, cancel := context.WithCancel(b.Context())
	go func() { done <- b.leader.Await(ctx, 100, math.MaxInt64) }()
	cancel()
	require.ErrorIs(b, <-done, context.Canceled)

	go func() { done <- b.leader.Await(b.Context(), 100, math.MaxInt64) }()
	require.NoError(b, b.journal().Close())
	require.ErrorIs(b, <-done, repository.ErrClosed)
}

// testDecided: whoever asks for outcomes after each return of Decided misses none.
func testDecided(b *bench) {
	j := b.journal()
	start, err := j.Decided(b.Context(), 0)
	require.NoError(b, err)
	require.NotZero(b, start)

	all := items("a", 20)
	b.enqueue(all...)
	b.lead()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 10)
	for range 10 { // those who wait for all of them
		go func() { done <- untilDecided(ctx, j, start, all) }()
	}
	b.append(b.intent(1))
	b.append(b.seal(1, all[:10]...))
	b.append(b.commit(1))
	first, err := j.Decided(b.Context(), start)
	require.NoError(b, err)
	require.NotEqual(b, start, first)
	var outcomes []ledger.ItemOutcome
	for _, e := range all[10:] {
		outcomes = append(outcomes, ledger.OutcomeOf(e, ledger.Outcome{State: ledger.Unchanged}))
	}
	b.append(b.decide(outcomes...))
	for range 10 {
		require.NoError(b, <-done)
	}
	second, err := j.Decided(b.Context(), first)
	require.NoError(b, err)
	require.NotEqual(b, first, second)

	// Nothing else is a moment.
	waiting := make(chan error, 1)
	go func() {
		_, err := j.Decided(ctx, second)
		waiting <- err
	}()
	b.enqueue(item("more"))
	b.append(b.intent(2), b.seal(2, item("more")))
	select {
	case err := <-waiting:
		b.Fatalf("Decided returned %v", err)
	default:
	}
	cancel()
	require.ErrorIs(b, <-waiting, context.Canceled)
	go func() {
		_, err := j.Decided(b.Context(), second)
		waiting <- err
	}()
	require.NoError(b, j.Close())
	require.ErrorIs(b, <-waiting, repository.ErrClosed)
}

// untilDecided waits until all entries have an outcome.
func untilDecided(ctx context.Context, j repository.Queue, seen int64, entries []ledger.Entry) error {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	for {
		outcomes, err := j.Outcomes(ctx, ids...)
		if err != nil {
			return err
		}
		left := 0
		for _, o := range outcomes {
			if o.State == ledger.Accepted {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if seen, err = j.Decided(ctx, seen); err != nil {
			return err
		}
	}
}

func testRelease(b *bench) {
	b.lead()
	first := b.leader
	_, _, err := b.journal().Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrLocked)
	b.append(b.intent(1))
	waiting := make(chan error)
	go func() { waiting <- first.Await(b.Context(), 1, math.MaxInt64) }()

	require.NoError(b, first.Release(b.Context()))
	require.NoError(b, first.Release(b.Context()))
	require.ErrorIs(b, <-waiting, repository.ErrClosed)
	require.ErrorIs(b, b.requireRefused(b.intent(2)), repository.ErrClosed)
	b.enqueue(item("one")) // the queue is open to all

	b.lead()
	next := b.intent(2)
	require.ErrorIs(b, first.Append(b.Context(), next), repository.ErrFenced)
	for _, err := range first.Read(b.Context(), ledger.FromCheckpoint) {
		require.ErrorIs(b, err, repository.ErrFenced)
	}
	require.NoError(b, first.Release(b.Context()))
	b.append(next)
	require.NoError(b, b.leader.Release(b.Context()))
	b.close()
	b.lead()
}

func testFencing(b *bench) {
	if b.place.Expire == nil {
		b.Skip("one process at a time")
	}
	b.lead()
	paused := b.leader
	b.append(b.intent(1))
	b.enqueue(item("one"))
	waiting := make(chan error)
	go func() { waiting <- paused.Await(b.Context(), 100, math.MaxInt64) }()

	next, err := b.place.Open()
	require.NoError(b, err)
	other := &bench{
		T: b.T, place: b.place, open: next, epoch: b.epoch,
		steps: b.steps, folded: *fold(b.T, b.steps), head: b.head,
	}
	defer other.close()
	_, _, err = next.Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrLocked)
	b.place.Expire()
	other.lead()

	require.ErrorIs(b, <-waiting, repository.ErrFenced)
	require.ErrorIs(b, b.requireRefused(b.intent(2)), repository.ErrFenced)
	require.ErrorIs(b, b.requireRefused(), repository.ErrFenced)
	b.epoch = other.epoch // a stolen epoch is of no use to it
	require.ErrorIs(b, b.requireRefused(b.intent(2)), repository.ErrFenced)
	require.ErrorIs(b, paused.Await(b.Context(), 0, math.MaxInt64), repository.ErrFenced)
	_, err = paused.Pending(b.Context(), 1, 1)
	require.ErrorIs(b, err, repository.ErrFenced)
	for _, from := range []ledger.From{ledger.FromCheckpoint, ledger.FromBeginning} {
		for _, err := range paused.Read(b.Context(), from) {
			require.ErrorIs(b, err, repository.ErrFenced)
		}
	}
	require.ErrorIs(b, paused.Release(b.Context()), repository.ErrFenced)

	// It changed nothing, and is still a process like any other.
	two := item("two")
	require.Equal(b, []bool{false}, b.enqueue(two))
	other.took(ledger.Step{Entry: &two})
	other.requirePending(item("one"), two)
	seen, err := b.journal().Decided(b.Context(), 0)
	require.NoError(b, err)
	other.publish(2, item("one"))
	_, err = b.journal().Decided(b.Context(), seen) // of another process
	require.NoError(b, err)
	b.requireOutcome("one", published(2))
	_, _, err = b.journal().Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrLocked)
	other.close()
	b.blind = true
	b.lead()

	// Many want the lead: one gets it.
	b.close()
	journals := make([]repository.Journal, crowd)
	for i := range journals {
		journals[i], err = b.place.Open()
		require.NoError(b, err)
		defer journals[i].Close()
	}
	winner(b.T, race(func(i int) error {
		_, _, err := journals[i].Lead(b.Context())
		return err
	}), repository.ErrLocked)

	// Many processes enqueue the same: it is queued once.
	known := make([]bool, crowd)
	for i, err := range race(func(i int) error {
		flags, err := journals[i].Enqueue(b.Context(), item("three"))
		known[i] = err == nil && flags[0]
		return err
	}) {
		require.NoError(b, err, fmt.Sprint(i))
	}
	requireOneNew(b, known)
	backlog, err := journals[0].Backlog(b.Context())
	require.NoError(b, err)
	require.Equal(b, 2, backlog.Pending)
}

func testOneProcess(b *bench) {
	if b.place.Expire != nil {
		b.Skip("shared by many processes")
	}
	b.enqueue(item("one"))
	_, err := b.place.Open()
	require.ErrorIs(b, err, repository.ErrLocked)
	b.lead()
	_, err = b.place.Open()
	require.ErrorIs(b, err, repository.ErrLocked)
	b.close()
	b.requirePending(item("one"))
}

func testClose(b *bench) {
	b.enqueue(item("one"))
	b.lead()
	j, leader := b.journal(), b.leader
	require.NoError(b, j.Close())
	require.NoError(b, j.Close())

	_, err := j.Enqueue(b.Context(), item("two"))
	require.ErrorIs(b, err, repository.ErrClosed)
	_, err = j.Outcomes(b.Context(), "one")
	require.ErrorIs(b, err, repository.ErrClosed)
	_, err = j.Backlog(b.Context())
	require.ErrorIs(b, err, repository.ErrClosed)
	_, err = j.Decided(b.Context(), 0)
	require.ErrorIs(b, err, repository.ErrClosed)
	_, _, err = j.Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrClosed)
	require.ErrorIs(b, b.requireRefused(b.intent(1)), repository.ErrClosed)
	require.ErrorIs(b, leader.Await(b.Context(), 0, math.MaxInt64), repository.ErrClosed)
	_, err = leader.Pending(b.Context(), 1, 1)
	require.ErrorIs(b, err, repository.ErrClosed)
	for _, from := range []ledger.From{ledger.FromCheckpoint, ledger.FromBeginning} {
		for _, err := range leader.Read(b.Context(), from) {
			require.ErrorIs(b, err, repository.ErrClosed)
		}
	}
	require.NoError(b, leader.Release(b.Context()))

	b.close()
	b.lead()
	b.requirePending(item("one"))
}
