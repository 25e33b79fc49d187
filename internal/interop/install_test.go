package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// installPython returns the interpreter that has what requirements.txt in a
// directory lists. Its environment belongs to the python3 it was made by.
func installPython(t *testing.T, name string) string {
	python := tool(t, "python3")
	identity := run(t, "", python, "-I", "-c", "import sys; print(sys.version, sys.base_prefix)")
	dir := install(t, name, identity, []string{"requirements.txt"}, func(dir string) {
		run(t, dir, python, "-I", "-m", "venv", ".")
		run(t, dir, filepath.Join(dir, "bin", "python"), "-I", "-m", "pip", "install", "--quiet",
			"--disable-pip-version-check", "--only-binary=:all:", "--require-hashes", "-r", "requirements.txt")
	})
	return filepath.Join(dir, "bin", "python")
}

// installJS returns node, and the directory of the packages that has tuf-js.
func installJS(t *testing.T) (node, modules string) {
	node, npm := tool(t, "node"), tool(t, "npm")
	dir := install(t, "js", nil, []string{"package.json", "package-lock.json"}, func(dir string) {
		run(t, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	})
	return node, filepath.Join(dir, "node_modules")
}

// install returns a directory, made once for what the lock files and identity
// say, that has copies of the lock files and in which build did its work.
func install(t *testing.T, name string, identity []byte, locks []string, build func(dir string)) string {
	digest := sha256.New()
	digest.Write(identity)
	contents := map[string][]byte{}
	for _, lock := range locks {
		content, err := os.ReadFile(filepath.Join(name, lock))
		require.NoError(t, err)
		contents[lock] = content
		digest.Write(content)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		unavailable(t, err.Error())
	}
	cache = filepath.Join(cache, "bindery-interop")
	dir := filepath.Join(cache, hex.EncodeToString(digest.Sum(nil)))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if !required() {
		unavailable(t, name+": not installed")
	}

	require.NoError(t, os.MkdirAll(cache, 0o700))
	made, err := os.MkdirTemp(cache, "tmp-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(made) })
	for lock, content := range contents {
		require.NoError(t, os.WriteFile(filepath.Join(made, lock), content, 0o600))
	}
	build(made)
	if err := os.Rename(made, dir); !errors.Is(err, fs.ErrExist) { // another test run was faster
		require.NoError(t, err)
	}
	return dir
}

func tool(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, err.Error())
	}
	return path
}

// required tells whether a missing program is a failure.
func required() bool { return os.Getenv("BINDERY_INTEROP") == "1" }

func unavailable(t *testing.T, reason string) {
	if required() {
		t.Fatal(reason)
	}
	t.Skip(reason + "; BINDERY_INTEROP=1 installs what is missing")
}

// run returns what a command prints, or fails the test.
func run(t *testing.T, dir string, command ...string) []byte {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoErrorf(t, err, "%v\n%s%s", command, out, stderr.Bytes())
	return out
}
