package dirjournal

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
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

// FuzzLines: a queue that could be read can be dumped, and what was dumped is read
// into an equal one.
func FuzzLines(f *testing.F) {
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
			f.Add(frame.payload)
		}
	}
	f.Add([]byte("o {\"id\":\"a\",\"digest\":\"d\",\"sealed\":1,\"state\":\"set aside\",\"reason\":\"é\"}\n"))
	// Queued again after a writer that remembered fewer had forgotten it.
	f.Add([]byte("o {\"id\":\"a\",\"digest\":\"d\",\"sealed\":1,\"committed\":true,\"state\":\"published\",\"generation\":1}\n" +
		"i {\"id\":\"a\",\"remove\":[\"a.whl\"],\"accepted\":\"2026-05-17T12:00:00Z\"}\n"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		q := newQueue(3)
		if lines(payload, q.read) != nil {
			return
		}
		require.LessOrEqual(t, len(q.final), 3)
		dump := q.dump(nil)
		again := newQueue(3)
		require.NoError(t, lines(dump, again.read))
		require.Len(t, again.known, len(again.pending)+len(again.sealed)+len(again.final))
		for i, e := range q.pending {
			require.Equal(t, string(e.data), string(again.pending[i].data))
			require.True(t, json.Valid(e.data))
		}
		require.Equal(t, string(dump), string(again.dump(nil)))
	})
}
