package pgjournal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// What is wrong with the database is named, with what to do next.
func TestUnusableDatabase(t *testing.T) {
	ctx := t.Context()
	open := func(url string) error {
		j, err := Open(ctx, config(t, url))
		if err == nil {
			require.NoError(t, j.Close())
		}
		return err
	}
	_, err := Open(ctx, Config{})
	require.ErrorContains(t, err, "Config.Pool is missing")

	empty, _ := pgtest.Database(t)
	require.ErrorContains(t, open(empty), `the database has no schema "bindery" of this package: call pgjournal.Migrate as its owner`)

	s := newSite(t)
	admin := connect(t, s.admin)
	exec := func(sql string) {
		t.Helper()
		_, err := admin.Exec(ctx, sql)
		require.NoError(t, err)
	}
	cfg := config(t, s.publisher)
	cfg.Pool.ConnConfig.Database = "missing"
	_, err = Open(ctx, cfg)
	require.ErrorContains(t, err, "there is no such database: create it, or correct its name")

	exec(`CREATE ROLE stranger_` + connect(t, s.admin).Config().Database + ` LOGIN`)
	require.ErrorContains(t, open(as(s.admin, "stranger_"+admin.Config().Database)), "the database role lacks a privilege: call pgjournal.Migrate")

	exec(`UPDATE bindery.version SET version = 2`)
	err = open(s.publisher)
	require.ErrorIs(t, err, ErrNewer)
	require.ErrorContains(t, err, "the schema has version 2, and this program knows versions up to 1: run the newer program")
	err = Migrate(ctx, admin, Migration{})
	require.ErrorIs(t, err, ErrNewer)
	exec(`UPDATE bindery.version SET version = 0`)
	require.ErrorContains(t, open(s.publisher), "the schema has version 0, and this program needs version 1: call pgjournal.Migrate")
	exec(`UPDATE bindery.version SET version = 1`)

	// A privilege that is missing is noticed by the call that needs it, which has no effect.
	j := opened(t, s.publisher)
	l := leads(t, j)
	one := item(t, "one")
	_, err = j.Enqueue(ctx, one)
	require.NoError(t, err)
	publisher := connect(t, s.publisher).Config().User
	exec(`REVOKE INSERT ON bindery.decided FROM ` + publisher)
	err = l.Append(ctx, l.decided(t, one))
	require.ErrorContains(t, err, "the database role lacks a privilege: call pgjournal.Migrate")
	require.NotErrorIs(t, err, repository.ErrUnknown)
	l.requirePending(t, "one")
	exec(`GRANT INSERT ON bindery.decided TO ` + publisher)
	l.append(t, l.decided(t, one))

	// Read-only, as a replica is.
	exec(`ALTER ROLE ` + publisher + ` SET default_transaction_read_only = on`)
	readOnly := opened(t, s.publisher)
	_, err = readOnly.Enqueue(ctx, item(t, "two"))
	require.ErrorContains(t, err, "the database is read-only, as a replica is: connect to the primary")
	require.NotErrorIs(t, err, repository.ErrUnknown)
	s.expire(t)
	_, _, err = readOnly.Lead(ctx)
	require.ErrorContains(t, err, "the database is read-only, as a replica is: connect to the primary")
	outcomes, err := readOnly.Outcomes(ctx, "one", "two")
	require.NoError(t, err)
	require.Equal(t, []ledger.Outcome{{State: ledger.Unchanged}, {}}, outcomes)
}

