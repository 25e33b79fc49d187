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
// # Renewal
//
// Run signs every online role again before it expires, at half of its lifetime or at the age that
// Config says ([Config.BinRenewal] and others). The renewals of the bins are spread evenly.
// [Config.RenewalsPerMinute] limits how many bins that signs in a minute, for instance because a key
// service has a quota. Uploads don't wait for renewals, and a bin that would expire doesn't wait for the
// limit. Documents that people sign can't renew themselves: the log, Status and [Config.WarnExpiry] say
// in good time that they expire.
//
// # New online keys
//
// An online key is replaced without an outage in three steps. First people install documents that name
// both keys. Then [Repository.Rotate] has everything signed again by the new one, which Status.Rotations
// shows. In the end people install documents without the old key. Install refuses them as long as a
// client may need that key. If the old key may be in other hands, don't wait: see
// [Repository.InstallAfterCompromise].
//
// # What to watch
//
// [Repository.Status] has a list of Problems: what fails now, or soon, since when or from when on,
// and what to do about it. An empty list means that all is well. A Status encodes itself as JSON, so
// that an index can serve it as its health endpoint. [ReadStatus] reads one in another process.
//
// [Config.Observe] is told of each stage of a generation: its cause, its duration, each signature
// and each file; [LogSignatures] logs each signature, and package otelmetrics makes metrics of all.
// [Config.Approve] is asked about each item before anything is signed.
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
//   - The journal lost only its last records, because its database failed over to a replica that lagged
//     behind: [Adopt] goes on from what is published, and signs only a new snapshot and timestamp.
//   - Both are of one backup: nothing shows it from inside. Give Config.Witness, and
//     [RestoreStore] publishes the backup's content above all that clients have seen.
//
// None of these is for a store and a journal that belong to different repositories, because the configuration names the
// wrong bucket, prefix, database, schema or folder. Open and the calls above tell these by their roots, refuse, and change nothing:
// put the configuration right, and move nothing away. [Belong] tells it alone.
//
// Open notices the first three by itself, and the last one only with Config.Witness. It says which it
// is, and changes nothing: it never goes back by itself.
//
// # After a compromise
//
// An attacker has the online keys, and perhaps could write to the store. The test TestAfterCompromise
// takes these steps.
//
//  1. Stop the publisher. Copy the store: it is the evidence. Make new online keys.
//  2. Look at what was published. [ClientView] is what clients find in the evidence. [LedgerView] is
//     what the journal says. [Compare] yields each path at which they differ, in words. If the journal
//     can't be trusted either, compare with the ClientView of a mirror's copy from before the attack.
//     Neither sees what a client was sent that is no longer in the store.
//  3. Hold a ceremony. The next root names the new keys for timestamp and for snapshot, and none of the
//     old ones. The document that delegates to the bins ("bins" in PEP 458) names the new key of the
//     bins. All that the keys of the offline roles signed stays as it is.
//  4. Call [RestoreStore] with the new keys in Config and the new documents in
//     [Restoration].Documents. From this moment clients refuse what the attacker published. When it
//     returns they find what the ledger says, above every version that the store knows. With a mirror's
//     copy instead of the journal: make that copy the store, give an empty journal, and call
//     [RestoreJournal].
//  5. Compare a new ClientView with the LedgerView: nothing differs. Run [audit.Run] with the target
//     files: they may have been replaced too. Look at what waits in the queue before you call Run. The
//     attacker's files do no harm. [Repository.Sweep] deletes those of lower versions than the published
//     ones; move the others away.
//
// If RestoreStore finds a name with other bytes than it must have, it names the file: move it away, and
// call it again. A new, empty store is good as well, and needed if the attacker left nothing that is the repository's: then all is
// made from the journal. If the
// attacker only had the keys and the store is right, [Repository.InstallAfterCompromise] alone is enough.
//
// Fast-forward. An attacker may raise the versions of timestamp, snapshot and bins, up to the largest
// number that clients read. A client keeps the last timestamp and snapshot that it accepted, and
// refuses lower versions. It drops what it keeps once root doesn't list the key that signed it (TUF
// specification, 5.3.11). So both keys must be replaced, with no time in which root lists old and new:
//
//	timestamp's key stays   fails at the timestamp: "version 5 must be >= 1000"
//	snapshot's key stays    fails at the snapshot: its versions of the bins are lower
//	old and new overlap     fails as long as root lists the old one
//	both are replaced       takes the new timestamp and snapshot, whatever their versions
//
// go-tuf, python-tuf and tuf-js do so (the tests run them), whether they saw the raised versions, the
// last good generation, an old one, or nothing yet. They recover at the next refresh after the last
// of the keys was replaced, in whichever order. Bins need no more: a client takes the version that the
// snapshot names. Clients behind a cache fail until it serves the new timestamp, for Config.CacheAge at
// most.
//
// A version that replaced keys signed needs no [Restoration].Past. RestoreStore goes above it if it is
// at most 2^32 higher than its own, because caches may keep files of these names. It leaves higher ones
// out of account, also in Config.Witness. If a key that stays in force signed a version with nothing
// above it, RestoreStore refuses and says which.
//
// # Archives
//
// The journal keeps all of its history until [Repository.Archive] puts it away. From then on the history
// begins at a checkpoint. Bins can be made again only from their files of that generation, the bases, which
// the store keeps even if they are superseded. So each backup needs a copy of the bases, or the archive: put
// back into the journal's folder, it makes the whole history readable again.
//
// # Growth
//
// A generation adds its bins and one snapshot to the store (about 35 bytes for each bin of the
// repository). To the journal it adds its items and about 250 bytes for each changed bin, which stay
// until [Repository.Archive].
//
// Clients may need what it supersedes for a grace period: see [Config.CacheAge]. Then Run deletes it, at the
// rate of [Config.CollectPerMinute]. The journal lists what is to be deleted, so this costs what is
// deleted, and no listing. The grace begins at the commit record, and for whatever is older than this
// process at Open. It is measured by a clock that nobody sets. Roots stay for ever. So do the files from
// which a journal that RestoreJournal made can make bins again.
//
// [Config.DeleteTarget] is called for target files that were removed or replaced, once no client can need
// them. [github.com/bindery-tuf/bindery/repository/dirstore.Targets] has a method for it.
//
// [Repository.Sweep] lists the whole store, says of each file why it stays or goes, and deletes what no
// list has. It is a repair: Status says when it is needed. [ReadSweep] is a dry run in another process.
//
// [audit.Run]: https://pkg.go.dev/github.com/bindery-tuf/bindery/repository/audit#Run
package repository
