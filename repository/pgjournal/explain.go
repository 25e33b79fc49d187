package pgjournal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The conditions of PostgreSQL that mean something here: Appendix A of its manual.
const (
	uniqueViolation       = "23505"
	deadlockDetected      = "40P01"
	lockNotAvailable      = "55P03"
	insufficientPrivilege = "42501"
)

// code returns the SQLSTATE of an error of the database, or "".
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// explain says what to do next about an error of the database, where a person can do something.
func explain(err error, schemaName string) error {
	name := schema(schemaName)
	switch code(err) {
	case "42P01", "3F000", "42703": // no such table, schema, column
		return fmt.Errorf("the database has no schema %s of this package: call pgjournal.Migrate as its owner, or name the right database and Config.Schema: %w", name, err)
	case insufficientPrivilege:
		return fmt.Errorf("the database role lacks a privilege: call pgjournal.Migrate as the owner of schema %s, with this role as Migration.IndexRole or PublisherRole: %w", name, err)
	case "25006":
		return fmt.Errorf("the database is read-only, as a replica is: connect to the primary (target_session_attrs=read-write): %w", err)
	case "53100":
		return fmt.Errorf("the database's disk is full: free space there, and repeat the call: %w", err)
	case "53300":
		return fmt.Errorf("the database has no free connection: raise max_connections, or lower pool_max_conns of its clients: %w", err)
	case "28P01", "28000":
		return fmt.Errorf("the database refuses the role or its password: %w", err)
	case "3D000":
		return fmt.Errorf("there is no such database: create it, or correct its name: %w", err)
	case lockNotAvailable:
		return fmt.Errorf("another transaction holds a lock for too long: look for it in pg_stat_activity: %w", err)
	}
	return err
}

// refused reports whether the database answered, and said no: what was asked for has no effect. Any other
// error, when a commit is asked for, leaves its fate unknown.
func refused(err error) bool {
	var e *pgconn.PgError
	return errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &e) && e.SeverityUnlocalized == "ERROR"
}

// rollback ends a transaction that failed, or that is committed already. The connection is closed if that takes long.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	tx.Rollback(ctx)
}
