package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// folders are where everything is; "" for what isn't there or isn't looked at.
type folders struct{ metadata, targets, journal string }

// folderFlags are the flags for folders that are elsewhere.
type folderFlags struct {
	flags            *flag.FlagSet
	targets, journal string
}

func newFolderFlags(flags *flag.FlagSet, withTargets bool) *folderFlags {
	f := &folderFlags{flags: flags}
	flags.StringVar(&f.journal, "journal", "", "the `folder` of the journal, if it isn't DIR/journal")
	if withTargets {
		flags.StringVar(&f.targets, "targets", "", "the `folder` of the target files, if it isn't DIR/targets")
	}
	return f
}

func (f *folderFlags) given(name string) (given bool) {
	f.flags.Visit(func(set *flag.Flag) { given = given || set.Name == name })
	return given
}

// locate finds the folders: DIR itself, or what is in it.
func (f *folderFlags) locate(dir string) (folders, error) {
	p := folders{metadata: dir, targets: f.targets, journal: f.journal}
	if below := filepath.Join(dir, "metadata"); isDir(below) && !holdsMetadata(dir) {
		p.metadata = below
		for _, part := range []struct {
			name string
			dir  *string
		}{{"targets", &p.targets}, {"journal", &p.journal}} {
			if below := filepath.Join(dir, part.name); !f.given(part.name) && isDir(below) {
				*part.dir = below
			}
		}
	}
	for _, dir := range []string{p.metadata, p.targets, p.journal} {
		if dir == "" {
			continue
		}
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a folder", dir)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// holdsMetadata reports whether clients could begin here.
func holdsMetadata(dir string) bool {
	names, err := fs.Glob(os.DirFS(dir), "*.root.json")
	return err == nil && len(names) > 0
}

// errNoJournal is for what only a journal tells.
var errNoJournal = errors.New("there is no folder journal: name it with -journal")

// reader opens the journal, which may have a publisher.
func (p folders) reader() (repository.Reader, error) {
	if p.journal == "" {
		return nil, fmt.Errorf("%s: %w", p.metadata, errNoJournal)
	}
	return dirjournal.OpenReader(p.journal)
}

// files are the published ones, for reading.
func (p folders) files() (repository.Store, error) { return dirstore.Open(p.metadata) }

// open parses the arguments of a command that reads, DIR and so many others, and opens what it
// reads.
func (f *folderFlags) open(_ context.Context, args []string, others int) (repository.Reader, repository.Store, []string, error) {
	if err := f.flags.Parse(args); err != nil {
		return nil, nil, nil, err
	}
	if n := f.flags.NArg(); n != 1+others {
		return nil, nil, nil, fmt.Errorf("%d arguments after the flags: see operator %s -h", n, f.flags.Name()[len("operator "):])
	}
	p, err := f.locate(f.flags.Arg(0))
	if err != nil {
		return nil, nil, nil, err
	}
	journal, err := p.reader()
	if err != nil {
		return nil, nil, nil, err
	}
	store, err := p.files()
	return journal, store, f.flags.Args()[1:], err
}
