package pgjournal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Config says where a journal is. Only Pool is needed.
type Config struct {
	// Pool says how to connect: pgxpool.ParseConfig reads it from a URL. Open makes a pool of its own from it, with at
	// least 4 connections. A publisher must connect to the primary.
	Pool *pgxpool.Config

	// Schema is the name of the schema. "" is DefaultSchema.
	Schema string

	// Lease is how long a leader that is silent keeps the lead, by the database's clock. It is renewed three times as
	// often. 0 is DefaultLease. A database that is silent for as long, or for 5 seconds if that is more, fails the call that
	// waits for it.
	Lease time.Duration

	// Remember is how long outcomes are remembered at least. 0 is RememberFor, and it can't be less. The newest 100,000 are
	// remembered in any case. So is what the history that is left needs: repository.Archive lets it begin later.
	Remember time.Duration

	// Notify wakes a publisher that is idle, and calls of Decided, by PostgreSQL's NOTIFY, on the channel with the schema's name.
	// Enqueue and Append of this handle then notify. An index does so in its transaction: SELECT pg_notify('bindery', '').
	// Without it both take up to a second to notice. Notifying transactions commit one after another, which costs an index
	// with many uploads more than it gains. It takes a connection that goes through no pooler in transaction mode.
	Notify bool

	// Holder names this process to people, in the error of another that wants the lead. "" is host name and process ID.
	Holder string

	// Logger is told what a caller can't be told. nil is slog.Default().
	Logger *slog.Logger

	silence time.Duration // 0, but for tests: see limitSilence
}

// DefaultLease is the lease if Config has none.
const DefaultLease = 10 * time.Second

// patience is how long the end of a connection or transaction is waited for.
const patience = 5 * time.Second

// The journal asks the database this often for what other processes do.
const (
	pollBusy = 50 * time.Millisecond // for a while after something happened
	pollIdle = time.Second
	busyFor  = 10 * time.Second
)

// Journal is a repository.Journal in PostgreSQL. Any number of processes may have it open. It is safe for
// concurrent use.
type Journal struct {
	cfg    Config
	schema string // quoted
	pool   *pgxpool.Pool
	ctx    context.Context // ends with the journal
	end    context.CancelFunc
	close  func() error

	silence    time.Duration // how long the database may say nothing when it is asked
	remembered int           // Remembered, but for tests
	idle       time.Duration // pollIdle, but for tests
	askFor     time.Duration // how long a commit that was not answered is asked about: the lease, but for tests

	mu      sync.Mutex
	lead    *lead // the newest that this handle took, or nil
	active  time.Time
	counted ledger.Backlog // see Backlog
	until   time.Time      // counted is good until then
	late    ledger.Backlog // rows that committed late, which counted lacks

	looksLate looks // for these
	moment    int64 // the newest that was seen
	waiting   int   // calls of Decided under way
	polling   bool
	pollErr   error
	progress  chan struct{} // closed and replaced when moment or pollErr changes
	woken     chan struct{} // closed and replaced when the database should be asked at once
}

var (
	_ repository.Journal = (*Journal)(nil)
	_ repository.Reader  = (*Journal)(nil)
)

// Open opens a journal in a schema that Migrate made. It changes nothing in the database.
//
// The error says what to do if there is no such schema, or no privilege. It wraps ErrNewer if the schema is of
// a newer version.
func Open(ctx context.Context, cfg Config) (*Journal, error) {
	j, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open journal in PostgreSQL: %w", explain(err, cfg.Schema))
	}
	return j, nil
}

