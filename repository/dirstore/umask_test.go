//go:build unix

package dirstore_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// TestUmask publishes from a child process, whose umask would keep a web server out.
func TestUmask(t *testing.T) {
	if mask, ok := os.LookupEnv("BINDERY_TEST_UMASK"); ok {
		n, err := strconv.ParseInt(mask, 8, 32)
		require.NoError(t, err)
		syscall.Umask(int(n))
		publishUnderUmask(t, os.Getenv("BINDERY_TEST_DIR"))
		return
	}
	for _, mask := range []string{"000", "022", "027", "077", "777"} {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestUmask$")
		cmd.Env = append(os.Environ(), "BINDERY_TEST_UMASK="+mask, "BINDERY_TEST_DIR="+dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		files, dirs := 0, 0
		require.NoError(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := e.Info()
			require.NoError(t, err)
			switch {
			case name == dir:
			case e.IsDir() && strings.HasSuffix(name, "odd"):
				require.Equal(t, fs.ModeDir|fs.ModeSetgid|0o755, info.Mode(), "umask %s: %s", mask, name)
				dirs++
			case e.IsDir():
				require.Equal(t, fs.ModeDir|0o755, info.Mode(), "umask %s: %s", mask, name)
				dirs++
			default:
				require.Equal(t, fs.FileMode(0o644), info.Mode(), "umask %s: %s", mask, name)
				files++
			}
			return nil
		}))
		require.Equal(t, 3+2+3, files)
		require.Equal(t, 2+2+4, dirs)
	}
}

func publishUnderUmask(t *testing.T, dir string) {
	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	require.NoError(t, store.Create(ctx, "1.root.json", []byte("{}")))
	require.NoError(t, store.Swap(ctx, "timestamp.json", nil, []byte("old")))
	require.NoError(t, store.Swap(ctx, "timestamp.json", []byte("old"), []byte("new")))

	targets, err := dirstore.CreateTargets(filepath.Join(dir, "targets"))
	require.NoError(t, err)
	_, err = targets.Put(ctx, "a/b/c.whl", strings.NewReader("c"), "sha512")
	require.NoError(t, err)
	// One that was killed between the two calls that make a directory. What an administrator
	// set besides the rights stays.
	interrupted := filepath.Join(dir, "targets", "a", "odd")
	require.NoError(t, os.Mkdir(interrupted, 0))
	require.NoError(t, os.Chmod(interrupted, fs.ModeSetgid|0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "targets", "d"), 0))
	require.NoError(t, os.Chmod(filepath.Join(dir, "targets", "d"), 0o700))
	for _, path := range []string{"a/odd/c.whl", "d/c.whl"} {
		_, err = targets.Put(ctx, path, strings.NewReader("c"))
		require.NoError(t, err)
	}
}
