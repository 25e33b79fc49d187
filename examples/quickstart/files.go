package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/roles"
)

// file is one that is to be published.
type file struct {
	path string // as clients will ask for it
	from string // where it is
	size int64
}

var errNoFiles = errors.New("no files to publish")

// listFiles walks dir in lexical order. It takes nothing from the folder that
// holds the index: neither what is published already nor, above all, the keys.
func listFiles(p *printer, dir, index string) ([]file, error) {
	var own os.FileInfo
	if index != "" {
		var err error
		if own, err = os.Stat(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var files []file
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch {
			case !os.SameFile(own, info):
				return nil
			case name == dir:
				return fmt.Errorf("-files %s is the folder of the index: give another", dir)
			}
			p.line("skipped: %s, the folder of the index", name)
			return fs.SkipDir
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
		files = append(files, file{path, name, info.Size()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, errNoFiles)
	}
	p.line("%s, %s, in %s", count(len(files), "file"), byteSize(bytesOf(files)), dir)
	return files, nil
}

func bytesOf(files []file) (sum int64) {
	for _, f := range files {
		sum += f.size
	}
	return sum
}

// open opens the file for reading.
func (f file) open() (*os.File, error) { return os.Open(f.from) }
