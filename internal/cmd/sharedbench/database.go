package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/roles"
)

// The database roles, the superuser's first.
const (
	owner         = "postgres"
	indexRole     = "index"
	publisherRole = "publisher"
)

// newDatabase makes a database with the schema, and returns its name.
func (e *env) newDatabase(ctx context.Context) (string, error) {
	if e.cluster == nil {
		// An index's database doesn't lie about what is durable.
		c, err := pgtest.New(ctx, "fsync=on", "max_wal_size=4GB")
		if err != nil {
			return "", err
		}
		e.cluster = c
		for _, role := range []string{indexRole, publisherRole} {
			if _, err := c.SQL(ctx, owner, fmt.Sprintf("CREATE ROLE %q LOGIN", role)); err != nil {
				return "", err
			}
		}
	}
	e.database++
	name := fmt.Sprint("bench", e.database)
	if _, err := e.cluster.SQL(ctx, owner, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, e.cluster.URL(owner, name))
	if err != nil {
		return "", err
	}
	err = pgjournal.Migrate(ctx, conn, pgjournal.Migration{IndexRole: indexRole, PublisherRole: publisherRole})
	return name, errors.Join(err, conn.Close(ctx))
}

// pool returns connections of the role given.
func (e *env) pool(ctx context.Context, role, database string, n int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(e.cluster.URL(role, database))
	if err != nil {
		return nil, err
	}
	cfg.MaxConns, cfg.MinConns = int32(n), int32(n)
	return pgxpool.NewWithConfig(ctx, cfg)
}

// openJournal opens the journal in a database, as the publisher.
func openJournal(ctx context.Context, url string, lease time.Duration) (*pgjournal.Journal, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	return pgjournal.Open(ctx, pgjournal.Config{Pool: cfg, Lease: lease, Logger: discard})
}

func (e *env) journal(ctx context.Context, database string) (*pgjournal.Journal, error) {
	return openJournal(ctx, e.cluster.URL(publisherRole, database), e.lease)
}

// adders is how many connections an index has.
const adders = 64

// files is what an index has of its own for each file: far less than PyPI.
const files = `CREATE TABLE %[1]s (
	id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	project         text NOT NULL,
	path            text NOT NULL UNIQUE,
	sha256          text NOT NULL UNIQUE CHECK (sha256 ~ '^[0-9a-f]{64}$'),
	size            bigint NOT NULL,
	requires_python text,
	uploaded        timestamptz NOT NULL DEFAULT now()
); CREATE INDEX ON %[1]s (project); GRANT INSERT ON %[1]s TO %[2]q`

// addSides insert uploads.
func addSides(ctx context.Context, e *env) (*sides, error) {
	database, err := e.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	for _, table := range []string{"files_alone", "files_queued"} {
		if _, err := e.cluster.SQL(ctx, database, fmt.Sprintf(files, table, indexRole)); err != nil {
			return nil, err
		}
	}
	pool, err := e.pool(ctx, indexRole, database, adders)
	if err != nil {
		return nil, err
	}
	side := func(table string, enqueue bool) benchmark.Side {
		return func(ctx context.Context) (time.Duration, error) {
			// Random, as what is uploaded is, and no two sides have the same.
			uploads := make([]roles.Target, e.adds)
			for i := range uploads {
				uploads[i] = randomTarget()
			}
			start := time.Now()
			g, ctx := errgroup.WithContext(ctx)
			for n := range adders {
				g.Go(func() error {
					conn, err := pool.Acquire(ctx)
					if err != nil {
						return err
					}
					defer conn.Release()
					for i := n; i < len(uploads); i += adders {
						if err := upload(ctx, conn, table, uploads[i], enqueue); err != nil {
							return err
						}
					}
					return nil
				})
			}
			err := g.Wait()
			return time.Since(start) / time.Duration(e.adds), err
		}
	}
	return &sides{bindery: side("files_queued", true), limit: side("files_alone", false), end: func() error { pool.Close(); return nil }}, nil
}

