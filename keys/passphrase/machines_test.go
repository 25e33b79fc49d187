package passphrase

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRefusedOnWindows(t *testing.T) {
	_, err := terminal("windows", "/dev/tty")(t.Context(), "PIN")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.EqualError(t, err, "ask for the passphrase at the terminal: windows is not supported: "+
		"it has no /dev/tty: give the passphrase on standard input, as file descriptor 0")

	_, err = descriptor("windows", 3)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.EqualError(t, err, "file descriptor 3: windows is not supported: it gives a program no descriptor but 0, standard input")
	f, err := descriptor("windows", 0)
	require.NoError(t, err)
	require.Same(t, os.Stdin, f)
}
