package pgjournal

import (
	"context"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// A replica that lost the last transactions is promoted. The leader of the lost server writes nothing to it, though
// epoch and head are what it knows.
func TestPromotedReplica(t *testing.T) {
	t.Parallel() // it waits, most of the time
	pgtest.NeedTool(t, "postgres")
	ctx := t.Context()
	primary, err := pgtest.New(ctx)
	require.NoError(t, err)
	defer primary.Close()
	url := primary.URL("postgres", "postgres")
	require.NoError(t, Migrate(ctx, connect(t, url), Migration{}))
	replica, err := primary.Replica(ctx)
	require.NoError(t, err)
	defer replica.Close()
	require.NoError(t, replica.Stop("fast")) // so it lags

	var at atomic.Pointer[pgtest.Cluster]
	at.Store(primary)
	cfg := config(t, url)
	cfg.Pool.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(at.Load().Socket(), ".s.PGSQL."+pgtest.Port))
	}
	old, err := Open(ctx, cfg)
	require.NoError(t, err)
	defer old.Close()
	_, err = old.Enqueue(ctx, item(t, "lost"))
	require.NoError(t, err)
	l := leads(t, old)
	require.EqualValues(t, 1, l.epoch)

	require.NoError(t, primary.Stop("immediate"))
	require.NoError(t, replica.Start(ctx))
	require.NoError(t, replica.Promote(ctx))
	at.Store(replica)
	next := leads(t, opened(t, replica.URL("postgres", "postgres")))
	require.Equal(t, l.epoch, next.epoch)
	outcomes, err := next.Lead.(*lead).Outcomes(ctx, "lost")
	require.NoError(t, err)
	require.Equal(t, []ledger.Outcome{{}}, outcomes)

	// The first calls may find out that the connections are gone.
	for err = net.ErrClosed; err != nil; {
		_, err = old.Enqueue(ctx, item(t, "lost"))
	}
	intent := l.record(t, &ledger.Intent{})
	require.ErrorIs(t, l.Append(ctx, intent), repository.ErrFenced)
	_, err = l.Pending(ctx, 1, 1)
	require.ErrorIs(t, err, repository.ErrFenced)
	require.ErrorIs(t, l.Release(ctx), repository.ErrFenced)
	next.publish(t, next.requirePending(t, "lost")...)
}

// Every transaction sets what it depends on, whatever the role's defaults are.
func TestSettings(t *testing.T) {
	s := newSite(t)
	admin := connect(t, s.admin)
	_, err := admin.Exec(t.Context(), `ALTER ROLE `+connect(t, s.publisher).Config().User+` SET synchronous_commit = off`)
	require.NoError(t, err)
	j := opened(t, s.publisher)
	tx, err := j.begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	for setting, want := range map[string]string{
		"synchronous_commit": "on", "client_min_messages": "warning", "lock_timeout": "30s", "statement_timeout": "12min", "idle_in_transaction_session_timeout": "30s",
		"transaction_isolation": "read committed",
	} {
		var got string
		require.NoError(t, tx.QueryRow(t.Context(), `SELECT current_setting($1)`, setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
}
