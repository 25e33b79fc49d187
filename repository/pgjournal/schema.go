package pgjournal

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Version is the version of the schema that this package makes and uses. See the package comment for what
// an index may rely on.
const Version = 1

// DefaultSchema is the schema if Config or Migration names none.
const DefaultSchema = "bindery"

// schema quotes the name of a schema.
func schema(name string) string {
	if name == "" {
		name = DefaultSchema
	}
	return pgx.Identifier{name}.Sanitize()
}

// in puts the schema into statements, which are written for the schema "bindery".
func in(schema, statements string) string {
	return strings.ReplaceAll(statements, "bindery.", schema+".")
}

// Migration says what Migrate makes.
type Migration struct {
	// Schema is the name of the schema. "" is DefaultSchema.
	Schema string
	// IndexRole and PublisherRole are the database roles to which privileges are granted. They must exist. "" grants
	// nothing. Repeating a migration with another role adds that role.
	IndexRole, PublisherRole string
}

// Migrate makes the schema, or brings it to Version, and grants the privileges. Its user must be the owner of
// the schema, which may be empty, or may create it. The database must have the language plpgsql, as each has unless it was dropped. All happens in one transaction. Concurrent calls wait for each other, and repeating a
// call is harmless. Publishers and indexes may go on meanwhile. What it made is durable when it returns; if its commit
// was not answered, call it again.
//
// The error wraps ErrNewer if the schema is of a newer version. Then nothing is changed.
func Migrate(ctx context.Context, conn *pgx.Conn, m Migration) error {
	err := migrate(ctx, conn, m)
	if code(err) == insufficientPrivilege {
		return fmt.Errorf("migrate schema %[1]s: call pgjournal.Migrate as the owner of the schema. If there is no schema yet, give the owner an empty one (CREATE SCHEMA %[1]s AUTHORIZATION …), or GRANT CREATE ON DATABASE to the owner: %[2]w", schema(m.Schema), err)
	}
	if err != nil {
		return fmt.Errorf("migrate schema %s: %w", schema(m.Schema), explain(err, m.Schema))
	}
	return nil
}

