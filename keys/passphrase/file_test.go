package passphrase

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/stretchr/testify/require"
)

// passphraseFile makes a file with a mode that the umask doesn't change.
func passphraseFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "passphrase")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	require.NoError(t, os.Chmod(name, mode))
	return name
}

func TestFile(t *testing.T) {
	long := strings.Repeat("x", 1024)
	for content, want := range map[string]string{
		"correct horse": "correct horse", "correct horse\n": "correct horse", "correct horse\r\n": "correct horse",
		" \tcorrect\r horse ": " \tcorrect\r horse ", "pässwörd\n": "pässwörd", long: long, long + "\r\n": long,
	} {
		got, err := File(passphraseFile(t, content, 0o600))(t.Context(), prompt)
		require.NoError(t, err, "%q", content)
		require.Equal(t, want, string(got))
	}
	for content, want := range map[string]string{
		"": "the file is empty", "\n": "the passphrase is empty", "\r\n": "the passphrase is empty", "\nhunter2": "the passphrase is empty",
		"hunter2\nhunter3": "the file has more than one line: it must hold the passphrase alone", "hunter2\n\n": "the file has more than one line: it must hold the passphrase alone", "hunter2\n\x00": "the file has more than one line: it must hold the passphrase alone",
		long + "x": "longer than 1024 bytes", long + "x\n": "longer than 1024 bytes", strings.Repeat(long, 4): "longer than 1024 bytes",
	} {
		name := passphraseFile(t, content, 0o600)
		got, err := File(name)(t.Context(), prompt)
		require.Nil(t, got)
		require.ErrorContains(t, err, "read the passphrase from file "+name+": ")
		require.ErrorContains(t, err, want, "%q", content)
		require.NotContains(t, err.Error(), "hunter")
	}
}

// The file is read again each time.
func TestFileChanges(t *testing.T) {
	name := passphraseFile(t, "one\n", 0o600)
	s := File(name)
	for _, want := range []string{"one", "two"} {
		require.NoError(t, os.WriteFile(name, []byte(want), 0o600))
		got, err := s(t.Context(), prompt)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.NoError(t, os.Remove(name))
	_, err := s(t.Context(), prompt)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, 1, strings.Count(err.Error(), name))
}

func TestFileOfEverybody(t *testing.T) {
	for _, mode := range []fs.FileMode{0o604, 0o602, 0o601, 0o644, 0o444, 0o666, 0o777} {
		require.ErrorContains(t, disk.CheckPrivate("linux", mode), "every user may read or write it (mode 0", "%o", mode)
		require.NoError(t, disk.CheckPrivate("windows", mode))
		if runtime.GOOS != "windows" {
			_, err := File(passphraseFile(t, "hunter2", mode|0o400))(t.Context(), prompt)
			require.ErrorContains(t, err, "take that away with chmod o=")
		}
	}
	for _, mode := range []fs.FileMode{0o620, 0o660} {
		_, err := File(passphraseFile(t, "hunter2", mode))(t.Context(), prompt)
		require.True(t, runtime.GOOS == "windows" || strings.Contains(err.Error(), "take that away with chmod g-w"), err)
	}
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o440, 0o640} {
		require.NoError(t, disk.CheckPrivate("linux", mode))
	}
	for _, mode := range []fs.FileMode{fs.ModeDir, fs.ModeNamedPipe, fs.ModeDevice, fs.ModeSocket, fs.ModeCharDevice} {
		require.EqualError(t, disk.CheckPrivate("linux", mode|0o600), "it is not a regular file")
		require.EqualError(t, disk.CheckPrivate("windows", mode|0o600), "it is not a regular file")
	}
	_, err := File(t.TempDir())(t.Context(), prompt)
	require.Error(t, err)
}

func TestFileGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := File(filepath.Join(t.TempDir(), "none"))(ctx, prompt)
	require.Error(t, err)
}

func TestCredential(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	_, err := Credential("online")(t.Context(), prompt)
	require.EqualError(t, err, "passphrase: credential online: CREDENTIALS_DIRECTORY is not set: "+
		"systemd sets it for units with LoadCredential= or LoadCredentialEncrypted=")

	name := passphraseFile(t, "correct horse\n", 0o440) // systemd's access list shows as the group's right
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(name))
	got, err := Credential("passphrase")(t.Context(), prompt)
	require.NoError(t, err)
	require.Equal(t, "correct horse", string(got))
	_, err = Credential("other")(t.Context(), prompt)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, bad := range []string{"", ".", "..", "../passphrase", "a/b", "/etc/passwd", "./passphrase"} {
		_, err = Credential(bad)(t.Context(), prompt)
		require.ErrorContains(t, err, "it must be a name as in LoadCredential=NAME:FILE, without a slash", bad)
	}
}
