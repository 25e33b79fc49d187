package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/internal/disk"
)

func restore(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	dir := flags.String("dir", "", "the new `folder`")
	check := flags.Bool("check", false, "restore to a temporary folder, verify what is there, and remove it again")
	s := secrecy{pass: passphraseFlag(flags)}
	flags.StringVar(&s.keysFile, "identity", "", "the `file` of your age key, for an archive that was encrypted to keys")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 1:
		return nil, errors.New("name one archive: ceremony restore -dir DIR ARCHIVE")
	case (*dir == "") != *check:
		return nil, errors.New("name the new folder with -dir, or only try the archive with -check")
	case s.keysFile != "" && s.pass.fd >= 0:
		return nil, errors.New("-identity or -passphrase-fd, not both: either keys open the archive, or a passphrase")
	}
	name := flags.Arg(0)
	if *check {
		parent, err := os.MkdirTemp("", tempPrefix+"*")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(parent)
		*dir = filepath.Join(parent, "check")
	}
	if _, err := os.Lstat(*dir); err == nil {
		return nil, fmt.Errorf("%s exists already, and nothing is ever restored over what is there: name another folder", *dir)
	}
	r, err := a.restore(ctx, name, *dir, s)
	if err != nil {
		return nil, fmt.Errorf("%s: nothing was restored: %w", name, err)
	}
	if *check {
		r.Dir = ""
		a.title("This archive can be restored")
	} else {
		a.title("Restored")
		a.table([]string{"to", *dir})
	}
	a.showBackup(r)
	return r, nil
}

// restore brings an archive into a folder that is there as a whole, durable and with
// documents that verify, or not at all.
func (a *app) restore(ctx context.Context, name, dir string, s secrecy) (backedUp, error) {
	file, err := readUpTo(name, maxArchive+1<<20)
	if err != nil {
		return backedUp{}, err
	}
	all, err := decrypt(ctx, a, s, file, unpack)
	if err != nil {
		return backedUp{}, err
	}
	var docs []inForce
	err = makeDir(dir, func(temporary string) error {
		if err := all.write(ctx, temporary); err != nil {
			return err
		}
		if all.kind == kindFiles {
			return nil
		}
		f, err := openFolder(temporary)
		if err == nil {
			docs, err = newest(f.docs)
		}
		return err
	})
	r := all.result(name, docs)
	r.Dir = dir
	return r, err
}

// write makes the entries in an empty folder, all durable. Nothing can lead out of it.
func (a archive) write(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	folders := map[string]bool{".": true}
	for _, e := range a.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := filepath.FromSlash(e.name)
		parent := name
		if !e.folder {
			parent = filepath.Dir(name)
		}
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
		for ; parent != "."; parent = filepath.Dir(parent) {
			folders[parent] = true
		}
		if e.folder {
			continue
		}
		if err := writeIn(root, name, e); err != nil {
			return err
		}
	}
	for folder := range folders {
		if err := disk.SyncNames(filepath.Join(dir, folder)); err != nil {
			return err
		}
	}
	return nil
}

func writeIn(root *os.Root, name string, e entry) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.mode())
	if err != nil {
		return err
	}
	_, err = f.Write(e.data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
