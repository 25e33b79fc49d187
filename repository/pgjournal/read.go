package pgjournal

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Read implements repository.Reader: it takes no lead. All of it is one snapshot of the database, in which the
// transaction stays open until the loop ends. Its role needs the publisher's privileges of SELECT.
func (j *Journal) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		if _, err := j.read(ctx, from, nil, yield); err != nil {
			yield(ledger.Step{}, fmt.Errorf("read: %w", err))
		}
	}
}

// Read implements repository.Lead.
func (l *lead) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		whole, err := l.Journal.read(ctx, from, l.check, yield)
		if err == nil && whole {
			err = l.consumed(ctx, from)
		}
		if err != nil {
			yield(ledger.Step{}, fmt.Errorf("read: %w", err))
		}
	}
}

func (l *lead) consumed(ctx context.Context, from ledger.From) error {
	own, leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := l.usable(own); err != nil {
		return l.failed(ctx, err)
	}
	var front bool
	if err := l.pool.QueryRow(own, l.sql(`SELECT EXISTS (SELECT FROM bindery.given_up)`)).Scan(&front); err != nil {
		return l.failed(ctx, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.front = front
	l.read = l.read || from == ledger.FromCheckpoint
	return nil
}

const (
	// What is between the runs that are older than the checkpoint.
	atCheckpoint = `
		SELECT q.id, q."by", q.accepted, q.item FROM (
			SELECT coalesce(lag(last) OVER (ORDER BY first) + 1, -9223372036854775808) AS first, first - 1 AS last
			FROM (SELECT first, last FROM bindery.decided WHERE record < $1 UNION ALL SELECT $1, $1) d) gap
		CROSS JOIN LATERAL (SELECT * FROM bindery.queue WHERE place BETWEEN gap.first AND gap.last ORDER BY place) q
		LEFT JOIN bindery.given_up g ON g.place = q.place
		WHERE gap.first <= gap.last ORDER BY coalesce(g.rank, q.place)`
	since = `
		SELECT id, "by", accepted, bytes FROM (
			SELECT place AS seq, id, "by", accepted, item AS bytes FROM bindery.queue
			UNION ALL
			SELECT seq, NULL, NULL, NULL, bytes FROM bindery.record
		) steps WHERE seq >= $1 ORDER BY seq`
)

// read reports whether all was yielded. check is given the fence's row as of the snapshot.
func (j *Journal) read(ctx context.Context, from ledger.From, check func(epoch int64, token string) error, yield func(ledger.Step, error) bool) (bool, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	// Neither a slow caller nor a long history is a fault, and nothing is locked.
	tx, err := j.pool.BeginTx(own, pgx.TxOptions{
		BeginQuery: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"})
	if err != nil {
		return false, j.failed(ctx, err)
	}
	defer rollback(own, tx)
	setLimit(tx.Conn(), j.long()) // rows may have to be sorted
	var epoch, checkpoint, begins int64
	var token string
	if err := tx.QueryRow(own, j.sql(`SELECT epoch, token, checkpoint, begins FROM bindery.lead`)).Scan(&epoch, &token, &checkpoint, &begins); err != nil {
		return false, j.failed(ctx, err)
	}
	if check != nil {
		if err := check(epoch, token); err != nil {
			return false, err
		}
	}
	start := begins
	if from == ledger.FromCheckpoint {
		start = checkpoint
	}
	if start > 0 {
		if whole, err := j.steps(ctx, own, tx, atCheckpoint, start, yield); err != nil || !whole {
			return false, err
		}
	}
	return j.steps(ctx, own, tx, since, start, yield)
}

// steps yields the steps that a query selects, and reports whether these were all.
func (j *Journal) steps(ctx, own context.Context, tx pgx.Tx, query string, start int64, yield func(ledger.Step, error) bool) (bool, error) {
	rows, err := tx.Query(own, j.sql(query), start)
	if err != nil {
		return false, j.failed(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, by *string
		var accepted *time.Time
		var data []byte
		if err := rows.Scan(&id, &by, &accepted, &data); err != nil {
			return false, j.failed(ctx, err)
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if j.ctx.Err() != nil {
			return false, repository.ErrClosed
		}
		var s ledger.Step
		if id == nil {
			r, err := ledger.ParseRecord(data)
			if err != nil {
				return false, err
			}
			s.Record = &r
		} else {
			s.Entry = &ledger.Entry{ID: *id, By: *by, Accepted: accepted.UTC(), Body: data}
		}
		if !yield(s, nil) {
			return false, nil
		}
	}
	return rows.Err() == nil, j.failed(ctx, rows.Err())
}
