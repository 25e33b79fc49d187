package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
)

// archive is what a backup holds. Its file is a tar file encrypted by age
// (age-encryption.org/v1), which without this program "age -d FILE | tar x" unpacks:
//
//	archive.json    {"format":"bindery-ceremony-archive/1","kind":"everything","made":"2030-01-31T12:00:00Z"}
//	documents/      what was in the ceremony's folder, as it was there
//	documents/1.root.json
//	files/          the other files that were named
//	files/web.key
//
// The kind is everything, online or files. A file has mode 0600 if it is in
// files or only its owner could read it, and 0644 otherwise; a folder has 0755.
type archive struct {
	kind    string
	made    time.Time
	entries []entry
}

// entry is a file, or a folder.
type entry struct {
	name    string // with slashes
	folder  bool
	private bool // only its owner may read it
	data    []byte
}

const (
	archiveFormat = "bindery-ceremony-archive/1"
	archiveHead   = "archive.json"

	kindEverything, kindOnline, kindFiles = "everything", "online", "files"

	maxArchive = 1 << 30 // bytes: an archive is in memory as a whole
)

var archiveKinds = map[string]string{
	kindEverything: "everything in a ceremony's folder",
	kindOnline:     "the online parts of a ceremony's folder: finished documents",
	kindFiles:      "files, without a ceremony's folder",
}

type archiveMembers struct {
	Format string    `json:"format"`
	Kind   string    `json:"kind"`
	Made   time.Time `json:"made"`
}

var archiveRule = schema.Closed(schema.Members{
	"format": schema.OneOf(archiveFormat),
	"kind":   schema.OneOf(kindEverything, kindOnline, kindFiles),
	"made":   schema.Instant,
}, nil)

// pack writes the tar file. The same archive always gives the same bytes.
func (a archive) pack() ([]byte, error) {
	head, err := json.Marshal(archiveMembers{archiveFormat, a.kind, a.made})
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range append([]entry{{name: archiveHead, data: append(head, '\n')}}, a.entries...) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.data)), Mode: int64(e.mode()), ModTime: a.made}
		if e.folder {
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
		if buf.Len() > maxArchive {
			return nil, fmt.Errorf("more than %d bytes: this is for ceremonies, not for a repository", maxArchive)
		}
	}
	err = w.Close()
	return buf.Bytes(), err
}

func (e entry) mode() fs.FileMode {
	switch {
	case e.folder:
		return 0o755
	case e.private:
		return 0o600
	}
	return 0o644
}

// unpack reads a tar file to its end. It takes nothing but folders and regular files,
// each name once, and every name stays below the folder to which it is restored.
func unpack(r io.Reader) (archive, error) {
	limited := &io.LimitedReader{R: r, N: maxArchive + 1}
	var a archive
	seen := map[string]bool{}
	files := tar.NewReader(limited)
	for {
		h, err := files.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return a, notAnArchive(err)
		}
		e, err := readEntry(files, h)
		switch {
		case err != nil:
			return a, err
		case seen[e.name]:
			return a, fmt.Errorf("%q is in the archive twice", e.name)
		case len(seen) == 0:
			if err := a.begin(e); err != nil {
				return a, err
			}
		default:
			a.entries = append(a.entries, e)
		}
		seen[e.name] = true
	}
	if len(seen) == 0 {
		return a, notAnArchive(errors.New("it is empty"))
	}
	// The rest is read too: age vouches for the last byte when it was read.
	rest, err := io.ReadAll(limited)
	switch {
	case err != nil:
		return a, err
	case limited.N == 0:
		return a, fmt.Errorf("more than %d bytes, and no backup of a ceremony has that: is it another file?", maxArchive)
	case len(bytes.Trim(rest, "\x00")) > 0:
		return a, notAnArchive(errors.New("something follows its end"))
	}
	return a, nil
}

// begin reads the first entry, which says what it is.
func (a *archive) begin(e entry) error {
	if e.name != archiveHead || e.folder {
		return notAnArchive(fmt.Errorf("it begins with %q", e.name))
	}
	if _, err := cjson.Canonicalize(e.data); err != nil {
		return notAnArchive(fmt.Errorf("%s: %w", archiveHead, err))
	}
	var tree any
	err := json.Unmarshal(e.data, &tree)
	if err == nil {
		err = archiveRule(tree)
	}
	var m archiveMembers
	if err == nil {
		err = json.Unmarshal(e.data, &m)
	}
	if err != nil {
		return notAnArchive(fmt.Errorf("%s: %w", archiveHead, err))
	}
	a.kind, a.made = m.Kind, m.Made
	return nil
}

func readEntry(r io.Reader, h *tar.Header) (entry, error) {
	e := entry{name: h.Name, private: h.Mode&0o077 == 0}
	switch h.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		e.name, e.folder, e.private = strings.TrimSuffix(h.Name, "/"), true, false
	default:
		return e, fmt.Errorf("%q is a link or a device, and none can be in a backup", h.Name)
	}
	if err := checkName(e.name); err != nil {
		return e, err
	}
	if h.Size > maxFile {
		return e, fmt.Errorf("%q has %d bytes, and no file of a ceremony has more than %d", e.name, h.Size, maxFile)
	}
	var err error
	e.data, err = io.ReadAll(r)
	return e, err
}

// checkName refuses what would lead out of the folder, on this or another system.
func checkName(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("%q is no name for a file in a backup", name)
	}
	return nil
}

func notAnArchive(why error) error { return fmt.Errorf("not a backup of this program: %w", why) }

// add adds an entry, once.
func (a *archive) add(e entry) error {
	if err := checkName(e.name); err != nil {
		return err
	}
	for _, other := range a.entries {
		if other.name == e.name {
			if other.folder == e.folder && bytes.Equal(other.data, e.data) {
				return nil
			}
			return fmt.Errorf("two different files would be %s in the archive", path.Clean(e.name))
		}
	}
	a.entries = append(a.entries, e)
	return nil
}
