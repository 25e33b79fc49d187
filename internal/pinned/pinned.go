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
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "bindery-interop")
	binary := filepath.Join(cache, path.Base(program)+"-"+hex.EncodeToString(digest.Sum(nil)))
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(cache, "tmp-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	built := filepath.Join(made, "program")
	if _, err := output(ctx, folder, "go", "build", "-o", built, program); err != nil {
		return "", err
	}
	return binary, os.Rename(built, binary)
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
