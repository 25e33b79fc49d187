package pgjournal

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
)

// PostgreSQL commits on the primary alone when a wait for the synchronous replica is cancelled. Nothing counts as
// durable before the replica has it.
func TestSynchronousReplica(t *testing.T) {
	t.Parallel() // it waits, most of the time
	pgtest.NeedTool(t, "postgres")
	ctx := t.Context()
	primary, err := pgtest.New(ctx)
	require.NoError(t, err)
	defer primary.Close()
	url := primary.URL("postgres", "postgres")
	admin := connect(t, url)
	require.NoError(t, Migrate(ctx, admin, Migration{}))
	replica, err := primary.Replica(ctx)
	require.NoError(t, err)
	defer replica.Close()
	for _, statement := range []string{`SET synchronous_commit = local`, `ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		_, err = admin.Exec(ctx, statement)
		require.NoError(t, err)
	}
	// until returns once a query gives true, or reports false once the call is over.
	until := func(over <-chan error, query string, args ...any) bool {
		for {
			var yes bool
			require.NoError(t, admin.QueryRow(ctx, query, args...).Scan(&yes))
			select {
			case err := <-over:
				require.NoError(t, err)
				return false
			default:
			}
			if yes {
				return true
			}
			time.Sleep(pollBusy)
		}
	}
	require.True(t, until(nil, `SELECT current_setting('synchronous_standby_names') = '*' AND EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`))
	const waiting = `EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'commit')`
	const visible = `EXISTS (SELECT FROM bindery.record WHERE hash = $1)`
	away := func() {
		require.NoError(t, replica.Stop("fast"))
		require.True(t, until(nil, `SELECT NOT EXISTS (SELECT FROM pg_stat_replication)`))
	}
	journal := func(lease, askFor time.Duration) *Journal {
		cfg := config(t, url)
		cfg.Lease = lease
		j, err := Open(ctx, cfg)
		require.NoError(t, err)
		j.askFor = askFor
		return j
	}

	// The append's own wait is cancelled by its time limit, or by a person. In both cases it waits again.
	for _, cancelled := range []bool{false, true} {
		lease := 3 * time.Second
		if cancelled {
			lease = time.Minute
		}
		j := journal(lease, time.Minute)
		name := lease.String()
		_, err = j.Enqueue(ctx, item(t, name))
		require.NoError(t, err)
		l := leads(t, j)
		r := l.decided(t, l.requirePending(t, name)...)
		away()
		over := make(chan error, 1)
		go func() { over <- l.Append(ctx, r) }()
		if cancelled {
			require.True(t, until(over, `SELECT `+waiting))
			_, err = admin.Exec(ctx, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'commit'`)
			require.NoError(t, err)
		}
		require.True(t, until(over, `SELECT `+visible+` AND `+waiting, r.Hash()), "the append counts, and no replica has it")
		require.NoError(t, replica.Start(ctx))
		require.NoError(t, <-over)
		require.NoError(t, j.Close())
	}

	// The renewal of the lease waits for no replica, and decides nothing. The leader keeps the lead for several times the lease,
	// and gives it up, while nothing else is committed.
	{
		j := journal(time.Second, time.Minute)
		l := leads(t, j)
		var first, renewed time.Time
		require.NoError(t, admin.QueryRow(ctx, `SELECT renewed FROM bindery.lease`).Scan(&first))
		away()
		for !renewed.After(first.Add(3 * time.Second)) {
			_, err := l.Pending(ctx, 1, 1)
			require.NoError(t, err)
			require.NoError(t, admin.QueryRow(ctx, `SELECT renewed FROM bindery.lease`).Scan(&renewed))
		}
		require.NoError(t, l.Release(ctx))
		require.NoError(t, replica.Start(ctx))
		require.NoError(t, j.Close())
	}

	// The replica stays away: nobody knows.
	j := journal(3*time.Second, time.Second)
	_, err = j.Enqueue(ctx, item(t, "a"))
	require.NoError(t, err)
	l := leads(t, j)
	r := l.decided(t, l.requirePending(t, "a")...)
	away()
	require.ErrorIs(t, l.Append(ctx, r), repository.ErrUnknown)
	for range 2 { // the second time the row is there
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		_, err = j.Enqueue(short, item(t, "b"))
		cancel()
		require.ErrorIs(t, err, repository.ErrUnknown)
		require.True(t, until(nil, `SELECT EXISTS (SELECT FROM bindery.queue WHERE id = 'b')`))
	}
	// A successor doesn't build on it.
	const expire = `UPDATE bindery.lease SET renewed = '-infinity', token = ''`
	_, err = admin.Exec(ctx, expire)
	require.NoError(t, err)
	next := journal(time.Minute, time.Minute)
	defer next.Close()
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, _, err = next.Lead(short)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, replica.Start(ctx))
	known, err := next.Enqueue(ctx, item(t, "b"))
	require.NoError(t, err)
	require.Equal(t, []bool{true}, known)
	_, err = admin.Exec(ctx, expire)
	require.NoError(t, err)
	l = leads(t, next)
	l.load(t)
	require.Equal(t, r.Hash(), l.history.State.Chain)
	require.NoError(t, j.Close())
}
