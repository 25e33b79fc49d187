package storetest

import (
	"fmt"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/stretchr/testify/require"
)

func testOutcome(b *bench) {
	b.requireUnknown("never")
	all := items("a", 3)
	b.enqueue(all...)
	b.lead()
	tooLarge := repository.Outcome{State: repository.SetAside, Generation: 7, Reason: `bin bins-0a3f: it would be of "5 MB" <é>`}
	replaced := repository.Outcome{State: repository.Superseded, Generation: 7}
	b.append(b.record(repository.KindIntent, 7))
	b.append(b.record(repository.KindSeal, 7,
		repository.ItemOutcome{ID: all[0].ID, Outcome: replaced},
		repository.ItemOutcome{ID: all[1].ID, Outcome: tooLarge},
		repository.ItemOutcome{ID: all[2].ID, Outcome: published(7)}), b.commit(7))
	for range 2 {
		b.requireOutcome(all[0].ID, replaced)
		b.requireOutcome(all[1].ID, tooLarge)
		b.requireOutcome(all[2].ID, published(7))
		b.requireUnknown("never")
		b.requirePending()
		b.close() // outcomes last
	}
}

func testOutcomeNeedsCommit(b *bench) {
	all := items("a", 4)
	b.enqueue(all...)
	b.lead()
	b.append(b.seal(1, all[1], all[2]))
	for range 2 { // also when the publisher ended here
		b.requirePending(all[0], all[3])
		for _, it := range all {
			b.requireOutcome(it.ID, accepted)
		}
		b.close()
		b.lead()
	}
	b.append(b.commit(1))
	for range 2 {
		b.requireOutcome(all[0].ID, accepted)
		b.requireOutcome(all[1].ID, published(1))
		b.requireOutcome(all[2].ID, published(1))
		b.requirePending(all[0], all[3])
		b.close()
	}
}

// testSealedAgain: what an abandoned seal decided, a later one decides again.
func testSealedAgain(b *bench) {
	all := items("a", 2)
	b.enqueue(all...)
	b.lead()
	b.append(b.seal(1, all...))
	b.append(b.seal(2, all[0]))
	b.append(b.commit(2))
	for range 2 {
		b.requireOutcome(all[0].ID, published(2))
		b.requireOutcome(all[1].ID, accepted)
		b.requirePending()
		b.close()
	}
}

func testReopen(b *bench) {
	all := items("a", 30)
	for i := range 10 {
		b.enqueue(all[3*i : 3*i+3]...)
		b.close()
	}
	b.requirePending(all...)
	var want []repository.Record
	for i := range 10 {
		recs := []repository.Record{b.seal(int64(i)+1, all[i*2]), b.commit(int64(i) + 1)}
		b.append(recs...)
		want = append(want, recs...)
		b.close()
		require.Equal(b, encoded(b, want), encoded(b, b.lead()))
	}
	var left []repository.Item
	for i, it := range all {
		if i%2 == 0 && i < 20 {
			b.requireOutcome(it.ID, published(int64(i)/2+1))
		} else {
			b.requireOutcome(it.ID, accepted)
			left = append(left, it)
		}
	}
	b.requirePending(left...)
}

func testLoad(b *bench) {
	require.Empty(b, b.lead())
	one := item("one")
	b.enqueue(one)
	want := []repository.Record{
		b.record(repository.KindDocuments, 0), b.record(repository.KindIntent, 1), b.seal(1, one), b.commit(1),
		{Epoch: b.epoch, Kind: repository.KindIntent, Generation: 2}, // no body
	}
	b.append(want[0], want[1])
	b.append()
	b.append(want[2])
	b.append(want[3:]...)
	b.close()
	require.Equal(b, encoded(b, want), encoded(b, b.lead()))

	b.close()
	require.Equal(b, encoded(b, want), encoded(b, b.lead()))
}

func testLoadFirstAndOnce(b *bench) {
	leader, err := b.journal().Lead(b.Context())
	require.NoError(b, err)
	require.Error(b, leader.Append(b.Context(), b.record(repository.KindIntent, 1)))
	_, err = leader.Pending(b.Context(), 1)
	require.Error(b, err)
	require.Error(b, leader.Await(b.Context(), 0))
	log, err := leader.Load(b.Context())
	require.NoError(b, err)
	require.Empty(b, log.Records)
	require.Positive(b, log.Epoch)
	_, err = leader.Load(b.Context())
	require.Error(b, err)
}

