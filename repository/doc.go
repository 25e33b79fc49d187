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
// Submit is called. [Handler] serves both over HTTP.
//
// # Roles
//
// [Documents] are what people sign in ceremonies: root, targets, and the roles that these
// delegate to. Together they make a tree ([delegation.Tree]). Every path belongs to the first
// leaf that a client would ask for it. A leaf is signed online if it is a hashed bin or if
// [Config.Signers] names it; a path whose leaf people sign is refused by Submit.
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
// Two invariants follow. timestamp.json is the only name that ever changes, so clients see
// all of the old generation before the swap and all of the new one after it. And no name ever
// has two contents: if an attempt fails after its intent, N is burnt and the next attempt is
// N+1. Files of version N are deleted first, by the publisher that wrote them, if it knows that
// no seal of N can exist. TUF lets the versions of bins, snapshot and timestamp skip (specification, 5.4 and
// 5.5).
//
// Documents that people sign keep their own versions. Their bytes are made durable in the
// journal first and then written until done. A new root is a commit of its own: clients see
// it as soon as it is written. A root that drops a key is refused while a cache may serve what
// that key signed: see [Config.CacheAge].
//
// # Recovery
//
// Open reads the journal and goes on where the last publisher stopped. An intent without a
// seal is burnt; its items are still queued. A seal without a commit is committed, after a
// check that everything it names is in the store: the swap does nothing if it had already
// happened. If the store's timestamp is neither the committed nor the sealed one, Open changes
// nothing and returns [ErrDiverged].
//
// # Items
//
// One call of Submit is one [Item]. It is decided as a whole, in the order in which the
// journal accepted it; items that name the same path are decided one after the other. An item
// may carry conditions ([Condition]). See [State] for what can become of an item.
//
// An item whose bin was altered in the store waits, and so do later items that name one of its
// paths. Everything else is published. [Repository.Rebuild] makes such a bin again.
//
// A bin that could not be read, signed or written waits in the same way, and is tried again
// after a pause, if others could in the same attempt. Otherwise the store or the key is out of
// order, and the whole attempt is repeated, after pauses that grow to a minute.
//
// # Reading back
//
// [Repository.View] is what one generation publishes, as clients find it: look a path up, or
// iterate over all targets. It never changes while others are committed, and reads the store only
// when it is asked. [ReadView] makes one in a process that isn't the publisher.
// [Repository.Drain] returns once all that was accepted before it is decided.
//
// # What to watch
//
// [Repository.Status] has a verdict, Problems: what fails now, what will, since when or from when
// on, and what to do about it. None means that all is well. A Status encodes itself as JSON, so
// that an index can serve it as its health endpoint; [ReadStatus] reads one in another process.
//
// [Config.Observe] is told of each stage of a generation: its cause, its duration, each signature
// and each file. [Config.Approve] is asked about each item before anything is signed.
//
// # Audits
//
// [Audit] checks everything that clients can reach, and changes nothing. It
// may run alongside the publisher.
//
// # Backups
//
// A backup of a running repository is a copy of the store and then, once that is complete, a
// copy of the journal. Plain copies of the files will do; ignore temporary files that vanish
// meanwhile. In this order the journal knows all that the store has, and nothing is lost that
// was accepted before the journal was copied. Keep the newest timestamp.json somewhere else
// too: it is the witness of what clients have seen.
//
// Clients refuse versions that go down, so a backup is never just put back:
//
//   - The store was lost, or is older than the journal: [RestoreStore] makes what is missing
//     again from the journal. Nothing is lost, unless the journal itself was restored from the
//     store before: it has no older targets than that.
//   - The journal was lost, or is older than the store: [RestoreJournal] makes it agree with
//     what is published. What was accepted and not published is lost. Make a new backup of both
//     at once: no older copy of the store suffices any more.
//   - Both are of one backup: nothing shows it from inside. Give Config.Witness, and
//     [RestoreStore] publishes the backup's content above all that clients have seen.
//
// Open notices each of these, the last one with a witness, says which it is, and changes
// nothing: it never goes back by itself.
//
// # Growth
//
// Nothing is collected yet. A generation adds its bins and one snapshot to the store (about 35
// bytes for each bin of the repository), and to the journal its items and about 250 bytes for
// each changed bin.
package repository
