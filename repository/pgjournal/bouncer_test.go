package pgjournal

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
)

// Uploads, and all of the queue, go through PgBouncer in transaction mode. So does a publisher.
func TestBouncer(t *testing.T) {
	s := newSite(t)
	user := connect(t, s.index).Config().User
	bouncer := pgtest.Bouncer(t, user, connect(t, s.admin).Config().Database)
	// The modes in which pgx keeps no statement in the session.
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeSimpleProtocol} {
		var g errgroup.Group
		for client := range 8 {
			cfg, err := pgx.ParseConfig(bouncer)
			require.NoError(t, err)
			cfg.DefaultQueryExecMode = mode
			conn, err := pgx.ConnectConfig(t.Context(), cfg)
			require.NoError(t, err)
			g.Go(func() error {
				for n := range 20 {
					tx, err := conn.Begin(t.Context())
					if err != nil {
						return err
					}
					id := fmt.Sprintf("%d-%d-%d", mode, client, n)
					if err := Enqueue(t.Context(), tx, item(t, id), item(t, id+"-b")); err != nil {
						return err
					}
					if n%3 == 0 {
						err = tx.Rollback(t.Context())
					} else {
						err = tx.Commit(t.Context())
					}
					if err != nil {
						return err
					}
				}
				return conn.Close(t.Context())
			})
		}
		require.NoError(t, g.Wait())
	}
	index := opened(t, bouncer)
	backlog, err := index.Backlog(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3*8*13*2, backlog.Pending)
	known, err := index.Enqueue(t.Context(), item(t, "a"))
	require.NoError(t, err)
	require.Equal(t, []bool{false}, known)

	publisher := pgtest.Bouncer(t, connect(t, s.publisher).Config().User, connect(t, s.admin).Config().Database)
	l := leads(t, opened(t, publisher))
	entries, err := l.Pending(t.Context(), 1000, 1<<30)
	require.NoError(t, err)
	require.Len(t, entries, 3*8*13*2+1)
	l.publish(t, entries...)
	outcomes, err := index.Outcomes(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, repository.Published, outcomes[0].State)
}
