package pgjournal

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// The statements of an upload, a claim, an append and a takeover, each pair of them, with one held while the other
// finishes.

var levels = []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}

// eachLevel runs a test for each isolation level that the index's transactions may have.
func eachLevel(t *testing.T, test func(t *testing.T, level pgx.TxIsoLevel)) {
	for _, level := range levels {
		t.Run(string(level), func(t *testing.T) { test(t, level) })
	}
}

// begun is a transaction of the index that has its snapshot.
func begun(t *testing.T, conn *pgx.Conn, level pgx.TxIsoLevel) pgx.Tx {
	t.Helper()
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT 1`)
	require.NoError(t, err)
	return tx
}

// held is an upload that isn't committed.
func held(t *testing.T, s site, level pgx.TxIsoLevel, ids ...string) pgx.Tx {
	t.Helper()
	tx := begun(t, connect(t, s.index), level)
	for _, id := range ids {
		require.NoError(t, Enqueue(t.Context(), tx, item(t, id)))
	}
	return tx
}

func upload(t *testing.T, s site, level pgx.TxIsoLevel, ids ...string) {
	t.Helper()
	require.NoError(t, held(t, s, level, ids...).Commit(t.Context()))
}

func (l *leader) requirePending(t *testing.T, ids ...string) []ledger.Entry {
	t.Helper()
	// The limit is for a fault that would make it wait for ever.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, l.Await(ctx, len(ids), math.MaxInt64))
	entries, err := l.Pending(t.Context(), 100, math.MaxInt64)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.ID)
	}
	require.Equal(t, ids, got)
	return entries
}

// expire lets the lease end.
func (s site) expire(t *testing.T) {
	t.Helper()
	_, err := connect(t, s.admin).Exec(t.Context(), `UPDATE bindery.lease SET renewed = '-infinity'`)
	require.NoError(t, err)
}

// waits requires that a call waits for a lock, and returns what it will return.
func waits(t *testing.T, s site, call func() error) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	conn := connect(t, s.admin)
	for blocked := 0; blocked == 0; {
		require.NoError(t, conn.QueryRow(t.Context(),
			`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&blocked))
		select {
		case err := <-done:
			require.Failf(t, "it didn't wait", "it returned %v", err)
		default:
		}
	}
	return done
}

// A transaction that commits late, after later ones were claimed and decided, is found all the same.
func TestUploadHeld(t *testing.T) {
	eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
		s := newSite(t)
		l := leads(t, opened(t, s.publisher))
		var late []pgx.Tx
		hold := func(n int) { late = append(late, held(t, s, level, fmt.Sprintf("late-%d", n))) }

		hold(1) // beside a claim
		upload(t, s, level, "a")
		l.requirePending(t, "a")
		hold(2) // beside an append
		l.publish(t, item(t, "a"))
		hold(3) // beside a checkpoint
		l.append(t, l.record(t, l.history.State.Checkpoint()))
		hold(4) // beside a takeover
		s.expire(t)
		next := leads(t, opened(t, s.publisher))
		upload(t, s, level, "b")
		next.requirePending(t, "b")
		next.publish(t, next.requirePending(t, "b")...)
		next.requirePending(t)

		var ids []string
		for i, tx := range late {
			require.NoError(t, tx.Commit(t.Context()))
			ids = append(ids, fmt.Sprintf("late-%d", i+1))
			next.requirePending(t, ids...)
		}
		s.expire(t)
		last := leads(t, opened(t, s.publisher))
		last.publish(t, last.requirePending(t, ids...)...)
		last.requirePending(t)

		// The whole history can be read, though some entries have lower numbers than records before which they were
		// not seen.
		var h ledger.History
		for step, err := range last.Read(t.Context(), ledger.FromBeginning) {
			require.NoError(t, err)
			require.NoError(t, h.Apply(step))
		}
		require.Equal(t, last.history.State, h.State)
	})
}

