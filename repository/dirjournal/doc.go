// Package dirjournal keeps a repository's journal in a local directory: the queue
// of items and the log of the publisher's decisions, in files that are only ever
// appended to.
//
// # Format
//
// The directory holds segments, named by their number: 000000000001.seg,
// 000000000002.seg, and so on. Beside them there is lock, an empty file that the
// process locks that has the journal open, and perhaps next.tmp, a segment on its
// way to its name. No frame is ever changed or removed, so that all of the
// repository can be made from them again.
//
// A segment is a header of 64 bytes and then frames. Numbers are big-endian.
//
//	 0   8  "bndryjnl"
//	 8   4  version of the format: 1
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
//	16   …  payload: lines, each of a letter, a space, JSON, and a newline
//
// The letter tells what the JSON is: "i" an item that is queued, "r" a record of
// the publisher, and "o" what is remembered of an item that was decided. JSON of
// items and records is that of package repository, byte for byte: the hashes that
// chain the records are over it.
//
// Segment 2, of epoch 1, with the items "a" and "b" in frame 1:
//
//	00000000  62 6e 64 72 79 6a 6e 6c  00 00 00 01 00 00 00 00  |bndryjnl........|
//	00000010  00 00 00 02 00 00 00 00  00 00 00 01 00 00 00 00  |................|
//	00000020  00 00 00 01 00 00 00 00  00 00 00 01 00 00 00 00  |................|
//	00000030  00 00 00 40 01 23 45 67  89 ab cd ef d7 c8 a3 a6  |...@.#Eg........|
//	00000040  00 00 00 84 00 00 00 00  00 00 00 01 d9 df 92 e2  |................|
//	00000050  69 20 7b 22 69 64 22 3a  22 61 22 2c 22 72 65 6d  |i {"id":"a","rem|
//	00000060  6f 76 65 22 3a 5b 22 61  2e 77 68 6c 22 5d 2c 22  |ove":["a.whl"],"|
//	00000070  61 63 63 65 70 74 65 64  22 3a 22 32 30 32 36 2d  |accepted":"2026-|
//	00000080  30 35 2d 31 37 54 31 32  3a 30 30 3a 30 30 5a 22  |05-17T12:00:00Z"|
//	00000090  7d 0a 69 20 7b 22 69 64  22 3a 22 62 22 2c 22 72  |}.i {"id":"b","r|
//	000000a0  65 6d 6f 76 65 22 3a 5b  22 62 2e 77 68 6c 22 5d  |emove":["b.whl"]|
//	000000b0  2c 22 61 63 63 65 70 74  65 64 22 3a 22 32 30 32  |,"accepted":"202|
//	000000c0  36 2d 30 35 2d 31 37 54  31 32 3a 30 30 3a 30 30  |6-05-17T12:00:00|
//	000000d0  5a 22 7d 0a                                       |Z"}.|
//
// # Writing
//
// A frame is written only once the one before it is durable. All callers that
// wait share the next frame. After a write or sync that failed nothing more is
// written: what it should have written may be readable now and gone later.
//
// A segment begins as next.tmp, with its header and at most one frame, is synced,
// renamed, and the directory synced. So every segment has a whole beginning. One
// is begun
//
//   - by each process that opens the journal. What a killed process wrote last may
//     be readable and not durable, so if the last segment has a frame, the newest
//     frame is written again as the first of the new segment;
//   - for each leader, with the new epoch;
//   - when the last one is full;
//   - for a frame with a checkpoint record. That frame holds, before its records,
//     all that is remembered ("o") and all that is pending ("i") at the time, and
//     reading begins with it from then on. What opening costs doesn't grow with the
//     history.
//
// Where the last segment has no more than its beginning, and isn't the first, a
// process that opens the journal replaces it by one of the same number that begins
// with the same frame, and so does a leader if there is no frame in it. So a program
// that fails to start all night leaves no more behind than one that fails once. A
// first segment that is alone is made again before the second is begun.
//
// # Reading
//
// The last segment says where to begin. A segment goes on with the sequence number
// after the newest frame before it, or with that frame's copy, equal byte for byte.
// Numbers of segments may be missing if no frame is.
//
// A frame that is bad, by its length or checksum, ends its segment. In the last
// segment it is a torn write and cut, unless a whole later frame follows
// somewhere behind it; before the last, the next segment must go on in its
// place. A bad frame within the synced bytes, a bad header, and all else that
// doesn't fit, is damage: Open says where and changes nothing.
//
// # Machines
//
// A journal is written on Linux, macOS and the BSDs. Windows can't make a directory
// durable: there Create and Open are refused with an error that says so, names the
// system, and wraps errors.ErrUnsupported. So it is on all other systems. OpenReader
// reads a copy of a journal anywhere. On a 32-bit machine the segments that are read
// since the newest checkpoint must fit into the address space.
package dirjournal
