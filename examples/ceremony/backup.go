package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// backedUp is the result of backup and restore for scripts.
type backedUp struct {
	Archive   string    `json:"archive"`
	Kind      string    `json:"kind"`
	Made      time.Time `json:"made"`
	Dir       string    `json:"dir,omitempty"` // to which it was restored
	Files     []string  `json:"files"`
	Documents []inForce `json:"documents,omitempty"` // the newest
}

func backup(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	dir := flags.String("dir", "", "the `folder` of the ceremonies; \"\" for an archive of files only")
	online := flags.Bool("online", false, "take only what a publisher needs from the folder: the finished documents")
	out := flags.String("out", "", "the new `file` for the archive")
	s := secrecy{pass: passphraseFlag(flags)}
	flags.StringVar(&s.keysFile, "recipients", "", "encrypt to the age public keys in this `file`, one on a line, instead of asking for a passphrase")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case *out == "":
		return nil, errors.New("name the new file for the archive with -out")
	case *dir == "" && flags.NArg() == 0:
		return nil, errors.New("say which folder with -dir, or name files")
	case *dir == "" && *online:
		return nil, errors.New("-online is about a folder: say which with -dir")
	case s.keysFile != "" && s.pass.fd >= 0:
		return nil, errors.New("-recipients or -passphrase-fd, not both: either keys open the archive, or a passphrase")
	}
	if _, err := os.Lstat(*out); err == nil {
		return nil, fmt.Errorf("%s exists already: name another file, nothing is ever replaced", *out)
	}
	all, docs, err := a.collect(*dir, *online, flags.Args())
	if err != nil {
		return nil, fmt.Errorf("no archive was made: %w", err)
	}
	plain, err := all.pack()
	if err != nil {
		return nil, fmt.Errorf("no archive was made: %w", err)
	}
	file, err := s.encrypt(ctx, a, plain)
	if err != nil {
		return nil, fmt.Errorf("no archive was made: %w", err)
	}
	if err := writeNew(*out, file); err != nil {
		return nil, err
	}
	result := all.result(*out, docs)
	a.title("A backup")
	a.showBackup(result)
	if *online && flags.NArg() == 0 {
		a.say("\n  No keys are in it: name the files of the online keys after the flags, or keep them elsewhere.")
	}
	a.say("\n  Try it now, on the machine that would need it:\n")
	a.table([]string{"ceremony restore -check " + *out})
	return result, nil
}

// collect reads what goes into an archive. A folder whose documents don't verify is
// not backed up: the backup before it may be the better one.
func (a *app) collect(dir string, online bool, files []string) (archive, []inForce, error) {
	all := archive{kind: kindFiles, made: a.now()}
	var docs []inForce
	if dir != "" {
		f, err := openFolder(dir)
		if err == nil {
			docs, err = newest(f.docs)
		}
		if err == nil && online && len(docs) == 0 {
			err = errors.New("the first root is not complete yet: there is nothing for a publisher")
		}
		if err != nil {
			return all, nil, err
		}
		all.kind = kindEverything
		keep := func(string) bool { return true }
		if online {
			all.kind = kindOnline
			keep = func(name string) bool { return name == "documents" || strings.HasPrefix(name, "documents/") }
			// A publisher needn't know the holders, and the folder can be verified.
			if err := all.add(entry{name: "names.json", data: encodeNames(map[string]string{})}); err != nil {
				return all, nil, err
			}
		}
		if err := all.addFolder(dir, keep); err != nil {
			return all, nil, err
		}
	}
	return all, docs, all.addFiles(files)
}

// addFolder adds what is in a folder, but for temporary files that were left.
func (a *archive) addFolder(dir string, keep func(name string) bool) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == "." || name == archiveHead:
			return nil
		case strings.HasPrefix(d.Name(), tempPrefix) || !keep(name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return a.add(entry{name: name, folder: true})
		}
		return a.addFile(filepath.Join(dir, filepath.FromSlash(name)), name, false)
	})
}

// addFiles adds files under their last names.
func (a *archive) addFiles(files []string) error {
	if len(files) == 0 {
		return nil
	}
	if err := a.add(entry{name: "files", folder: true}); err != nil {
		return err
	}
	for _, name := range files {
		// They are keys and notebooks, also where a stick knows no owners.
		if err := a.addFile(name, path.Join("files", filepath.Base(name)), true); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) addFile(file, name string, private bool) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a folder, a link or a device, and only files go into a backup", file)
	}
	data, err := readFile(file)
	if err != nil {
		return err
	}
	// Windows has no modes, and doesn't say which files are private.
	private = private || info.Mode()&0o077 == 0 || runtime.GOOS == "windows"
	return a.add(entry{name: name, private: private, data: data})
}

func (a archive) result(file string, docs []inForce) backedUp {
	r := backedUp{Archive: file, Kind: a.kind, Made: a.made, Files: []string{}, Documents: docs}
	for _, e := range a.entries {
		if !e.folder {
			r.Files = append(r.Files, e.name)
		}
	}
	return r
}

func (a *app) showBackup(r backedUp) {
	a.table([]string{"archive", r.Archive}, []string{"of", archiveKinds[r.Kind]}, []string{"made", r.Made.Format("2006-01-02 15:04 UTC")})
	a.say("")
	var rows [][]string
	for _, name := range r.Files {
		rows = append(rows, []string{"", name})
	}
	a.table(rows...)
	if len(r.Documents) == 0 {
		return
	}
	a.say("\n  The newest finished documents in it, to compare with the record sheet:\n")
	rows = nil
	for _, d := range r.Documents {
		rows = append(rows, []string{d.String(), "good " + a.until(d.Expires)})
		rows = append(rows, documentRows("", d.Digest)...)
	}
	a.table(rows...)
}
