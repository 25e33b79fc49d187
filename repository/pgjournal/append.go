package pgjournal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Append implements repository.Lead, in one transaction. If the commit is not answered within Config.Lease, it asks the
// database for up to another Config.Lease what became of it. A commit that was made counts once the synchronous replica
// has it too, if the database has one. Only if all that isn't answered in time, the error wraps repository.ErrUnknown.
// The lead can't be used any more then: close the journal and open it again.
func (l *lead) Append(ctx context.Context, records ...ledger.Record) error {
	if err := l.append(ctx, records); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	return nil
}

func (l *lead) append(ctx context.Context, records []ledger.Record) error {
	own, leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	l.appending.Lock()
	defer l.appending.Unlock()
	l.mu.Lock()
	ended := l.ended
	l.mu.Unlock()
	malformed := l.wellFormed(records)
	if ended != nil || malformed != nil || len(records) == 0 {
		if err := l.usable(own); err != nil { // the better reason
			return l.failed(ctx, err)
		}
	}
	if err := errors.Join(malformed, l.ready()); err != nil || len(records) == 0 {
		return err
	}
	tx, err := l.begin(own)
	if err != nil {
		return l.failed(ctx, err)
	}
	a, err := l.write(own, tx, records)
	if err == nil {
		err = l.notify(own, tx)
	}
	if err != nil {
		rollback(own, tx)
		return l.failed(ctx, err)
	}
	// The publisher must know how this ends.
	unhurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Lease)
	defer cancel()
	err = l.commit(unhurried, tx)
	switch {
	case err == nil:
		l.note(a)
		return nil
	case refused(err):
		return l.failed(ctx, err)
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.askFor)
	defer cancel()
	made, asked := l.wasMade(asking, a)
	switch {
	case errors.Is(asked, repository.ErrFenced):
		return l.failed(ctx, fmt.Errorf("%w: %w", asked, err))
	case asked != nil:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = fmt.Errorf("%w: whether the last append was made is unknown: close the journal and open it again", repository.ErrClosed)
		return fmt.Errorf("%w: %w (asked what became of it: %w)", repository.ErrUnknown, err, asked)
	case made:
		l.note(a)
		return nil
	}
	return l.failed(ctx, err)
}

// wasMade finds out what became of an append whose commit was not answered. The fence's lock is free once it is
// settled. If the append was made, the synchronous replica has it when this returns. Until the context ends it tries to
// reach the database.
func (l *lead) wasMade(ctx context.Context, a *appended) (bool, error) {
	for {
		made, err := l.recorded(ctx, a)
		if err == nil || errors.Is(err, repository.ErrFenced) || !sleep(ctx, pollBusy) {
			return made, err
		}
	}
}

// recorded looks for the last record of an append at its place. If it isn't there and another leads, the error wraps ErrFenced:
// that one may have deleted older history, and nobody is to undo what it may have.
func (l *lead) recorded(ctx context.Context, a *appended) (made bool, err error) {
	tx, err := l.begin(ctx)
	if err != nil {
		return false, err
	}
	defer rollback(ctx, tx)
	var epoch int64
	var token string
	if err := tx.QueryRow(ctx, l.sql(fence+` FOR UPDATE`)).Scan(&epoch, &token); err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, l.sql(`SELECT EXISTS (SELECT FROM bindery.record WHERE seq = $1 AND hash = $2)`), a.seq, a.head).Scan(&made)
	if err == nil && !made && token != l.token {
		err = fmt.Errorf("%w: epoch %d follows %d", repository.ErrFenced, epoch, l.epoch)
	}
	if err != nil || !made {
		return false, err
	}
	// PostgreSQL commits on the primary alone when a wait for the synchronous replica is cancelled.
	if _, err := tx.Exec(ctx, wait); err != nil {
		return false, err
	}
	if err := l.commit(ctx, tx); err != nil {
		return false, fmt.Errorf("the primary has it, and the synchronous replica may lack it: %w", err)
	}
	return true, nil
}

// note takes notice of an append that was committed.
func (l *lead) note(a *appended) {
	l.touch()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head = a.head
	next := int64(math.MinInt64)
	for _, e := range a.taken {
		next = max(next, e.place+1)
	}
	if a.all && len(a.taken) == len(l.known) {
		clear(l.known)
	}
	for i := 0; i < len(a.taken) && len(l.known) > 0; i++ {
		delete(l.known, a.taken[i].id)
	}
	for _, e := range l.known {
		next = min(next, e.place)
	}
	if a.front != nil {
		l.front = *a.front
	}
	switch {
	case l.front:
		l.seen.places = nil // the whole queue is looked through until the next checkpoint
	case len(a.taken) > 0 && a.all: // of the oldest
		l.seen.add(time.Now(), next)
	}
}

