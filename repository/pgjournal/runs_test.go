package pgjournal

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Whatever is decided in whatever order, with whatever gaps between: what is pending, the outcomes, the backlog and the
// history are what they would be if each entry had a row of its own.
func TestRuns(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testRuns(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func testRuns(t *testing.T, r *rand.Rand) {
	s := newSite(t)
	index, admin := connect(t, s.index), connect(t, s.admin)
	j := opened(t, s.publisher)
	l := leads(t, j)
	want := map[string]ledger.Outcome{}
	var open []pgx.Tx // uploads that are not committed
	var held [][]string
	decide := func(outcomes []ledger.ItemOutcome) {
		for _, o := range outcomes {
			want[o.ID] = o.Outcome
		}
	}
	for step := range 60 {
		switch r.IntN(8) {
		case 0, 1, 2: // an upload, which leaves a gap if it is rolled back or late
			var ids []string
			var entries []ledger.Entry
			for n := range 1 + r.IntN(6) {
				ids = append(ids, fmt.Sprintf("%d-%d", step, n))
				entries = append(entries, item(t, ids[n]))
			}
			tx := begun(t, connect(t, s.index), pgx.ReadCommitted)
			require.NoError(t, Enqueue(t.Context(), tx, entries...))
			open, held = append(open, tx), append(held, ids)
		case 3, 4: // one of them ends
			if len(open) == 0 {
				continue
			}
			n := r.IntN(len(open))
			if r.IntN(4) == 0 {
				require.NoError(t, open[n].Rollback(t.Context()))
			} else {
				require.NoError(t, open[n].Commit(t.Context()))
				for _, id := range held[n] {
					want[id] = ledger.Outcome{State: ledger.Accepted}
				}
			}
			open, held = slices.Delete(open, n, n+1), slices.Delete(held, n, n+1)
			l.load(t)
		case 5, 6: // some are decided
			entries := slices.Clone(l.history.Queue())
			if r.IntN(2) == 0 {
				r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
			}
			entries = entries[:r.IntN(len(entries)+1)]
			var outcomes []ledger.ItemOutcome
			generation := l.generation
			if r.IntN(2) == 0 {
				for _, e := range entries {
					o := ledger.Outcome{State: ledger.Unchanged}
					if r.IntN(4) == 0 {
						o = ledger.Outcome{State: ledger.SetAside, Reason: "chance"}
					}
					outcomes = append(outcomes, ledger.OutcomeOf(e, o))
				}
				l.append(t, l.record(t, &ledger.Decided{Outcomes: outcomes}))
				decide(outcomes)
				continue
			}
			generation++
			for _, e := range entries {
				o := ledger.Outcome{State: ledger.Published, Generation: generation}
				if r.IntN(4) == 0 {
					o.State = ledger.Superseded
				}
				outcomes = append(outcomes, ledger.OutcomeOf(e, o))
			}
			l.generation = generation
			l.append(t, l.record(t, &ledger.Intent{Roles: []string{"snapshot"}}))
			seal := l.record(t, &ledger.Seal{Keys: []string{"key"}, Outcomes: outcomes,
				Swaps: []ledger.Swap{{Name: ledger.Timestamp, Old: l.history.State.Timestamp(), New: fmt.Appendf(nil, "timestamp %d", generation)}}})
			l.append(t, seal)
			if r.IntN(3) > 0 {
				l.append(t, l.record(t, &ledger.Commit{}))
				decide(outcomes)
			} else { // it is given up
				l.append(t, l.record(t, l.history.State.Checkpoint()))
			}
		case 7:
			l.append(t, l.record(t, l.history.State.Checkpoint()))
			if r.IntN(2) == 0 {
				_, err := j.Archive(t.Context(), l.history.State.Chain, "")
				require.NoError(t, err)
			}
		}

		// What the history says, from the checkpoint on, is what is pending, in this order.
		var queued, pending, unfinished []string
		for _, e := range l.history.Queue() {
			queued = append(queued, e.ID)
		}
		taken := l.Lead.(*lead)
		taken.mu.Lock()
		taken.seen.whole.done, taken.seen.whole.took = taken.seen.whole.done.Add(-1<<40), 0 // a look is due
		taken.mu.Unlock()
		entries, err := l.Pending(t.Context(), 1000, math.MaxInt64)
		require.NoError(t, err)
		for _, e := range entries {
			pending = append(pending, e.ID)
		}
		require.Equal(t, queued, pending)
		if n := len(queued); n > 0 {
			some, err := l.Pending(t.Context(), 1+r.IntN(n), 3*int64(len(entries[0].Body)))
			require.NoError(t, err)
			for i, e := range some {
				require.Equal(t, queued[i], e.ID)
			}
			require.NotEmpty(t, some)
			require.LessOrEqual(t, len(some), 3)
		}
		size := int64(0)
		for id, o := range want {
			if o.State == ledger.Accepted {
				unfinished = append(unfinished, id)
				size += int64(len(item(t, id).Body))
			}
		}
		slices.Sort(unfinished)
		slices.Sort(queued)
		require.Equal(t, unfinished, queued)
		for _, oldest := range []string{"oldest", "(SELECT coalesce(max(place), 0) / 2 FROM bindery.queue)"} {
			_, err := admin.Exec(t.Context(), `UPDATE bindery.lead SET oldest = `+oldest)
			require.NoError(t, err)
			var all, parts, bytes int64
			require.NoError(t, index.QueryRow(t.Context(), `SELECT b.pending, r.pending + l.pending, r.bytes + l.bytes
				FROM bindery.backlog b, bindery.backlog_recent r, bindery.backlog_late l WHERE b.bytes = r.bytes + l.bytes
				AND b.oldest IS NOT DISTINCT FROM least(r.oldest, l.oldest)`).Scan(&all, &parts, &bytes))
			require.EqualValues(t, []int64{int64(len(queued)), int64(len(queued)), size}, []int64{all, parts, bytes})
		}
		rows, err := index.Query(t.Context(), `SELECT id, state, generation, reason FROM bindery.outcomes`)
		require.NoError(t, err)
		got := map[string]ledger.Outcome{}
		var id string
		var o ledger.Outcome
		_, err = pgx.ForEachRow(rows, []any{&id, &o.State, &o.Generation, &o.Reason}, func() error {
			got[id] = o
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, want, got)
		var overlapping int
		require.NoError(t, admin.QueryRow(t.Context(), `SELECT count(*) FROM bindery.decided a JOIN bindery.decided b ON a.first <= b.last AND b.first <= a.last AND a.last <> b.last`).Scan(&overlapping))
		require.Zero(t, overlapping)
	}
	for _, tx := range open {
		require.NoError(t, tx.Rollback(t.Context()))
	}
}

// Entries that follow one another and have one outcome take one row, however many.
func TestOneRowForARun(t *testing.T) {
	s := newSite(t)
	j := opened(t, s.publisher)
	l := leads(t, j)
	fill(t, j, 2000)
	entries, err := l.Pending(t.Context(), 2000, math.MaxInt64)
	require.NoError(t, err)
	require.Len(t, entries, 2000)
	l.append(t, l.decided(t, entries...))
	var rows int
	require.NoError(t, connect(t, s.admin).QueryRow(t.Context(), `SELECT count(*) FROM bindery.decided`).Scan(&rows))
	require.Equal(t, 1, rows)

	// No entry is decided twice, by one record or by two.
	fill(t, j, 3)
	entries, err = l.Pending(t.Context(), 3, math.MaxInt64)
	require.NoError(t, err)
	require.ErrorContains(t, l.Append(t.Context(), l.decided(t, entries[0], entries[1], entries[2], entries[1])), "it decides one of its items twice")
	l.append(t, l.decided(t, entries[1]))
	for _, again := range [][]ledger.Entry{entries, entries[1:], entries[:2], entries[1:2]} {
		err := l.Append(t.Context(), l.decided(t, again...))
		require.ErrorContains(t, err, "another record decided one of its items")
		require.NotErrorIs(t, err, repository.ErrUnknown)
	}
	l.append(t, l.decided(t, entries[0], entries[2]))
	l.requirePending(t)
}
