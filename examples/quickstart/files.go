package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

var errNoFiles = errors.New("no files to publish")

// listFiles walks dir in lexical order. It takes nothing from the folder that
// holds the index: neither what is published already nor, above all, the keys.
func listFiles(p *printer, dir, index string) ([]file, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, errors.Join(err, fmt.Errorf("-files %s: not a folder", dir))
	}
	own, err := indexFolder(root, index)
	if err != nil {
		return nil, fmt.Errorf("-files %s: %w", dir, err)
	}
	dir = root
	var files []file
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() && !entry.Type().IsRegular() {
			p.line("skipped: %s, which is no regular file", name)
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch {
			case own != nil && os.SameFile(own, info):
				p.line("skipped: %s, the folder of the index", name)
				return fs.SkipDir
			case filepath.Dir(name) == dir && strings.EqualFold(entry.Name(), ".bindery"):
				p.line("skipped: %s, a store's own folder", name)
				return fs.SkipDir
			}
			return nil
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

// indexFolder returns the folder of the index, or nil if it isn't there yet; and an
// error if dir is it or is inside.
func indexFolder(dir, index string) (os.FileInfo, error) {
	if index == "" {
		return nil, nil
	}
	own, err := os.Stat(index)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return nil, err
		}
		if os.SameFile(own, info) {
			return nil, errors.New("it is the folder of the index, or in it: give another")
		}
		up := filepath.Dir(dir)
		if up == dir {
			return own, nil
		}
		dir = up
	}
}

func bytesOf(files []file) (sum int64) {
	for _, f := range files {
		sum += f.size
	}
	return sum
}

// open opens the file for reading.
func (f file) open() (*os.File, error) { return os.Open(f.from) }