func open(ctx context.Context, cfg Config) (*Journal, error) {
	if cfg.Pool == nil {
		return nil, errors.New("Config.Pool is missing: pgxpool.ParseConfig makes one from a URL")
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Lease < time.Second {
		return nil, fmt.Errorf("Config.Lease of %v: want at least a second", cfg.Lease)
	}
	if cfg.Remember == 0 {
		cfg.Remember = RememberFor
	}
	if cfg.Remember < RememberFor {
		return nil, fmt.Errorf("Config.Remember of %v: want at least %v", cfg.Remember, RememberFor)
	}
	if cfg.Holder == "" {
		cfg.Holder = holder()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	pc := cfg.Pool.Copy()
	pc.MaxConns = max(pc.MaxConns, 4)
	if cfg.Notify {
		pc.MaxConns++
	}
	silence := cmp.Or(cfg.silence, max(cfg.Lease, leastSilence))
	limitSilence(pc, silence)
	// No statement outlives its transaction, so a pooler may stand between. Results are binary.
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	countWarnings(pc)
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), pc)
	if err != nil {
		return nil, err
	}
	j := &Journal{cfg: cfg, schema: schema(cfg.Schema), pool: pool, silence: silence, looksLate: looks{part: 20}, remembered: Remembered, idle: pollIdle, askFor: cfg.Lease, progress: make(chan struct{}), woken: make(chan struct{})}
	version, fsync := 0, ""
	if err := pool.QueryRow(ctx, j.sql(`SELECT version, current_setting('fsync') FROM bindery.version`)).Scan(&version, &fsync); err != nil {
		pool.Close()
		return nil, err
	}
	switch {
	case version > Version:
		err = newerSchema(version)
	case version < Version:
		err = fmt.Errorf("the schema has version %d, and this program needs version %d: call pgjournal.Migrate", version, Version)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	if fsync != "on" {
		cfg.Logger.Warn("the database runs with fsync=off: what it acknowledges can be lost when its machine fails")
	}
	j.ctx, j.end = context.WithCancel(context.Background())
	j.close = sync.OnceValue(j.shut)
	if cfg.Notify {
		go j.listen()
	}
	return j, nil
}

// String says in which database and schema the journal is. It has no password.
func (j *Journal) String() string {
	c := j.pool.Config().ConnConfig
	return fmt.Sprintf("schema %s of database %s at %s:%d", cmp.Or(j.cfg.Schema, DefaultSchema), c.Database, c.Host, c.Port)
}

// Shared reports true: processes on several machines can use the journal. A Store that only one machine has is refused
// with it, unless repository.Config.OneMachine is set.
func (j *Journal) Shared() bool { return true }

func (j *Journal) sql(statements string) string { return in(j.schema, statements) }

// enter begins a call. Its context ends with the journal too.
func (j *Journal) enter(ctx context.Context) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if j.ctx.Err() != nil {
		return nil, nil, repository.ErrClosed
	}
	own, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(j.ctx, cancel)
	return own, func() { stop(); cancel() }, nil
}

// failed is the error of a call that began with ctx.
func (j *Journal) failed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case ctx.Err() == nil && j.ctx.Err() != nil && !errors.Is(err, repository.ErrClosed):
		return fmt.Errorf("%w: %w", repository.ErrClosed, err)
	}
	return explain(err, j.cfg.Schema)
}

// begin begins a transaction. What is set ends with it, so that a pooler may stand between.
//
// A commit is durable when it returns, whatever the role's or database's default is: see Journal.commit. The limits free what a
// process locks that stops in the middle.
func (j *Journal) begin(ctx context.Context) (pgx.Tx, error) {
	wait := j.cfg.Lease.Milliseconds()
	return j.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED;"+
		"SET LOCAL synchronous_commit = on; SET LOCAL jit = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d",
		wait/2, j.long().Milliseconds(), wait/2)})
}

// byIndex precedes a query in its batch, and ends with it. The statistics of a queue say little: they are missing, or of a time when
// it was long. By them PostgreSQL may sort bodies on disk, or compile for a second what takes a few milliseconds by the index.
const byIndex = `SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)`

// batcher is a pool or one of its connections.
type batcher interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}

// query sends a query after byIndex. The results are those of the query, and must be closed.
func (j *Journal) query(ctx context.Context, db batcher, query string, args ...any) (pgx.BatchResults, error) {
	batch := &pgx.Batch{}
	batch.Queue(byIndex)
	batch.Queue(j.sql(query), args...)
	results := db.SendBatch(ctx, batch)
	if _, err := results.Exec(); err != nil {
		results.Close()
		return nil, err
	}
	return results, nil
}

// scan reads the one row of a query, after byIndex.
func (j *Journal) scan(ctx context.Context, db batcher, query string, args []any, into ...any) error {
	results, err := j.query(ctx, db, query, args...)
	if err != nil {
		return err
	}
	defer results.Close()
	return results.QueryRow().Scan(into...)
}

