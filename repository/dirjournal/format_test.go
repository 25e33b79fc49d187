package dirjournal

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// example is the segment in the package comment.
func example() []byte {
	h := header{
		number: 2, epoch: 1, first: 1, base: 1, synced: headerSize,
		id: [8]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
	}
	var payload []byte
	for _, id := range []string{"a", "b"} {
		encoded, err := encodeEntry(ledger.Entry{
			ID: id, Accepted: time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC), By: "ci", Body: []byte(`{"remove":["` + id + `.whl"]}`),
		})
		if err != nil {
			panic(err)
		}
		payload = appendEntry(payload, entryPart, encoded)
	}
	r, err := ledger.ParseRecord([]byte(`{"epoch":1,"kind":"commit","generation":7,"prev":"","time":"2026-05-17T12:00:00Z","body":{}}`))
	if err != nil {
		panic(err)
	}
	payload = appendRecord(payload, recordPart, r)
	return h.appendFrame(h.encode(), frame{1, payload})
}

// TestFormat pins the format: the package comment is its specification.
func TestFormat(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	dump := strings.ReplaceAll("\n"+strings.TrimSpace(hex.Dump(example())), "\n", "\n//\t") + "\n"
	require.True(t, strings.Contains(string(doc), dump), "%s", dump)

	c, err := parseSegment(example(), 2)
	require.NoError(t, err)
	require.Equal(t, header{number: 2, epoch: 1, first: 1, base: 1, synced: 64, id: [8]byte{1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}}, c.header)
	require.Len(t, c.frames, 1)
	require.False(t, c.torn)
	q := newQueue()
	require.NoError(t, since(c.frames[0].payload, false, into(q)))
	require.Len(t, q.pending, 2)
	require.Equal(t, "b", q.pending[1].id)
}
