package pgjournal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

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
	known    map[string]placed // the entries that Pending returned and that are pending
	front    bool              // whether there are entries that were given up: these come first
	seen     sightings

	appending sync.Mutex
}

// placed is where an entry is in the queue.
type placed struct {
	place  int64
	digest [32]byte
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
	for try := 0; code(err) == lockNotAvailable && own.Err() == nil && try < takeOverTries; try++ {
		// The last leader stopped inside a transaction: its lease is over, or nothing would have been locked.
		if err = j.terminate(own); err == nil {
			l, err = j.takeOver(own)
		}
	}
	if err != nil {
		return nil, 0, fmt.Errorf("lead: %w", j.failed(ctx, err))
	}
	j.touch()
	renewing, stop := context.WithCancel(j.ctx)
	l.stop = stop
	j.mu.Lock()
	j.lead = l
	j.mu.Unlock()
	go l.renew(renewing)
	go l.pruneAgain(renewing)
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
	l, err := j.seize(ctx, tx)
	if err != nil {
		return nil, err
	}
	if err := j.commit(ctx, tx); err != nil {
		// If it had an effect all the same, nobody leads: others needn't wait for the end of the lease.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		l.expire(ctx)
		return nil, err
	}
	return l, nil
}

// seize does all of a takeover but its commit.
func (j *Journal) seize(ctx context.Context, tx pgx.Tx) (*lead, error) {
	l := &lead{Journal: j, token: rand.Text(), seen: newSightings(), known: map[string]placed{}}
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
	var oldest int64
	err = tx.QueryRow(ctx, j.sql(`UPDATE bindery.lead SET epoch = epoch + 1, token = $1 RETURNING epoch, head, oldest`), l.token).Scan(&l.epoch, &l.head, &oldest)
	l.seen.add(time.Now(), oldest) // of the last leader's last seconds
	return l, err
}

// Vacant returns nil if Lead may succeed, and an error that wraps repository.ErrLocked while another process leads. It is
// one query of one row, on a connection that stays open: a standby asks it rather than to try. It is
// service.Config.Vacant.
func (j *Journal) Vacant(ctx context.Context) error {
	own, leave, err := j.enter(ctx)
	if err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	defer leave()
	if err := j.vacant(own); err != nil {
		return fmt.Errorf("lead: %w", j.failed(ctx, err))
	}
	return nil
}

// vacant returns an error that wraps ErrLocked while another process leads.
func (j *Journal) vacant(ctx context.Context) error {
	var held bool
	var holder string
	var left time.Duration
	err := j.pool.QueryRow(ctx, j.sql(`SELECT `+leased+`, holder, CASE WHEN renewed > '-infinity' THEN renewed + length - clock_timestamp() ELSE '0' END FROM bindery.lease`)).
		Scan(&held, &holder, &left)
	if err == nil && held {
		err = fmt.Errorf("%w: %s leads. Its lease ends in %v unless it renews it", repository.ErrLocked, holder, left.Round(time.Millisecond))
	}
	return err
}

// takeOverTries is how often a takeover is tried that finds the fence locked. Each takes a second.
const takeOverTries = 5

