package pgjournal

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Tx is what Enqueue needs of the index's transaction. A pgx.Tx is one.
type Tx interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

// Enqueue inserts entries into the queue of the default schema, as a part of the index's own transaction. They are
// queued once that commits, and never if it doesn't. One INSERT does it, and nothing is read, at any isolation
// level. Item.Entry makes an entry; its time is not used, because the database has its own.
//
// The entries are inserted in the order of their IDs, so that transactions with the same IDs can't wait for each
// other. Call it once for each entry if their order matters.
//
// An ID that is remembered fails the call, and so the transaction, with PostgreSQL's condition unique_violation.
func Enqueue(ctx context.Context, tx Tx, entries ...ledger.Entry) error {
	return EnqueueIn(ctx, tx, DefaultSchema, entries...)
}

// EnqueueIn is Enqueue for a schema of another name.
func EnqueueIn(ctx context.Context, tx Tx, schemaName string, entries ...ledger.Entry) error {
	sql, args, err := insertion(schemaName, entries)
	if err != nil || sql == "" {
		return err
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("enqueue: %w", explain(err, schemaName))
	}
	return nil
}

// EnqueueBatch adds the INSERT of Enqueue to a batch of the index's own statements: they then take one round trip
// together, which an index with many uploads notices. Send the batch within the index's transaction. The schema ""
// is DefaultSchema.
//
// The error says which entry is malformed, and then nothing was added. What PostgreSQL refuses fails the statement in
// the batch's results.
func EnqueueBatch(batch *pgx.Batch, schemaName string, entries ...ledger.Entry) error {
	sql, args, err := insertion(schemaName, entries)
	if err != nil || sql == "" {
		return err
	}
	batch.Queue(sql, args...)
	return nil
}

// insertion returns the INSERT of entries, or "" if there are none.
func insertion(schemaName string, entries []ledger.Entry) (sql string, args []any, err error) {
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return "", nil, fmt.Errorf("enqueue: %w", err)
		}
	}
	if len(entries) == 0 {
		return "", nil, nil
	}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b ledger.Entry) int { return cmp.Compare(a.ID, b.ID) })
	sql, args = insert, columns(entries)
	if len(entries) == 1 { // the most frequent one costs least
		sql, args = insertOne, []any{entries[0].ID, entries[0].By, args[2].([][]byte)[0]}
	}
	return in(schema(schemaName), sql), args, nil
}

const insertOne = `INSERT INTO bindery.queue (id, "by", item) VALUES ($1, $2, $3)`

const insert = `INSERT INTO bindery.queue (id, "by", item) SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[])`

func columns(entries []ledger.Entry) []any {
	ids, by, items := make([]string, len(entries)), make([]string, len(entries)), make([][]byte, len(entries))
	for i, e := range entries {
		ids[i], by[i], items[i] = e.ID, e.By, e.Body
		if items[i] == nil {
			items[i] = []byte{} // nil would be NULL
		}
	}
	return []any{ids, by, items}
}

// Enqueue implements repository.Queue, in a transaction of its own. The database sets Entry.Accepted. A body must be
// UTF-8 without NUL, as JSON is.
//
// Entries of one call are pending in the order given. It waits for other uploads with these IDs in the order of the IDs, so it
// can't be deadlocked with an index that inserts in that order.
func (j *Journal) Enqueue(ctx context.Context, entries ...ledger.Entry) ([]bool, error) {
	known, err := j.enqueue(ctx, entries)
	if err != nil {
		return nil, fmt.Errorf("enqueue: %w", err)
	}
	return known, nil
}

func (j *Journal) enqueue(ctx context.Context, entries []ledger.Entry) ([]bool, error) {
	for _, e := range entries {
		if err := e.Check(); err != nil {
			return nil, err
		}
	}
	own, leave, err := j.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	known := make([]bool, len(entries))
	first := map[string]ledger.Entry{}
	fresh := make([]ledger.Entry, 0, len(entries))
	for i, e := range entries {
		before, again := first[e.ID]
		switch {
		case !again:
			first[e.ID] = e
			fresh = append(fresh, e)
		case e.Means(before.Digest(), before.Body):
			known[i] = true
		default:
			return nil, fmt.Errorf("item %q: %w", e.ID, repository.ErrIDReused)
		}
	}
	// Each round inserts all that isn't known, or learns of more that is.
	durable := len(fresh) == 0
	for len(fresh) > 0 {
		inserted, err := j.insert(own, fresh)
		if err != nil {
			return nil, j.failed(ctx, err)
		}
		if inserted {
			durable = true
			break
		}
		found, err := j.repeats(own, fresh)
		if err != nil {
			return nil, j.failed(ctx, err)
		}
		fresh = slices.DeleteFunc(fresh, func(e ledger.Entry) bool { return found[e.ID] })
		for i, e := range entries {
			known[i] = known[i] || found[e.ID]
		}
	}
	// What is known may have been committed on the primary alone. A commit of this call would wait for it too.
	if !durable {
		if err := j.settle(own); err != nil {
			return nil, j.failed(ctx, fmt.Errorf("%w: %w", repository.ErrUnknown, err))
		}
	}
	j.touch()
	return known, nil
}

// insert reports false if one of the entries' IDs is in use. Then it inserts none.
func (j *Journal) insert(ctx context.Context, entries []ledger.Entry) (bool, error) {
	tx, err := j.begin(ctx)
	if err != nil {
		return false, err
	}
	// If this waits, it is for the transaction of another upload with the same ID.
	var inserted int
	err = tx.QueryRow(ctx, j.sql(`SELECT bindery.enqueue($1, $2, $3)`), columns(entries)...).Scan(&inserted)
	if err == nil {
		err = j.notify(ctx, tx)
	}
	switch {
	case code(err) == deadlockDetected: // with an index that doesn't insert in the order of its IDs, which goes on
		rollback(ctx, tx)
		return false, ctx.Err()
	case err != nil:
		rollback(ctx, tx)
		return false, err
	case inserted < len(entries):
		rollback(ctx, tx)
		return false, nil
	}
	if err := j.commit(ctx, tx); err != nil {
		if refused(err) {
			return false, err
		}
		return false, fmt.Errorf("%w: %w", repository.ErrUnknown, err)
	}
	return true, nil
}

// repeats returns the IDs of those entries that the journal has. If it has another item under one of them, the
// error wraps ErrIDReused.
func (j *Journal) repeats(ctx context.Context, entries []ledger.Entry) (map[string]bool, error) {
	byID := map[string]ledger.Entry{}
	for _, e := range entries {
		byID[e.ID] = e
	}
	found := map[string]bool{}
	var old ledger.Entry
	err := j.each(ctx, `SELECT id, item FROM bindery.outcomes WHERE id = ANY($1)`, columns(entries)[0], []any{&old.ID, &old.Body}, func() error {
		if !byID[old.ID].Means(old.Digest(), old.Body) {
			return fmt.Errorf("item %q: %w", old.ID, repository.ErrIDReused)
		}
		found[old.ID] = true
		return nil
	})
	return found, err
}
