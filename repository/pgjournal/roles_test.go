package pgjournal

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

var sites atomic.Int64

// site is a database with the schema and the two roles.
type site struct {
	admin, index, publisher string // URLs
}

func newSite(t testing.TB) site {
	t.Helper()
	admin, _ := pgtest.Database(t)
	n := sites.Add(1)
	index, publisher := fmt.Sprintf("index_%d", n), fmt.Sprintf("publisher_%d", n)
	conn := connect(t, admin)
	_, err := conn.Exec(t.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN; CREATE ROLE %s LOGIN", index, publisher))
	require.NoError(t, err)
	require.NoError(t, Migrate(t.Context(), conn, Migration{IndexRole: index, PublisherRole: publisher}))
	return site{admin, as(admin, index), as(admin, publisher)}
}

// as is a URL with another user.
func as(address, user string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.User = url.User(user)
	return u.String()
}

func opened(t testing.TB, url string) *Journal {
	t.Helper()
	j, err := Open(t.Context(), config(t, url))
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return j
}

func item(t testing.TB, id string) ledger.Entry {
	t.Helper()
	e, err := ledger.Item{ID: id, By: "ci", Add: []roles.Target{{
		Path: id + ".whl", Length: 3, Hashes: map[string]string{"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	}}}.Entry()
	require.NoError(t, err)
	return e
}

// leads takes the lead and reads its history.
func leads(t testing.TB, j *Journal) *leader {
	t.Helper()
	l, epoch, err := j.Lead(t.Context())
	require.NoError(t, err)
	led := &leader{Lead: l, epoch: epoch}
	led.load(t)
	return led
}

// leader makes records that follow one another.
type leader struct {
	repository.Lead
	epoch      int64
	history    ledger.History
	generation int64
}

func (l *leader) load(t testing.TB) {
	t.Helper()
	l.history = ledger.History{}
	for s, err := range l.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		require.NoError(t, l.history.Apply(s))
	}
	l.generation = l.history.State.Planned
}

// decided makes a decided record.
func (l *leader) decided(t testing.TB, entries ...ledger.Entry) ledger.Record {
	t.Helper()
	var outcomes []ledger.ItemOutcome
	for _, e := range entries {
		outcomes = append(outcomes, ledger.OutcomeOf(e, ledger.Outcome{State: ledger.Unchanged}))
	}
	return l.record(t, &ledger.Decided{Outcomes: outcomes})
}

func (l *leader) record(t testing.TB, body ledger.Body) ledger.Record {
	t.Helper()
	r, err := l.history.State.Next(l.epoch, l.generation, time.Now().UTC(), body)
	require.NoError(t, err)
	return r
}

// append appends one record, and notes it.
func (l *leader) append(t testing.TB, r ledger.Record) {
	t.Helper()
	require.NoError(t, l.Append(t.Context(), r))
	l.load(t)
}

// publish publishes entries in a generation of their own.
func (l *leader) publish(t testing.TB, entries ...ledger.Entry) {
	t.Helper()
	l.generation++
	l.append(t, l.record(t, &ledger.Intent{Roles: []string{"snapshot"}}))
	l.append(t, l.seal(t, entries...))
	l.append(t, l.record(t, &ledger.Commit{}))
}

func (l *leader) seal(t testing.TB, entries ...ledger.Entry) ledger.Record {
	t.Helper()
	var outcomes []ledger.ItemOutcome
	for _, e := range entries {
		outcomes = append(outcomes, ledger.OutcomeOf(e, ledger.Outcome{State: ledger.Published, Generation: l.generation}))
	}
	return l.record(t, &ledger.Seal{Keys: []string{"key"}, Outcomes: outcomes,
		Swaps: []ledger.Swap{{Name: ledger.Timestamp, Old: l.history.State.Timestamp(), New: fmt.Appendf(nil, "timestamp %d", l.generation)}}})
}

// Each role can do its work under its own privileges, and nothing else.
func TestRoles(t *testing.T) {
	s := newSite(t)
	index, publisher := opened(t, s.index), opened(t, s.publisher)
	one := item(t, "one")
	known, err := index.Enqueue(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, []bool{false}, known)
	known, err = index.Enqueue(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, known)
	seen, err := index.Decided(t.Context(), 0)
	require.NoError(t, err)

	l := leads(t, publisher)
	l.publish(t, one)
	_, err = index.Decided(t.Context(), seen)
	require.NoError(t, err)
	outcomes, err := index.Outcomes(t.Context(), "one")
	require.NoError(t, err)
	require.Equal(t, []ledger.Outcome{{State: ledger.Published, Generation: 1}}, outcomes)
	backlog, err := index.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, backlog)
	_, _, err = index.Lead(t.Context())
	require.ErrorContains(t, err, "the database role lacks a privilege: call pgjournal.Migrate")

	for _, test := range []struct {
		url        string
		statements []string
	}{
		{s.index, []string{
			`INSERT INTO bindery.queue (id, item, accepted) VALUES ('x', '{}', now())`,
			`INSERT INTO bindery.queue (id, item, place) OVERRIDING SYSTEM VALUE VALUES ('x', '{}', 1)`,
			`INSERT INTO bindery.queue (id, item, digest) VALUES ('x', '{}', '')`,
			`INSERT INTO bindery.queue DEFAULT VALUES RETURNING place`,
			`SELECT * FROM bindery.queue`,
			`UPDATE bindery.queue SET item = '{}'`,
			`DELETE FROM bindery.queue`,
			`TRUNCATE bindery.queue`,
			`SELECT * FROM bindery.decided`,
			`DELETE FROM bindery.decided`,
			`SELECT * FROM bindery.record`,
			`INSERT INTO bindery.record DEFAULT VALUES`,
			`SELECT * FROM bindery.given_up`,
			`SELECT * FROM bindery.lead`,
			`UPDATE bindery.lead SET epoch = 99`,
			`SELECT * FROM bindery.lease`,
			`UPDATE bindery.lease SET renewed = '-infinity'`,
			`UPDATE bindery.version SET version = 9`,
			`DELETE FROM bindery.outcomes`,
			`SELECT nextval('bindery.queue_place_seq')`,
			`ALTER FUNCTION bindery.valid(text, text, bytea) RENAME TO other`,
			`CREATE OR REPLACE FUNCTION bindery.enqueue(text[], text[], bytea[]) RETURNS bigint LANGUAGE sql AS 'SELECT 1'`,
			`SELECT setval('bindery.queue_place_seq', 1)`,
			`CREATE TABLE bindery.mine ()`,
			`DROP TABLE bindery.queue`,
		}},
		{s.publisher, []string{
			`UPDATE bindery.queue SET item = '{}'`,
			`INSERT INTO bindery.queue (id, item, accepted) VALUES ('x', '{}', now())`,
			`UPDATE bindery.record SET bytes = ''`,
			`UPDATE bindery.decided SET state = 'published'`,
			`TRUNCATE bindery.record`,
			`INSERT INTO bindery.lead DEFAULT VALUES`,
			`DELETE FROM bindery.lead`,
			`DELETE FROM bindery.lease`,
			`UPDATE bindery.version SET version = 9`,
			`SELECT setval('bindery.queue_place_seq', 1)`,
			`CREATE TABLE bindery.mine ()`,
			`ALTER TABLE bindery.queue DISABLE TRIGGER ALL`,
			`DROP SCHEMA bindery CASCADE`,
		}},
	} {
		conn := connect(t, test.url)
		for _, statement := range test.statements {
			_, err := conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
			require.Contains(t, []string{"42501", "428C9", "55000"}, code(err), "%s: %v", statement, err) // privilege; generated column; no such view
		}
	}
}

// A row that SQL can see to be wrong fails the INSERT, whatever functions an index has of its own, and though nobody
// may call functions without a grant.
func TestChecks(t *testing.T) {
	s := newSite(t)
	admin := connect(t, s.admin)
	_, err := admin.Exec(t.Context(), `CREATE SCHEMA mine; GRANT USAGE ON SCHEMA mine TO PUBLIC;
		CREATE FUNCTION mine.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE FUNCTION mine.octet_length(bytea) RETURNS int LANGUAGE sql AS 'SELECT 1';
		CREATE FUNCTION mine.convert(bytea, name, name) RETURNS bytea LANGUAGE sql AS $$SELECT ''::bytea$$;
		CREATE FUNCTION mine.yes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE FUNCTION mine.yes(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE OPERATOR mine.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.yes);
		CREATE OPERATOR mine.!~ (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.yes);
		CREATE OPERATOR mine.<= (LEFTARG = int, RIGHTARG = int, FUNCTION = mine.yes);
		REVOKE EXECUTE ON FUNCTION bindery.valid FROM PUBLIC`)
	require.NoError(t, err)
	conn := connect(t, s.index)
	long := make([]byte, 257)
	for i := range long {
		long[i] = 'a'
	}
	for _, test := range []struct {
		id, by string
		item   []byte
		want   string
	}{
		{"", "", []byte("{}"), "queue_id_is_1_to_128_printable_ascii"},
		{"a b", "", []byte("{}"), "queue_id_is_1_to_128_printable_ascii"},
		{"a\n", "", []byte("{}"), "queue_id_is_1_to_128_printable_ascii"},
		{"ä", "", []byte("{}"), "queue_id_is_1_to_128_printable_ascii"},
		{"\x7f", "", []byte("{}"), "queue_id_is_1_to_128_printable_ascii"},
		{string(long[:129]), "", []byte("{}"), "queue_id_is_1_to_128_printable_ascii"},
		{"a", string(long), []byte("{}"), "queue_by_is_at_most_256_bytes"},
		{"a", "a\nb", []byte("{}"), "queue_by_has_no_control_characters"},
		{"a", "\x7f", []byte("{}"), "queue_by_has_no_control_characters"},
		{"a", "", []byte("\xff"), "22021"},
		{"a", "", []byte("a\x00"), "22021"},
		{"a", "", make([]byte, 64<<20+1), "queue_item_is_at_most_64_mib"},
		{"a", "", nil, "23502"},
	} {
		for _, path := range []string{`"$user", public`, "mine, pg_catalog"} {
			_, err := conn.Exec(t.Context(), `SELECT set_config('search_path', $1, false)`, path)
			require.NoError(t, err)
			_, err = conn.Exec(t.Context(), `INSERT INTO bindery.queue (id, "by", item) VALUES ($1, $2, $3)`, test.id, test.by, test.item)
			var refused *pgconn.PgError
			require.ErrorAs(t, err, &refused, "%q", test.id)
			if refused.Code == "23514" {
				require.Equal(t, test.want, refused.ConstraintName, "%q", test.id)
			} else {
				require.Equal(t, test.want, refused.Code, "%q", test.id)
			}
		}
	}
	for i := '!'; i <= '~'; i++ {
		_, err := conn.Exec(t.Context(), `INSERT INTO bindery.queue (id, "by", item) VALUES ($1, 'é <&>', '{}')`, string(i))
		require.NoError(t, err)
	}
}

// An INSERT in a batch is a part of the transaction in which the batch is sent, also for a schema of another name. A
// malformed entry adds nothing.
func TestEnqueueBatch(t *testing.T) {
	s := newSite(t)
	admin := connect(t, s.admin)
	conn := connect(t, s.index)
	require.NoError(t, Migrate(t.Context(), admin, Migration{Schema: "Other", IndexRole: conn.Config().User}))
	var batch pgx.Batch
	require.ErrorContains(t, EnqueueBatch(&batch, "", item(t, "a"), ledger.Entry{ID: "b c"}), "b c")
	require.NoError(t, EnqueueBatch(&batch, ""))
	require.Zero(t, batch.Len())
	require.NoError(t, EnqueueBatch(&batch, "", item(t, "b")))
	require.NoError(t, EnqueueBatch(&batch, "Other", item(t, "d"), item(t, "c")))
	require.Equal(t, 2, batch.Len())
	for _, want := range []string{"", "b c d"} {
		tx, err := conn.Begin(t.Context())
		require.NoError(t, err)
		require.NoError(t, tx.SendBatch(t.Context(), &batch).Close())
		if want == "" {
			require.NoError(t, tx.Rollback(t.Context()))
		} else {
			require.NoError(t, tx.Commit(t.Context()))
		}
		var got string
		require.NoError(t, admin.QueryRow(t.Context(),
			`SELECT concat_ws(' ', (SELECT string_agg(id, ' ' ORDER BY place) FROM bindery.queue), (SELECT string_agg(id, ' ' ORDER BY place) FROM "Other".queue))`).Scan(&got))
		require.Equal(t, want, got)
	}
	require.Equal(t, uniqueViolation, code(conn.SendBatch(t.Context(), &batch).Close()))
}

// A standby asks for the lead on one connection that stays open.
func TestVacant(t *testing.T) {
	s := newSite(t)
	j, standby := opened(t, s.publisher), opened(t, s.publisher)
	require.NoError(t, standby.Vacant(t.Context()))
	l := leads(t, j)
	for range 20 {
		require.ErrorIs(t, standby.Vacant(t.Context()), repository.ErrLocked)
	}
	require.EqualValues(t, 1, standby.pool.Stat().NewConnsCount())
	require.NoError(t, l.Release(t.Context()))
	require.NoError(t, standby.Vacant(t.Context()))
}

// The backlog has a row whose transaction committed after later ones were decided.
func TestLateRowInBacklog(t *testing.T) {
	s := newSite(t)
	index := connect(t, s.index)
	tx, err := index.Begin(t.Context())
	require.NoError(t, err)
	require.NoError(t, Enqueue(t.Context(), tx, item(t, "late")))
	j := opened(t, s.publisher)
	l := leads(t, j)
	for n := range 3 { // until the place where counting begins has moved on
		id := fmt.Sprint(n)
		_, err = j.Enqueue(t.Context(), item(t, id))
		require.NoError(t, err)
		l.append(t, l.decided(t, l.requirePending(t, id)...))
	}
	_, err = connect(t, s.admin).Exec(t.Context(), `UPDATE bindery.lead SET oldest = (SELECT max(place) + 1 FROM bindery.queue)`) // as after five seconds
	require.NoError(t, err)
	backlog, err := j.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, backlog)
	require.NoError(t, tx.Commit(t.Context()))
	for backlog.Pending == 0 {
		backlog, err = j.Backlog(t.Context())
		require.NoError(t, err)
	}
	require.Equal(t, 1, backlog.Pending)
	require.NotZero(t, backlog.Oldest)
	require.Positive(t, backlog.Bytes)
	var pending int
	require.NoError(t, connect(t, s.index).QueryRow(t.Context(), `SELECT pending FROM bindery.backlog`).Scan(&pending))
	require.Equal(t, 1, pending)
}
