package pgjournal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// lead implements repository.Lead.
type lead struct {
	*Journal
	epoch int64
	token string
	stop  context.CancelFunc // ends the renewals

	mu       sync.Mutex
	head     string // hash of the newest record
	read     bool   // whether the history was consumed
	ended    error  // why the lead can't be used any more, or nil
	released bool
	hint     int64 // see from
	probed   time.Time
	probing  time.Duration

	appending sync.Mutex
}

func holder() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// leased is true of the lease's row while it lasts. A clock that was set back doesn't make it last longer than
// twice its length.
const leased = `clock_timestamp() BETWEEN renewed - length AND renewed + length`

// Lead implements repository.Journal. A lead lasts until it is released, its handle is closed, or its leader is
// silent for Config.Lease.
func (j *Journal) Lead(ctx context.Context) (repository.Lead, int64, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("lead: %w", err)
	}
	defer leave()
	l, err := j.takeOver(own)
	for code(err) == lockNotAvailable && own.Err() == nil {
		// The last leader stopped inside a transaction: its lease is over, or nothing would have been locked.
		if err = j.terminate(own); err == nil {
			l, err = j.takeOver(own)
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("lead: %w", j.failed(ctx, err))
	}
	j.touch()
	j.mu.Lock()
	j.lead = l
	j.mu.Unlock()
	renewing, stop := context.WithCancel(j.ctx)
	l.stop = stop
	go l.renew(renewing)
	return l, l.epoch, nil
}