// terminate ends the session that holds the lock on the fence, which takeOver could not get. Its transaction is
// rolled back. It fails if the lock is one on the whole table, as no leader has, or if this role may not end that session.
func (j *Journal) terminate(ctx context.Context) error {
	if err := j.vacant(ctx); err != nil {
		return err
	}
	const held = `FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted AND l.pid <> pg_backend_pid() AND `
	var pid int
	var role, program string
	const tables = held + `l.locktype = 'relation' AND l.relation IN (SELECT to_regclass(name) FROM unnest($1::text[]) name)
		AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') LIMIT 1`
	const who = `SELECT l.pid, coalesce(a.usename, ''), coalesce(a.application_name, '') `
	err := j.pool.QueryRow(ctx, who+tables, []string{j.schema + ".lead", j.schema + ".lease"}).Scan(&pid, &role, &program)
	if err == nil {
		return fmt.Errorf("a lock on the table lead or lease is held by the session %d (role %q, program %q): end its transaction", pid, role, program)
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	const rows = held + `l.locktype = 'transactionid' AND (l.transactionid IN (SELECT xmax FROM bindery.lead) OR l.transactionid IN (SELECT xmax FROM bindery.lease)) LIMIT 1`
	err = j.pool.QueryRow(ctx, j.sql(who+rows)).Scan(&pid, &role, &program)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it has ended
	}
	if err != nil {
		return err
	}
	_, err = j.pool.Exec(ctx, `SELECT pg_terminate_backend($1)`, pid)
	if code(err) == insufficientPrivilege {
		return fmt.Errorf("the lock of the lead is held by the session %d (role %q, program %q), and this role may not end it. If it is the last leader's, which stopped inside a transaction, give publisher and standby the same database role, or this one pg_signal_backend; otherwise end its transaction (%v)", pid, role, program, err)
	}
	if err == nil {
		j.cfg.Logger.Warn("the last leader stopped inside a transaction: its session was ended", "session", pid, "role", role, "program", program)
	}
	return err
}

// renew extends the lease until the lead ends. An append that takes long doesn't hold it up: the lease has a row of
// its own. A leader that could not renew it for its whole length gives up: another may lead, and people should learn
// that this one can't reach the database.
func (l *lead) renew(ctx context.Context) {
	for renewed := time.Now(); sleep(ctx, l.cfg.Lease/3); {
		limited, cancel := context.WithTimeout(ctx, l.cfg.Lease)
		held, err := l.updateLease(limited, `UPDATE bindery.lease SET renewed = clock_timestamp() WHERE token = $1`)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.cfg.Logger.Warn("the lease of the lead can't be renewed", "err", explain(err, l.cfg.Schema))
			if since := time.Since(renewed); since >= l.cfg.Lease {
				l.giveOver(fmt.Errorf("%w: the lease of %v was over before it could be renewed, and another process may lead: %v",
					repository.ErrClosed, l.cfg.Lease, explain(err, l.cfg.Schema)))
				l.stop()
				return
			}
		case !held:
			l.stop() // another leads, as the next call finds out
			return
		default:
			renewed = time.Now()
		}
	}
}

