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

	// Caching is for how long caches may serve timestamp.json. Give repository.Config the same value,
	// because the grace period depends on it. Fractions of a second don't count. Zero: caches ask
	// each time whether there is a newer one.
	Caching repository.Caching

	// Stall is how long a client may take for each MiB of a response before its connection is
	// cut. It replaces the server's WriteTimeout, which limits a whole response whatever its
	// size. Zero: WriteTimeout applies.
	Stall time.Duration

	// Logger receives failures of the store and of files. Nil: nothing is logged.
	Logger *slog.Logger
}

// Handler serves metadata under /metadata/, and target files under /targets/, to GET and
// HEAD. Everything else is 404 or 405.
//
// Metadata has a version in its name, and target files have their hash in it. Both never change, and
// are served as immutable. Caches must revalidate the timestamp by its ETag, each time unless
// Config.Caching allows them to serve it for a while. They may store
// no error: a stored 404 would hide the next root from clients when it comes.
//
// Only names that a repository publishes are served: timestamp.json,
// VERSION.ROLE.json, and targets as DIRECTORIES/HASH.NAME with a SHA-256,
// BLAKE2b-256 or SHA-512 in hex. If the store or a file fails, the log says why, and the client gets
// a bare 500.
//
// Simultaneous requests for the same version of a role share one copy of it in memory. A request for
// several ranges at once is answered with the whole file.
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

// maxNameLength is what file systems allow; a longer name was never written.
const maxNameLength = 255

var (
	versionedName = regexp.MustCompile(`^[1-9][0-9]*\.[A-Za-z0-9_-][A-Za-z0-9_.-]*\.json$`)
	hashedName    = regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{128})\.(.+)$`)
)

// errNotServed is for names that don't exist here.
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
	// URL.Path is decoded once, because clients differ in what they escape. A name that is
	// still escaped after that doesn't exist.
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

// metadata and target return an error only before anything was written.
func (h *handler) metadata(w http.ResponseWriter, r *http.Request, name string) error {
	if h.Store == nil {
		return errNotServed
	}
	if name == ledger.Timestamp {
		// Not shared: a client that knows of the swap must get the new one.
		data, err := h.Store.Get(r.Context(), name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		serve(w, r, bytes.NewReader(data), repository.MediaType, h.Caching.CacheControl(name), hex.EncodeToString(sum[:]))
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
	serve(w, r, bytes.NewReader(data), repository.MediaType, h.Caching.CacheControl(name), "")
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
	serve(w, r, content, "application/octet-stream", h.Caching.CacheControl(file), found[1])
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

// notThere reports whether there is no such file. A client may ask for anything: even what can't be a
// file's name on this system, or lies below a file.
func notThere(err error) bool {
	for _, missing := range []error{errNotServed, repository.ErrNotExist, fs.ErrNotExist, fs.ErrInvalid, syscall.ENOTDIR, syscall.ENAMETOOLONG} {
		if errors.Is(err, missing) {
			return true
		}
	}
	return false
}

// serve lets net/http handle ranges, lengths and conditions. It gives no time: the times of files
// say nothing about published content.
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

// response cuts clients that stall. It also keeps caches from storing the errors with which net/http
// answers: a 412 would otherwise be as immutable as the file it is about.
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