// takeOver makes this handle the leader. Once it has committed, no record of an earlier epoch can be appended. So
// what is read after that is all there is of them.
func (j *Journal) takeOver(ctx context.Context) (*lead, error) {
	// This decides nothing. It saves the database a lock.
	if err := j.vacant(ctx); err != nil {
		return nil, err
	}
	tx, err := j.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer rollback(ctx, tx)
	l := &lead{Journal: j, token: rand.Text(), hint: math.MinInt64}
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = 1000`); err != nil {
		return nil, err
	}
	tag, err := tx.Exec(ctx, j.sql(`UPDATE bindery.lease SET token = $1, holder = $2, renewed = clock_timestamp(), length = $3 WHERE NOT (`+leased+`)`),
		l.token, j.cfg.Holder, j.cfg.Lease)
	if err != nil {
		return nil, err
	}
	if tag.RowsAffected() == 0 {
		return nil, fmt.Errorf("%w: another process was faster", repository.ErrLocked)
	}
	// This waits for an append under way.
	err = tx.QueryRow(ctx, j.sql(`UPDATE bindery.lead SET epoch = epoch + 1, token = $1 RETURNING epoch, head`), l.token).Scan(&l.epoch, &l.head)
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err // if it had an effect, then nobody leads until the lease ends
	}
	return l, nil
}

// vacant returns an error that wraps ErrLocked while another process leads.
func (j *Journal) vacant(ctx context.Context) error {
	var held bool
	var holder string
	var left time.Duration
	err := j.pool.QueryRow(ctx, j.sql(`SELECT `+leased+`, holder, CASE WHEN renewed > '-infinity' THEN renewed + length - clock_timestamp() ELSE '0' END FROM bindery.lease`)).
		Scan(&held, &holder, &left)
	if err == nil && held {
		err = fmt.Errorf("%w: %s leads, and has done so for certain until %v from now", repository.ErrLocked, holder, left.Round(time.Millisecond))
	}
	return err
}

// terminate ends the session that holds the lock on the fence, which takeOver could not get. Its transaction is
// rolled back.
func (j *Journal) terminate(ctx context.Context) error {
	if err := j.vacant(ctx); err != nil {
		return err
	}
	n := 0
	err := j.pool.QueryRow(ctx, j.sql(`SELECT count(*) FROM (
		SELECT pg_terminate_backend(l.pid) FROM pg_locks l
		WHERE l.locktype = 'transactionid' AND l.granted AND l.pid <> pg_backend_pid()
		  AND (l.transactionid IN (SELECT xmax FROM bindery.lead) OR l.transactionid IN (SELECT xmax FROM bindery.lease))) s`)).Scan(&n)
	if err == nil && n > 0 {
		j.cfg.Logger.Warn("the last leader stopped inside a transaction: its session was ended")
	}
	return err
}

// renew extends the lease until the lead ends. An append that takes long doesn't hold it up: the lease has a row of
// its own.
func (l *lead) renew(ctx context.Context) {
	for sleep(ctx, l.cfg.Lease/3) {
		limited, cancel := context.WithTimeout(ctx, l.cfg.Lease)
		tag, err := l.pool.Exec(limited, l.sql(`UPDATE bindery.lease SET renewed = clock_timestamp() WHERE token = $1`), l.token)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.cfg.Logger.Warn("the lease of the lead can't be renewed", "err", explain(err, l.cfg.Schema))
		case tag.RowsAffected() == 0:
			return // another leads, as the next call finds out
		}
	}
}

// expire ends the lease.
func (l *lead) expire(ctx context.Context) error {
	if l.stop != nil {
		l.stop()
	}
	tag, err := l.pool.Exec(ctx, l.sql(`UPDATE bindery.lease SET renewed = '-infinity' WHERE token = $1`), l.token)
	if err == nil && tag.RowsAffected() == 0 {
		err = repository.ErrFenced
	}
	return err
}

// Release implements repository.Lead.
func (l *lead) Release(ctx context.Context) error {
	l.mu.Lock()
	released := l.released
	l.mu.Unlock()
	if released || l.ctx.Err() != nil {
		return nil
	}
	own, leave, err := l.enter(ctx)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	defer leave()
	if err := l.expire(own); err != nil {
		return fmt.Errorf("release: %w", l.failed(ctx, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released = true
	if l.ended == nil {
		l.ended = fmt.Errorf("%w: the lead was released", repository.ErrClosed)
	}
	return nil
}

// fence is what decides whether the lead can still be used. It is no lock: only an append needs one.
const fence = `SELECT epoch, token FROM bindery.lead`

// check says why a lead can't be used, given the fence's row.
func (l *lead) check(epoch int64, token string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token != l.token {
		return fmt.Errorf("%w: epoch %d follows %d", repository.ErrFenced, epoch, l.epoch)
	}
	return l.ended
}

var errNotRead = errors.New("the history must be read first")

// usable says why the lead can't be used. If it may be, and its history was not read, ready says so.
func (l *lead) usable(ctx context.Context) error {
	var epoch int64
	var token string
	if err := l.pool.QueryRow(ctx, l.sql(fence)).Scan(&epoch, &token); err != nil {
		return err
	}
	return l.check(epoch, token)
}

func (l *lead) ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.read {
		return errNotRead
	}
	return nil
}

// from is where a look at the queue begins. A transaction that is open for long, of a report for example, keeps the
// dead rows of all that was claimed since. To walk over them for each claim would take ever longer. So a claim
// begins where the last look found the oldest entry. A transaction that commits late can add an older one: therefore
// nothing is decided by this, and the queue is looked through from its beginning again, whenever that takes
// less than a tenth of the time.
func (l *lead) from(ctx context.Context) (int64, error) {
	l.mu.Lock()
	hint, due := l.hint, time.Since(l.probed) >= 10*l.probing
	l.mu.Unlock()
	if !due {
		return hint, nil
	}
	begun := time.Now()
	oldest := hint
	err := l.pool.QueryRow(ctx, l.sql(`SELECT place FROM bindery.queue ORDER BY place LIMIT 1`)).Scan(&oldest)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, err
	}
	l.found(oldest, begun)
	return oldest, nil
}

// found notes where the oldest entry was. begun is zero if the look didn't begin at the beginning.
func (l *lead) found(oldest int64, begun time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hint = oldest
	if !begun.IsZero() {
		l.probed, l.probing = time.Now(), time.Since(begun)
	}
}

// Await implements repository.Lead. It asks the database every 50 ms within 10 seconds after something happened, and
// else once a second.
func (l *lead) Await(ctx context.Context, n int, bytes int64) error {
	own, leave, err := l.enter(ctx)
	if err != nil {
		return fmt.Errorf("await: %w", err)
	}
	defer leave()
	for {
		enough, err := l.enough(own, n, bytes)
		if err != nil {
			return fmt.Errorf("await: %w", l.failed(ctx, err))
		}
		if enough {
			l.touch()
			return nil
		}
		if !sleep(own, l.pause()) {
			return fmt.Errorf("await: %w", l.failed(ctx, own.Err()))
		}
	}
}

// enough looks at n entries at most: if there are fewer, these are all that count.
func (l *lead) enough(ctx context.Context, n int, bytes int64) (bool, error) {
	from, err := l.from(ctx)
	if err != nil {
		return false, err
	}
	var epoch, pending, size int64
	var token string
	err = l.pool.QueryRow(ctx, l.sql(`SELECT epoch, token, n, size FROM bindery.lead, (
		SELECT count(*) AS n, coalesce(sum(size), 0)::bigint AS size FROM (
			SELECT octet_length(item) AS size FROM bindery.queue WHERE place >= $1 ORDER BY place LIMIT $2) oldest) total`),
		from, max(n, 0)).Scan(&epoch, &token, &pending, &size)
	if err != nil {
		return false, err
	}
	if err := l.check(epoch, token); err != nil {
		return false, err
	}
	return pending >= int64(n) || size >= bytes, l.ready()
}

// Pending implements repository.Lead.
func (l *lead) Pending(ctx context.Context, max int, maxBytes int64) ([]ledger.Entry, error) {
	own, leave, err := l.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	defer leave()
	entries, err := l.pending(own, max, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("pending: %w", l.failed(ctx, err))
	}
	return entries, nil
}

func (l *lead) pending(ctx context.Context, max int, maxBytes int64) ([]ledger.Entry, error) {
	if err := l.usable(ctx); err != nil {
		return nil, err
	}
	if err := l.ready(); err != nil {
		return nil, err
	}
	from, err := l.from(ctx)
	if err != nil {
		return nil, err
	}
	rows, _ := l.pool.Query(ctx, l.sql(`SELECT place, id, "by", accepted, item FROM (
		SELECT place, id, "by", accepted, item, row_number() OVER w AS nth, sum(octet_length(item)) OVER w AS total
		FROM (SELECT * FROM bindery.queue WHERE place >= $1 ORDER BY place LIMIT $2) oldest
		WINDOW w AS (ORDER BY place)) counted
		WHERE nth = 1 OR total <= $3
		ORDER BY place`), from, max, maxBytes)
	var entries []ledger.Entry
	var place int64
	var e ledger.Entry
	_, err = pgx.ForEachRow(rows, []any{&place, &e.ID, &e.By, &e.Accepted, &e.Body}, func() error {
		if len(entries) == 0 {
			l.found(place, time.Time{})
		}
		e.Accepted = e.Accepted.UTC()
		entries = append(entries, e)
		e.Body = nil
		return nil
	})
	return entries, err
}
