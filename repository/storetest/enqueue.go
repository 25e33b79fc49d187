package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

func testEnqueue(b *bench) {
	b.requirePending()
	b.enqueue() // nothing
	all := items("a", 5)
	b.enqueue(all[0])
	b.enqueue(all[1:4]...)
	b.enqueue(all[4])
	for range 2 {
		b.requirePending(all...)
		for _, e := range all {
			b.requireOutcome(e.ID, accepted)
		}
		b.close()
		b.lead()
	}
}

// testEnqueueRefuses: what isn't well formed is not queued, nor what came with it.
func testEnqueueRefuses(b *bench) {
	for _, bad := range []ledger.Entry{
		{Accepted: noon, Body: []byte("no ID")},
		{ID: "a b", Accepted: noon},
		{ID: "ä", Accepted: noon},
		{ID: strings.Repeat("a", ledger.MaxID+1), Accepted: noon},
		{ID: "a", By: strings.Repeat("a", ledger.MaxBy+1), Accepted: noon},
		{ID: "a", By: "\xff", Accepted: noon},
		{ID: "a", By: "a\nb", Accepted: noon},
	} {
		_, err := b.journal().Enqueue(b.Context(), item("one"), bad)
		require.Error(b, err, "%q", bad.ID)
		require.NotErrorIs(b, err, repository.ErrUnknown)
	}
	b.requirePending()
	longest := ledger.Entry{ID: strings.Repeat("~", ledger.MaxID), By: strings.Repeat("<", ledger.MaxBy), Accepted: noon, Body: []byte("x")}
	b.enqueue(longest)
	b.close()
	b.lead()
	b.requireOutcome(longest.ID, accepted)
}

func testEnqueueAgain(b *bench) {
	one, two := item("one"), item("two")
	require.Equal(b, []bool{false}, b.enqueue(one))
	later := one
	later.Accepted = noon.AddDate(1, 0, 0) // a retry; not another item
	later.By = "somebody else"
	require.Equal(b, []bool{true, false, true}, b.enqueue(later, two, later))
	b.requirePending(one, two)

	_, err := b.journal().Enqueue(b.Context(), changed(one))
	require.ErrorIs(b, err, repository.ErrIDReused)
	require.NotErrorIs(b, err, repository.ErrUnknown)
	require.ErrorContains(b, err, one.ID)

	b.append(b.intent(1), b.seal(1, one))
	require.Equal(b, []bool{true}, b.enqueue(later))
	b.append(b.commit(1))
	for range 2 {
		require.Equal(b, []bool{true}, b.enqueue(later))
		_, err = b.journal().Enqueue(b.Context(), changed(one))
		require.ErrorIs(b, err, repository.ErrIDReused)
		b.requireOutcome(one.ID, published(1))
		b.requirePending(two)
		b.close()
		b.lead()
	}
}

// testSameMeaning: an item that another program encoded in another way is the same, at every
// stage.
func testSameMeaning(b *bench) {
	queued := otherwise(item("one")) // not as Item.Entry writes it
	retry := item("one")
	require.NotEqual(b, queued.Body, retry.Body)
	b.enqueue(queued)
	requireSame := func() {
		b.Helper()
		for range 2 {
			require.Equal(b, []bool{true, true}, b.enqueue(retry, queued))
			_, err := b.journal().Enqueue(b.Context(), changed(retry))
			require.ErrorIs(b, err, repository.ErrIDReused)
			b.close()
			b.lead()
		}
	}
	requireSame()
	b.requirePending(queued) // the bytes are those that came first
	b.append(b.intent(1), b.seal(1, queued))
	requireSame()
	b.append(b.commit(1))
	requireSame()
	b.append(b.checkpoint())
	requireSame()

	two := item("two")
	require.Equal(b, []bool{false, true}, b.enqueue(two, otherwise(two)))
	b.requirePending(two)
}

// testOpaqueBodies: a journal keeps bodies that it doesn't understand, byte for byte. What is
// no item is the same only if its bytes are.
func testOpaqueBodies(b *bench) {
	var all []ledger.Entry
	for i, body := range []string{
		"", "\n", "\n\n\n", "\x00", "\xff\xfe", "no JSON", `{"remove":["a"]`, " {} \r\n", "e {}\nr 1\nx\n",
		strings.Repeat("\x00\n\xff", 100_000), `{"unknown":1}`,
	} {
		e := item("opaque-%d", i)
		e.Body = []byte(body)
		if b.place.OnlyText && (!utf8.ValidString(body) || strings.Contains(body, "\x00")) {
			_, err := b.journal().Enqueue(b.Context(), e)
			require.Error(b, err)
			require.NotErrorIs(b, err, repository.ErrUnknown)
			continue
		}
		all = append(all, e)
	}
	b.enqueue(all...)
	requirePending := func() {
		b.Helper()
		got, err := b.leader.Pending(b.Context(), 100, 1<<40)
		require.NoError(b, err)
		require.Len(b, got, len(all))
		for i := range got {
			require.Equal(b, all[i].ID, got[i].ID)
			require.Equal(b, string(all[i].Body), string(got[i].Body))
		}
		for _, e := range all {
			e.Body = append(bytes.Clone(e.Body), 'x')
			_, err := b.journal().Enqueue(b.Context(), e)
			require.ErrorIs(b, err, repository.ErrIDReused)
		}
	}
	b.blind = true // an empty body has two forms
	b.lead()
	requirePending()
	b.close()
	b.lead()
	requirePending()
	b.append(b.checkpoint())
	b.close()
	b.lead()
	requirePending()
	for _, from := range []ledger.From{ledger.FromCheckpoint, ledger.FromBeginning} {
		i := 0
		for _, s := range readAll(b.T, b.leader, from) {
			if s.Entry != nil {
				require.Equal(b, string(all[i].Body), string(s.Entry.Body))
				i++
			}
		}
		require.Equal(b, len(all), i)
	}
}

