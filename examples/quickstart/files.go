package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bindery-tuf/bindery/roles"
)

// file is one that is to be published.
type file struct {
	path string // as clients will ask for it
	from string // where it is
	size int64
}

// How much of the module cache is taken, so that the demonstration stays short
// on a machine with a large one.
const (
	maxArchives = 100
	maxBytes    = 128 << 20
)

// findFiles lists the files in dir, or the archives in the Go module cache.
func findFiles(ctx context.Context, p *printer, dir string) ([]file, error) {
	if dir != "" {
		return listFiles(p, dir, func(string) bool { return true }, 0, 0)
	}
	const instead = "use -files FOLDER to publish other files"
	cache, err := moduleCache(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the Go module cache: %w; %s", err, instead)
	}
	isArchive := func(path string) bool { return strings.HasSuffix(path, ".zip") }
	files, err := listFiles(p, filepath.Join(cache, "cache", "download"), isArchive, maxArchives, maxBytes)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoFiles) {
		return nil, fmt.Errorf("the Go module cache in %s has no archives (are modules vendored?): run \"go mod download\", or %s", cache, instead)
	}
	return files, err
}

func moduleCache(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMODCACHE: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

var errNoFiles = errors.New("no files to publish")

// listFiles walks dir in lexical order and takes the files that are wanted, not
// more than maxFiles with maxBytes together (0: all).
func listFiles(p *printer, dir string, wanted func(string) bool, maxFiles int, maxBytes int64) ([]file, error) {
	var files []file
	var bytes int64
	var left int
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || !wanted(name) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		path := filepath.ToSlash(rel)
		if err := roles.CheckPath(path); err != nil {
			p.line("skipped: %v", err)
			return nil
		}
		if maxFiles > 0 && len(files) >= maxFiles || maxBytes > 0 && bytes+info.Size() > maxBytes {
			left++
			return nil
		}
		bytes += info.Size()
		files = append(files, file{path, name, info.Size()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, errNoFiles)
	}
	p.line("%s, %s, in %s", count(len(files), "file"), byteSize(bytes), dir)
	if left > 0 {
		p.line("(%s left out: at most %d, of %s together, are taken from the module cache)",
			count(left, "archive"), maxFiles, byteSize(maxBytes))
	}
	return files, nil
}

// open opens the file for reading.
func (f file) open() (*os.File, error) { return os.Open(f.from) }
