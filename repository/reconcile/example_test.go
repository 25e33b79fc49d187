package reconcile_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/reconcile"
	"github.com/bindery-tuf/bindery/roles"
)

// database is an index that keeps its files in a table. Uploads and removals lock the path, as
// Hold does, change the row, submit the change, and commit.
type database struct{ *sql.DB }

func (d database) Targets(ctx context.Context) iter.Seq2[roles.Target, error] {
	return func(yield func(roles.Target, error) bool) {
		rows, err := d.QueryContext(ctx, "SELECT path, length, sha256 FROM files")
		if err != nil {
			yield(roles.Target{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			t, err := target(rows.Scan)
			if !yield(t, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(roles.Target{}, err)
		}
	}
}

func (d database) Hold(ctx context.Context, path string, f func(has *roles.Target) error) error {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// A lock of the path, which may have no row.
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", path); err != nil {
		return err
	}
	t, err := target(tx.QueryRowContext(ctx, "SELECT path, length, sha256 FROM files WHERE path = $1", path).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return f(nil)
	case err != nil:
		return err
	}
	return f(&t)
}

func target(scan func(...any) error) (roles.Target, error) {
	var t roles.Target
	var sha256 string
	err := scan(&t.Path, &t.Length, &sha256)
	t.Hashes = map[string]string{"sha256": sha256}
	return t, err
}

// What an index does once, when its files come under TUF, and after an accident.
func ExampleRun() {
	var (
		ctx  context.Context
		repo *repository.Repository
		db   *sql.DB
	)
	report, err := reconcile.Run(ctx, repo, database{db}, reconcile.Options{Remove: true, By: "nightly check"})
	if err != nil {
		fmt.Println("it may be repeated:", err)
	}
	for _, f := range report.Failed {
		fmt.Println(f.Path, f.Reason)
	}
	fmt.Println(report)
}
