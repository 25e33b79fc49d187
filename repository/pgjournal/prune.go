package pgjournal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bindery-tuf/bindery/repository"
)

// What is remembered of decided entries: see repository.Queue.
const (
	// Remembered is how many outcomes are remembered at least: the newest.
	Remembered = 100_000
	// RememberFor is for how long outcomes are remembered at least. Config.Remember makes it longer.
	RememberFor = 7 * 24 * time.Hour
)

// pruneEvery is how often a leader prunes.
const pruneEvery = time.Hour

// pruned is how many rows one transaction deletes, or somewhat more: a run is deleted as a whole.
const pruned = 1000

var _ repository.Archiver = (*Journal)(nil)

// errKept is the error for a folder.
var errKept = fmt.Errorf("a journal in PostgreSQL archives into no folder: dump the schema with pg_dump first, and then let the older history be deleted (repository.Archive.Delete): %w", errors.ErrUnsupported)

// Archivable implements repository.Archiver: the older history can be deleted, and to must be "". It names the tables,
// with the bytes of records and items in the rows that would be deleted.
func (j *Journal) Archivable(ctx context.Context, to string) ([]repository.ArchivedFile, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	defer leave()
	if to != "" {
		return nil, fmt.Errorf("archive: %w", errKept)
	}
	files, err := j.archivable(own, `(SELECT max(seq) + 1 FROM bindery.record)`)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", j.failed(ctx, err))
	}
	return files, nil
}

func (j *Journal) archivable(ctx context.Context, before string) ([]repository.ArchivedFile, error) {
	var records, items int64
	err := j.patiently(ctx, j.long(), func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, j.sql(`SELECT
			(SELECT coalesce(sum(octet_length(bytes)), 0)::bigint FROM bindery.record WHERE seq < `+before+`),
			(SELECT coalesce(sum(q.bytes), 0)::bigint FROM bindery.decided d,
				LATERAL (SELECT sum(octet_length(item)) AS bytes FROM bindery.queue WHERE place BETWEEN d.first AND d.last) q
				WHERE d.record < `+before+` AND `+fmt.Sprintf(outlived, "$1", "$3")+` AND d.record < (`+fmt.Sprintf(newest, "$2")+`))`),
			time.Now(), j.remembered, j.cfg.Remember).Scan(&records, &items)
	})
	if err != nil {
		return nil, err
	}
	return []repository.ArchivedFile{{Name: "record", Bytes: records}, {Name: "queue", Bytes: items}}, nil
}

// outlived is true of what is older than Config.Remember, by the publisher's clock and by the database's: one that is wrong
// makes nothing be forgotten.
const outlived = `time < least(%s::timestamptz, clock_timestamp()) - %s::interval`

// newest is the record of the newest outcome that isn't among so many newest ones.
const newest = `SELECT max(record) FROM (
	SELECT record, sum(last - first + 1) OVER (ORDER BY record DESC ROWS UNBOUNDED PRECEDING) AS so_far FROM bindery.decided) d WHERE so_far > %s`

// Archive implements repository.Archiver: it deletes, in small transactions, while publishing goes on. Outcomes stay as
// long as they are remembered, with their items.
func (j *Journal) Archive(ctx context.Context, checkpoint, to string) ([]repository.ArchivedFile, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	defer leave()
	files, err := j.archive(own, checkpoint, to)
	if err != nil {
		return nil, fmt.Errorf("archive: %w", j.failed(ctx, err))
	}
	return files, nil
}

func (j *Journal) archive(ctx context.Context, checkpoint, to string) ([]repository.ArchivedFile, error) {
	if to != "" {
		return nil, errKept
	}
	var seq int64
	err := j.pool.QueryRow(ctx, j.sql(`SELECT seq FROM bindery.record WHERE kind = 'checkpoint' AND hash = $1`), checkpoint).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("there is no checkpoint record %.12s", checkpoint)
	}
	if err != nil {
		return nil, err
	}
	files, err := j.archivable(ctx, fmt.Sprint(seq))
	if err != nil {
		return nil, err
	}
	// From now on nobody reads what came before.
	if _, err := j.pool.Exec(ctx, j.sql(`UPDATE bindery.lead SET begins = $1 WHERE begins < $1 AND checkpoint >= $1`), seq); err != nil {
		return nil, err
	}
	return files, j.prune(ctx)
}

// prune deletes records before the history's beginning, and entries that were decided before it and need not be
// remembered. It does what another prune left undone, and takes no lead.
func (j *Journal) prune(ctx context.Context) error {
	var begins int64
	var oldest *int64
	err := j.patiently(ctx, j.long(), func(conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, j.sql(`SELECT begins, (`+fmt.Sprintf(newest, "$1")+`) FROM bindery.lead`), j.remembered).
			Scan(&begins, &oldest)
	})
	if err != nil || begins == 0 {
		return err
	}
	err = j.deleteAll(ctx, `DELETE FROM bindery.record WHERE seq IN (SELECT seq FROM bindery.record WHERE seq < $1 ORDER BY seq LIMIT $2)`, begins)
	if err != nil || oldest == nil {
		return err
	}
	// A run is deleted as a whole: no row of decided is ever changed.
	return j.deleteAll(ctx, `WITH old AS (SELECT first, last FROM (
			SELECT first, last, sum(last - first + 1) OVER (ORDER BY last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
			FROM (SELECT first, last FROM bindery.decided WHERE record < $1 AND `+fmt.Sprintf(outlived, "$3", "$4")+` ORDER BY last LIMIT $2) oldest) runs
			WHERE before IS NULL OR before < $2),
		entry AS (DELETE FROM bindery.queue WHERE place = ANY (ARRAY(SELECT generate_series(first, last) FROM old)))
		DELETE FROM bindery.decided d USING old WHERE d.last = old.last`, min(begins, *oldest), time.Now(), j.cfg.Remember)
}

// deleteAll repeats a statement until it deletes nothing.
func (j *Journal) deleteAll(ctx context.Context, statement string, before int64, more ...any) error {
	for {
		tx, err := j.begin(ctx)
		if err != nil {
			return err
		}
		setLimit(tx.Conn(), j.long())
		tag, err := tx.Exec(ctx, j.sql(statement), append([]any{before, pruned}, more...)...)
		if err == nil {
			err = tx.Commit(ctx)
		}
		if err != nil {
			rollback(ctx, tx)
			return err
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
	}
}

// pruneAgain prunes now and then as long as the lead lasts.
func (l *lead) pruneAgain(ctx context.Context) {
	for sleep(ctx, pruneEvery) {
		if err := l.prune(ctx); err != nil && ctx.Err() == nil {
			l.cfg.Logger.Warn("older rows of the journal can't be deleted now", "err", explain(err, l.cfg.Schema))
		}
	}
}