// A full disk fails a call, and nothing else: it can be repeated.
func TestFullDatabase(t *testing.T) {
	s := newSite(t)
	admin := connect(t, s.admin)
	j := opened(t, s.publisher)
	l := leads(t, j)
	one := item(t, "one")
	_, err := j.Enqueue(t.Context(), one)
	require.NoError(t, err)
	// As PostgreSQL does when a table can't be extended.
	_, err = admin.Exec(t.Context(), `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
		CREATE TRIGGER full_disk BEFORE INSERT ON bindery.queue FOR EACH ROW EXECUTE FUNCTION full_disk();
		CREATE TRIGGER full_disk BEFORE INSERT ON bindery.record FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	require.NoError(t, err)
	_, err = j.Enqueue(t.Context(), item(t, "two"))
	require.ErrorContains(t, err, "the database's disk is full: free space there, and repeat the call")
	require.NotErrorIs(t, err, repository.ErrUnknown)
	r := l.decided(t, one)
	err = l.Append(t.Context(), r)
	require.ErrorContains(t, err, "the database's disk is full")
	require.NotErrorIs(t, err, repository.ErrUnknown)
	_, err = admin.Exec(t.Context(), `DROP TRIGGER full_disk ON bindery.queue; DROP TRIGGER full_disk ON bindery.record`)
	require.NoError(t, err)
	l.append(t, r)
	_, err = j.Enqueue(t.Context(), item(t, "two"))
	require.NoError(t, err)
	l.requirePending(t, "two")
}

// Concurrent migrations wait for each other, and repeating one changes nothing. A schema has the name that is
// asked for.
func TestMigrate(t *testing.T) {
	t.Run("a role that may not create schemas", func(t *testing.T) {
		url, name := pgtest.Database(t)
		admin := connect(t, url)
		owner, index := name+"_owner", name+"_index"
		for _, role := range []string{owner, index} {
			_, err := admin.Exec(t.Context(), `CREATE ROLE `+role+` LOGIN`)
			require.NoError(t, err)
		}
		conn := connect(t, as(url, owner))
		err := Migrate(t.Context(), conn, Migration{IndexRole: index})
		require.ErrorContains(t, err, `give the owner an empty one (CREATE SCHEMA "bindery" AUTHORIZATION …), or GRANT CREATE ON DATABASE`)
		require.Equal(t, insufficientPrivilege, code(err))
		// A person with the right to do so makes it for the owner.
		_, err = admin.Exec(t.Context(), `CREATE SCHEMA bindery AUTHORIZATION `+owner)
		require.NoError(t, err)
		require.ErrorContains(t, Migrate(t.Context(), connect(t, as(url, index)), Migration{}), "call pgjournal.Migrate as the owner of the schema")
		for range 2 {
			require.NoError(t, Migrate(t.Context(), conn, Migration{IndexRole: index}))
		}
		_, err = opened(t, as(url, index)).Outcomes(t.Context(), "none")
		require.NoError(t, err)
	})
	url, name := pgtest.Database(t)
	done := make(chan error, 8)
	for range cap(done) {
		conn := connect(t, url)
		go func() { done <- Migrate(t.Context(), conn, Migration{Schema: `odd "name's"`}) }()
	}
	for range cap(done) {
		require.NoError(t, <-done)
	}
	cfg := config(t, url)
	cfg.Schema = `odd "name's"`
	j, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	defer j.Close()
	_, err = j.Enqueue(t.Context(), item(t, "a"))
	require.NoError(t, err)
	conn := connect(t, url)
	require.NoError(t, Migrate(t.Context(), conn, Migration{Schema: `odd "name's"`}))
	require.NoError(t, EnqueueIn(t.Context(), conn, `odd "name's"`, item(t, "b")))
	l := leads(t, j)
	l.publish(t, l.requirePending(t, "a", "b")...)

	err = Migrate(t.Context(), conn, Migration{Schema: "other", IndexRole: "nobody_has_this"})
	require.ErrorContains(t, err, `role "nobody_has_this" does not exist`)
	out, err := pgtest.Need(t).SQL(t.Context(), name, `SELECT count(*) FROM pg_namespace WHERE nspname = 'other'`)
	require.NoError(t, err)
	require.Equal(t, "0", out)
	_, err = pgtest.Need(t).SQL(t.Context(), "postgres", "CREATE DATABASE "+name+"_latin ENCODING LATIN1 TEMPLATE template0")
	require.NoError(t, err)
	err = Migrate(t.Context(), connect(t, pgtest.Need(t).URL("postgres", name+"_latin")), Migration{})
	require.ErrorContains(t, err, "the database has the encoding LATIN1: create one with the encoding UTF8")
}

// Somebody else's lock is named, and holds up nobody for ever.
func TestLeadIsLockedByOthers(t *testing.T) {
	s := newSite(t)
	for statement, want := range map[string]string{
		`LOCK TABLE bindery.lead IN SHARE MODE`:            `a lock on the table lead or lease is held by the session`,
		`LOCK TABLE bindery.lead IN ACCESS EXCLUSIVE MODE`: `a lock on the table lead or lease is held by the session`,
		`SELECT FROM bindery.lead FOR UPDATE`:              `the lock of the lead is held by the session`,
	} {
		tx, err := connect(t, s.admin).Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), statement)
		require.NoError(t, err)
		j := opened(t, s.publisher)
		_, _, err = j.Lead(t.Context())
		require.ErrorContains(t, err, want, statement)
		require.ErrorContains(t, err, `end its transaction`)
		require.NoError(t, tx.Rollback(t.Context()))
		leads(t, j)
		require.NoError(t, j.Close())
	}
}
