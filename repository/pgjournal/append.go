package pgjournal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Append implements repository.Lead, in one transaction. If its end isn't known, because the connection failed, the
// error wraps repository.ErrUnknown and the lead can't be used any more: close the journal and open it again.
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
	if err := l.usable(own); err != nil { // for the reason; the fence decides
		return l.failed(ctx, err)
	}
	if err := errors.Join(l.ready(), l.wellFormed(records)); err != nil || len(records) == 0 {
		return err
	}
	tx, err := l.begin(own)
	if err != nil {
		return l.failed(ctx, err)
	}
	head, err := l.write(own, tx, records)
	if err != nil {
		rollback(own, tx)
		return l.failed(ctx, err)
	}
	// The publisher must know how this ends.
	unhurried, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Lease)
	defer cancel()
	err = tx.Commit(unhurried)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.head = head
		if slices.ContainsFunc(records, func(r ledger.Record) bool { return r.Kind() == ledger.KindCheckpoint }) {
			l.probing = 0 // what was given up precedes all others
		}
		go l.touch()
		return nil
	case refused(err):
		return l.failed(ctx, err)
	}
	l.ended = fmt.Errorf("%w: whether the last append was made is unknown: close the journal and open it again", repository.ErrClosed)
	return fmt.Errorf("%w: %w", repository.ErrUnknown, err)
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
		seen := map[string]bool{}
		for _, o := range r.Outcomes() {
			if seen[o.ID] {
				err = fmt.Errorf("item %q: it is there twice", o.ID)
			}
			seen[o.ID] = true
		}
		if err != nil {
			return fmt.Errorf("%s record of generation %d: %w", r.Kind(), r.Generation, err)
		}
	}
	return nil
}

// write does all of an append but its commit, and returns the hash of the last record.
func (l *lead) write(ctx context.Context, tx pgx.Tx, records []ledger.Record) (string, error) {
	l.mu.Lock()
	old := l.head
	l.mu.Unlock()
	head := records[len(records)-1].Hash()
	// The fence. Until this transaction ends nobody else can append or take over, and after a takeover this finds
	// no row. A mere SELECT would let a paused leader go on.
	var sealed *int64
	err := tx.QueryRow(ctx, l.sql(`UPDATE bindery.lead SET head = $1 WHERE epoch = $2 AND token = $3 AND head = $4 RETURNING sealed`),
		head, l.epoch, l.token, old).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("%w: another took over, or the database was replaced by an older copy of it", repository.ErrFenced)
	}
	if err != nil {
		return "", err
	}
	for _, r := range records {
		if err := l.writeOne(ctx, tx, r, &sealed); err != nil {
			return "", fmt.Errorf("%s record of generation %d: %w", r.Kind(), r.Generation, err)
		}
	}
	return head, nil
}

// writeOne writes a record and gives it its effect. sealed is the number of the seal that has no commit, or nil.
func (l *lead) writeOne(ctx context.Context, tx pgx.Tx, r ledger.Record, sealed **int64) error {
	if r.Kind() == ledger.KindSeal && *sealed != nil {
		return errors.New("the seal before it has no commit")
	}
	if r.Kind() == ledger.KindCheckpoint && *sealed != nil {
		if err := l.giveUp(ctx, tx, **sealed); err != nil {
			return err
		}
		*sealed = nil
	}
	// Numbers of entries that this record decides are lower: those were committed before.
	var seq int64
	err := tx.QueryRow(ctx, l.sql(`INSERT INTO bindery.record (seq, kind, generation, epoch, time, hash, bytes)
		VALUES (nextval('bindery.queue_place_seq'), $1, $2, $3, $4, $5, $6) RETURNING seq`),
		string(r.Kind()), r.Generation, r.Epoch, r.Time, r.Hash(), r.Bytes()).Scan(&seq)
	if err != nil {
		return err
	}
	if err := l.decide(ctx, tx, seq, r.Outcomes()); err != nil {
		return err
	}
	switch r.Kind() {
	case ledger.KindSeal:
		*sealed = &seq
		_, err = tx.Exec(ctx, l.sql(`UPDATE bindery.lead SET sealed = $1`), seq)
	case ledger.KindCommit:
		*sealed = nil
		_, err = tx.Exec(ctx, l.sql(`UPDATE bindery.lead SET sealed = NULL, moment = moment + 1`))
	case ledger.KindDecided:
		_, err = tx.Exec(ctx, l.sql(`UPDATE bindery.lead SET moment = moment + 1`))
	case ledger.KindCheckpoint:
		_, err = tx.Exec(ctx, l.sql(`UPDATE bindery.lead SET sealed = NULL, checkpoint = $1`), seq)
	}
	return err
}

