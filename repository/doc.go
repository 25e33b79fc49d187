// Package repository publishes TUF metadata for a package index, as PEP 458 describes it.
// An index hands over its uploads; the package signs them and publishes them in generations
// that clients see whole or not at all.
//
//	repo, err := repository.OpenOrCreate(ctx, repository.Config{
//		Store: metadata, Journal: journal,
//		Bins: bins, Snapshot: online, Timestamp: online,
//	}, documents) // that people signed: see ReadDocuments
//	go repo.Run(ctx) // publishes, and renews before anything expires
//
//	receipt, err := repo.Add(ctx, target) // durable: it will be published
//	outcome, err := receipt.Wait(ctx)     // clients can see it
//
// A [Store] holds the metadata under the names of a consistent snapshot. A [Journal] holds
// the queue and the publisher's records; package ledger specifies them. The target files are
// the index's own: each must be served under HASH.NAME, in the target's directory, when
// Submit is called. [github.com/bindery-tuf/bindery/repository/web.Handler] serves metadata and
// target files over HTTP.
//
// # Roles
//
// [Documents] are what people sign in ceremonies: root, targets, and the roles that these
// delegate to. Together they make a tree ([delegation.Tree]). Every path belongs to the first
// leaf that a client would ask for it. A leaf is signed online if it is a hashed bin or if
// [Config.Signers] names it. Submit refuses a path whose leaf people sign.
// PEP 458's tree is targets → bins → bin-n. Bins directly under a targets role that is signed
// online, several sets of bins, and roles in front of the bins work the same way.
//
// # Generations
//
// A generation has one number N, which is the version of its snapshot, of its timestamp and
// of every role that it signs online. It is made in steps, each durable before the next
// begins:
//
//	queue    Submit puts an item into the journal: it is accepted.
//	read     the bins that the oldest items touch are read, and the items decided: what
//	         changes nothing, or can't be published, needs no signature. Bins that are due for
//	         renewal are read too, as many as the cache may hold, so that an outage of the
//	         store shows before anything is signed; the rest of them while they are signed.
//	intent   journal: files of version N, which it names, may appear in the store.
//	write    store: N.BIN.json for each bin changed or renewed, and N.snapshot.json.
//	seal     journal: N will be published; the new rows of the table, the outcome of each
//	         item, the exact bytes of the timestamp.
//	commit   store: timestamp.json is swapped from the old bytes to the new;
//	         journal: committed. The items' receipts resolve.
//
// Two invariants follow. First, timestamp.json is the only name that ever changes. So clients see
// all of the old generation before the swap, and all of the new one after it. Second, no name ever
// has two contents. If an attempt fails after its intent, N is burnt: no later generation has this
// number. The next attempt is N+1. Before it begins, the publisher deletes the files of version N
// that it wrote itself, if it knows that no seal of N can exist. TUF lets the versions of bins,
// snapshot and timestamp skip (specification, 5.4 and 5.5).
//
// Documents that people sign keep their own versions. Their bytes are made durable in the
// journal first. Then they are written to the store, again and again until that succeeds. A new root
// is a commit of its own: clients see it as soon as it is written. A root that drops a key is refused
// while a cache may serve what that key signed: see [Config.CacheAge].
//
// # Recovery
//
// Open reads the journal and goes on where the last publisher stopped. An intent without a
// seal publishes nothing: its number is burnt, and its items are still queued. A seal without a
// commit is committed, after a check that everything it names is in the store. If the swap had
// happened already, it does nothing. If the store's timestamp is neither the committed nor the
// sealed one, Open changes nothing and returns [ErrDiverged].
//
// # Failed syncs
//
// After a failed sync the system may have dropped what it should have written. It may still show
// that to readers, until the power fails, and a second sync may succeed although nothing was
// written. Therefore journal and store differ:
//
//   - A failed sync of the journal ends it, and nothing is retried. Nobody can know whether its
//     newest bytes will last, and everything that follows depends on them. The call fails with
//     [ErrUnknown], later ones with [ErrClosed], and Run returns. The journal must be opened again.
//     That reads its end, and writes it again to a new place before anything is decided by it.
//   - A failed sync of the store is retried. Each call of Create or Swap writes all bytes again, to a
//     new file, and syncs that. It can be repeated safely, because the name can get no other bytes:
//     a generation that fails before its seal is tried again under the next number, and a document or
//     a swap with the same bytes.
//
// # Items
//
// One call of Submit is one [Item]. It is decided as a whole. Items are decided in the order in
// which the journal accepted them. An item may carry conditions ([Condition]). See [State] for what
// can become of an item.
//
// If a bin was altered in the store, its items wait, and so do later items that name one of their
// paths. Everything else is published. [Repository.Rebuild] makes such a bin again.
//
// If a bin can't be read, signed or written while others can, it waits in the same way, and is tried
// again after a pause. If no other can either, the store or the key is out of order: then the whole
// attempt is repeated, after pauses that grow to a minute.
//
// # Reading back
//
// [Repository.View] is what one generation publishes, as clients find it: look a path up, or
// iterate over all targets. It doesn't change when later generations are committed. Each lookup reads
// the store. [ReadView] makes one in a process that isn't the publisher.
// [ReadGenerations], [ReadDiff] and [ReadLife] tell what happened: each generation, what two of them differ
// in, and what became of one path. They read the journal alone.
// [Repository.Drain] returns once all that was accepted before it is decided.
//
// # What to watch
//
// [Repository.Status] has a list of Problems: what fails now, or soon, since when or from when on,
// and what to do about it. An empty list means that all is well. A Status encodes itself as JSON, so
// that an index can serve it as its health endpoint. [ReadStatus] reads one in another process.
//
// [Config.Observe] is told of each stage of a generation: its cause, its duration, each signature
// and each file. [Config.Approve] is asked about each item before anything is signed.
//
// # Audits
//
// [github.com/bindery-tuf/bindery/repository/audit.Audit] checks everything that clients can reach,
// and changes nothing. It may run alongside the publisher.
//
// # Backups
//
// To back up a running repository, copy the store, and once that is complete, copy the journal.
// Plain copies of the files will do. Ignore temporary files that vanish meanwhile. In this order the
// journal knows all that the store has, and nothing is lost that was accepted before the journal was
// copied. Keep the newest timestamp.json somewhere else too: it is the witness of what clients have
// seen.
//
// Clients refuse versions that go down, so a backup is never just put back:
//
//   - The store was lost, or is older than the journal: [RestoreStore] makes what is missing
//     again from the journal. Nothing is lost, with one exception: a journal that RestoreJournal made
//     has no targets from before that.
//   - The journal was lost, or is older than the store: [RestoreJournal] makes it agree with
//     what is published. What was accepted and not published is lost. Make a new backup of both
//     at once: older copies of the store are no longer enough.
//   - Both are of one backup: nothing shows it from inside. Give Config.Witness, and
//     [RestoreStore] publishes the backup's content above all that clients have seen.
//
// Open notices the first two by itself, and the last one only with Config.Witness. It says which it
// is, and changes nothing: it never goes back by itself.
//
// # Growth
//
// Nothing is collected yet. A generation adds its bins and one snapshot to the store (about 35
// bytes for each bin of the repository), and to the journal its items and about 250 bytes for
// each changed bin.
package repository
