package pgjournal

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// checkpoint appends one, and returns its hash.
func (l *leader) checkpoint(t testing.TB) string {
	t.Helper()
	r := l.record(t, l.history.State.Checkpoint())
	l.append(t, r)
	return r.Hash()
}

// Archive deletes what came before a checkpoint. Outcomes stay as long as they are remembered, and so does what is
// pending. Then the tables grow no more.
func TestArchive(t *testing.T) {
	s := newSite(t)
	j := opened(t, s.publisher)
	_, err := j.Archivable(t.Context(), "folder")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	l := leads(t, j)
	_, err = j.Archive(t.Context(), "none", "")
	require.ErrorContains(t, err, "there is no checkpoint record none")

	waiting := item(t, "waiting")
	all := []ledger.Entry{waiting}
	round := func(n int) {
		var entries []ledger.Entry
		for i := range 1200 {
			entries = append(entries, item(t, fmt.Sprintf("%d-%d", n, i)))
		}
		all = append(all, entries...)
		_, err := j.Enqueue(t.Context(), entries...)
		require.NoError(t, err)
		l.publish(t, entries...)
	}
	_, err = j.Enqueue(t.Context(), waiting)
	require.NoError(t, err)
	round(0)
	before, err := j.Archivable(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "record", before[0].Name)
	require.Positive(t, before[0].Bytes)
	files, err := j.Archive(t.Context(), l.checkpoint(t), "")
	require.NoError(t, err)
	require.Equal(t, before, files)

	requireHistory := func(entries int) {
		t.Helper()
		for _, from := range []ledger.From{ledger.FromBeginning, ledger.FromCheckpoint} {
			var h ledger.History
			n := 0
			for step, err := range j.Read(t.Context(), from) {
				require.NoError(t, err)
				require.NoError(t, h.Apply(step))
				if step.Entry != nil {
					n++
				}
			}
			require.Equal(t, entries, n)
			require.Equal(t, l.history.State, h.State)
			require.Equal(t, []string{"waiting"}, []string{h.Queue()[0].ID})
		}
	}
	requireHistory(1) // the decided ones are remembered, and no part of the history
	outcomes, err := j.Outcomes(t.Context(), "0-0", "waiting")
	require.NoError(t, err)
	require.Equal(t, []ledger.Outcome{{State: ledger.Published, Generation: 1}, {State: ledger.Accepted}}, outcomes)
	known, err := j.Enqueue(t.Context(), all...)
	require.NoError(t, err)
	require.NotContains(t, known, false)

	// Neither alone forgets: that they are old, or that there are newer ones.
	admin := connect(t, s.admin)
	decided := func() (n int) {
		t.Helper()
		require.NoError(t, admin.QueryRow(t.Context(), `SELECT count(*) FROM bindery.queue JOIN bindery.decided ON place BETWEEN first AND last`).Scan(&n))
		return n
	}
	j.remembered = 100
	require.NoError(t, j.prune(t.Context()))
	require.Equal(t, 1200, decided())
	j.remembered, j.cfg.Remember = 1200, 0
	require.NoError(t, j.prune(t.Context()))
	require.Equal(t, 1200, decided())

	// The sizes level off.
	j.remembered = 100
	size := func() (bytes int64) {
		t.Helper()
		for _, table := range []string{"queue", "decided", "record", "given_up", "lead", "lease"} {
			var n int64
			_, err := admin.Exec(t.Context(), `VACUUM bindery.`+table)
			require.NoError(t, err)
			require.NoError(t, admin.QueryRow(t.Context(), `SELECT pg_total_relation_size('bindery.`+table+`')`).Scan(&n))
			bytes += n
		}
		return bytes
	}
	var early int64
	for n := range 12 {
		round(n + 1)
		_, err := j.Archive(t.Context(), l.checkpoint(t), "")
		require.NoError(t, err)
		require.LessOrEqual(t, decided(), 2400)
		requireHistory(1)
		if n == 5 {
			early = size()
		}
		size()
	}
	require.LessOrEqual(t, size(), early*3/2) // without, it would have doubled
	l.load(t)
	outcomes, err = j.Outcomes(t.Context(), "0-0", "12-1199", "waiting")
	require.NoError(t, err)
	require.Equal(t, []ledger.Outcome{{}, {State: ledger.Published, Generation: 13}, {State: ledger.Accepted}}, outcomes)

	// Another handle, under another leader, reads the same.
	s.expire(t)
	next := leads(t, opened(t, s.publisher))
	next.requirePending(t, "waiting")
	_, err = next.Lead.(*lead).Journal.Enqueue(t.Context(), item(t, "0-0")) // forgotten, so it is new
	require.NoError(t, err)
	next.requirePending(t, "waiting", "0-0")
}

func TestRememberTooShort(t *testing.T) {
	cfg := config(t, migrated(t))
	cfg.Remember = time.Hour
	_, err := Open(t.Context(), cfg)
	require.ErrorContains(t, err, "Config.Remember of 1h0m0s: want at least 168h0m0s")
	require.NotErrorIs(t, err, repository.ErrClosed)
}
