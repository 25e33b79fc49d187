//go:build unix

package web_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/web"
)

// Nobody writes into the pipe: to open it is to wait for ever.
func TestPipesAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, hash256+".pipe"), 0o600))
	require.NoError(t, os.Symlink(hash256+".pipe", filepath.Join(dir, hash256+".link")))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for _, files := range []web.Files{web.Dir(root.FS()), web.Dir(os.DirFS(dir))} {
		h := web.Handler(web.Config{Store: broken{}, Files: files})
		require.Equal(t, 404, get(h, "/targets/"+hash256+".pipe").Code)
		require.Equal(t, 404, get(h, "/targets/"+hash256+".link").Code)
	}
}