// Of two items whose transactions held the same lock, the second is never claimed before the first, even if the
// first was passed over while it was not committed, and no look again is due. However long ago the first was inserted, the second
// knows its commit.
func TestOrderUnderALock(t *testing.T) {
	eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
		s := newSite(t)
		l := leads(t, opened(t, s.publisher))
		first := held(t, s, level, "first")
		begun := time.Now()
		upload(t, s, level, "a")
		l.publish(t, l.requirePending(t, "a")...)
		upload(t, s, level, "b")
		aged := l.Lead.(*lead)
		aged.mu.Lock()
		for i := range aged.seen.places { // as if all that took a minute
			aged.seen.places[i].at = begun.Add(-time.Minute)
		}
		aged.mu.Unlock()
		l.requirePending(t, "b")
		taken := l.Lead.(*lead)
		taken.mu.Lock()
		for _, again := range []*looks{&taken.seen.recent, &taken.seen.whole} {
			again.done, again.took = time.Now(), time.Hour
		}
		taken.mu.Unlock()
		require.NoError(t, first.Commit(t.Context()))
		upload(t, s, level, "second")
		entries, err := l.Pending(t.Context(), 100, math.MaxInt64)
		require.NoError(t, err)
		var got []string
		for _, e := range entries {
			got = append(got, e.ID)
		}
		require.Equal(t, []string{"first", "b", "second"}, got)
	})
}

// What a rolled back transaction inserted was never queued.
func TestUploadRolledBack(t *testing.T) {
	eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
		s := newSite(t)
		l := leads(t, opened(t, s.publisher))
		gone := held(t, s, level, "gone")
		upload(t, s, level, "a")
		require.NoError(t, gone.Rollback(t.Context()))
		l.publish(t, l.requirePending(t, "a")...)
		l.requirePending(t)
	})
}

// Of two uploads with one ID the second waits for the first, and fails only if that is committed.
func TestUploadsOfOneID(t *testing.T) {
	eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
		s := newSite(t)
		first := held(t, s, level, "a")
		second := begun(t, connect(t, s.index), level)
		done := waits(t, s, func() error { return Enqueue(t.Context(), second, item(t, "a")) })
		require.NoError(t, first.Rollback(t.Context()))
		require.NoError(t, <-done)

		third := begun(t, connect(t, s.index), level)
		done = waits(t, s, func() error { return Enqueue(t.Context(), third, item(t, "a")) })
		require.NoError(t, second.Commit(t.Context()))
		require.Equal(t, uniqueViolation, code(<-done))

		// So does Journal.Enqueue, which knows what that means.
		first = held(t, s, level, "b")
		j := opened(t, s.index)
		done = waits(t, s, func() error {
			known, err := j.Enqueue(t.Context(), item(t, "b"), item(t, "c"))
			require.Equal(t, []bool{true, false}, known)
			return err
		})
		require.NoError(t, first.Commit(t.Context()))
		require.NoError(t, <-done)
	})
}

// Two batches of the same IDs that cross, one of them an index's in the order of its IDs, as the contract says: neither is
// deadlocked, whatever order the other is given in.
func TestUploadsCross(t *testing.T) {
	eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
		s := newSite(t)
		j := opened(t, s.index)
		for _, commit := range []bool{false, true} {
			first := held(t, s, level, "a")
			done := waits(t, s, func() error {
				known, err := j.Enqueue(t.Context(), item(t, "c"), item(t, "a"), item(t, "b"))
				require.Equal(t, []bool{commit, commit, false}, known)
				return err
			})
			_, err := first.Exec(t.Context(), `SET LOCAL lock_timeout = 100`) // it waits for nobody
			require.NoError(t, err)
			require.NoError(t, Enqueue(t.Context(), first, item(t, "c")))
			if commit {
				require.NoError(t, first.Commit(t.Context()))
			} else {
				require.NoError(t, first.Rollback(t.Context()))
			}
			require.NoError(t, <-done)
			l := leads(t, opened(t, s.publisher))
			if commit {
				l.requirePending(t, "a", "c", "b")
			} else {
				l.requirePending(t, "c", "a", "b")
			}
			require.NoError(t, l.Release(t.Context()))
			_, err = connect(t, s.admin).Exec(t.Context(), `DELETE FROM bindery.queue`)
			require.NoError(t, err)
		}
	})
}

