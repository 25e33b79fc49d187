package storetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// TestReader tests a repository.Reader against its interface's contract. place returns where a new, empty
// journal lives; open opens a Reader of it, as another process would.
func TestReader(t *testing.T, place func(t *testing.T) (p Place, open func() (repository.Reader, error))) {
	p, open := place(t)
	b := &bench{T: t, place: p}
	defer b.close()
	requireRead := func() {
		t.Helper()
		r, err := open()
		require.NoError(t, err)
		b.requireHistory(r)
		if len(b.steps) > 0 {
			for s, err := range r.Read(ended(t), ledger.FromBeginning) {
				require.ErrorIs(t, err, ended(t).Err())
				require.Zero(t, s)
			}
		}
	}
	requireRead()
	all := items("x", 6)
	b.enqueue(all[:4]...)
	requireRead() // nobody ever led

	b.lead()
	requireRead()
	b.append(b.intent(1), b.seal(1, all[0], all[2]))
	requireRead()
	b.append(b.commit(1))
	requireRead()
	b.requirePending(all[1], all[3]) // and nothing has changed by reading

	b.append(b.checkpoint())
	requireRead()
	b.append(b.intent(2), b.seal(2, all[1]))
	b.enqueue(all[4])
	requireRead()
	b.append(b.checkpoint()) // gives the seal up
	requireRead()
	b.append(b.decide(ledger.OutcomeOf(all[1], ledger.Outcome{State: ledger.Unchanged})))
	requireRead()

	b.close()
	requireRead() // nobody is there
	b.enqueue(all[5])
	requireRead()
	b.lead()
	requireRead()

	// The loop may be left.
	r, err := open()
	require.NoError(t, err)
	for s, err := range r.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
		b.requireSteps(b.steps[:1], []ledger.Step{s})
		break
	}
}

func testRead(b *bench) {
	b.lead()
	require.Empty(b, readAll(b.T, b.leader, ledger.FromBeginning))
	all := items("a", 6)
	b.enqueue(all[:4]...)
	b.append(b.record(0, &ledger.Documents{InForce: map[string]ledger.Doc{"root": {Version: 1}}}), b.intent(1))
	b.append()
	b.append(b.seal(1, all[2], all[0]))
	b.enqueue(all[4])
	b.requireHistory(b.leader)
	b.append(b.commit(1))
	b.requireHistory(b.leader)
	b.close()
	b.lead()
	b.append(b.checkpoint()) // it may come with copies of what is pending and of what was decided
	b.requireHistory(b.leader)
	b.close()
	b.lead()
	require.Equal(b, []bool{true, true, true, true, true, false}, b.enqueue(all...))
	b.append(b.intent(2), b.seal(2, all[1], all[5]))
	b.append(b.commit(2))
	b.append(b.checkpoint())
	b.append(b.checkpoint())
	for range 3 {
		b.requireHistory(b.leader)
		b.close()
		b.lead()
	}
}

// testReadFirst: before its history was consumed, nothing can be done with a lead.
func testReadFirst(b *bench) {
	one := item("one")
	b.enqueue(one)
	leader, epoch, err := b.journal().Lead(b.Context())
	require.NoError(b, err)
	require.Positive(b, epoch)
	b.leader, b.epoch = leader, epoch
	requireRefused := func() {
		b.Helper()
		b.requireRefused(b.intent(1))
		_, err = leader.Pending(b.Context(), 1, 1)
		require.Error(b, err)
		require.Error(b, leader.Await(b.Context(), 0, math.MaxInt64))
	}
	requireRefused()
	readAll(b.T, leader, ledger.FromBeginning)
	requireRefused()
	for _, err := range leader.Read(b.Context(), ledger.FromCheckpoint) {
		require.NoError(b, err)
		break // not consumed
	}
	requireRefused()
	for _, err := range leader.Read(ended(b), ledger.FromCheckpoint) {
		require.ErrorIs(b, err, ended(b).Err())
	}
	requireRefused()
	b.requireHistory(leader)
	b.append(b.intent(1))
	b.requirePending(one)
}

// testReadAgain: it may be read as often as one likes, also while it grows.
func testReadAgain(b *bench) {
	b.enqueue(items("a", 3)...)
	leader, epoch, err := b.journal().Lead(b.Context())
	require.NoError(b, err)
	b.leader, b.epoch = leader, epoch
	b.enqueue(items("b", 2)...) // since the journal was opened
	for range 2 {
		b.requireHistory(leader)
	}
	b.enqueue(items("c", 2)...)
	b.append(b.intent(1))
	i := 0
	for s, err := range leader.Read(b.Context(), ledger.FromBeginning) {
		require.NoError(b, err)
		b.publish(int64(i)+2, item("c-%d", i)) // while it is read
		b.requireSteps(b.steps[i:i+1], []ledger.Step{s})
		if i++; i == 2 {
			break
		}
	}
	b.requireHistory(leader)
}

