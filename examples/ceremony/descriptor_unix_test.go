//go:build unix

package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A token may ask for its PIN more than once: each time it is a line of its own.
func TestLinesOfDescriptor(t *testing.T) {
	var fds [2]int
	require.NoError(t, syscall.Pipe(fds[:]))
	w := os.NewFile(uintptr(fds[1]), "writer")
	_, err := w.WriteString("one\ntwo\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	p := &passphrases{fd: fds[0]}
	for _, want := range []string{"one", "two"} {
		got, err := p.source(&app{})(t.Context(), "PIN")
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err = p.get(t.Context(), &app{}, "x", true)
	require.ErrorContains(t, err, "no line left")
	_, err = (&passphrases{fd: 1 << 20}).get(t.Context(), &app{}, "x", false)
	require.ErrorContains(t, err, "file descriptor 1048576: bad file descriptor")
}