// each calls f for each row of a query of one parameter, after byIndex.
func (j *Journal) each(ctx context.Context, query string, arg any, into []any, f func() error) error {
	results, err := j.query(ctx, j.pool, query, arg)
	if err != nil {
		return err
	}
	defer results.Close()
	rows, _ := results.Query()
	_, err = pgx.ForEachRow(rows, into, f)
	return err
}

// long is how long a statement may take.
func (j *Journal) long() time.Duration { return 12 * j.cfg.Lease }

// Outcomes implements repository.Queue. It takes one query.
func (j *Journal) Outcomes(ctx context.Context, ids ...string) ([]ledger.Outcome, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("outcomes: %w", err)
	}
	defer leave()
	found := map[string]ledger.Outcome{}
	if len(ids) > 0 {
		var id, state string
		var o ledger.Outcome
		err = j.each(own, `SELECT id, state, generation, reason FROM bindery.outcomes WHERE id = ANY($1)`, ids, []any{&id, &state, &o.Generation, &o.Reason}, func() error {
			o.State = ledger.ItemState(state)
			found[id] = o
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("outcomes: %w", j.failed(ctx, err))
		}
	}
	outcomes := make([]ledger.Outcome, len(ids))
	for i, id := range ids {
		outcomes[i] = found[id]
	}
	return outcomes, nil
}

// A long queue takes long to count, all the more beside a transaction that keeps dead rows. Then it is
// counted at most a tenth of the time.
const slowCount = 100 * time.Millisecond

// Backlog implements repository.Queue. It counts the queue's rows. If that takes more than 100 ms, the result is
// up to ten times as old as that took, but not older than this handle's newest Enqueue or Append. A row whose transaction
// committed late is looked for between all that is remembered, for at most a twentieth of the time.
func (j *Journal) Backlog(ctx context.Context) (ledger.Backlog, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return ledger.Backlog{}, fmt.Errorf("backlog: %w", err)
	}
	defer leave()
	j.mu.Lock()
	b, good := j.counted, time.Now().Before(j.until)
	due, slow := j.looksLate.due(time.Now())
	j.mu.Unlock()
	switch {
	case due && slow:
		go j.countLate(j.ctx)
	case due:
		if err := j.countLate(own); err != nil {
			return ledger.Backlog{}, fmt.Errorf("backlog: %w", j.failed(ctx, err))
		}
	}
	begun := time.Now()
	if !good {
		if b, err = j.count(own, "backlog_recent"); err != nil {
			return ledger.Backlog{}, fmt.Errorf("backlog: %w", j.failed(ctx, err))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if took := time.Since(begun); !good && took > slowCount {
		j.counted, j.until = b, time.Now().Add(10*took)
	}
	b.Pending += j.late.Pending
	b.Bytes += j.late.Bytes
	if at := j.late.Oldest; !at.IsZero() && (b.Oldest.IsZero() || at.Before(b.Oldest)) {
		b.Oldest = at
	}
	return b, nil
}

// count reads one of the views of the backlog.
func (j *Journal) count(ctx context.Context, view string) (b ledger.Backlog, err error) {
	var oldest *time.Time
	err = j.scan(ctx, j.pool, `SELECT pending, bytes, oldest FROM bindery.`+view, nil, &b.Pending, &b.Bytes, &oldest)
	if oldest != nil {
		b.Oldest = oldest.UTC()
	}
	return b, err
}

// countLate counts the pending rows that are before the place where counting usually begins.
func (j *Journal) countLate(ctx context.Context) error {
	begun := time.Now()
	late, err := j.count(ctx, "backlog_late")
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	j.looksLate.done, j.looksLate.took, j.looksLate.looking = now, now.Sub(begun), false
	if err == nil {
		j.late = late
	}
	return err
}

// touch notes that something happened: the database is asked more often for a while.
func (j *Journal) touch() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active, j.until = time.Now(), time.Time{}
}

// rest waits until the database is to be asked again. It reports false if the context ended first.
func (j *Journal) rest(ctx context.Context) bool {
	j.mu.Lock()
	d, woken := j.idle, j.woken
	if time.Since(j.active) < busyFor {
		d = pollBusy
	}
	j.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-woken:
	case <-ctx.Done():
		return false
	}
	return true
}

