//go:build unix

package keys_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

// refusedFile requires that a file is refused for its kind or mode, and before anybody is asked for a
// passphrase.
func refusedFile(t *testing.T, name, words string) {
	t.Helper()
	_, err := keys.ReadFile(name, passphrase)
	require.ErrorContains(t, err, "read key file "+name+": ")
	require.ErrorContains(t, err, words)
	open := keys.FileOpener(func(context.Context, string) ([]byte, error) {
		require.Fail(t, "asked for a passphrase")
		return nil, nil
	})
	_, err = open(t.Context(), name, nil)
	require.ErrorContains(t, err, "key file "+name+": "+words)
}

func TestKeyFileOfEverybody(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	name := keyFile(t, keyPEM, pkcs8(t, private))
	for _, mode := range []fs.FileMode{0o666, 0o644, 0o604, 0o602, 0o777} {
		require.NoError(t, os.Chmod(name, mode))
		refusedFile(t, name, "every user may read or write it (mode 0")
	}
	for _, mode := range []fs.FileMode{0o660, 0o620} {
		require.NoError(t, os.Chmod(name, mode))
		refusedFile(t, name, "its group may write it (mode 0")
	}
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o440, 0o640} {
		require.NoError(t, os.Chmod(name, mode))
		_, err := keys.ReadFile(name, passphrase)
		require.NoError(t, err)
	}
}

// Nobody writes into the pipe: to open it is to wait for ever. The device never ends.
func TestKeyFileThatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink("/dev/zero", link))
	for _, name := range []string{pipe, "/dev/zero", link, t.TempDir()} {
		refusedFile(t, name, "it is not a regular file")
	}
}

func TestKeyFileThatIsTooLong(t *testing.T) {
	name := rawFile(t, nil)
	require.NoError(t, os.Truncate(name, 1<<40)) // takes no room
	_, err := keys.ReadFile(name, passphrase)
	require.ErrorContains(t, err, "more than 65536 bytes: not a key file")
}
