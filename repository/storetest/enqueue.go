package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/stretchr/testify/require"
)

func testEnqueue(b *bench) {
	b.requirePending()
	b.enqueue() // nothing
	all := items("a", 5)
	b.enqueue(all[0])
	b.enqueue(all[1:4]...)
	b.enqueue(all[4])
	b.requirePending(all...)

	for max := range 6 {
		got, err := b.leader.Pending(b.Context(), max)
		require.NoError(b, err)
		require.Len(b, got, max)
		for i := range got {
			requireSame(b, all[i], got[i])
		}
	}
	for _, it := range all {
		b.requireOutcome(it.ID, accepted)
	}
	require.Error(b, b.journal().Enqueue(b.Context(), repository.Item{Remove: []string{"no ID"}}))
	b.requirePending(all...)
}

func testEnqueueAgain(b *bench) {
	one, two := item("one"), item("two")
	b.enqueue(one)
	later := one
	later.Accepted = noon.AddDate(1, 0, 0) // a retry; not another item
	b.enqueue(later, two, later)
	b.requirePending(one, two)

	err := b.journal().Enqueue(b.Context(), changed(one))
	require.ErrorIs(b, err, repository.ErrIDReused)
	require.NotErrorIs(b, err, repository.ErrUnknown)
	require.ErrorContains(b, err, one.ID)

	b.append(b.seal(1, one))
	b.enqueue(later)
	b.append(b.commit(1))
	b.enqueue(later)
	require.ErrorIs(b, b.journal().Enqueue(b.Context(), changed(one)), repository.ErrIDReused)
	b.requireOutcome(one.ID, published(1))
	b.requirePending(two)
}

func testEnqueueAllOrNone(b *bench) {
	one := item("one")
	b.enqueue(one)
	require.ErrorIs(b, b.journal().Enqueue(b.Context(), item("two"), changed(one), item("three")), repository.ErrIDReused)
	require.ErrorIs(b, b.journal().Enqueue(b.Context(), item("two"), changed(item("two"))), repository.ErrIDReused)
	b.requireUnknown("two")
	b.requireUnknown("three")
	b.requirePending(one)
	b.enqueue(item("two"), item("three")) // what was refused left no trace
	b.requirePending(one, item("two"), item("three"))
}

func testEnqueueRace(b *bench) {
	j := b.journal()
	one := item("one")
	for _, err := range race(func(int) error { return j.Enqueue(b.Context(), one) }) {
		require.NoError(b, err)
	}
	b.requirePending(one)
}

func testEnqueueReuseRace(b *bench) {
	j := b.journal()
	contender := func(i int) repository.Item {
		it := item("one")
		it.Remove = []string{fmt.Sprintf("contender-%d", i)}
		return it
	}
	errs := race(func(i int) error { return j.Enqueue(b.Context(), contender(i)) })
	b.requirePending(contender(winner(b.T, errs, repository.ErrIDReused)))
}

// testEnqueueKeepsOrder: what one caller enqueued stays in its order, and what it
// enqueued together stays together or at least in order, whoever else enqueues.
func testEnqueueKeepsOrder(b *bench) {
	j := b.journal()
	for _, err := range race(func(i int) error {
		all := items(fmt.Sprint(i), 10)
		return errors.Join(j.Enqueue(b.Context(), all[0]), j.Enqueue(b.Context(), all[1:9]...), j.Enqueue(b.Context(), all[9]))
	}) {
		require.NoError(b, err)
	}
	b.lead()
	require.NoError(b, b.leader.Await(b.Context(), 10*crowd))
	for range 2 {
		got, err := b.leader.Pending(b.Context(), 11*crowd)
		require.NoError(b, err)
		require.Len(b, got, 10*crowd)
		next := map[int]int{}
		for _, it := range got {
			var caller, n int
			_, err := fmt.Sscanf(it.ID, "%d-%d", &caller, &n)
			require.NoError(b, err)
			require.Equal(b, next[caller], n)
			next[caller]++
		}
		b.close()
		b.lead()
	}
}