// A claim that was made before an upload, an append, or a takeover decides what it saw, or nothing.
func TestClaimHeld(t *testing.T) {
	eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
		s := newSite(t)
		l := leads(t, opened(t, s.publisher))
		upload(t, s, level, "a", "b")
		claimed := l.requirePending(t, "a", "b")
		upload(t, s, level, "c")
		l.publish(t, claimed[:1]...)
		l.publish(t, claimed[1:]...) // though another append came between
		claimed = l.requirePending(t, "c")

		s.expire(t)
		next := leads(t, opened(t, s.publisher))
		require.ErrorIs(t, l.Append(t.Context(), l.decided(t, claimed...)), repository.ErrFenced)
		_, err := l.Pending(t.Context(), 1, 1)
		require.ErrorIs(t, err, repository.ErrFenced)
		next.publish(t, next.requirePending(t, "c")...)
	})
}

// An append that isn't committed holds up neither uploads nor claims. A takeover waits for it, and then reads it.
func TestAppendHeld(t *testing.T) {
	for _, commit := range []bool{true, false} {
		eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
			s := newSite(t)
			j := opened(t, s.publisher)
			l := leads(t, j)
			upload(t, s, level, "a")
			entries := l.requirePending(t, "a")
			tx, err := j.begin(t.Context())
			require.NoError(t, err)
			record := l.decided(t, entries...)
			_, err = l.Lead.(*lead).write(t.Context(), tx, []ledger.Record{record})
			require.NoError(t, err)

			upload(t, s, level, "b")
			l.requirePending(t, "a", "b")
			s.expire(t)
			other := opened(t, s.publisher)
			next := &leader{}
			done := waits(t, s, func() (err error) {
				// As if the leader went on within the second that a takeover waits.
				next.Lead, next.epoch, err = other.Lead(t.Context())
				return err
			})
			if commit {
				require.NoError(t, tx.Commit(t.Context()))
			} else {
				require.NoError(t, tx.Rollback(t.Context()))
			}
			require.NoError(t, <-done)
			next.load(t)
			if commit {
				require.Equal(t, record.Hash(), next.history.State.Chain)
				next.requirePending(t, "b")
			} else {
				require.Empty(t, next.history.State.Chain)
				next.requirePending(t, "a", "b")
			}
			require.ErrorIs(t, l.Append(t.Context(), l.record(t, &ledger.Intent{})), repository.ErrFenced)
		})
	}
}

// A takeover that isn't committed holds up neither uploads nor claims. An append waits for it, and is refused if it
// is committed.
func TestTakeoverHeld(t *testing.T) {
	for _, commit := range []bool{true, false} {
		eachLevel(t, func(t *testing.T, level pgx.TxIsoLevel) {
			s := newSite(t)
			l := leads(t, opened(t, s.publisher))
			upload(t, s, level, "a")
			s.expire(t)
			other := opened(t, s.publisher)
			tx, err := other.begin(t.Context())
			require.NoError(t, err)
			_, err = other.seize(t.Context(), tx)
			require.NoError(t, err)

			upload(t, s, level, "b")
			entries := l.requirePending(t, "a", "b")
			third := opened(t, s.publisher)
			taking := waits(t, s, func() error {
				_, _, err := third.Lead(t.Context())
				return err
			})
			record := l.decided(t, entries...)
			appending := waits(t, s, func() error { return l.Append(t.Context(), record) })
			if commit {
				require.NoError(t, tx.Commit(t.Context()))
				require.ErrorIs(t, <-appending, repository.ErrFenced)
				require.ErrorIs(t, <-taking, repository.ErrLocked)
				return
			}
			require.NoError(t, tx.Rollback(t.Context()))
			// The third takes over or the append is made first: either way the other one notices.
			if err := <-appending; err != nil {
				require.ErrorIs(t, err, repository.ErrFenced)
			}
			require.NoError(t, <-taking)
		})
	}
}

