//go:build unix

package passphrase

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nobody writes into the pipe: to open it is to wait for ever.
func TestFileThatIsAPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(name, 0o600))
	_, err := File(name)(t.Context(), prompt)
	require.ErrorContains(t, err, "it is not a regular file")
}

// Kubernetes mounts a secret as a link to a link.
func TestFileBehindLinks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "..1"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "..1", "passphrase"), []byte("correct horse"), 0o400))
	require.NoError(t, os.Symlink("..1", filepath.Join(dir, "..data")))
	require.NoError(t, os.Symlink(filepath.Join("..data", "passphrase"), filepath.Join(dir, "passphrase")))
	got, err := File(filepath.Join(dir, "passphrase"))(t.Context(), prompt)
	require.NoError(t, err)
	require.Equal(t, "correct horse", string(got))
}
