// Package dirjournal keeps a repository's journal in a local directory: the queue of
// entries, and the log of the publisher's decisions. Its files are only ever appended to.
//
//	journal, err := dirjournal.Open("index/journal") // locks it until Close
//	if err != nil {
//		return err
//	}
//	repo, err := repository.Open(ctx, repository.Config{Store: metadata, Journal: journal, ...})
//	if err != nil {
//		return errors.Join(err, journal.Close())
//	}
//	defer repo.Close() // closes the journal too
//
// One process has a journal open at a time. Others may read it meanwhile, without its lock:
//
//	reader, err := dirjournal.OpenReader("index/journal")
//	for step, err := range reader.Read(ctx, ledger.FromBeginning) {
//		...
//	}
//
// # Format
//
// The directory holds segments, named by their number: 000000000001.seg, 000000000002.seg,
// and so on. It also holds lock, a file (see Locks), and perhaps next.tmp, a segment
// that has no name yet, and begin (see Reading). No frame is ever changed, and none removed
// but by Archive, so the whole repository can be made again from the journal. A directory
// lost+found, which a new file system has, is left alone.
//
// A segment is a header of 64 bytes, followed by frames. Numbers are big-endian.
//
//	 0   8  "bndryjnl"
//	 8   4  version of the format: 2
//	12   8  number of the segment
//	20   8  epoch of the newest leader when the segment was begun
//	28   8  sequence number of the first frame, which may not be there yet
//	36   8  number of the segment with which reading must begin
//	44   8  synced: how many bytes of the file were durable before it had its name
//	52   8  ID of the segment, random
//	60   4  CRC-32C of the 60 bytes before (in every version)
//
// One frame is what one sync made durable. Frames are numbered from 1 through all segments.
//
//	 0   4  length of the payload; never 0
//	 4   8  sequence number
//	12   4  CRC-32C of the segment's ID, the 12 bytes before, and the payload
//	16   …  payload: parts
//
// A part begins with a letter and a space, and ends with a newline. Package ledger specifies
// its contents, which are kept byte for byte.
//
//	e {"id":"a","accepted":"2026-05-17T12:00:00Z","by":"ci","size":20}
//	BODY                a queued entry: its envelope, and a body of that size
//	r 92
//	BYTES               a record of the publisher, of that many bytes
//	c 1031
//	BYTES               a checkpoint record, with which reading may begin
//	p as e              an entry that is pending at this checkpoint
//	o {"id":"z",…}      the outcome of an entry that was decided: a ledger.ItemOutcome
//	z closed            the journal was closed; such a frame has no other part
//
// "c", "p" and "o" appear only in a frame with a checkpoint. "o" and "p" stand before their
// "c". If one call appends several checkpoints, only the last is a "c".
//
// This is segment 2, of epoch 1, with the entries "a" and "b" and a record in frame 1:
//
//	00000000  62 6e 64 72 79 6a 6e 6c  00 00 00 02 00 00 00 00  |bndryjnl........|
//	00000010  00 00 00 02 00 00 00 00  00 00 00 01 00 00 00 00  |................|
//	00000020  00 00 00 01 00 00 00 00  00 00 00 01 00 00 00 00  |................|
//	00000030  00 00 00 40 01 23 45 67  89 ab cd ef 9a af 17 51  |...@.#Eg.......Q|
//	00000040  00 00 01 12 00 00 00 00  00 00 00 01 4e d4 60 2a  |............N.`*|
//	00000050  65 20 7b 22 69 64 22 3a  22 61 22 2c 22 61 63 63  |e {"id":"a","acc|
//	00000060  65 70 74 65 64 22 3a 22  32 30 32 36 2d 30 35 2d  |epted":"2026-05-|
//	00000070  31 37 54 31 32 3a 30 30  3a 30 30 5a 22 2c 22 62  |17T12:00:00Z","b|
//	00000080  79 22 3a 22 63 69 22 2c  22 73 69 7a 65 22 3a 32  |y":"ci","size":2|
//	00000090  30 7d 0a 7b 22 72 65 6d  6f 76 65 22 3a 5b 22 61  |0}.{"remove":["a|
//	000000a0  2e 77 68 6c 22 5d 7d 0a  65 20 7b 22 69 64 22 3a  |.whl"]}.e {"id":|
//	000000b0  22 62 22 2c 22 61 63 63  65 70 74 65 64 22 3a 22  |"b","accepted":"|
//	000000c0  32 30 32 36 2d 30 35 2d  31 37 54 31 32 3a 30 30  |2026-05-17T12:00|
//	000000d0  3a 30 30 5a 22 2c 22 62  79 22 3a 22 63 69 22 2c  |:00Z","by":"ci",|
//	000000e0  22 73 69 7a 65 22 3a 32  30 7d 0a 7b 22 72 65 6d  |"size":20}.{"rem|
//	000000f0  6f 76 65 22 3a 5b 22 62  2e 77 68 6c 22 5d 7d 0a  |ove":["b.whl"]}.|
//	00000100  72 20 39 32 0a 7b 22 65  70 6f 63 68 22 3a 31 2c  |r 92.{"epoch":1,|
//	00000110  22 6b 69 6e 64 22 3a 22  63 6f 6d 6d 69 74 22 2c  |"kind":"commit",|
//	00000120  22 67 65 6e 65 72 61 74  69 6f 6e 22 3a 37 2c 22  |"generation":7,"|
//	00000130  70 72 65 76 22 3a 22 22  2c 22 74 69 6d 65 22 3a  |prev":"","time":|
//	00000140  22 32 30 32 36 2d 30 35  2d 31 37 54 31 32 3a 30  |"2026-05-17T12:0|
//	00000150  30 3a 30 30 5a 22 2c 22  62 6f 64 79 22 3a 7b 7d  |0:00Z","body":{}|
//	00000160  7d 0a                                             |}.|
//
// # Writing
//
// A frame is written only after the frame before it is durable. All callers that wait share
// the next frame. After a failed sync nothing more is written, because the frame may be
// readable now and gone later. If the disk took only a part of a frame, that part is ignored
// and the next frame goes into a new segment.
//
// A new segment is written as next.tmp, with its header and at most one frame. The file is
// synced, then renamed, then the directory is synced. So every segment has a whole beginning,
// and a failure before the rename has no effect. A segment is begun
//
//   - by each process that opens the journal. The last write of a killed process may be
//     readable and not durable. So the newest frame is written again, as the first of a new
//     segment, before anything acts on it. Open skips this, and needs no space, where the
//     frame is durable for certain: it says that the journal was closed, or a part of the
//     next frame follows it. The segment is then begun by the first write;
//   - by each leader, with the new epoch;
//   - when the last segment is full, or holds a part of a frame;
//   - for each frame with a checkpoint. Before the checkpoint, that frame has all remembered
//     outcomes ("o") and all pending entries ("p"), and from then on reading begins with it.
//     So the cost of Open doesn't grow with the history. A seal without a commit ends with
//     the checkpoint: its entries are pending again, before the others.
//
// A last segment that has only its beginning is replaced by the next process that opens the
// journal. The new one has the same number and begins with the same frame. A leader does the
// same if the segment has no frame. So a program that fails at every start leaves one segment,
// not thousands. Segment 1 is never replaced that way; while it is alone, it is made again
// before segment 2 is begun.
//
// # Reading
//
// The last segment's header says where reading begins: at segment 1, which never has a frame,
// or at a segment whose first frame has a checkpoint. In that first frame, records before the
// checkpoint are skipped. In every later frame, "o" and "p" are skipped: they repeat what was
// read already.
//
// A seal takes its entries out of the queue. They keep their bodies, and their outcomes stay
// hidden, until the commit of that generation. A decided record takes effect at once. Two
// entries with one ID are the same if their digests or their meanings are equal.
//
// Reading from the beginning starts at the first segment there is. Segments before one that
// begins with a checkpoint may be moved elsewhere, all together. Journal.Archive does that: it copies
// them, makes the copies durable, and writes the file begin. Then it removes them, the oldest first. Once they
// are put back, all of the history is read again. The file begin names the segment with which the history begins
// then. It counts only if the first segment neither is the journal's first nor begins with a checkpoint:
// then Archive was interrupted, and earlier segments are left out.
//
//	{"segment":6}
//
// A segment's first frame has the sequence number after the newest frame before it, or is a
// copy of that frame, byte for byte. Numbers of segments may be missing; numbers of frames may
// not.
//
// # Damage
//
// A frame whose length or checksum is wrong ends its segment. If a later segment follows, it
// must continue at exactly that place. In the last segment the bad frame is taken for the
// remains of an interrupted write and left out (see Journal.Cut), unless a whole later frame
// follows it: then it is damage. Damage is also a bad frame within the synced bytes, a bad
// header, and everything else that doesn't fit. Open then names the place and changes nothing.
//
// A closed journal ends with a frame that says so, so a bad frame before it is always found.
// If a journal wasn't closed, damage to its newest frame looks like an interrupted write.
//
// # Locks
//
// A process that has the journal open holds two exclusive flocks: one on the directory itself
// and one on the file lock. The first is enough between processes of one machine, on every
// file system of Linux and on local ones of macOS and the BSDs; removing files doesn't break
// it. The second also works between machines, where a network file system passes flock on:
// NFS on Linux, and SMB. There the file must stay. Some file systems lock no files between
// machines: NFS mounted with "nolock" or "local_lock", and most of FUSE. Give a journal on one
// of those to one machine only.
//
// While the journal is open, the file lock says who has it, for the errors of other
// processes; otherwise it is empty. Nothing depends on it:
//
//	{"pid":4711,"host":"index-1","since":"2026-05-17T12:00:00Z"}
//
// Files can still be removed, moved or replaced. So after each sync the process checks that
// its directory, its segment and the lock file are the ones that it opened, and that no later
// segment appeared. Otherwise the call fails and the journal is closed: no caller is told
// "durable" about a frame that the next Open won't find. On NFS the check may lag by the time
// for which attributes are cached. A missing earlier segment is noticed when it is read.
//
// # Machines
//
// A journal can be written on Linux, macOS and the BSDs. On Windows and all other systems,
// Create and Open return an error that names the system and wraps errors.ErrUnsupported,
// because a directory can't be made durable there. OpenReader reads a copy of a journal
// anywhere. On a 32-bit machine, the segments since the newest checkpoint must fit into the
// address space.
package dirjournal
