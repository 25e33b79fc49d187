package pgjournal

import (
	"crypto/rand"
	"math"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

const claimed = 10_000

// fill queues n entries with random IDs, and returns them.
func fill(t testing.TB, j *Journal, n int) {
	t.Helper()
	var entries []ledger.Entry
	for range n {
		entries = append(entries, item(t, rand.Text()))
	}
	for len(entries) > 0 {
		batch := entries[:min(1000, len(entries))]
		_, err := j.Enqueue(t.Context(), batch...)
		require.NoError(t, err)
		entries = entries[len(batch):]
	}
}

// Reading 10,000 entries and appending the record that decides them, compared with reading and deleting such
// rows.
func BenchmarkClaim(b *testing.B) {
	url := migrated(b)
	conn := connect(b, url)
	b.Run("theirs", func(b *testing.B) {
		j := opened(b, url)
		for b.Loop() {
			b.StopTimer()
			fill(b, j, claimed)
			b.StartTimer()
			rows, err := conn.Query(b.Context(), `SELECT place, id, "by", accepted, item FROM bindery.queue ORDER BY place LIMIT 10000`)
			require.NoError(b, err)
			var places []int64
			var place int64
			var e ledger.Entry
			_, err = pgx.ForEachRow(rows, []any{&place, &e.ID, &e.By, &e.Accepted, &e.Body}, func() error {
				places = append(places, place)
				return nil
			})
			require.NoError(b, err)
			tag, err := conn.Exec(b.Context(), `DELETE FROM bindery.queue WHERE place = ANY($1)`, places)
			require.NoError(b, err)
			require.EqualValues(b, claimed, tag.RowsAffected())
		}
	})
	b.Run("ours", func(b *testing.B) {
		j := opened(b, url)
		l := leads(b, j)
		for b.Loop() {
			b.StopTimer()
			fill(b, j, claimed)
			b.StartTimer()
			entries, err := l.Pending(b.Context(), claimed, math.MaxInt64)
			require.NoError(b, err)
			b.StopTimer()
			require.Len(b, entries, claimed)
			r := l.decided(b, entries...)
			b.StartTimer()
			require.NoError(b, l.Append(b.Context(), r))
			b.StopTimer()
			require.NoError(b, l.history.State.Apply(r))
			b.StartTimer()
		}
	})
}