func testEnqueueAllOrNone(b *bench) {
	one := item("one")
	b.enqueue(one)
	_, err := b.journal().Enqueue(b.Context(), item("two"), changed(one), item("three"))
	require.ErrorIs(b, err, repository.ErrIDReused)
	_, err = b.journal().Enqueue(b.Context(), item("two"), changed(item("two")))
	require.ErrorIs(b, err, repository.ErrIDReused)
	b.requireUnknown("two")
	b.requireUnknown("three")
	b.requirePending(one)
	require.Equal(b, []bool{false, false}, b.enqueue(item("two"), item("three"))) // what was refused left no trace
	b.requirePending(one, item("two"), item("three"))
}

func testEnqueueRace(b *bench) {
	b.blind = true
	j := b.journal()
	one := item("one")
	known := make([]bool, crowd)
	for _, err := range race(func(i int) error {
		flags, err := j.Enqueue(b.Context(), one)
		known[i] = err == nil && flags[0]
		return err
	}) {
		require.NoError(b, err)
	}
	requireOneNew(b, known)
	b.requirePending(one)
}

// requireOneNew requires that one of those who enqueued the same was told that it was new.
func requireOneNew(b *bench, known []bool) {
	b.Helper()
	fresh := 0
	for _, k := range known {
		if !k {
			fresh++
		}
	}
	require.Equal(b, 1, fresh)
}

func testEnqueueReuseRace(b *bench) {
	b.blind = true
	j := b.journal()
	contender := func(i int) ledger.Entry {
		return entryOf(ledger.Item{ID: "one", Accepted: noon, Remove: []string{fmt.Sprintf("contender-%d", i)}})
	}
	errs := race(func(i int) error {
		_, err := j.Enqueue(b.Context(), contender(i))
		return err
	})
	b.requirePending(contender(winner(b.T, errs, repository.ErrIDReused)))
}

// testEnqueueKeepsOrder: what one caller enqueued stays in its order, and what it
// enqueued together stays together or at least in order, whoever else enqueues.
func testEnqueueKeepsOrder(b *bench) {
	b.blind = true
	j := b.journal()
	for _, err := range race(func(i int) error {
		all := items(fmt.Sprint(i), 10)
		_, first := j.Enqueue(b.Context(), all[0])
		_, then := j.Enqueue(b.Context(), all[1:9]...)
		_, last := j.Enqueue(b.Context(), all[9])
		return errors.Join(first, then, last)
	}) {
		require.NoError(b, err)
	}
	b.lead()
	require.NoError(b, b.leader.Await(b.Context(), 10*crowd, math.MaxInt64))
	for range 2 {
		got, err := b.leader.Pending(b.Context(), 11*crowd, 1<<40)
		require.NoError(b, err)
		require.Len(b, got, 10*crowd)
		next := map[int]int{}
		for _, e := range got {
			var caller, n int
			_, err := fmt.Sscanf(e.ID, "%d-%d", &caller, &n)
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
	b.steps[0].Entry, b.folded = &want, ledger.History{}
	require.NoError(b, b.folded.Apply(b.steps[0]))
	clear(mine.Body)
	b.requirePending(want)
	got, err := b.leader.Pending(b.Context(), 1, 1)
	require.NoError(b, err)
	got[0] = ledger.Entry{}
	for s, err := range b.leader.Read(b.Context(), ledger.FromCheckpoint) {
		require.NoError(b, err)
		*s.Entry = ledger.Entry{}
	}
	b.requirePending(want)

	records := []ledger.Record{b.intent(1), b.seal(1, want)}
	b.append(records...)
	clear(records)
	b.append(b.commit(1))
	b.requireOutcome(want.ID, published(1))
	b.close()
	b.lead()
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
	b.blind = true
	j := b.journal()
	var mu sync.Mutex
	var results []result
	acknowledged := 0
	race(func(i int) error {
		for _, it := range items(fmt.Sprint(i), 10) {
			_, err := j.Enqueue(ctx(i), it)
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

	_, err := j.Enqueue(ctx, item("two"))
	require.ErrorIs(b, err, context.Canceled)
	require.NotErrorIs(b, err, repository.ErrUnknown)
	_, err = j.Outcomes(ctx, one.ID)
	require.ErrorIs(b, err, context.Canceled)
	_, err = j.Backlog(ctx)
	require.ErrorIs(b, err, context.Canceled)
	_, err = j.Decided(ctx, 0)
	require.ErrorIs(b, err, context.Canceled)
	_, _, err = j.Lead(ctx)
	require.ErrorIs(b, err, context.Canceled)
	require.ErrorIs(b, b.leader.Await(ctx, 2, math.MaxInt64), context.Canceled)
	_, err = b.leader.Pending(ctx, 1, 1)
	require.ErrorIs(b, err, context.Canceled)
	for _, err := range b.leader.Read(ctx, ledger.FromCheckpoint) {
		require.ErrorIs(b, err, context.Canceled)
	}
	intent := b.intent(1)
	err = b.leader.Append(ctx, intent)
	require.ErrorIs(b, err, context.Canceled)
	require.NotErrorIs(b, err, repository.ErrUnknown)

	b.requireUnknown("two")
	b.requirePending(one)
	b.close()
	b.lead()
}