func randomTarget() roles.Target {
	var random [64]byte
	rand.Read(random[:])
	digest, path := hex.EncodeToString(random[:32]), hex.EncodeToString(random[32:])
	return roles.Target{
		Path:   fmt.Sprintf("packages/%s/%s/%s/project_%s-1.2.3-py3-none-any.whl", path[:2], path[2:4], path[4:], digest[:4]),
		Length: 1_000_000, Hashes: map[string]string{"sha256": digest},
	}
}

// upload is one transaction of the index. Its statements are sent together.
func upload(ctx context.Context, conn *pgxpool.Conn, table string, t roles.Target, enqueue bool) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`INSERT INTO `+table+` (project, path, sha256, size, requires_python) VALUES ($1, $2, $3, $4, $5)`,
			t.Hashes["sha256"][:8], t.Path, t.Hashes["sha256"], t.Length, ">=3.9")
		if enqueue {
			entry, err := ledger.Item{ID: rand.Text(), Add: []roles.Target{t}}.Entry()
			if err == nil {
				err = pgjournal.EnqueueBatch(batch, "", entry)
			}
			if err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// claimSides claim uploads. Bindery does so while a report is open, or not.
func claimSides(report bool) func(ctx context.Context, e *env) (*sides, error) {
	return func(ctx context.Context, e *env) (_ *sides, err error) {
		var ends []func() error
		end := func() error {
			var err error
			for _, f := range ends {
				err = errors.Join(err, f())
			}
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, end())
			}
		}()
		ours, theirs := "", ""
		for _, name := range []*string{&ours, &theirs} {
			if *name, err = e.newDatabase(ctx); err != nil {
				return nil, err
			}
		}
		journals := map[string]*pgjournal.Journal{}
		for _, name := range []string{ours, theirs} {
			j, err := e.journal(ctx, name)
			if err != nil {
				return nil, err
			}
			journals[name] = j
			ends = append(ends, j.Close)
		}
		if report {
			conn, err := e.openReport(ctx, ours)
			if err != nil {
				return nil, err
			}
			ends = append(ends, func() error { return conn.Close(context.WithoutCancel(ctx)) })
		}
		conn, err := pgx.Connect(ctx, e.cluster.URL(publisherRole, theirs))
		if err != nil {
			return nil, err
		}
		ends = append(ends, func() error { return conn.Close(context.WithoutCancel(ctx)) })
		l, epoch, err := journals[ours].Lead(ctx)
		if err == nil {
			for _, err = range l.Read(ctx, ledger.FromCheckpoint) { // it is empty, and must be read
			}
		}
		if err != nil {
			return nil, err
		}
		return &sides{
			bindery: func(ctx context.Context) (time.Duration, error) {
				if err := queue(ctx, journals[ours], e.claimed); err != nil {
					return 0, err
				}
				return claim(ctx, l, epoch, e.claimed)
			},
			limit: func(ctx context.Context) (time.Duration, error) {
				if err := queue(ctx, journals[theirs], e.claimed); err != nil {
					return 0, err
				}
				d, err := readAndDelete(ctx, conn, e.claimed)
				if err == nil { // as autovacuum does it
					_, err = e.cluster.SQL(ctx, theirs, "VACUUM bindery.queue")
				}
				return d, err
			},
			end: end,
		}, nil
	}
}

// queue queues n uploads, 1,000 in a transaction.
func queue(ctx context.Context, j repository.Journal, n int) error {
	for n > 0 {
		uploads := make([]roles.Target, min(n, 1000))
		for i := range uploads {
			uploads[i] = randomTarget()
		}
		entries, err := benchmark.Entries(uploads, time.Time{})
		if err != nil {
			return err
		}
		if _, err := j.Enqueue(ctx, entries...); err != nil {
			return err
		}
		n -= len(uploads)
	}
	return nil
}