func testJournalNoSharedMemory(b *bench) {
	want := item("one")
	mine := item("one")
	b.enqueue(mine)
	mine.Add[0].Path, mine.Add[0].Hashes["sha256"], mine.Remove[0] = "changed", "changed", "changed"
	b.requirePending(want)
	got, err := b.leader.Pending(b.Context(), 1)
	require.NoError(b, err)
	got[0].Add[0].Path, got[0].Add[0].Hashes["sha256"], got[0].Remove[0] = "changed", "changed", "changed"
	b.requirePending(want)

	r := b.seal(1, want)
	same := b.seal(1, want)
	b.append(r)
	r.Outcomes[0].State, r.Body[2] = repository.SetAside, 'X'
	b.append(b.commit(1))
	b.requireOutcome(want.ID, published(1))
	b.close()
	requireSame(b, same, b.lead()[0])
}

// testCloseUnderWay: what was acknowledged is there after Close, and what was
// refused is not.
func testCloseUnderWay(b *bench) {
	j := b.journal()
	results := enqueueMany(b, func(int) context.Context { return b.Context() }, func(acknowledged int) {
		if acknowledged == 2*crowd {
			require.NoError(b, j.Close())
		}
	})
	b.open = nil
	for _, r := range results {
		if r.err != nil {
			require.ErrorIs(b, r.err, repository.ErrClosed)
		}
	}
	requireResults(b, results)
}

// testContextEndsUnderWay: an item whose caller went away is in the queue or is
// not, as the error says.
func testContextEndsUnderWay(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	results := enqueueMany(b, func(i int) context.Context {
		if i%2 == 0 {
			return ctx
		}
		return b.Context()
	}, func(acknowledged int) {
		if acknowledged == 2*crowd {
			cancel()
		}
	})
	for _, r := range results {
		if r.err != nil {
			require.ErrorIs(b, r.err, context.Canceled)
		}
	}
	requireResults(b, results)
	b.close()
	requireResults(b, results)
}

type result struct {
	id  string
	err error
}

// enqueueMany enqueues from many goroutines, each until its first error or for
// ten items, and calls on after each success with how many there were.
func enqueueMany(b *bench, ctx func(i int) context.Context, on func(acknowledged int)) []result {
	j := b.journal()
	var mu sync.Mutex
	var results []result
	acknowledged := 0
	race(func(i int) error {
		for _, it := range items(fmt.Sprint(i), 10) {
			err := j.Enqueue(ctx(i), it)
			mu.Lock()
			results = append(results, result{it.ID, err})
			n := 0
			if err == nil {
				acknowledged++
				n = acknowledged
			}
			mu.Unlock()
			if err != nil {
				return err
			}
			on(n)
		}
		return nil
	})
	return results
}

func requireResults(b *bench, results []result) {
	b.Helper()
	for _, r := range results {
		switch {
		case r.err == nil:
			b.requireOutcome(r.id, accepted)
		case !errors.Is(r.err, repository.ErrUnknown):
			b.requireUnknown(r.id)
		}
	}
}

func testJournalContext(b *bench) {
	one := item("one")
	b.enqueue(one)
	b.lead()
	j, ctx := b.journal(), ended(b)

	err := j.Enqueue(ctx, item("two"))
	require.ErrorIs(b, err, context.Canceled)
	require.NotErrorIs(b, err, repository.ErrUnknown)
	_, err = j.Outcome(ctx, one.ID)
	require.ErrorIs(b, err, context.Canceled)
	_, err = j.Stats(ctx)
	require.ErrorIs(b, err, context.Canceled)
	_, err = j.Lead(ctx)
	require.ErrorIs(b, err, context.Canceled)
	require.ErrorIs(b, b.leader.Await(ctx, 2), context.Canceled)
	_, err = b.leader.Pending(ctx, 1)
	require.ErrorIs(b, err, context.Canceled)
	err = b.leader.Append(ctx, b.seal(1, one))
	require.ErrorIs(b, err, context.Canceled)
	require.NotErrorIs(b, err, repository.ErrUnknown)

	b.requireUnknown("two")
	b.requirePending(one)
	b.close()
	require.Empty(b, b.lead())
}

// encoded returns the JSON of records, to be compared.
func encoded(b *bench, recs []repository.Record) []string {
	all := make([]string, len(recs))
	for i, r := range recs {
		data, err := json.Marshal(r)
		require.NoError(b, err)
		all[i] = string(data)
	}
	return all
}