// wellFormed makes sure of what needs no database.
func (l *lead) wellFormed(records []ledger.Record) error {
	for _, r := range records {
		var err error
		switch {
		case r.Body == nil || len(r.Bytes()) == 0:
			return errors.New("a record without a body or bytes")
		case r.Epoch < l.epoch:
			err = fmt.Errorf("%w: its epoch is %d, and the leader's is %d", repository.ErrFenced, r.Epoch, l.epoch)
		case r.Epoch > l.epoch:
			err = fmt.Errorf("its epoch is %d, and the leader's is %d", r.Epoch, l.epoch)
		}
		if err != nil {
			return fmt.Errorf("%s record of generation %d: %w", r.Kind(), r.Generation, err)
		}
	}
	return nil
}

// write does all of an append but its commit, and returns the hash of the last record.
func (l *lead) write(ctx context.Context, tx pgx.Tx, records []ledger.Record) (*appended, error) {
	l.mu.Lock()
	old, oldest := l.head, l.seen.lowest()
	l.mu.Unlock()
	a := &appended{head: records[len(records)-1].Hash(), oldest: oldest, all: true}
	// The fence. Until this transaction ends nobody else can append or take over, and after a takeover this finds
	// no row. A mere SELECT would let a paused leader go on.
	err := tx.QueryRow(ctx, l.sql(`UPDATE bindery.lead SET head = $1 WHERE epoch = $2 AND token = $3 AND head = $4 RETURNING sealed`),
		a.head, l.epoch, l.token, old).Scan(&a.sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("%w: another took over, or the database was replaced by an older copy of it", repository.ErrFenced)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if err := l.writeOne(ctx, tx, r, a); err != nil {
			return nil, fmt.Errorf("%s record of generation %d: %w", r.Kind(), r.Generation, err)
		}
	}
	return a, nil
}

// appended is what an append changes in the leader's memory, once it is committed.
type appended struct {
	head   string
	seq    int64   // number of the last record
	sealed *int64  // number of the seal that has no commit, or nil
	taken  []taken // the entries that were decided
	all    bool    // whether all of them were in the leader's memory
	oldest int64   // no pending entry before this place was seen
	front  *bool   // whether entries were given up, if that may have changed
}

// taken is an entry that was decided.
type taken struct {
	id    string
	place int64
}

// writeOne writes a record and gives it its effect.
func (l *lead) writeOne(ctx context.Context, tx pgx.Tx, r ledger.Record, a *appended) error {
	if r.Kind() == ledger.KindSeal && a.sealed != nil {
		return errors.New("the seal before it has no commit")
	}
	if r.Kind() == ledger.KindCheckpoint {
		if err := l.giveUp(ctx, tx, a); err != nil {
			return err
		}
	}
	batch := &pgx.Batch{}
	// Numbers of entries that this record decides are lower: those were committed before.
	batch.Queue(l.sql(`INSERT INTO bindery.record (seq, kind, generation, epoch, time, hash, bytes)
		VALUES (nextval($7::text::regclass), $1, $2, $3, $4, $5, $6) RETURNING seq`),
		string(r.Kind()), r.Generation, r.Epoch, r.Time, r.Hash(), r.Bytes(), l.sequence())
	if err := l.decide(ctx, tx, batch, r, a); err != nil {
		return err
	}
	switch r.Kind() {
	case ledger.KindSeal:
		batch.Queue(l.sql(`UPDATE bindery.lead SET sealed = currval($2::text::regclass), oldest = $1`), a.oldest, l.sequence())
	case ledger.KindCommit:
		batch.Queue(l.sql(`UPDATE bindery.lead SET sealed = NULL, moment = moment + 1`))
	case ledger.KindDecided:
		batch.Queue(l.sql(`UPDATE bindery.lead SET moment = moment + 1, oldest = $1`), a.oldest)
	case ledger.KindCheckpoint:
		batch.Queue(l.sql(`UPDATE bindery.lead SET sealed = NULL, checkpoint = currval($2::text::regclass), oldest = $1`), a.oldest, l.sequence())
	}
	var seq int64
	results := tx.SendBatch(ctx, batch)
	err := results.QueryRow().Scan(&seq)
	if closed := results.Close(); err == nil {
		err = closed
	}
	a.seq = seq
	switch r.Kind() {
	case ledger.KindSeal:
		a.sealed = &seq
	case ledger.KindCommit, ledger.KindCheckpoint:
		a.sealed = nil
	}
	return err
}

// sequence is the name of the sequence that numbers entries and records.
func (j *Journal) sequence() string { return j.schema + ".queue_place_seq" }