// wake ends every rest.
func (j *Journal) wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.active = time.Now()
	close(j.woken)
	j.woken = make(chan struct{})
}

// listen wakes this process at each notification.
func (j *Journal) listen() {
	for {
		err := j.listenOnce()
		if j.ctx.Err() != nil {
			return
		}
		j.cfg.Logger.Warn("notifications of the database are missed for a while", "err", err)
		if !sleep(j.ctx, pollIdle) {
			return
		}
	}
}

func (j *Journal) listenOnce() error {
	pooled, err := j.pool.Acquire(j.ctx)
	if err != nil {
		return err
	}
	conn := pooled.Hijack() // nobody else is to have it
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn.Close(ctx)
	}()
	if _, err := conn.Exec(j.ctx, "LISTEN "+j.schema); err != nil {
		return err
	}
	for {
		j.wake() // for what came before the LISTEN
		waiting, cancel := context.WithTimeout(j.ctx, j.silence/2)
		_, err := conn.WaitForNotification(waiting)
		cancel()
		if err != nil && j.ctx.Err() == nil && pgconn.Timeout(err) { // is it there?
			err = conn.Ping(j.ctx)
		}
		if err != nil {
			return err
		}
	}
}

// notify is a part of a transaction after which others are to look at once.
func (j *Journal) notify(ctx context.Context, tx pgx.Tx) error {
	if !j.cfg.Notify {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT pg_notify($1, '')`, cmp.Or(j.cfg.Schema, DefaultSchema))
	return err
}

// Decided implements repository.Queue. A moment passes with every commit and every decided record, of any process.
// All calls of a handle share one query: every 50 ms within 10 seconds after something happened, and else once a
// second.
func (j *Journal) Decided(ctx context.Context, seen int64) (int64, error) {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("wait for outcomes: %w", err)
	}
	defer leave()
	j.mu.Lock()
	fresh := j.waiting > 0 // whether somebody asks the database all the time
	j.waiting++
	if !j.polling {
		j.polling = true
		go j.poll()
	}
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.waiting--
	}()
	if !fresh {
		if err := j.ask(own); err != nil {
			return 0, fmt.Errorf("wait for outcomes: %w", j.failed(ctx, err))
		}
	}
	for {
		j.mu.Lock()
		now, err, progress := j.moment, j.pollErr, j.progress
		j.mu.Unlock()
		switch {
		case now != seen && now != 0:
			return now, nil
		case own.Err() != nil:
			return 0, fmt.Errorf("wait for outcomes: %w", j.failed(ctx, own.Err()))
		case err != nil:
			return 0, fmt.Errorf("wait for outcomes: %w", j.failed(ctx, err))
		}
		select {
		case <-progress:
		case <-own.Done():
		}
	}
}

// poll asks for the moment as long as a Decided waits.
func (j *Journal) poll() {
	for j.rest(j.ctx) {
		j.mu.Lock()
		if j.waiting == 0 {
			j.polling = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		j.ask(j.ctx)
	}
}

// ask learns the present moment.
func (j *Journal) ask(ctx context.Context) error {
	var moment int64
	err := j.pool.QueryRow(ctx, j.sql(`SELECT moment FROM bindery.progress`)).Scan(&moment)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && moment == j.moment && j.pollErr == nil {
		return nil
	}
	if err == nil && moment != j.moment {
		j.moment, j.active = moment, time.Now()
	}
	if j.pollErr = err; ctx.Err() != nil {
		j.pollErr = nil // it says nothing to others
	}
	close(j.progress)
	j.progress = make(chan struct{})
	return err
}

// sleep reports false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Close implements repository.Journal. It waits up to 5 seconds for the database to end the lease.
func (j *Journal) Close() error { return j.close() }

func (j *Journal) shut() error {
	j.end()
	j.mu.Lock()
	l := j.lead
	j.mu.Unlock()
	var err error
	if l != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		// Whoever took over meanwhile has nothing to fear from this process.
		if err = l.expire(ctx); errors.Is(err, repository.ErrFenced) {
			err = nil
		}
		if err != nil {
			err = fmt.Errorf("close journal in PostgreSQL: the lease of up to %v stays: %w", j.cfg.Lease, err)
		}
	}
	closed := make(chan struct{})
	go func() {
		j.pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience): // a caller still has rows to read
	}
	return err
}