func migrate(ctx context.Context, conn *pgx.Conn, m Migration) error {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	name := schema(m.Schema)
	var encoding string
	// The lock is that of all migrations in this database. It ends with the transaction.
	// The commit waits for the synchronous replica, also where an earlier call has made all there is to make.
	if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = on;`+wait); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `SELECT current_setting('server_encoding'), pg_advisory_xact_lock(4813390227416509811)`).Scan(&encoding, nil); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database has the encoding %s: create one with the encoding UTF8", encoding)
	}
	// Version 0 is a database without the schema.
	var exists bool
	version := 0
	if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, name+".version").Scan(&exists); err != nil {
		return err
	}
	if exists {
		if err := tx.QueryRow(ctx, in(name, `SELECT version FROM bindery.version`)).Scan(&version); err != nil {
			return err
		}
	}
	if version > Version {
		return newerSchema(version)
	}
	if version < 1 {
		// A schema that is there needs no privilege on the database. CREATE SCHEMA IF NOT EXISTS asks for it all the same.
		if err := tx.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL`, name).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, in(name, version1)); err != nil {
			return err
		}
	}
	for _, grant := range []struct{ role, privileges string }{{m.IndexRole, indexPrivileges}, {m.PublisherRole, publisherPrivileges}} {
		if grant.role == "" {
			continue
		}
		role := pgx.Identifier{grant.role}.Sanitize()
		text := "GRANT USAGE ON SCHEMA " + name + " TO $role;" + in(name, grant.privileges)
		if _, err := tx.Exec(ctx, strings.ReplaceAll(text, "$role", role)); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// ErrNewer is wrapped if the schema is of a newer version than this package knows.
var ErrNewer = errors.New("written by a newer version of Bindery")

func newerSchema(version int) error {
	return fmt.Errorf("%w: the schema has version %d, and this program knows versions up to %d: run the newer program", ErrNewer, version, Version)
}

// version1 makes the schema from nothing.
//
// One sequence numbers the steps of the history: entries when they are inserted, and records when they are
// appended. A transaction that commits late may add an entry with a lower number than records that are there.
// Nothing depends on there being none.
const version1 = `
CREATE TABLE bindery.version (version int NOT NULL);
INSERT INTO bindery.version VALUES (1);

-- Whether a row may be queued. If not, it fails with check_violation, or with character_not_in_repertoire.
--
-- It is one function because PostgreSQL prepares every CHECK again for each INSERT: as five of them this takes 17
-- microseconds, and as one function 5. All names are qualified, so the search_path of an index changes nothing.
CREATE FUNCTION bindery.valid(id text, "by" text, item bytea) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $valid$
BEGIN
	IF pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 128 AND id COLLATE pg_catalog."C" OPERATOR(pg_catalog.~) '^[!-~]+$'
		AND pg_catalog.octet_length("by") OPERATOR(pg_catalog.<=) 256 AND "by" COLLATE pg_catalog."C" OPERATOR(pg_catalog.!~) E'[\\x01-\\x1f\\x7f]'
		AND pg_catalog.octet_length(item) OPERATOR(pg_catalog.<=) 67108864
	THEN
		RETURN pg_catalog.octet_length(pg_catalog.convert(item, 'UTF8', 'UTF8')) OPERATOR(pg_catalog.>=) 0;
	END IF;
	IF NOT (pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 128 AND id COLLATE pg_catalog."C" OPERATOR(pg_catalog.~) '^[!-~]+$') THEN
		RAISE check_violation USING CONSTRAINT = 'queue_id_is_1_to_128_printable_ascii',
			MESSAGE = 'id of a queued row: want 1 to 128 printable ASCII characters without spaces';
	ELSIF pg_catalog.octet_length("by") OPERATOR(pg_catalog.>) 256 THEN
		RAISE check_violation USING CONSTRAINT = 'queue_by_is_at_most_256_bytes', MESSAGE = '"by" of a queued row: want at most 256 bytes';
	ELSIF "by" COLLATE pg_catalog."C" OPERATOR(pg_catalog.~) E'[\\x01-\\x1f\\x7f]' THEN
		RAISE check_violation USING CONSTRAINT = 'queue_by_has_no_control_characters', MESSAGE = '"by" of a queued row: want no control characters';
	ELSIF pg_catalog.octet_length(item) OPERATOR(pg_catalog.>) 67108864 THEN
		RAISE check_violation USING CONSTRAINT = 'queue_item_is_at_most_64_mib', MESSAGE = 'item of a queued row: want at most 64 MiB';
	END IF;
	RETURN false;
END $valid$;

-- The entries: those that are pending, and those that were decided and are remembered. The index inserts
-- (id, "by", item). No row is ever changed.
CREATE TABLE bindery.queue (
	place    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	id       text COLLATE "C" NOT NULL CONSTRAINT queue_id_twice UNIQUE,
	"by"     text NOT NULL DEFAULT '',
	item     bytea NOT NULL,
	digest   bytea NOT NULL GENERATED ALWAYS AS (sha256(item)) STORED,
	accepted timestamptz NOT NULL DEFAULT clock_timestamp(),
	CONSTRAINT queue_row_is_valid CHECK (bindery.valid(id, "by", item))
);

-- Journal.Enqueue: queues entries in this order, in the sense of their places, and inserts them in the order of their IDs. So it
-- waits for other uploads in the order in which these insert, and nobody is deadlocked. It runs as the owner of the schema, because no other
-- role may give a place. It returns how many it inserted: all that are not in use.
CREATE FUNCTION bindery.enqueue(ids text[], bys text[], items bytea[]) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $enqueue$
DECLARE
	places bigint[] := ARRAY(SELECT nextval($name$bindery.queue_place_seq$name$) AS place FROM generate_subscripts(ids, 1) ORDER BY place);
	inserted bigint;
BEGIN
	INSERT INTO bindery.queue (place, id, "by", item) OVERRIDING SYSTEM VALUE
		SELECT * FROM unnest(places, ids, bys, items) entry (place, id, "by", item) ORDER BY id COLLATE "C"
		ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS inserted = ROW_COUNT;
	RETURN inserted;
END $enqueue$;
REVOKE EXECUTE ON FUNCTION bindery.enqueue(text[], text[], bytea[]) FROM PUBLIC;

-- The publisher's records, as written.
CREATE TABLE bindery.record (
	seq        bigint PRIMARY KEY,
	kind       text NOT NULL,
	generation bigint NOT NULL,
	epoch      bigint NOT NULL,
	time       timestamptz NOT NULL, -- by the publisher's clock
	hash       text NOT NULL,
	bytes      bytea NOT NULL
);
ALTER TABLE bindery.record ALTER bytes SET STORAGE EXTERNAL;

-- What the newest seals and decided records say of entries. A row is a run: entries without a gap between their places,
-- which follow one another in one record too, and have one outcome. Every place of a run has an entry. No two runs
-- have a place in common. An entry whose place is in no run is pending.
CREATE TABLE bindery.decided (
	first      bigint NOT NULL CHECK (first <= last), -- place of the run's first entry
	last       bigint PRIMARY KEY,
	record     bigint NOT NULL, -- seq of the record that decided them
	nth        int NOT NULL,    -- where the first entry is in that record
	time       timestamptz NOT NULL DEFAULT clock_timestamp(), -- of that record
	generation bigint NOT NULL,
	state      text NOT NULL,
	reason     text NOT NULL
);

-- Entries whose seal was given up precede all others, by rank. The next checkpoint but one forgets it.
CREATE TABLE bindery.given_up (
	place bigint PRIMARY KEY,
	rank  bigint NOT NULL -- negative
);

-- One row, which every append updates first: the fence.
CREATE TABLE bindery.lead (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one),
	epoch      bigint NOT NULL DEFAULT 0,
	token      text NOT NULL DEFAULT '',  -- of the leader of this epoch; random
	head       text NOT NULL DEFAULT '',  -- hash of the newest record
	sealed     bigint,                    -- seq of the seal that has no commit
	checkpoint bigint NOT NULL DEFAULT 0, -- seq of the newest checkpoint
	begins     bigint NOT NULL DEFAULT 0, -- seq of the checkpoint with which the history begins
	moment     bigint NOT NULL DEFAULT 1, -- how often outcomes appeared
	oldest     bigint NOT NULL DEFAULT 0  -- no pending entry before this place was seen; counting begins there
) WITH (fillfactor = 10);
INSERT INTO bindery.lead DEFAULT VALUES;

-- One row: who leads, and until when. It decides who may take over, and never what may be appended.
CREATE TABLE bindery.lease (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	token   text NOT NULL DEFAULT '',
	holder  text NOT NULL DEFAULT '', -- for people
	renewed timestamptz NOT NULL DEFAULT '-infinity',
	length  interval NOT NULL DEFAULT '0'
) WITH (fillfactor = 10);
INSERT INTO bindery.lease DEFAULT VALUES;

CREATE VIEW bindery.outcomes AS
	SELECT q.id, q."by", q.accepted,
	       CASE WHEN final THEN d.state ELSE 'accepted' END AS state,
	       CASE WHEN final THEN d.generation ELSE 0 END AS generation,
	       CASE WHEN final THEN d.reason ELSE '' END AS reason,
	       q.digest, q.item, q.place, d.last IS NOT NULL AS decided
	FROM bindery.queue q CROSS JOIN bindery.lead l
	LEFT JOIN LATERAL (SELECT * FROM bindery.decided d WHERE d.last >= q.place ORDER BY d.last LIMIT 1) d ON d.first <= q.place,
	LATERAL (SELECT d.last IS NOT NULL AND d.record IS DISTINCT FROM l.sealed) f (final);

-- What is pending is between the runs. So counting it costs what is pending and the number of runs, and not what
-- is remembered.
CREATE VIEW bindery.backlog AS
	SELECT coalesce(sum(q.pending), 0)::bigint AS pending, coalesce(sum(q.bytes), 0)::bigint AS bytes, min(q.oldest) AS oldest
	FROM (SELECT coalesce(lag(last) OVER (ORDER BY first) + 1, -9223372036854775808) AS first, first - 1 AS last
		FROM (SELECT first, last FROM bindery.decided UNION ALL SELECT 9223372036854775807, 9223372036854775807) d) gap,
	LATERAL (SELECT count(*) AS pending, sum(octet_length(item)) AS bytes, min(accepted) AS oldest
		FROM bindery.queue WHERE place BETWEEN gap.first AND gap.last) q
	WHERE gap.first <= gap.last;

-- The same in two parts. The first looks at the newest runs only. The second has what was committed late.
CREATE VIEW bindery.backlog_recent AS
	SELECT coalesce(sum(q.pending), 0)::bigint AS pending, coalesce(sum(q.bytes), 0)::bigint AS bytes, min(q.oldest) AS oldest
	FROM (SELECT coalesce(lag(last) OVER (ORDER BY first) + 1, (SELECT oldest FROM bindery.lead)) AS first, first - 1 AS last
		FROM (SELECT first, last FROM bindery.decided WHERE last >= (SELECT oldest FROM bindery.lead)
			UNION ALL SELECT 9223372036854775807, 9223372036854775807) d) gap,
	LATERAL (SELECT count(*) AS pending, sum(octet_length(item)) AS bytes, min(accepted) AS oldest
		FROM bindery.queue WHERE place BETWEEN gap.first AND gap.last) q
	WHERE gap.first <= gap.last;
CREATE VIEW bindery.backlog_late AS
	SELECT coalesce(sum(q.pending), 0)::bigint AS pending, coalesce(sum(q.bytes), 0)::bigint AS bytes, min(q.oldest) AS oldest
	FROM (SELECT coalesce(lag(last) OVER (ORDER BY first) + 1, -9223372036854775808) AS first, first - 1 AS last
		FROM (SELECT first, last FROM bindery.decided WHERE first < (SELECT oldest FROM bindery.lead)
			UNION ALL SELECT greatest(oldest, -9223372036854775807), oldest FROM bindery.lead) d) gap,
	LATERAL (SELECT count(*) AS pending, sum(octet_length(item)) AS bytes, min(accepted) AS oldest
		FROM bindery.queue WHERE place BETWEEN gap.first AND gap.last) q
	WHERE gap.first <= gap.last;

CREATE VIEW bindery.progress AS SELECT moment FROM bindery.lead;
`

const indexPrivileges = `
GRANT SELECT ON bindery.version, bindery.outcomes, bindery.backlog, bindery.backlog_recent, bindery.backlog_late, bindery.progress TO $role;
GRANT INSERT (id, "by", item) ON bindery.queue TO $role;
GRANT EXECUTE ON FUNCTION bindery.valid(text, text, bytea), bindery.enqueue(text[], text[], bytea[]) TO $role;
`

const publisherPrivileges = `
GRANT SELECT ON bindery.version, bindery.queue, bindery.record, bindery.decided, bindery.given_up, bindery.lead, bindery.lease,
	bindery.outcomes, bindery.backlog, bindery.backlog_recent, bindery.backlog_late, bindery.progress TO $role;
GRANT INSERT (id, "by", item), DELETE ON bindery.queue TO $role;
GRANT INSERT, DELETE ON bindery.record, bindery.decided, bindery.given_up TO $role;
GRANT UPDATE ON bindery.lead, bindery.lease TO $role;
GRANT USAGE ON SEQUENCE bindery.queue_place_seq TO $role;
GRANT EXECUTE ON FUNCTION bindery.valid(text, text, bytea), bindery.enqueue(text[], text[], bytea[]) TO $role;
`
