// Package ledger is what a publisher writes down: the items that an index asked for, the
// decisions about them, and the state that follows. It is pure: it reads and writes no
// files, and a journal of any kind (files, a table, objects) keeps its bytes.
//
//	var s ledger.State
//	for step, err := range journal.Read(ctx, ledger.FromCheckpoint) {
//		if err != nil {
//			return err
//		}
//		if step.Record != nil {
//			if err := s.Apply(*step.Record); err != nil {
//				return err
//			}
//		}
//	}
//	row, ok := s.Table.Row("bins-0a3f") // what is published of that bin
//
// This comment is the specification of the format.
//
// # Entries
//
// An [Entry] is one item in its envelope. The envelope holds the item's ID, when it was
// accepted, and who asked. The body is opaque to a journal: it is kept byte for byte, and
// its SHA-256 is the entry's digest. The body is a JSON object, an [Item]:
//
//	{"add":[{"path":"a.whl","length":3,"hashes":{"sha256":"…"}}],"remove":["b.whl"],
//	 "if":[{"path":"a.whl","absent":true}]}
//
// A target has "path", "length" (in bytes) and "hashes", and perhaps "custom". The item's members are optional, but one
// without "add", "remove", "import" and "metadata" asks for nothing and is set aside. Item.Entry writes the members in the order of the
// fields of Item, "add", "remove" and "if" sorted by path, custom data in canonical JSON,
// and no white space. Another writer may do otherwise. Two bodies mean the same if Item.Entry
// writes the same bytes for both; the digest of those bytes is the meaning of the item
// ([Meaning]).
//
// # Records
//
// A [Record] is one decision of a publisher, a JSON object:
//
//	{"epoch":3,"kind":"intent","generation":41,"prev":"…","time":"2026-11-29T12:00:00Z","body":{…}}
//
// "epoch" is the lead under which it was written. "prev" is the SHA-256, in lower-case
// hexadecimal, of the record before it, over its bytes as written; it is "" for the first
// record. So the records form a chain, which no journal may encode again. "time" is the
// publisher's clock. The body depends on the kind:
//
//	documents   offline documents were accepted and will be published       [Documents]
//	intent      files with these names may reach the store from now on      [Intent]
//	seal        this generation will be published: rows, outcomes, swaps    [Seal]
//	commit      the swaps of the sealed generation were made                [Commit]
//	decided     outcomes that need no generation                            [Decided]
//	collected   files superseded up to a generation are gone; what became   [Collected]
//	            of target files
//	rotation    an online role goes over to another key from now on         [Rotation]
//	checkpoint  the whole state: earlier records need not be read           [Checkpoint]
//
// Accepted documents are superseded by later records of that kind: a role's file by one of a
// higher version, a root by the next one, after which it is written all the same. Only a root
// that waits for a commit ("at_commit") can be withdrawn, by name, as long as no seal came after
// it. Another root may have that name then: this one never reached the store.
//
// A publisher writes, for each generation, an intent, a seal and a commit with that
// generation's number. An intent without a seal is burnt: the next one has a higher
// number. Documents, decided, collected and rotation records may stand between. Only a restoration
// writes a checkpoint after a seal that has no commit; the seal is then given up, and its
// entries are pending again.
//
// Every seal and every decided record lists the entries that it decides, in the order in
// which it decided them, each with ID, digest and outcome.
//
// A reader refuses a kind or a member that it doesn't know, with an error that wraps
// [ErrNewer]: to pass it over could mean to lose something.
//
// # History
//
// A journal's history is a sequence of steps, each an entry or a record, in the order in
// which they took effect. It may begin at a checkpoint: its "prev" is then the hash of a
// record that is no longer kept, and the entries that were pending at the time come
// before it.
//
// # Signings
//
// A seal names the keys that sign the timestamp, the snapshot and the targets of its
// generation. The state has each such combination once, with the time of the commit record that
// ended its last generation; a checkpoint keeps it. A cache may serve that generation for a while
// after, and a client needs its keys for as long:
//
//	[{"signed_by":{"snapshot":["…"],"targets":["…","…"],"timestamp":["…"]},"superseded":"2026-11-29T12:00:00Z"},
//	 {"signed_by":{"snapshot":["…"],"targets":["…","…"],"timestamp":["…"]}}]
//
// A key is named by its ID and the SHA-256 of its material, as in the table's list of keys.
//
// # Rotations
//
// A rotation record names an online role ("timestamp", "snapshot", "bins-*" for the hashed bins of that
// prefix, or another role) and the key to which it goes. From then on every publisher that has this
// key signs the role with it. The rotation is under way until a documents record names the role in
// "rotated": the documents in force then name no other key for it, or no longer this one. A checkpoint
// keeps the rotations that are under way. A second record for the same role takes the place of the
// first.
//
// # Garbage
//
// A seal lists the names in the store that its generation supersedes, and the target files that clients
// find no more. The commit makes them garbage ([Garbage]). So does it with every file that a burnt
// generation may have written: the state keeps the intents above the committed generation
// ([State.Attempts]) and hands them over to the next commit. Files that an intent names and its own
// seal doesn't are garbage of that commit too.
//
// A publisher deletes garbage once a grace period has passed since the commit, and says so in a
// collected record. The record names the last commit whose garbage is all gone. It also lists the
// target files that are offered to the index from then on, and those that were offered before and are
// settled. A checkpoint holds everything that is still listed:
//
//	"attempts":[{"generation":43,"roles":["snapshot"],"bins":[{"prefix":"bins","digits":1,"first":0,"last":7}]}],
//	"garbage":[{"generation":42,"time":"2026-11-29T12:00:00Z","files":["40.bins-f.json","41.snapshot.json"],
//	            "targets":[{"path":"a.whl","hashes":{"sha256":"…"}}]}],
//	"collected":41,"targets":[{"path":"b.whl","hashes":{"sha256":"…"}}],"unlisted":3,"bases":{"bins-f":12}
//
// At most [MaxGarbage] files are listed. Beyond that the oldest are forgotten, and "unlisted" is the
// newest generation of which some were. A checkpoint that lists none, although "collected" is below its
// generation, is of a version that knew no garbage: then all of it is unlisted.
//
// "bases" are files that are never garbage: a replay of the history begins with them ([State.Bases]).
//
// # The table
//
// What is published of each online role is a [Row]: version, length, when it was signed,
// when it expires, which key, and the SHA-256 of the file. A row is written as one text:
//
//	"41 131072 1764417600 1765022400 0 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
//
// The key is an index into the table's list of keys. Hashed bins are a set: a prefix, and
// one row for each bin in order. 65,536 rows take 4.2 MB in memory and about 7 MB in a
// checkpoint.
package ledger
