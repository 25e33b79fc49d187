package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/internal/pinned"
)

// locks say what is installed, to the hash.
//
//go:embed python/requirements.txt moto/requirements.txt psycopg/requirements.txt js/package.json js/package-lock.json
var locks embed.FS

// Python returns the interpreter that has what requirements.txt in a directory of
// this package lists: "python" for python-tuf. If there is none yet, it is installed.
// An environment belongs to the python3 it was made by.
func Python(ctx context.Context, name string) (string, error) {
	python, err := tool("python3")
	if err != nil {
		return "", err
	}
	identity, err := run(ctx, "", python, "-I", "-c", "import sys; print(sys.version, sys.base_prefix)")
	if err != nil {
		return "", err
	}
	dir, err := install(name, identity, []string{"requirements.txt"}, func(dir string) error {
		if _, err := run(ctx, dir, python, "-I", "-m", "venv", "."); err != nil {
			return err
		}
		_, err := run(ctx, dir, filepath.Join(dir, "bin", "python"), "-I", "-m", "pip", "install", "--quiet",
			"--disable-pip-version-check", "--only-binary=:all:", "--require-hashes", "-r", "requirements.txt")
		return err
	})
	return filepath.Join(dir, "bin", "python"), err
}

// JS returns node, and the directory of the packages that has tuf-js, as Python does.
func JS(ctx context.Context) (node, modules string, err error) {
	if node, err = tool("node"); err != nil {
		return "", "", err
	}
	npm, err := tool("npm")
	if err != nil {
		return "", "", err
	}
	dir, err := install("js", nil, []string{"package.json", "package-lock.json"}, func(dir string) error {
		_, err := run(ctx, dir, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		return err
	})
	return node, filepath.Join(dir, "node_modules"), err
}

// install returns a directory, made once for what the lock files and identity
// say, that has copies of the lock files and in which build did its work.
func install(name string, identity []byte, files []string, build func(dir string) error) (string, error) {
	digest := sha256.New()
	digest.Write(identity)
	contents := map[string][]byte{}
	for _, file := range files {
		content, err := locks.ReadFile(path.Join(name, file))
		if err != nil {
			return "", err
		}
		contents[file] = content
		digest.Write(content)
	}
	return pinned.Cached(hex.EncodeToString(digest.Sum(nil)), func(dir string) error {
		for file, content := range contents {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				return err
			}
		}
		return build(dir)
	})
}

func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("not installed: %w", err)
	}
	return path, nil
}

// run returns what a command prints.
func run(ctx context.Context, dir string, command ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second // what it started may outlive it
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w\n%s%s", command, err, out, stderr.Bytes())
	}
	return out, nil
}
