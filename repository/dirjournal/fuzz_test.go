package dirjournal

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// FuzzSegment: whatever a segment's file holds, what is read from it is what was
// encoded there, byte for byte, and reading says where it ended.
func FuzzSegment(f *testing.F) {
	f.Add(example(), uint64(2))
	f.Add(example()[:100], uint64(2))
	f.Add(append(example(), 0, 0, 0, 0), uint64(2))
	d := newSimDisk()
	_, err := run(d)
	require.NoError(f, err)
	for name, data := range d.files() {
		if number, ok := segmentNumber(name); ok {
			f.Add([]byte(data), number)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, number uint64) {
		c, err := parseSegment(data, number)
		if err != nil {
			return
		}
		require.Equal(t, number, c.number)
		again := c.header.encode()
		for i, f := range c.frames {
			require.Equal(t, c.first+uint64(i), f.seq)
			require.Len(t, again, c.offsets[i])
			again = c.appendFrame(again, f)
		}
		require.Len(t, again, c.bad)
		require.Equal(t, data[:c.bad], again)
		require.Equal(t, c.bad < len(data), c.torn)
		if f, at, ok := c.wholeAfter(data); ok {
			require.Greater(t, at, c.bad)
			require.Equal(t, data[at:at+frameHead+len(f.payload)], c.appendFrame(nil, f))
		}
	})
}

// FuzzParts: a queue that could be read can be dumped, and what was dumped is read
// into an equal one. Steps are what was written, byte for byte.
func FuzzParts(f *testing.F) {
	d := newSimDisk()
	_, err := run(d)
	require.NoError(f, err)
	for name, data := range d.files() {
		number, ok := segmentNumber(name)
		if !ok {
			continue
		}
		c, err := parseSegment([]byte(data), number)
		require.NoError(f, err)
		for _, frame := range c.frames {
			f.Add(frame.payload, false)
			f.Add(frame.payload, true)
		}
	}
	point := string(appendRecord(nil, checkpointPart, rec(checkpoint, 1)))
	entry := "{\"id\":\"a\",\"accepted\":\"2026-05-17T12:00:00Z\",\"size\":4}\n\x00\n\xff\n\n"
	digest := ledger.Entry{}.Digest()
	f.Add([]byte("o {\"id\":\"a\",\"digest\":\""+digest+"\",\"state\":\"set aside\",\"reason\":\"é\"}\np "+entry+point), true)
	f.Add([]byte("p "+entry+point), true)
	f.Add([]byte("f {\"name\":\"000000000123.out\",\"outcomes\":2,\"newest\":\"2026-05-17T12:00:00Z\",\"crc\":7}\n"+point), true)
	// Queued again after a writer that remembered fewer had forgotten it.
	f.Add([]byte("o {\"id\":\"a\",\"digest\":\""+digest+"\",\"state\":\"published\",\"generation\":1}\n"+point+"e "+entry), true)
	f.Fuzz(func(t *testing.T, payload []byte, begins bool) {
		q := newQueue()
		if since(payload, begins, func(p part) error {
			s, err := q.read(p)
			switch {
			case err != nil:
				return err
			case s.Entry != nil:
				require.Equal(t, string(p.entry.Body), string(s.Entry.Body))
			case s.Record != nil:
				require.Equal(t, string(p.data), string(s.Record.Bytes()))
			}
			return nil
		}) != nil {
			return
		}
		size := int64(0)
		for _, k := range q.pending {
			size += int64(len(k.queued.entry.Body))
		}
		require.Equal(t, size, q.bytes)

		// A checkpoint gives up what is sealed.
		after := q.after([]ledger.Record{rec(checkpoint, 1)})
		require.Len(t, after.pending, len(q.sealed)+len(q.pending))
		require.Empty(t, after.sealed)
		dump := appendRecord(after.dump(nil), checkpointPart, rec(checkpoint, 1))
		again := newQueue()
		require.NoError(t, since(dump, true, into(again)))
		require.Len(t, again.known, len(again.pending)+len(again.final))
		require.Equal(t, after.bytes, again.bytes)
		for i, k := range after.pending {
			require.Equal(t, k.queued.entry, again.pending[i].queued.entry)
		}
		require.Equal(t, string(dump), string(appendRecord(again.dump(nil), checkpointPart, rec(checkpoint, 1))))
	})
}