// claim reads all that is pending, and decides it. Only the journal's part is timed.
func claim(ctx context.Context, l repository.Lead, epoch int64, n int) (time.Duration, error) {
	start := time.Now()
	entries, err := l.Pending(ctx, n, 16<<20) // the default of Config.MaxBatchBytes
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	if len(entries) != n {
		return 0, fmt.Errorf("%d entries are pending, want %d", len(entries), n)
	}
	decided := &ledger.Decided{}
	for _, e := range entries {
		decided.Outcomes = append(decided.Outcomes, ledger.OutcomeOf(e, ledger.Outcome{State: ledger.Unchanged, Generation: 1}))
	}
	// The journal needs no chain of hashes: that is the reader's to check.
	r, err := ledger.NewRecord(epoch, 1, "", time.Now(), decided)
	if err != nil {
		return 0, err
	}
	start = time.Now()
	err = l.Append(ctx, r)
	return took + time.Since(start), err
}

// readAndDelete takes the oldest n rows.
func readAndDelete(ctx context.Context, conn *pgx.Conn, n int) (time.Duration, error) {
	start := time.Now()
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT place, id, "by", accepted, item, digest FROM bindery.queue ORDER BY place LIMIT $1`, n)
		if err != nil {
			return err
		}
		places := make([]int64, 0, n)
		entries := make([]ledger.Entry, 0, n)
		var place int64
		var e ledger.Entry
		var digest []byte
		if _, err := pgx.ForEachRow(rows, []any{&place, &e.ID, &e.By, &e.Accepted, &e.Body, &digest}, func() error {
			places, entries = append(places, place), append(entries, e)
			e.Body = nil
			return nil
		}); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `DELETE FROM bindery.queue WHERE place = ANY($1)`, places)
		if err == nil && tag.RowsAffected() != int64(n) {
			err = fmt.Errorf("%d rows were deleted, want %d", tag.RowsAffected(), n)
		}
		return err
	})
	return time.Since(start), err
}

// openReport fills a database with rows that die while a report's transaction is open, and returns the report's
// connection.
func (e *env) openReport(ctx context.Context, database string) (*pgx.Conn, error) {
	fmt.Fprintf(e.log, "making %d dead rows\n", e.dead)
	sql := func(statements string, args ...any) error {
		_, err := e.cluster.SQL(ctx, database, "SET synchronous_commit = off; "+fmt.Sprintf(statements, args...))
		return err
	}
	err := sql(`INSERT INTO bindery.queue (id, item)
		SELECT md5(n::text), convert_to(format('{"add":[{"path":"packages/%%s.whl","length":1000000,"hashes":{"sha256":"%%s"}}]}', n, encode(sha256(n::text::bytea), 'hex')), 'UTF8')
		FROM generate_series(1, %d) n;
		INSERT INTO bindery.decided (first, last, record, nth, generation, state, reason) SELECT place, place, 0, 1, 1, 'published', '' FROM bindery.queue;
		UPDATE bindery.lead SET oldest = (SELECT max(place) + 1 FROM bindery.queue)`, e.dead) // as deciding them does
	if err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, e.cluster.URL(owner, database))
	if err != nil {
		return nil, err
	}
	var n int
	if _, err = conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ`); err == nil {
		err = conn.QueryRow(ctx, `SELECT count(*) FROM bindery.outcomes`).Scan(&n)
	}
	if err == nil && n != e.dead {
		err = fmt.Errorf("the report sees %d rows, want %d", n, e.dead)
	}
	if err == nil {
		err = sql(`DELETE FROM bindery.queue; DELETE FROM bindery.decided`)
	}
	if err == nil {
		_, err = e.cluster.SQL(ctx, database, fmt.Sprintf(
			`DO 'BEGIN PERFORM set_config(''synchronous_commit'', ''off'', false); FOR n IN 1..%d LOOP UPDATE bindery.lead SET moment = moment + 1; COMMIT; END LOOP; END'`, e.updates))
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}