// decide adds to the batch what decides exactly the entries named. The record has the sequence's present number.
func (l *lead) decide(ctx context.Context, tx pgx.Tx, batch *pgx.Batch, r ledger.Record, a *appended) error {
	outcomes := r.Outcomes()
	found, err := l.find(ctx, tx, outcomes, a)
	if err != nil {
		return err
	}
	var places []int64
	var runs decisions
	for i, o := range outcomes {
		e := found[i]
		if e.place == 0 {
			return fmt.Errorf("item %q: %w", o.ID, repository.ErrUnknownItem)
		}
		var digest [32]byte
		if n, err := hex.Decode(digest[:], []byte(o.Digest[:min(len(o.Digest), 64)])); err != nil || n != 32 || len(o.Digest) != 64 || digest != e.digest {
			return fmt.Errorf("item %q: the digest %.12s isn't that of the entry, %.12x", o.ID, o.Digest, e.digest)
		}
		if i > 0 && o.Outcome == outcomes[i-1].Outcome && e.place == found[i-1].place+1 {
			runs.last[len(runs.last)-1]++
		} else {
			runs.add(e.place, i+1, o.Outcome)
		}
		places = append(places, e.place)
		a.taken = append(a.taken, taken{o.ID, e.place})
	}
	if len(outcomes) == 0 {
		return nil
	}
	slices.Sort(places)
	if len(slices.Compact(places)) < len(outcomes) {
		return errors.New("it decides one of its items twice")
	}
	// Whatever else inserts a run has the fence's lock, so that this sees it.
	batch.Queue(l.sql(`INSERT INTO bindery.decided (first, last, record, nth, time, generation, state, reason)
		SELECT first, last, currval($1::text::regclass), nth, $2, generation, state, reason
		FROM unnest($3::bigint[], $4::bigint[], $5::int[], $6::bigint[], $7::text[], $8::text[]) run (first, last, nth, generation, state, reason)
		WHERE NOT `+met("run.first", "run.last")),
		l.sequence(), r.Time, runs.first, runs.last, runs.nth, runs.generation, runs.state, runs.reason).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(len(runs.first)) {
			return errors.New("another record decided one of its items")
		}
		return nil
	})
	return nil
}

// met is true if a run has one of the places from first to last. It takes one look into the index.
func met(first, last string) string {
	return `EXISTS (SELECT FROM (SELECT d.first FROM bindery.decided d WHERE d.last >= ` + first + ` ORDER BY d.last LIMIT 1) d WHERE d.first <= ` + last + `)`
}

// decisions are rows of the table decided, as columns.
type decisions struct {
	first, last   []int64
	nth           []int32
	generation    []int64
	state, reason []string
}

// add begins a run.
func (d *decisions) add(place int64, nth int, o ledger.Outcome) {
	d.first, d.last, d.nth = append(d.first, place), append(d.last, place), append(d.nth, int32(nth))
	d.generation, d.state, d.reason = append(d.generation, o.Generation), append(d.state, string(o.State)), append(d.reason, o.Reason)
}

// find returns the places and digests of entries; zero if there is none. Those that Pending returned are in memory: a
// row is never changed, and isn't removed before it was decided.
func (l *lead) find(ctx context.Context, tx pgx.Tx, outcomes []ledger.ItemOutcome, a *appended) ([]placed, error) {
	found := make([]placed, len(outcomes))
	var ids []string
	l.mu.Lock()
	for i, o := range outcomes {
		e, ok := l.known[o.ID]
		if found[i] = e; !ok {
			ids = append(ids, o.ID)
		}
	}
	l.mu.Unlock()
	if len(ids) == 0 {
		return found, nil
	}
	a.all = false
	rows, _ := tx.Query(ctx, l.sql(`SELECT id, place, digest FROM bindery.queue WHERE id = ANY($1)`), ids)
	more := map[string]placed{}
	var id string
	var place int64
	var digest []byte
	_, err := pgx.ForEachRow(rows, []any{&id, &place, &digest}, func() error {
		more[id] = placed{place, [32]byte(digest)}
		return nil
	})
	for i, o := range outcomes {
		if found[i].place == 0 {
			found[i] = more[o.ID]
		}
	}
	return found, err
}

// giveUp makes the entries of the seal that has no commit pending again, in its order, before all others.
func (l *lead) giveUp(ctx context.Context, tx pgx.Tx, a *appended) error {
	// The order matters until the checkpoint after the entry was decided.
	_, err := tx.Exec(ctx, l.sql(`DELETE FROM bindery.given_up g WHERE `+met("g.place", "g.place")))
	if err != nil {
		return err
	}
	if a.sealed != nil {
		_, err = tx.Exec(ctx, l.sql(`WITH
			first AS (SELECT coalesce(min(rank), 0) AS rank FROM bindery.given_up),
			run AS (DELETE FROM bindery.decided WHERE record = $1 RETURNING first, last, nth),
			back AS (SELECT run.first + n AS place, nth + n AS nth FROM run, generate_series(0, run.last - run.first) n)
			INSERT INTO bindery.given_up (place, rank)
			SELECT back.place, first.rank - row_number() OVER (ORDER BY nth DESC) FROM back, first`), a.sealed)
		if err != nil {
			return err
		}
		a.sealed = nil
	}
	var first *int64
	if err := tx.QueryRow(ctx, l.sql(`SELECT min(place) FROM bindery.given_up`)).Scan(&first); err != nil {
		return err
	}
	front := first != nil
	if a.front = &front; front {
		a.oldest = min(a.oldest, *first)
	}
	return nil
}