// updateLease changes the lease if it is still this leader's, and reports whether it is. It doesn't wait for a synchronous replica,
// unlike all else: the lease decides nothing but who tries to take over. So a replica that is away holds up the appends, and costs
// nobody the lead.
func (l *lead) updateLease(ctx context.Context, update string) (held bool, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('synchronous_commit', 'local', true)`)
	batch.Queue(l.sql(update), l.token)
	results := l.pool.SendBatch(ctx, batch)
	if _, err = results.Exec(); err == nil {
		var tag pgconn.CommandTag
		tag, err = results.Exec()
		held = tag.RowsAffected() > 0
	}
	if closed := results.Close(); err == nil { // it commits
		err = closed
	}
	return held, err
}

// giveOver ends the use of the lead, for a reason that wraps ErrClosed.
func (l *lead) giveOver(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = reason
	}
}

// failed is Journal.failed. If the lead was given up, it says so.
func (l *lead) failed(ctx context.Context, err error) error {
	err = l.Journal.failed(ctx, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || l.ended == nil || ctx.Err() != nil || errors.Is(err, repository.ErrFenced) || errors.Is(err, repository.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", l.ended, err)
}

// expire ends the lease.
func (l *lead) expire(ctx context.Context) error {
	if l.stop != nil {
		l.stop()
	}
	held, err := l.updateLease(ctx, `UPDATE bindery.lease SET renewed = '-infinity' WHERE token = $1`)
	if err == nil && !held {
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

// from is where a claim begins to look. Decided entries stay in the queue as long as they are remembered, and
// dead rows as long as a transaction is open that may see them. To look into all gaps between them for each claim would take
// ever longer. So a claim begins before all places where the oldest pending entry was seen in the last seconds, or since the
// oldest transaction began that is open: an entry whose transaction commits late is found before any that was inserted after that commit, under the same lock of the
// index. What is older is looked through again for at most a twentieth of the time. So nothing is lost by where a claim
// begins.
func (l *lead) from(ctx context.Context) (from int64, front bool, err error) {
	for _, again := range []*looks{&l.seen.whole, &l.seen.recent} {
		l.mu.Lock()
		due, slow := again.due(time.Now())
		l.mu.Unlock()
		if due && slow { // a claim shouldn't wait for it
			go l.look(l.ctx, again)
			continue
		}
		if due {
			if err := l.look(ctx, again); err != nil {
				return 0, false, err
			}
			if again == &l.seen.whole {
				break // it saw the recent ones too
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen.lowest(), l.front, nil
}

// look looks for the oldest pending entry. If there is none, the next claim begins after all that is decided.
func (l *lead) look(ctx context.Context, again *looks) error {
	begun := time.Now()
	start := int64(math.MinInt64)
	l.mu.Lock()
	if again == &l.seen.recent {
		start = l.seen.lowest()
	}
	patience := max(l.silence, 10*again.took) // the next try has more
	l.mu.Unlock()
	var place *int64
	var now snapshot
	err := l.patiently(ctx, patience, func(conn *pgxpool.Conn) error {
		return l.scan(ctx, conn, `SELECT coalesce((SELECT min(place) FROM (`+candidates+`) q), (SELECT max(place) + 1 FROM bindery.queue)), `+snapshotOf,
			[]any{start, 1}, &place, &now.xmin, &now.xmax)
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Now()
	again.done, again.took, again.looking = at, at.Sub(begun), false
	if err != nil {
		return err
	}
	l.seen.took(now)
	if place != nil {
		l.seen.add(at, *place)
	}
	return nil
}

// sightings are the places where the oldest pending entry was seen lately. The zero value is none.
type sightings struct {
	places        []sighting // the first is the newest that is old enough, or the first of all
	newest        snapshot
	recent, whole looks
}

func newSightings() sightings { return sightings{recent: looks{part: 10}, whole: looks{part: 20}} }

// sighting is a place before which no entry was pending. What is inserted after that has a higher place, and what was inserted before
// and isn't committed yet is of a transaction below xmax.
type sighting struct {
	at    time.Time
	place int64
	xmax  int64
}

// snapshot says which transactions had ended: all below xmin, and none from xmax on.
type snapshot struct{ xmin, xmax int64 }

// snapshotOf are the columns of a snapshot, that of the query itself.
const snapshotOf = `pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint`

// A sighting is kept for lately, and then until all transactions have ended that were open at its time, but not longer than longest:
// any transaction that stays open in any database of the server keeps it, and a claim looks into all gaps since then. A
// transaction is numbered when it first writes, and if that is the INSERT of an entry, an instant after its place was taken: lately
// is far longer than that. So for longest a transaction may be open after an INSERT without its row being found later than others.
const (
	lately  = 5 * time.Second
	longest = 10 * time.Minute
)

// slowLook is how long a look may take for which a claim waits.
const slowLook = 3 * time.Millisecond

// looks says when a look is made again.
type looks struct {
	part    int // of the time that may be spent: one in so many
	done    time.Time
	took    time.Duration
	looking bool
}

// due reports whether it is time to look again, and whether that takes long. If it is time, the caller looks.
func (s *looks) due(now time.Time) (due, slow bool) {
	if s.looking || now.Sub(s.done) < time.Duration(s.part-1)*s.took {
		return false, false
	}
	s.looking = true
	return true, s.took > slowLook
}

// took notes a snapshot in which the journal was read. A number that has ended stays so, and one that was open may have ended
// since: the highest is right for what was read before it.
func (s *sightings) took(n snapshot) {
	s.newest = snapshot{max(s.newest.xmin, n.xmin), max(s.newest.xmax, n.xmax)}
}

// add notes a place that was seen in the newest snapshot, or in one before it.
func (s *sightings) add(at time.Time, place int64) {
	if n := len(s.places); n > 0 && s.places[n-1].place == place {
		return
	}
	s.places = append(s.places, sighting{at, place, s.newest.xmax})
	for len(s.places) > 1 {
		next := s.places[1]
		if age := at.Sub(next.at); age < lately || age < longest && next.xmax > s.newest.xmin {
			return
		}
		s.places = s.places[1:]
	}
}

// last returns the newest of the places.
func (s *sightings) last() int64 {
	if len(s.places) == 0 {
		return math.MinInt64
	}
	return s.places[len(s.places)-1].place
}

// lowest returns the lowest of the places.
func (s *sightings) lowest() int64 {
	lowest := s.last()
	for _, p := range s.places {
		lowest = min(lowest, p.place)
	}
	return lowest
}

// candidates selects pending entries from the place $1 on, in no order. Among them are the $2 oldest. It has at most as
// many again: those between the runs that were decided, and those after them, where most are. It reads both by the index,
// and nothing that is decided. A plan that sorts entries with their bodies takes several times as long.
const candidates = `(SELECT q.* FROM (
		SELECT coalesce(lag(last) OVER (ORDER BY last) + 1, $1) AS first, first - 1 AS last FROM bindery.decided WHERE last >= $1) gap
	CROSS JOIN LATERAL (SELECT * FROM bindery.queue WHERE place BETWEEN gap.first AND gap.last ORDER BY place LIMIT $2) q
	WHERE gap.first <= gap.last ORDER BY q.place LIMIT $2)
	UNION ALL
	(SELECT * FROM bindery.queue WHERE place >= coalesce((SELECT max(last) + 1 FROM bindery.decided WHERE last >= $1), $1) ORDER BY place LIMIT $2)`

// ranked has the rank too, by which entries that were given up come first.
func ranked(front bool) string {
	if !front {
		return `SELECT *, place AS rank FROM (` + candidates + `) q`
	}
	return `SELECT *, place AS rank FROM (` + candidates + `) q WHERE NOT EXISTS (SELECT FROM bindery.given_up g WHERE g.place = q.place)
		UNION ALL
		SELECT q.*, g.rank FROM bindery.given_up g JOIN bindery.queue q ON q.place = g.place WHERE NOT ` + met("g.place", "g.place")
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
		if !l.rest(own) {
			return fmt.Errorf("await: %w", l.failed(ctx, own.Err()))
		}
	}
}

// enough looks at the n oldest entries, or somewhat more: if there are fewer, these are all that count.
func (l *lead) enough(ctx context.Context, n int, bytes int64) (bool, error) {
	from, front, err := l.from(ctx)
	if err != nil {
		return false, err
	}
	pending, size, err := l.count(ctx, ranked(front), from, n)
	return pending >= int64(n) || size >= bytes, err
}

// count returns how many entries a query selects, and how many bytes their bodies have. It fails if the lead can't be
// used.
func (l *lead) count(ctx context.Context, query string, from int64, n int) (pending, size int64, err error) {
	var epoch int64
	var token string
	err = l.scan(ctx, l.pool, `SELECT epoch, token, n, size FROM bindery.lead,
		(SELECT count(*) AS n, coalesce(sum(octet_length(item)), 0)::bigint AS size FROM (`+query+`) q) total`,
		[]any{from, max(n, 0)}, &epoch, &token, &pending, &size)
	if err == nil {
		err = l.check(epoch, token)
	}
	if err == nil {
		err = l.ready()
	}
	return pending, size, err
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

func (l *lead) pending(ctx context.Context, most int, maxBytes int64) ([]ledger.Entry, error) {
	from, front, err := l.from(ctx)
	if err != nil {
		return nil, err
	}
	query := ranked(front)
	if maxBytes/ledger.MaxBody < int64(most) { // else no sum can be too large
		_, size, err := l.count(ctx, query, from, most)
		if err != nil {
			return nil, err
		}
		if size > maxBytes { // the database counts, so that no more is sent than asked for
			query = `SELECT * FROM (
				SELECT *, row_number() OVER w AS n, sum(octet_length(item)) OVER w AS total
				FROM (` + query + `) q WINDOW w AS (ORDER BY rank ROWS UNBOUNDED PRECEDING)) counted
				WHERE n = 1 OR total <= ` + fmt.Sprint(maxBytes)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(byIndex)
	batch.Queue(l.sql(fence))
	batch.Queue(l.sql(`SELECT place, id, "by", accepted, item, digest, rank FROM (`+query+`) q`), from, most)
	batch.Queue(`SELECT ` + snapshotOf) // later than what was read
	results := l.pool.SendBatch(ctx, batch)
	defer results.Close()
	var epoch int64
	var token string
	if _, err := results.Exec(); err != nil {
		return nil, err
	}
	if err := results.QueryRow().Scan(&epoch, &token); err != nil {
		return nil, err
	}
	if err := l.check(epoch, token); err != nil {
		return nil, err
	}
	if err := l.ready(); err != nil {
		return nil, err
	}
	rows, _ := results.Query()
	c := newClaim(min(max(most, 0), 10_000))
	var e ledger.Entry
	var digest []byte
	var place, rank, size int64
	ordered, full := true, false
	_, err = pgx.ForEachRow(rows, []any{&place, &e.ID, &e.By, &e.Accepted, &e.Body, &digest, &rank}, func() error {
		size += int64(len(e.Body))
		if n := len(c.ranks); n > 0 {
			full = full || size > maxBytes
			after := rank > c.ranks[n-1]
			if full && after {
				return nil // more came meanwhile, and it needn't be kept
			}
			ordered = ordered && after
		}
		e.Accepted = e.Accepted.UTC()
		c.entries, c.places, c.ranks = append(c.entries, e), append(c.places, placed{place, [32]byte(digest)}), append(c.ranks, rank)
		e.Body = nil
		return nil
	})
	var now snapshot
	if err == nil {
		err = results.QueryRow().Scan(&now.xmin, &now.xmax)
	}
	if err != nil {
		return nil, err
	}
	if !ordered { // SQL promises no order, though it costs nothing to have one
		sort.Sort(c)
	}
	n, lowest := 0, int64(math.MaxInt64)
	known := make(map[string]placed, min(len(c.entries), most))
	for ; n < min(len(c.entries), most); n++ {
		if maxBytes -= int64(len(c.entries[n].Body)); maxBytes < 0 && n > 0 {
			break
		}
		known[c.entries[n].ID] = c.places[n]
		lowest = min(lowest, c.places[n].place)
	}
	entries := c.entries[:n:n]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known = known
	l.seen.took(now)
	if !front && len(entries) > 0 {
		l.seen.add(time.Now(), lowest)
	}
	return entries, nil
}

// claim has entries, where they are, and by what they are ordered.
type claim struct {
	entries []ledger.Entry
	places  []placed
	ranks   []int64
}

func newClaim(n int) *claim {
	return &claim{make([]ledger.Entry, 0, n), make([]placed, 0, n), make([]int64, 0, n)}
}

func (c *claim) Len() int           { return len(c.entries) }
func (c *claim) Less(i, j int) bool { return c.ranks[i] < c.ranks[j] }
func (c *claim) Swap(i, j int) {
	c.entries[i], c.entries[j] = c.entries[j], c.entries[i]
	c.places[i], c.places[j] = c.places[j], c.places[i]
	c.ranks[i], c.ranks[j] = c.ranks[j], c.ranks[i]
}
