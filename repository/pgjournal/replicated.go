package pgjournal

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errOnlyLocal is the error of a commit that PostgreSQL acknowledged with a warning: it stopped waiting for the
// synchronous replica, because somebody cancelled that wait.
var errOnlyLocal = errors.New("the wait for the synchronous replica was cancelled (pg_cancel_backend): the transaction is committed, but the replica may lack it")

// onlyLocal is the name of a connection's count of such commits.
const onlyLocal = "bindery: commits that were only local"

// countWarnings makes each connection count the commits that became local only.
func countWarnings(pc *pgxpool.Config) {
	connected := pc.AfterConnect
	pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		conn.PgConn().CustomData()[onlyLocal] = new(atomic.Int64)
		if connected != nil {
			return connected(ctx, conn)
		}
		return nil
	}
	noticed := pc.ConnConfig.OnNotice
	pc.ConnConfig.OnNotice = func(conn *pgconn.PgConn, n *pgconn.Notice) {
		// The message is translated, and the name of the server's function isn't.
		if count, ok := conn.CustomData()[onlyLocal].(*atomic.Int64); ok && n.Routine == "SyncRepWaitForLSN" {
			count.Add(1)
		}
		if noticed != nil {
			noticed(conn, n)
		}
	}
}

// commit commits a transaction of begin. If it returns nil, the commit is durable, and the synchronous replica has it
// if the database has one.
func (j *Journal) commit(ctx context.Context, tx pgx.Tx) error {
	// Afterwards the connection may be another goroutine's.
	count := tx.Conn().PgConn().CustomData()[onlyLocal].(*atomic.Int64)
	before := count.Load()
	err := tx.Commit(ctx)
	if err == nil && count.Load() != before {
		return errOnlyLocal
	}
	return err
}

// wait makes the commit of a transaction wait for the synchronous replica. A transaction that writes nothing
// doesn't wait. Replicas get commits in their order, so this replica then has every commit that the transaction saw,
// also one whose own wait was cancelled.
const wait = `SELECT pg_logical_emit_message(true, 'bindery', '')`

// settle makes sure that the synchronous replica has all commits that are visible by now.
func (j *Journal) settle(ctx context.Context) error {
	tx, err := j.begin(ctx)
	if err != nil {
		return err
	}
	defer rollback(ctx, tx)
	if _, err := tx.Exec(ctx, wait); err != nil {
		return err
	}
	return j.commit(ctx, tx)
}
