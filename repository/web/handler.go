// Package web serves a repository over HTTP: metadata from a store, and target files.
//
//	files, err := os.OpenRoot("index/targets")
//	...
//	mux.Handle("/", web.Handler(web.Config{Store: store, Files: web.Dir(files.FS())}))
//
// Clients are given the URLs /metadata/ and /targets/ of that server. An index that keeps its
// files elsewhere implements [Files]. [StatusCode] maps what the repository refuses to a status
// of HTTP, [Health] says how the repository is, and [Admin] takes documents that people signed.
package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
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

// Config says what Handler serves.
type Config struct {
	// Store holds the metadata. Nil means that it is served elsewhere.
	Store repository.Store

	// Files holds the target files. Nil means that they are served elsewhere.
	Files Files

	// FilesBelowMetadata also serves the target files under /metadata/targets/. sigstore-python
	// looks for them there: it is told one URL, that of the metadata, and adds targets/ to it.
	FilesBelowMetadata bool

	// Stall is how long a client may take for each MiB of a response before its connection is
	// cut. It replaces the server's WriteTimeout, which bounds a whole response whatever its
	// size. Zero leaves that as it is.
	Stall time.Duration

	// Logger is told of stores and files that fail. Nil: nobody is.
	Logger *slog.Logger
}

// Handler serves metadata under /metadata/, and target files under /targets/, to GET and
// HEAD. Everything else is 404 or 405.
//
// Metadata that has a version in its name, and target files, which have their
// hash in it, never change and are served as immutable; the timestamp is
// to be revalidated each time, by its ETag. No error may be stored, whatever its
// status: the 404 for a root that is still to come would keep clients from it.
//
// Only names that a repository publishes are served: timestamp.json,
// VERSION.ROLE.json, and targets as DIRECTORIES/HASH.NAME with a SHA-256,
// BLAKE2b-256 or SHA-512 in hex. A store or file that fails is reported to the log, and to the
// client as a bare 500.
//
// Requests for the same version of a role that are answered at the same time share one copy of
// it in memory. A request for several ranges at once is answered with the whole file.
func Handler(c Config) http.Handler {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &handler{Config: c, shared: sharing{store: c.Store}}
}

type handler struct {
	Config
	shared sharing
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
func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w := &response{ResponseWriter: rw, stall: h.Stall}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	// URL.Path is decoded once: clients differ in what they escape, the names
	// don't, and a name that is still escaped after that doesn't exist.
	err := errNotServed
	if name, ok := strings.CutPrefix(r.URL.Path, "/targets/"); ok {
		err = h.target(w, r, name)
	} else if name, ok := strings.CutPrefix(r.URL.Path, "/metadata/targets/"); ok {
		if h.FilesBelowMetadata {
			err = h.target(w, r, name)
		}
	} else if name, ok := strings.CutPrefix(r.URL.Path, "/metadata/"); ok {
		err = h.metadata(w, r, name)
	}
	switch {
	case err == nil:
	case notThere(err):
		refuse(w, http.StatusNotFound)
	default:
		if r.Context().Err() == nil {
			h.Logger.ErrorContext(r.Context(), "serving failed", "path", r.URL.Path, "error", err)
		}
		refuse(w, http.StatusInternalServerError)
	}
}

// metadata and target return an error before anything was written.
func (h *handler) metadata(w http.ResponseWriter, r *http.Request, name string) error {
	if h.Store == nil {
		return errNotServed
	}
	if name == ledger.Timestamp {
		// Not shared: whoever knows that it was swapped must get the new one.
		data, err := h.Store.Get(r.Context(), name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		serve(w, r, bytes.NewReader(data), "application/json", revalidate, hex.EncodeToString(sum[:]))
		return nil
	}
	if len(name) > maxNameLength || !versionedName.MatchString(name) {
		return errNotServed
	}
	data, done, err := h.shared.get(r.Context(), name)
	if err != nil {
		return err
	}
	defer done()
	serve(w, r, bytes.NewReader(data), "application/json", immutable, "")
	return nil
}

func (h *handler) target(w http.ResponseWriter, r *http.Request, name string) error {
	dirs, file := path.Split(name)
	found := hashedName.FindStringSubmatch(file)
	if h.Files == nil || found == nil || roles.CheckPath(dirs+found[2]) != nil {
		return errNotServed
	}
	content, err := h.open(r, dirs+found[2], found[1])
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := content.Seek(0, io.SeekEnd); err != nil { // it is logged here, not by ServeContent
		return err
	}
	serve(w, r, content, "application/octet-stream", immutable, found[1])
	return nil
}

// open asks for each algorithm that a hash of this length can be of.
func (h *handler) open(r *http.Request, path, hash string) (io.ReadSeekCloser, error) {
	if len(hash) == 2*sha256.Size {
		content, err := h.Files.Open(r.Context(), path, "sha256", hash)
		if err == nil || !notThere(err) {
			return content, err
		}
		return h.Files.Open(r.Context(), path, "blake2b-256", hash)
	}
	return h.Files.Open(r.Context(), path, "sha512", hash)
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
	if strings.Contains(r.Header.Get("Range"), ",") {
		// One request could ask for a file's bytes in thousands of parts. A server may
		// ignore the header (RFC 9110, 14.2).
		whole := *r
		whole.Header = maps.Clone(r.Header)
		whole.Header.Del("Range")
		r = &whole
	}
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

// response sees to the errors that net/http answers with too (a 412 would
// otherwise be as immutable as the file it is about), and to clients that stall.
type response struct {
	http.ResponseWriter
	stall time.Duration
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if status >= 400 {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.ResponseWriter.WriteHeader(status)
}

// stallBytes is how much a client may take Config.Stall for.
const stallBytes = 1 << 20

// ReadFrom leaves the copying of a file to the server, which can have the system do it. That
// works for a limited file, and not for a limit within a limit.
func (w *response) ReadFrom(r io.Reader) (n int64, err error) {
	limited, ok := r.(*io.LimitedReader)
	if w.stall <= 0 || !ok { // ServeContent limits what it copies
		return io.Copy(w.ResponseWriter, r)
	}
	for limited.N > 0 {
		err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.stall))
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return n, err
		}
		part := min(limited.N, stallBytes)
		copied, err := io.CopyN(w.ResponseWriter, limited.R, part)
		n += copied
		limited.N -= copied
		if err != nil {
			if errors.Is(err, io.EOF) { // Copy's way to say that the reader has ended
				err = nil
			}
			return n, err
		}
	}
	return n, nil
}
