//go:build unix

package passphrase

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDescriptor(t *testing.T) {
	var fds [2]int
	require.NoError(t, syscall.Pipe(fds[:]))
	w := os.NewFile(uintptr(fds[1]), "writer")
	s, err := Descriptor(fds[0])
	require.NoError(t, err)
	_, err = w.WriteString("one\ntwo")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	got, err := readAll(t, s)
	require.Equal(t, []string{"one", "two"}, got)
	require.ErrorContains(t, err, "no line left")
}

func TestDescriptorThatIsNone(t *testing.T) {
	_, err := Descriptor(-1)
	require.EqualError(t, err, "passphrase: there is no file descriptor -1: the program that starts this one must open it (in a shell: N< FILE)")
	_, err = Descriptor(1 << 20)
	require.ErrorContains(t, err, "file descriptor 1048576: bad file descriptor")
}
