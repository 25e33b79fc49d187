package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

// How much of the module cache is taken at most, so that the demonstration
// stays short whatever it is built from one day.
const (
	maxArchives = 100
	maxBytes    = 128 << 20
)

// moduleArchives lists the archives of the modules that this program is built
// from, which building it put into the Go module cache. What else is in the cache,
// perhaps somebody's private modules, is left alone.
func moduleArchives(ctx context.Context, p *printer) ([]file, error) {
	const instead = "use -files FOLDER to publish other files"
	cache, err := moduleCache(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the Go module cache: %w; %s", err, instead)
	}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, errors.New("this program does not know the modules that it is built from: " + instead)
	}
	files, err := archives(p, filepath.Join(cache, "cache", "download"), build.Deps)
	if errors.Is(err, errNoFiles) {
		return nil, fmt.Errorf("the Go module cache in %s has no archives of the %s that this program is built from (are they vendored?): run \"go mod download\" in the clone, or %s",
			cache, count(len(build.Deps), "module"), instead)
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

// archives lists the archives of modules in dir, which is laid out as a module
// proxy's. A module without one, such as one that a folder replaces, is left out.
func archives(p *printer, dir string, modules []*debug.Module) ([]file, error) {
	var files []file
	var missing, left int
	for _, m := range modules {
		if m.Replace != nil {
			m = m.Replace
		}
		path := escaped(m.Path) + "/@v/" + escaped(m.Version) + ".zip"
		from := filepath.Join(dir, filepath.FromSlash(path))
		info, err := os.Stat(from)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing++
		case err != nil:
			return nil, err
		case len(files) >= maxArchives || bytesOf(files)+info.Size() > maxBytes:
			left++
		default:
			files = append(files, file{path, from, info.Size()})
		}
	}
	if len(files) == 0 {
		return nil, errNoFiles
	}
	p.line("%s, %s, in %s:", count(len(files), "file"), byteSize(bytesOf(files)), dir)
	p.line("the archives of the modules that this program is built from")
	if missing > 0 {
		p.line("(%s not there)", count(missing, "archive"))
	}
	if left > 0 {
		p.line("(%s left out: at most %d, of %s together, are taken)", count(left, "archive"), maxArchives, byteSize(maxBytes))
	}
	return files, nil
}

var capital = regexp.MustCompile(`[A-Z]`)

// escaped is a module's path or version as the cache writes it, where file names
// may not differ in case alone.
func escaped(s string) string {
	return capital.ReplaceAllStringFunc(s, func(c string) string { return "!" + strings.ToLower(c) })
}
