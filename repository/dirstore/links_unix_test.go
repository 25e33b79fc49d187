//go:build unix

package dirstore_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// Whoever can write the folder can't have another file of the machine served, or hold a reader for ever.
func TestLinksAndPipesInAStore(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "store")
	s, err := dirstore.Create(dir)
	require.NoError(t, err)
	require.NoError(t, s.Create(ctx, "1.root.json", []byte("root")))
	require.NoError(t, os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
	for name, to := range map[string]string{"2.root.json": "../secret", "3.root.json": "1.root.json", "4.root.json": "nowhere"} {
		require.NoError(t, os.Symlink(to, filepath.Join(dir, name)))
		data, err := s.Get(ctx, name)
		require.Nil(t, data)
		require.ErrorContains(t, err, "it is a symbolic link, which isn't followed here: put the file itself in its place", name)
		require.NotErrorIs(t, err, repository.ErrNotExist)
		require.Error(t, s.Create(ctx, name, []byte("another")), name)
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "5.root.json"), 0o600))
	_, err = s.Get(ctx, "5.root.json")
	require.ErrorContains(t, err, "not a regular file")
	data, err := s.Get(ctx, "1.root.json")
	require.NoError(t, err)
	require.Equal(t, "root", string(data))

	// The folder itself may be behind a link.
	link := filepath.Join(top, "link")
	require.NoError(t, os.Symlink("store", link))
	linked, err := dirstore.Open(link)
	require.NoError(t, err)
	data, err = linked.Get(ctx, "1.root.json")
	require.NoError(t, err)
	require.Equal(t, "root", string(data))
}
