package pgjournal_test

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/roles"
)

// An index records an upload and queues it in one transaction.
func ExampleEnqueue() {
	upload := func(ctx context.Context, conn *pgx.Conn, id, path string, target roles.Target) error {
		entry, err := ledger.Item{ID: id, Add: []roles.Target{target}}.Entry()
		if err != nil {
			return err
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(ctx)
		if _, err := tx.Exec(ctx, `INSERT INTO files (path) VALUES ($1)`, path); err != nil {
			return err
		}
		if err := pgjournal.Enqueue(ctx, tx, entry); err != nil {
			return err
		}
		return tx.Commit(ctx)
	}
	_ = upload
}

// A program that runs once, as the owner of the schema, before a publisher starts.
func ExampleMigrate() {
	prepare := func(ctx context.Context, url string) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		err = pgjournal.Migrate(ctx, conn, pgjournal.Migration{IndexRole: "index", PublisherRole: "publisher"})
		return errors.Join(err, conn.Close(ctx))
	}
	_ = prepare
}

func ExampleOpen() {
	open := func(ctx context.Context, url string) (*pgjournal.Journal, error) {
		pool, err := pgxpool.ParseConfig(url)
		if err != nil {
			return nil, err
		}
		return pgjournal.Open(ctx, pgjournal.Config{Pool: pool})
	}
	_ = open
}