func testCheckpoint(b *bench) {
	all := items("a", 12)
	b.enqueue(all...)
	b.lead()
	b.append(b.seal(1, all[2]), b.commit(1))
	b.append(b.seal(2, all[4]))
	for i := range int64(3) { // each must do without what came before the one before
		point := b.record(repository.KindCheckpoint, 2+i)
		b.append(point)
		tail := []repository.Record{b.record(repository.KindIntent, 3+i)}
		b.append(tail...)
		late := item("late-%d", i)
		b.enqueue(late)
		for range 2 {
			b.close()
			require.Equal(b, encoded(b, append([]repository.Record{point}, tail...)), encoded(b, b.lead()))
			b.requireOutcome(all[0].ID, accepted)
			b.requireOutcome(all[2].ID, published(1))
			b.requireOutcome(all[4].ID, accepted)
			require.ErrorIs(b, b.journal().Enqueue(b.Context(), changed(all[2])), repository.ErrIDReused)
			require.ErrorIs(b, b.journal().Enqueue(b.Context(), changed(all[4])), repository.ErrIDReused)
			require.ErrorIs(b, b.journal().Enqueue(b.Context(), changed(all[5])), repository.ErrIDReused)
			b.enqueue(all...)
		}
		all = append(all, late)
		b.requirePending(append([]repository.Item{all[0], all[1], all[3]}, all[5:]...)...)
	}
	b.append(b.commit(2))
	b.close()
	b.requireOutcome(all[4].ID, published(2))
}

func testCheckpointAmongOthers(b *bench) {
	one, two := item("one"), item("two")
	b.enqueue(one, two)
	b.lead()
	b.append(b.seal(1, one))
	want := []repository.Record{b.record(repository.KindCheckpoint, 1), b.record(repository.KindIntent, 2)}
	b.append(append([]repository.Record{b.commit(1)}, want...)...)
	for range 2 {
		b.requireOutcome(one.ID, published(1))
		b.close()
		require.Equal(b, encoded(b, want), encoded(b, b.lead()))
		b.requirePending(two)
	}
}

func testAppendAllOrNone(b *bench) {
	all := items("a", 2)
	b.enqueue(all...)
	b.lead()
	older, newer := b.record(repository.KindIntent, 2), b.record(repository.KindIntent, 2)
	older.Epoch--
	newer.Epoch++
	stranger := b.seal(2, item("stranger"))
	for _, bad := range []repository.Record{older, newer, stranger} {
		err := b.leader.Append(b.Context(), b.seal(1, all[0]), bad)
		require.Error(b, err)
		require.NotErrorIs(b, err, repository.ErrUnknown)
	}
	require.ErrorIs(b, b.leader.Append(b.Context(), older), repository.ErrFenced)
	b.requirePending(all...)
	b.append(b.seal(1, all[0]), b.commit(1))
	require.Error(b, b.leader.Append(b.Context(), b.seal(2, all[0])), "it was published")
	b.requirePending(all[1])
	b.close()
	require.Len(b, b.lead(), 2)
	b.requirePending(all[1])
}

func testAwait(b *bench) {
	b.lead()
	require.NoError(b, b.leader.Await(b.Context(), 0))
	all := items("a", 10)
	done := make(chan error, 2)
	go func() { done <- b.leader.Await(b.Context(), 10) }()
	go func() { done <- b.leader.Await(b.Context(), 7) }()
	for i, it := range all {
		if i < 7 {
			select {
			case err := <-done:
				b.Fatalf("Await returned %v with %d items", err, i)
			default:
			}
		}
		b.enqueue(it)
	}
	require.NoError(b, <-done)
	require.NoError(b, <-done)

	b.append(b.seal(1, all[:5]...)) // decided is no longer pending
	require.NoError(b, b.leader.Await(b.Context(), 5))
	go func() { done <- b.leader.Await(b.Context(), 6) }()
	select {
	case err := <-done:
		b.Fatalf("Await returned %v", err)
	default:
	}
	b.enqueue(item("sixth"))
	require.NoError(b, <-done)

	go func() { done <- b.leader.Await(b.Context(), 7) }()
	require.NoError(b, b.journal().Close())
	require.ErrorIs(b, <-done, repository.ErrClosed)
}

