// Package web serves a repository over HTTP: metadata from a store, and target files.
//
//	mux.Handle("/", web.Handler(store, os.DirFS("targets"), logger))
package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Handler serves metadata from store under /metadata/, and target files from
// targets (such as os.DirFS of the directory of a dirstore.Targets; nil for
// none) under /targets/, to GET and HEAD. Everything else is 404 or 405.
//
// Metadata that has a version in its name, and target files, which have their
// hash in it, never change and are served as immutable; the timestamp is
// to be revalidated each time, by its ETag. No error may be stored, whatever its
// status: the 404 for a root that is still to come would keep clients from it.
//
// Only names that a repository publishes are served: timestamp.json,
// VERSION.ROLE.json, and targets as DIRECTORIES/HASH.NAME with a SHA-256,
// BLAKE2b-256 or SHA-512 in hex. Files in targets must support seeking. A store or file
// that fails is reported to log (nil: nowhere) and to the client as a bare 500.
func Handler(store repository.Store, targets fs.FS, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &handler{store, targets, log}
}

type handler struct {
	store   repository.Store
	targets fs.FS
	log     *slog.Logger
}

const (
	immutable  = "public, max-age=31536000, immutable"
	revalidate = "no-cache"
)

// maxNameLength is what file systems allow; a longer name was never written.
const maxNameLength = 255

var (
	versionedName = regexp.MustCompile(`^[1-9][0-9]*\.[A-Za-z0-9_-][A-Za-z0-9_.-]*\.json$`)
	hashedName    = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{128})\.(.+)$`)
)

// errNotServed stands for all that isn't there to be seen.
var errNotServed = errors.New("not served")

// No ServeMux: it answers an unclean path with a redirect, which may be cached.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = uncachedErrors{w}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	// URL.Path is decoded once: clients differ in what they escape, the names
	// don't, and a name that is still escaped after that doesn't exist.
	err := errNotServed
	if name, ok := strings.CutPrefix(r.URL.Path, "/metadata/"); ok {
		err = h.metadata(w, r, name)
	} else if name, ok := strings.CutPrefix(r.URL.Path, "/targets/"); ok {
		err = h.target(w, r, name)
	}
	switch {
	case err == nil:
	case notThere(err):
		refuse(w, http.StatusNotFound)
	default:
		if r.Context().Err() == nil {
			h.log.ErrorContext(r.Context(), "serving failed", "path", r.URL.Path, "error", err)
		}
		refuse(w, http.StatusInternalServerError)
	}
}

// metadata and target return an error before anything was written.
func (h *handler) metadata(w http.ResponseWriter, r *http.Request, name string) error {
	if len(name) > maxNameLength || name != ledger.Timestamp && !versionedName.MatchString(name) {
		return errNotServed
	}
	data, err := h.store.Get(r.Context(), name)
	if err != nil {
		return err
	}
	if name == ledger.Timestamp {
		sum := sha256.Sum256(data)
		serve(w, r, bytes.NewReader(data), "application/json", revalidate, hex.EncodeToString(sum[:]))
	} else {
		serve(w, r, bytes.NewReader(data), "application/json", immutable, "")
	}
	return nil
}

func (h *handler) target(w http.ResponseWriter, r *http.Request, name string) error {
	dirs, file := path.Split(name)
	found := hashedName.FindStringSubmatch(file)
	if h.targets == nil || found == nil || roles.CheckPath(dirs+found[2]) != nil {
		return errNotServed
	}
	f, err := h.targets.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNotServed
	}
	content, ok := f.(io.ReadSeeker)
	if !ok {
		return fmt.Errorf("%s: %T can't seek", name, f)
	}
	serve(w, r, content, "application/octet-stream", immutable, found[1])
	return nil
}

// notThere also takes for missing what can't be a file's name on this system,
// or lies below a file: a client may ask for anything.
func notThere(err error) bool {
	for _, missing := range []error{errNotServed, repository.ErrNotExist, fs.ErrNotExist, fs.ErrInvalid, syscall.ENOTDIR, syscall.ENAMETOOLONG} {
		if errors.Is(err, missing) {
			return true
		}
	}
	return false
}

// serve lets net/http see to ranges, lengths and conditions. The times of files
// say nothing about published content, so none is given.
func serve(w http.ResponseWriter, r *http.Request, content io.ReadSeeker, mediaType, caching, tag string) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", caching)
	if tag != "" {
		w.Header().Set("ETag", `"`+tag+`"`)
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}

func refuse(w http.ResponseWriter, status int) {
	http.Error(w, http.StatusText(status), status)
}

// uncachedErrors sees to the errors that net/http answers with too: a 412 would
// otherwise be as immutable as the file it is about.
type uncachedErrors struct{ http.ResponseWriter }

func (w uncachedErrors) WriteHeader(status int) {
	if status >= 400 {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(status)
}

// ReadFrom leaves the copying of a file to the server, which can have the system do it.
func (w uncachedErrors) ReadFrom(r io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, r) }
