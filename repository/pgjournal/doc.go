// Package pgjournal keeps a repository's journal in PostgreSQL 14 or later: the queue of entries, and the
// publisher's records. An index queues an upload inside its own database transaction, in any language. A
// publisher anywhere signs it. A standby takes over when the publisher dies.
//
//	pool, err := pgxpool.ParseConfig("postgres://publisher@db.example/index")
//	if err != nil {
//		return err
//	}
//	journal, err := pgjournal.Open(ctx, pgjournal.Config{Pool: pool})
//	if err != nil {
//		return err
//	}
//	repo, err := repository.Open(ctx, repository.Config{Store: metadata, Journal: journal, ...})
//	if err != nil {
//		return errors.Join(err, journal.Close())
//	}
//	defer repo.Close() // closes the journal too
//
// [Migrate] makes the schema beforehand. It is an explicit call of the schema's owner, and safe to run
// from several programs at once.
//
// # Queuing an upload from any language
//
// This section is a contract. It holds for every version of the package that uses schema version 1, which
// SELECT version FROM bindery.version tells.
//
// The index inserts one row for each item, in the transaction in which it does its own work:
//
//	INSERT INTO bindery.queue (id, "by", item) VALUES ($1, $2, $3)
//
// The item is queued once that transaction commits, and never if it rolls back. The three columns are all
// that an index gives:
//
//	id    text   1 to 128 printable ASCII characters without spaces. Make a new one for each change, a random
//	             UUID for example. Never derive it from the content.
//	by    text   who asked, for the log: at most 256 bytes without control characters. It may be left out.
//	item  bytea  the item: a JSON object in UTF-8, at most 64 MiB. Package ledger specifies it.
//
// This adds one file, and removes another one in the same generation:
//
//	{"add":[{"path":"a-2.whl","length":3,"hashes":{"sha256":"ba78…"}}],"remove":["a-1.whl"]}
//
// The database sets what else there is: the order, the time, and the SHA-256 of item. A row whose id, by or
// size is wrong, or whose item isn't UTF-8, fails the INSERT with check_violation (SQLSTATE 23514) or
// character_not_in_repertoire (22021). An item that is wrong otherwise is queued, and then set aside by the publisher with
// its reason. It holds up no other item.
//
// The INSERT needs no SELECT, works at every isolation level, and goes through PgBouncer in transaction
// mode. A transaction that inserts several rows should insert them in the order of their IDs, compared byte by byte: then
// two transactions with the same IDs can't deadlock. Items are decided in the order in which they were
// inserted, except that one whose transaction commits late may come after later ones. If two items name
// the same path and their order matters, hold your own lock on the path until the commit. That
// keeps their order if the commit comes within 10 minutes of the INSERT.
//
// An ID that is remembered fails the INSERT with unique_violation (23505), whether it is pending or was decided. So
// if a commit's fate is unknown, repeat the transaction with the same ID: that condition says that the first one
// was committed. INSERT … ON CONFLICT DO NOTHING passes over such rows without an error; then don't use an ID for
// two different items. An ID that was forgotten (see Pruning) is new.
//
// In Go, [Enqueue] is this INSERT. [EnqueueBatch] sends it together with the index's own statements, which costs less. Behind PgBouncer, open pgx's connections with default_query_exec_mode=exec: its
// default mode prepares statements in the session.
//
// # Asking what became of it
//
// The view bindery.outcomes has one row for each ID that is remembered:
//
//	id          text
//	by          text
//	accepted    timestamptz  when it was inserted, by the database's clock
//	state       text         "accepted" until clients can see the outcome, then for ever "published", "superseded",
//	                         "unchanged", "refused" or "set aside"
//	generation  bigint       in which it was decided; 0 while accepted
//	reason      text         why it was refused or set aside; else ""
//
// Other columns may change. An ID without a row is unknown or forgotten. Ask for the IDs that matter: one is found by the
// index, and all outcomes of a million take some seconds.
//
// The view bindery.backlog has one row: pending (rows), bytes (of their items), and oldest (when the first of them was
// inserted; NULL if there is none). It reads what is pending, and looks into each gap between what was decided, some 5
// microseconds a gap. Each generation leaves one, and each upload that was rolled back.
//
// The view bindery.progress has one row: moment, a number that grows whenever outcomes appear. Ask for it
// rather than for each outcome.
//
// # Privileges
//
// Migrate grants two roles what they need, and nothing else:
//
//	index      INSERT (id, by, item) on queue; EXECUTE on the functions valid, which checks a row, and enqueue, which
//	           is for Journal.Enqueue; SELECT on outcomes, backlog (and its two parts), progress, version
//	publisher  SELECT on all; INSERT (id, by, item) on queue; INSERT on decided, record, given_up; DELETE on
//	           these four; UPDATE on lead, lease; USAGE on the sequence; EXECUTE on the two functions
//
// A holder of the publisher's role can publish anything: the role is inside the trust boundary. A holder of the
// index's role can queue anything, and can see all outcomes and what is pending.
//
// # Who may publish
//
// The one row of bindery.lead is the fence. It has the epoch, a random token of its leader and the hash of the
// newest record. Each append begins with an UPDATE of that row where all three are still as this leader knows
// them, and ends with the commit of the same transaction. A takeover updates the row with the next epoch and
// its own token, commits, and only then reads the history. So a leader that was paused writes nothing any
// more. All this is done at READ COMMITTED, where an UPDATE that waited looks at the row again.
//
// The one row of bindery.lease says until when nobody else may try: Config.Lease after the leader's last sign of
// life, by the database's clock. It is renewed three times as often. A lease that is wrong costs
// time and nothing else; so its renewal waits for no synchronous replica. A leader that stopped inside a transaction, holding the fence's lock, has its session
// ended by its successor (pg_terminate_backend). Publisher and standby must have the same database role for that.
//
// A database that says nothing, because a network drops packets, fails a call within about the lease. Nothing waits longer
// than that without a byte from it, but for statements that read much (the history, what is to be pruned). A leader that
// could not renew its lease for the whole of it ends: its calls wrap repository.ErrClosed, and the journal must be opened
// again.
//
// # Order, and what is late
//
// One sequence numbers entries and records. A transaction that was open for long adds an entry with a low number
// when it commits. No decision depends on a number: an append decides exactly the entries that its records name,
// by ID and digest, and an entry without such a decision is pending, whatever its number. The history shows each
// entry before the record that decides it.
//
// What was decided is kept in bindery.decided as runs: entries whose numbers follow one another without a gap, with one
// record and one outcome, are one row. A run never spans a number of which no entry was seen: its transaction may still
// be open. So a claim reads what is between the runs, and nothing that was decided.
//
// The publisher looks for new entries every 50 ms within 10 seconds after something happened, and else once a second:
// see Config.Notify for an alternative.
// It finds at once what was committed within 10 minutes of its INSERT, and before anything that was inserted after that
// commit. For what was open longer it looks into all gaps between what was decided, for at most a twentieth of the time.
//
// # Beside a long transaction
//
// A transaction that stays open for hours, such as a report, keeps every dead row that it might see, in all of the
// database. A claim passes over those of decided entries. It doesn't pass over those of bindery.lead: its one row
// has some five new versions a generation, and reading it reads them all. Each 10,000 of them (half an hour at a generation
// a second) add about 0.6 ms to an append, 0.3 ms to a claim, and 0.2 ms to a read of bindery.progress, and take 1.8
// MB. After a day that is 26 ms an append. If the transaction has written anything, in any database of the server, each
// claim looks into the gaps of the last 10 minutes, and not only of the last 5 seconds: some 5 microseconds a gap. All this
// ends when the transaction does and autovacuum has run. Run long reports on a replica without hot_standby_feedback, or
// limit them with statement_timeout and idle_in_transaction_session_timeout.
//
// # Pruning
//
// Nothing is deleted unless Repository.Archive is called with Archive.Delete, once a day for example. The history
// begins then at the checkpoint that it makes: records before that are deleted. So are entries that were decided
// before it, with their outcomes, once they are older than Config.Remember (at least 7 days, by the times of the
// publisher's records) and not among the newest 100,000. A leader looks for such entries every hour. All this is done in
// transactions of some 1,000 rows, or of one run, while publishing goes on. Autovacuum makes the space free again. To keep the older
// history, dump the schema with pg_dump before.
//
// # Durability
//
// Every transaction of this package that others rely on sets synchronous_commit to on, whatever the default is. An
// upload is as durable as the index's own transaction. PostgreSQL must run with fsync on; Open warns if it doesn't.
//
// An asynchronous replica that is promoted lacks the last transactions: uploads that were accepted are lost, and
// a generation that was published may be missing in the journal, so that the public timestamp is ahead of it:
// repository.Open says so. To lose nothing, name the replica in synchronous_standby_names. A leader of the lost
// server writes nothing to the promoted one, even if another leader there got the same epoch: its token is another.
//
// If a wait for the synchronous replica is cancelled, by a time limit, pg_cancel_backend or a lost connection,
// PostgreSQL keeps the commit on the primary alone and shows it to everybody. Append, Enqueue and Lead don't count
// such a commit: they wait again, behind it, or return an error. An index in another language whose commit
// was not answered, or came with that warning, should commit another transaction that writes something: once that is
// acknowledged, the replica has the first one too. Decided and the views can show an outcome that only the primary has yet. If the primary
// is lost at that moment, the item is pending again: the new leader completes a sealed generation as it was, and
// decides other items anew.
package pgjournal