func testRelease(b *bench) {
	b.lead()
	first := b.leader
	_, err := b.journal().Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrLocked)
	b.append(b.record(repository.KindIntent, 1))
	waiting := make(chan error)
	go func() { waiting <- first.Await(b.Context(), 1) }()

	require.NoError(b, first.Release(b.Context()))
	require.NoError(b, first.Release(b.Context()))
	require.ErrorIs(b, <-waiting, repository.ErrClosed)
	require.ErrorIs(b, first.Append(b.Context(), b.record(repository.KindIntent, 2)), repository.ErrClosed)
	b.enqueue(item("one")) // the queue is open to all

	require.Len(b, b.lead(), 1)
	require.ErrorIs(b, first.Append(b.Context(), b.record(repository.KindIntent, 2)), repository.ErrFenced)
	require.NoError(b, first.Release(b.Context()))
	b.append(b.record(repository.KindIntent, 2))
	require.NoError(b, b.leader.Release(b.Context()))
	b.close()
	require.Len(b, b.lead(), 2)
}

func testFencing(b *bench) {
	if b.place.Expire == nil {
		b.Skip("one process at a time")
	}
	b.lead()
	paused, old := b.leader, b.record(repository.KindIntent, 2)
	b.append(b.record(repository.KindIntent, 1))
	b.enqueue(item("one"))
	waiting := make(chan error)
	go func() { waiting <- paused.Await(b.Context(), 100) }()

	next, err := b.place.Open()
	require.NoError(b, err)
	other := &bench{T: b.T, place: b.place, open: next, epoch: b.epoch}
	defer other.close()
	_, err = next.Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrLocked)
	b.place.Expire()
	require.Len(b, other.lead(), 1)

	require.ErrorIs(b, <-waiting, repository.ErrFenced)
	require.ErrorIs(b, paused.Append(b.Context(), old), repository.ErrFenced)
	require.ErrorIs(b, paused.Append(b.Context()), repository.ErrFenced)
	old.Epoch = other.epoch // a stolen epoch is of no use to it
	require.ErrorIs(b, paused.Append(b.Context(), old), repository.ErrFenced)
	require.ErrorIs(b, paused.Await(b.Context(), 0), repository.ErrFenced)
	_, err = paused.Pending(b.Context(), 1)
	require.ErrorIs(b, err, repository.ErrFenced)
	_, err = paused.Load(b.Context())
	require.ErrorIs(b, err, repository.ErrFenced)
	require.ErrorIs(b, paused.Release(b.Context()), repository.ErrFenced)

	// It changed nothing, and is still a process like any other.
	b.enqueue(item("two"))
	other.requirePending(item("one"), item("two"))
	other.append(other.seal(2, item("one")), other.commit(2))
	b.requireOutcome("one", published(2))
	_, err = b.journal().Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrLocked)
	other.close()
	require.Len(b, b.lead(), 3)

	// Many want the lead: one gets it.
	b.close()
	journals := make([]repository.Journal, crowd)
	for i := range journals {
		journals[i], err = b.place.Open()
		require.NoError(b, err)
		defer journals[i].Close()
	}
	winner(b.T, race(func(i int) error {
		_, err := journals[i].Lead(b.Context())
		return err
	}), repository.ErrLocked)

	// Many processes enqueue the same: it is queued once.
	for i, err := range race(func(i int) error { return journals[i].Enqueue(b.Context(), item("three")) }) {
		require.NoError(b, err, fmt.Sprint(i))
	}
	stats, err := journals[0].Stats(b.Context())
	require.NoError(b, err)
	require.Equal(b, 2, stats.Pending)
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

	require.ErrorIs(b, j.Enqueue(b.Context(), item("two")), repository.ErrClosed)
	_, err := j.Outcome(b.Context(), "one")
	require.ErrorIs(b, err, repository.ErrClosed)
	_, err = j.Stats(b.Context())
	require.ErrorIs(b, err, repository.ErrClosed)
	_, err = j.Lead(b.Context())
	require.ErrorIs(b, err, repository.ErrClosed)
	require.ErrorIs(b, leader.Append(b.Context(), b.record(repository.KindIntent, 1)), repository.ErrClosed)
	require.ErrorIs(b, leader.Await(b.Context(), 0), repository.ErrClosed)
	_, err = leader.Pending(b.Context(), 1)
	require.ErrorIs(b, err, repository.ErrClosed)
	_, err = leader.Load(b.Context())
	require.ErrorIs(b, err, repository.ErrClosed)
	require.NoError(b, leader.Release(b.Context()))

	b.close()
	require.Empty(b, b.lead())
	b.requirePending(item("one"))
}