// A leader that is stopped inside a transaction holds up its successor for about a second, whatever it was doing.
func TestFrozenLeader(t *testing.T) {
	s := newSite(t)
	j := opened(t, s.publisher)
	l := leads(t, j)
	upload(t, s, pgx.ReadCommitted, "a")
	entries := l.requirePending(t, "a")
	tx, err := j.begin(t.Context())
	require.NoError(t, err)
	_, err = l.Lead.(*lead).write(t.Context(), tx, []ledger.Record{l.decided(t, entries...)})
	require.NoError(t, err)

	other := opened(t, s.publisher)
	_, _, err = other.Lead(t.Context())
	require.ErrorIs(t, err, repository.ErrLocked)
	require.ErrorContains(t, err, "process")
	s.expire(t)
	next := leads(t, other)
	next.requirePending(t, "a")
	require.Error(t, tx.Commit(t.Context()))
	require.ErrorIs(t, l.Append(t.Context(), l.decided(t, entries...)), repository.ErrFenced)
}

// The lease is by the database's clock, whatever the processes' clocks say.
func TestClocksDiffer(t *testing.T) {
	for _, shift := range []string{"1 day", "-1 day"} {
		s := newSite(t)
		admin := connect(t, s.admin)
		_, err := admin.Exec(t.Context(), `CREATE SCHEMA shifted; GRANT USAGE ON SCHEMA shifted TO PUBLIC;
			CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql
			AS $$ SELECT pg_catalog.clock_timestamp() + interval '`+shift+`' $$`)
		require.NoError(t, err)
		shifted := func() *Journal {
			cfg := config(t, s.publisher)
			cfg.Pool.ConnConfig.RuntimeParams["search_path"] = "shifted, pg_catalog"
			j, err := Open(t.Context(), cfg)
			require.NoError(t, err)
			t.Cleanup(func() { j.Close() })
			return j
		}
		first := shifted()
		l := leads(t, first)
		_, _, err = shifted().Lead(t.Context())
		require.ErrorIs(t, err, repository.ErrLocked)
		tag, err := first.pool.Exec(t.Context(), `UPDATE bindery.lease SET renewed = renewed - interval '50 seconds'`)
		require.NoError(t, err)
		require.EqualValues(t, 1, tag.RowsAffected())
		_, _, err = shifted().Lead(t.Context())
		require.ErrorIs(t, err, repository.ErrLocked)
		_, err = first.pool.Exec(t.Context(), `UPDATE bindery.lease SET renewed = renewed - interval '11 seconds'`)
		require.NoError(t, err)
		leads(t, shifted())
		require.ErrorIs(t, l.Append(t.Context(), l.record(t, &ledger.Intent{})), repository.ErrFenced)
	}
}

// A leader keeps the lead as long as it renews the lease, also during an append that takes longer than that.
func TestRenewal(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := newSite(t)
	cfg := config(t, s.publisher)
	cfg.Lease = 3 * time.Second
	j, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	l := leads(t, j)
	tx, err := j.begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	_, err = l.Lead.(*lead).write(t.Context(), tx, []ledger.Record{l.record(t, &ledger.Intent{})})
	require.NoError(t, err)
	admin := connect(t, s.admin)
	var first, renewed time.Time
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT renewed FROM bindery.lease`).Scan(&first))
	for !renewed.After(first.Add(cfg.Lease)) {
		require.NoError(t, admin.QueryRow(t.Context(), `SELECT renewed FROM bindery.lease`).Scan(&renewed))
	}
	require.NoError(t, j.Close())
	leads(t, opened(t, s.publisher)) // at once: Close gave the lead up
}
