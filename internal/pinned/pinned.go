// Package pinned builds the services that tests run, from modules of this repository that are there to
// pin them: their go.mod and go.sum name every version and hash, and no module which is published requires
// them.
package pinned

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Build returns the path of a program's binary, and builds it if the user's cache has none that is made of the
// same module files by the same Go version. The module is a folder of this repository, given with slashes, and
// the program a package that the module has as a tool. It is for code that runs in the folder of one of
// this repository's modules, as tests do.
func Build(ctx context.Context, module, program string) (string, error) {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bindery-tuf/bindery")
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, filepath.FromSlash(module))
	digest := sha256.New()
	fmt.Fprintln(digest, program, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		digest.Write(content)
	}
	name := path.Base(program)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	dir, err := Cached(hex.EncodeToString(digest.Sum(nil)), func(dir string) error {
		_, err := output(ctx, folder, "go", "build", "-o", filepath.Join(dir, name), program)
		return err
	})
	return filepath.Join(dir, name), err
}

// Cached returns a directory of that name in the user's cache. The first call makes it, with what build puts
// into it: build is given another directory, which takes the name once it is complete. The name says all that the
// content depends on.
func Cached(name string, build func(dir string) error) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	cache = filepath.Join(cache, "bindery-interop")
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := build(made); err != nil {
		return "", err
	}
	if err := os.Rename(made, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // no other process was faster
			return "", err
		}
	}
	return dir, nil
}

func output(ctx context.Context, dir string, command ...string) (string, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w\n%s", command, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}