func testReopen(b *bench) {
	all := items("a", 30)
	for i := range 10 {
		b.enqueue(all[3*i : 3*i+3]...)
		b.close()
	}
	b.requirePending(all...)
	for i := range 10 {
		b.publish(int64(i)+1, all[i*2])
		b.close()
		b.lead()
	}
	var left []ledger.Entry
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

func testCheckpoint(b *bench) {
	all := items("a", 12)
	b.enqueue(all...)
	b.lead()
	b.publish(1, all[2])
	b.publish(2, all[4])
	for i := range int64(3) { // each must do without what came before the one before
		b.append(b.checkpoint())
		b.append(b.intent(3 + i))
		late := item("late-%d", i)
		b.enqueue(late)
		for range 2 {
			b.close()
			b.lead()
			b.requireOutcome(all[0].ID, accepted)
			b.requireOutcome(all[2].ID, published(1))
			b.requireOutcome(all[4].ID, published(2))
			for _, e := range []ledger.Entry{all[2], all[4], all[5]} {
				_, err := b.journal().Enqueue(b.Context(), changed(e))
				require.ErrorIs(b, err, repository.ErrIDReused)
			}
			require.NotContains(b, b.enqueue(all...), false)
		}
		all = append(all, late)
		b.requirePending(append([]ledger.Entry{all[0], all[1], all[3]}, all[5:]...)...)
	}
}

func testCheckpointAmongOthers(b *bench) {
	all := items("a", 5)
	b.enqueue(all...)
	b.lead()
	b.append(b.intent(1), b.seal(1, all[0]))
	// The state that a checkpoint has is that before it, of the same call too.
	records := []ledger.Record{
		b.commit(1), b.intent(2), b.seal(2, all[1]), b.commit(2), b.decide(ledger.OutcomeOf(all[2], ledger.Outcome{State: ledger.Unchanged})),
	}
	var scratch ledger.History
	for _, s := range b.steps {
		require.NoError(b, scratch.Apply(s))
	}
	for _, r := range records {
		require.NoError(b, scratch.Apply(ledger.Step{Record: &r}))
	}
	state := scratch.State.Checkpoint()
	b.append(append(records, b.record(2, state), b.record(2, state), b.intent(3), b.seal(3, all[4]))...)
	for range 3 {
		require.Equal(b, []ledger.Outcome{published(1), published(2), {State: ledger.Unchanged}, accepted, accepted},
			b.outcomes(all[0].ID, all[1].ID, all[2].ID, all[3].ID, all[4].ID))
		b.requirePending(all[3])
		b.close()
		b.lead()
	}
	b.append(b.commit(3))
	b.close()
	b.requireOutcome(all[4].ID, published(3))
}

// testRecordsAsWritten: a record's bytes are its identity, whoever wrote them.
func testRecordsAsWritten(b *bench) {
	b.lead()
	for _, pretty := range []string{
		`{ "body": {"roles": ["a"]}, "time": "2026-05-17T12:00:00Z", "prev": %q, "generation": 1, "kind": "intent", "epoch": %d }`,
		"{\"epoch\":%[2]d,\n\n\"kind\":\"intent\",\"generation\":2,\"prev\":%[1]q,\"time\":\"2026-05-17T12:00:00+00:00\",\"body\":{\"roles\":[\"\\u00e9<>\"]}}\n",
	} {
		r, err := ledger.ParseRecord(fmt.Appendf(nil, pretty, b.head, b.epoch))
		require.NoError(b, err)
		b.head = r.Hash()
		b.append(r)
	}
	b.append(b.intent(3))
	for range 2 {
		b.close()
		b.lead()
	}
	b.append(b.checkpoint())
	b.close()
	b.lead()
}

// testRemembers: outcomes of the last 7 days are remembered, however many there are.
func testRemembers(b *bench) {
	if testing.Short() {
		b.Skip("130,000 items")
	}
	b.blind = true
	b.lead()
	const batches, batch = 130, 1000
	simple := func(n int) ledger.Entry {
		return ledger.Entry{ID: fmt.Sprint("many-", n), Accepted: noon, Body: fmt.Append(nil, n)}
	}
	for n := range batches {
		entries, outcomes := make([]ledger.Entry, batch), make([]ledger.ItemOutcome, batch)
		for i := range entries {
			entries[i] = simple(n*batch + i)
			outcomes[i] = ledger.OutcomeOf(entries[i], ledger.Outcome{State: ledger.Unchanged})
		}
		_, err := b.journal().Enqueue(b.Context(), entries...)
		require.NoError(b, err)
		require.NoError(b, b.leader.Append(b.Context(), b.decide(outcomes...)))
	}
	requireKnown := func() {
		b.Helper()
		for n := 0; n < batches*batch; n += 997 {
			e := simple(n)
			b.requireOutcome(e.ID, ledger.Outcome{State: ledger.Unchanged})
			known, err := b.journal().Enqueue(b.Context(), e)
			require.NoError(b, err)
			require.Equal(b, []bool{true}, known)
			e.Body = []byte("other")
			_, err = b.journal().Enqueue(b.Context(), e)
			require.ErrorIs(b, err, repository.ErrIDReused)
		}
		b.requireUnknown("many")
	}
	requireKnown()
	require.NoError(b, b.leader.Append(b.Context(), b.checkpoint()))
	requireKnown()
	b.close()
	requireKnown()
}