// decide takes exactly the entries named from the queue.
func (l *lead) decide(ctx context.Context, tx pgx.Tx, record int64, outcomes []ledger.ItemOutcome) error {
	n := len(outcomes)
	if n == 0 {
		return nil
	}
	ids, states, reasons := make([]string, n), make([]string, n), make([]string, n)
	digests, means, generations := make([][]byte, n), make([][]byte, n), make([]int64, n)
	for i, o := range outcomes {
		ids[i], states[i], reasons[i], generations[i] = o.ID, string(o.State), o.Reason, o.Generation
		var err error
		if digests[i], err = hex.DecodeString(o.Digest); err != nil {
			return fmt.Errorf("item %q: digest: %w", o.ID, err)
		}
		if o.Means != "" {
			if means[i], err = hex.DecodeString(o.Means); err != nil {
				return fmt.Errorf("item %q: meaning: %w", o.ID, err)
			}
		}
	}
	tag, err := tx.Exec(ctx, l.sql(`WITH
		o AS (SELECT * FROM unnest($2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::bigint[], $7::text[]) WITH ORDINALITY
			AS o (id, digest, means, state, generation, reason, nth)),
		taken AS (DELETE FROM bindery.queue q USING o WHERE q.id = o.id AND q.digest = o.digest
			RETURNING q.id, o.nth, coalesce(q.origin, q.place) AS seq, q.place, q."by", q.item, q.digest, o.means, q.accepted, o.state, o.generation, o.reason)
		INSERT INTO bindery.decided (id, record, nth, seq, place, "by", item, digest, means, accepted, state, generation, reason)
		SELECT id, $1, nth, seq, place, "by", item, digest, means, accepted, state, generation, reason FROM taken ORDER BY seq`),
		record, ids, digests, means, states, generations, reasons)
	if err != nil {
		return err
	}
	if tag.RowsAffected() == int64(n) {
		return nil
	}
	return l.undecidable(ctx, tx, outcomes)
}

// undecidable says why one of the outcomes can't be written. The transaction has written the others.
func (l *lead) undecidable(ctx context.Context, tx pgx.Tx, outcomes []ledger.ItemOutcome) error {
	ids := make([]string, len(outcomes))
	for i, o := range outcomes {
		ids[i] = o.ID
	}
	type row struct {
		digest []byte
		queued bool
		state  string
	}
	rows, _ := tx.Query(ctx, l.sql(`SELECT id, digest, queued, state FROM bindery.outcomes WHERE id = ANY($1)`), ids)
	known := map[string]row{}
	var id string
	var found row
	if _, err := pgx.ForEachRow(rows, []any{&id, &found.digest, &found.queued, &found.state}, func() error {
		known[id] = found
		return nil
	}); err != nil {
		return err
	}
	for _, o := range outcomes {
		have, ok := known[o.ID]
		if !ok {
			return fmt.Errorf("item %q: %w", o.ID, repository.ErrUnknownItem)
		}
		if d := hex.EncodeToString(have.digest); have.queued {
			return fmt.Errorf("item %q: the digest %.12s isn't that of the entry, %.12s", o.ID, o.Digest, d)
		}
	}
	return errors.New("another record decided one of its items")
}

// giveUp makes the entries of a seal pending again, in its order, before all others.
func (l *lead) giveUp(ctx context.Context, tx pgx.Tx, seal int64) error {
	_, err := tx.Exec(ctx, l.sql(`WITH
		first AS (SELECT least(0, min(place)) AS place FROM bindery.queue),
		back AS (DELETE FROM bindery.decided WHERE record = $1 RETURNING *)
		INSERT INTO bindery.queue (place, id, "by", item, accepted, origin) OVERRIDING SYSTEM VALUE
		SELECT coalesce(first.place, 0) - count(*) OVER () + row_number() OVER (ORDER BY nth) - 1, id, "by", item, accepted, seq FROM back, first`), seal)
	return err
}
