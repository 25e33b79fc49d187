package repository

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"

	"golang.org/x/crypto/blake2b"

	"github.com/bindery-tuf/bindery/roles"
)

// targetFiles checks the file of a target under each name by which clients may
// ask for it.
func (a *auditor) targetFiles(t roles.Target) {
	dir, base := path.Split(t.Path)
	for _, algorithm := range slices.Sorted(maps.Keys(t.Hashes)) {
		if a.done() {
			return
		}
		name := t.Path
		if a.consistent {
			name = dir + t.Hashes[algorithm] + "." + base
		}
		if problem := a.targetFile(name, algorithm, t); problem != "" && a.ctx.Err() == nil {
			a.report(Finding{SeverityError, checkFile, name, t.Path, problem})
		}
	}
}

// targetFile returns what is wrong with one file, or "".
func (a *auditor) targetFile(name, algorithm string, t roles.Target) string {
	info, err := fs.Stat(a.cfg.Targets, name) // before it is opened: a pipe would wait
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case err != nil:
		return fmt.Sprintf("it can't be read: %v", err)
	case !info.Mode().IsRegular():
		return "it is no file"
	case info.Size() != t.Length:
		return fmt.Sprintf("it has %d bytes, and the metadata says %d", info.Size(), t.Length)
	}
	h := hasher(algorithm)
	if h == nil {
		return "" // reported with the entry
	}
	f, err := a.cfg.Targets.Open(name)
	if err != nil {
		return fmt.Sprintf("it can't be read: %v", err)
	}
	defer f.Close()
	if _, err := io.Copy(h, contextReader{a, f}); err != nil {
		return fmt.Sprintf("it can't be read: %v", err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != t.Hashes[algorithm] {
		return fmt.Sprintf("its %s is %s, and the metadata says %s", algorithm, sum, t.Hashes[algorithm])
	}
	return ""
}

// hasher returns nil for an algorithm that isn't used in metadata.
func hasher(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	case "blake2b-256":
		if h, err := blake2b.New256(nil); err == nil {
			return h
		}
	}
	return nil
}

// contextReader ends with the audit's context.
type contextReader struct {
	a *auditor
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.a.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
