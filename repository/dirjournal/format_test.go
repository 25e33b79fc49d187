package dirjournal

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// example is the segment in the package comment.
func example() []byte {
	h := header{
		number: 2, epoch: 1, first: 1, base: 1, synced: headerSize,
		id: [8]byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef},
	}
	var payload []byte
	for _, id := range []string{"a", "b"} {
		payload = appendLine(payload, itemLine, []byte(`{"id":"`+id+`","remove":["`+id+`.whl"],"accepted":"2026-05-17T12:00:00Z"}`))
	}
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
	q := newQueue(10)
	require.NoError(t, lines(c.frames[0].payload, q.read))
	require.Len(t, q.pending, 2)
	require.Equal(t, "b", q.pending[1].id)
}
