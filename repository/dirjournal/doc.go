// Package dirjournal keeps a repository's journal in a local directory: the queue
// of entries and the log of the publisher's decisions, in files that are only ever
// appended to.
//
//	j, err := dirjournal.Open(dir)
//	if err != nil {
//		return err
//	}
//	defer j.Close()
//	known, err := j.Enqueue(ctx, entry) // durable
//
// # Format
//
// The directory holds segments, named by their number: 000000000001.seg,
// 000000000002.seg, and so on. Alongside them there is lock, a file that the
// process locks that has the journal open (see Locks), and perhaps next.tmp, a segment
// on its way to its name. No frame is ever changed or removed, so that all of the
// repository can be made from them again. A directory lost+found, which a new file system
// has, is left alone.
//
// A segment is a header of 64 bytes and then frames. Numbers are big-endian.
//
//	 0   8  "bndryjnl"
//	 8   4  version of the format: 2
//	12   8  number of the segment
//	20   8  epoch of the newest leader when the segment was begun
//	28   8  sequence number of the first frame, there or to come
//	36   8  number of the segment with which reading must begin
//	44   8  synced: how many bytes of the file were durable before it had its name
//	52   8  ID of the segment, random
//	60   4  CRC-32C of the 60 bytes before (in every version)
//
// A frame is what was made durable by one sync. Frames are numbered from 1
// through all segments.
//
//	 0   4  length of the payload; never 0
//	 4   8  sequence number
//	12   4  CRC-32C of the segment's ID, the 12 bytes before, and the payload
//	16   …  payload: parts
//
// A part begins with a letter and a space, and ends with a newline. What it holds is kept
// byte for byte, as package ledger specifies it.
//
//	e {"id":"a","accepted":"2026-05-17T12:00:00Z","by":"ci","size":20}
//	BODY                an entry that is queued: its envelope, and so many bytes of body
//	r 92
//	BYTES               a record of the publisher, of so many bytes
//	c 1031
//	BYTES               the same of a checkpoint with which reading may begin
//	p as e              an entry that is pending at this checkpoint
//	o {"id":"z",…}      what is remembered of one that was decided: a ledger.ItemOutcome
//	z closed            the journal was closed: this is all of the frame
//
// Each of "c", "p" and "o" is in a frame with a checkpoint only: "o" and "p" stand before the
// "c" that they belong to. If such a frame holds more checkpoints, the last one is the "c".
//
// Segment 2, of epoch 1, with the entries "a" and "b" and a record in frame 1:
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
// A frame is written only once the one before it is durable. All callers that
// wait share the next frame. After a sync that failed nothing more is written: what
// it should have written may be readable now and gone later. After a write of which
// the disk took only a part, the next frame is written to a new segment: the part
// is no frame.
//
// A segment begins as next.tmp, with its header and at most one frame, is synced,
// renamed, and the directory synced. So every segment has a whole beginning, and
// what fails before the rename has no effect. One is begun
//
//   - by each process that opens the journal. What a killed process wrote last may
//     be readable and not durable, so if the last segment has a frame, the newest
//     frame is written again as the first of the new segment, before anything is done
//     with it. That frame is certainly durable if it says that the journal was
//     closed, or if a part of the next one follows: then the new segment is begun
//     only once there is something to write, and Open needs no space;
//   - for each leader, with the new epoch;
//   - when the last one is full, or has a part of a frame;
//   - for a frame with a checkpoint record. That frame holds, before the record,
//     all that is remembered ("o") and all that is pending ("p") at the time, and
//     reading begins with it from then on. What opening costs doesn't grow with the
//     history. What is pending includes, in front, what a seal without a commit had
//     decided: the checkpoint gives that seal up.
//
// Where the last segment has no more than its beginning, and isn't the first, a
// process that opens the journal replaces it by one of the same number that begins
// with the same frame, and so does a leader if there is no frame in it. So a program
// that fails to start all night leaves no more behind than one that fails once. A
// first segment that is alone is made again before the second is begun.
//
// # Reading
//
// The last segment says where to begin: with segment 1, which never has a frame, or with one
// that begins with a checkpoint's frame. Of that frame the records before the checkpoint are
// passed over. Of all other frames "o" and "p" are, since they repeat what was read.
//
// A seal takes the entries that it decides out of the queue, and their outcomes show with the
// commit of its generation. They keep their bodies until then. A decided record takes effect
// at once. Two entries with one ID are the same if their digests are equal, or their
// meanings are.
//
// To read from the beginning is to read from the first segment. Segments before one that
// begins with a checkpoint's frame may be moved elsewhere, together.
//
// A segment goes on with the sequence number
// after the newest frame before it, or with that frame's copy, equal byte for byte.
// Numbers of segments may be missing if no frame is.
//
// A frame that is bad, by its length or checksum, ends its segment. In the last
// segment it is a torn write and left out (Journal.Cut says what was), unless a whole later
// frame follows somewhere after it; before the last, the next segment must go on in its
// place. A journal that was closed ends with a frame that says so. So any other bad frame
// of it has a whole one after it, and is damage. Of a journal that wasn't closed, damage to
// the very newest frame can't be told from a torn write. A bad frame within the synced bytes, a bad header, and all else that
// doesn't fit, is damage: Open says where and changes nothing.
//
// # Locks
//
// A process that has the journal open holds an exclusive flock on the directory itself,
// whatever is removed from it, and one on the file lock. Among the processes of one machine
// the first is enough, on all file systems of Linux, and on the local ones of macOS and the
// BSDs. It doesn't reach other machines. The second does, where a network file system passes
// flock on: NFS of Linux, and SMB. So on those the file must stay, and where a file system
// locks no files of several machines (NFS mounted with "nolock" or "local_lock", most of
// FUSE) nothing keeps a second machine out: give such a journal to one machine.
//
// While the journal is open, the file lock says who has it, for the errors of other
// processes; it is empty otherwise, and nothing depends on it:
//
//	{"pid":4711,"host":"index-1","since":"2026-05-17T12:00:00Z"}
//
// Files are removed, moved and replaced all the same. So after each sync a process looks
// whether the directory, its segment and the lock file are still those that it opened, and
// whether there is a later segment that it didn't begin. If not, the call fails and the
// journal is closed: nobody is told that something is durable which the next Open doesn't
// find. (On NFS it may see this late, by the time for which attributes are cached.) That an
// earlier segment was removed shows when the journal is read.
//
// # Machines
//
// A journal is written on Linux, macOS and the BSDs. Windows can't make a directory
// durable: there Create and Open are refused with an error that says so, names the
// system, and wraps errors.ErrUnsupported. So it is on all other systems. OpenReader
// reads a copy of a journal anywhere. On a 32-bit machine the segments that are read
// since the newest checkpoint must fit into the address space.
package dirjournal
