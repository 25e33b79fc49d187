package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/bindery-tuf/bindery/internal/excerpt"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Installer is a repository that takes finished documents, such as *repository.Repository or
// *service.Service.
type Installer interface {
	Install(ctx context.Context, d repository.Documents) error
}

const usage = "curl -F document=@8.root.json"

// maxDocuments bounds one request to Admin, in bytes. It is held in memory.
const maxDocuments = 64 << 20

// Admin takes documents that people signed, and installs them. They come as files of a form,
// named VERSION.ROLE.json:
//
//	curl -F document=@8.root.json -F document=@7.targets.json http://localhost:8081/
//
// The fields' names don't matter. There may be several versions of root, and one of each other
// role. The answer is JSON, 200 and
//
//	{"installed": ["8.root.json", "7.targets.json"]}
//
// once the documents are in force and published, even if they were so before. Otherwise the answer is
// {"error": "…"}, with the status that StatusCode gives. It is 400 for a file that isn't what its name
// says, 413 for more than 64 MiB, and 403 for a request that a browser makes for another site. Both
// answers are logged (nil log: nowhere). If a client gives a request up, the documents may have been
// accepted: send it again.
//
// Admin has no authentication. What it installs must be signed by the keys that the root demands, so
// strangers can't install documents of their own. But they can install documents of yours too early,
// and keep the publisher busy. Serve it on an address of its own, of the loopback interface or of a
// private network, or put authentication in front.
func Admin(installer Installer, log *slog.Logger) http.Handler {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	// A page that is open in a browser on this machine can send forms to the loopback interface.
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, http.StatusForbidden, errors.New("a browser sent this for another site"))
	}))
	return protection.Handler(&admin{installer, log})
}

type admin struct {
	installer Installer
	log       *slog.Logger
}

func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		fail(w, http.StatusMethodNotAllowed, errors.New("POST documents as files of a form: "+usage))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxDocuments)
	names, status, err := a.install(r)
	if err != nil {
		a.log.ErrorContext(r.Context(), "documents were not installed", "documents", names, "error", err)
		fail(w, status, err)
		return
	}
	a.log.InfoContext(r.Context(), "documents are installed", "documents", names)
	answer(w, http.StatusOK, map[string]any{"installed": names})
}

// install returns the names of the files that were sent, as far as they are known, and the status for
// err.
func (a *admin) install(r *http.Request) (names []string, status int, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("read the form: %w: use %s", err, usage)
	}
	names, files, err := readForm(form)
	if tooMuch, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return names, http.StatusRequestEntityTooLarge, fmt.Errorf("the form has more than %d bytes: is there a file in it that is no document?", tooMuch.Limit)
	}
	var documents repository.Documents
	if err == nil {
		documents, err = repository.ReadDocuments(files)
	}
	if err == nil && len(documents.Roots)+len(documents.Roles) != len(names) {
		err = errors.New("there is a file whose name is no document's")
	}
	if err != nil {
		return names, http.StatusBadRequest, err
	}
	err = a.installer.Install(r.Context(), documents)
	return names, StatusCode(err), err
}

// readForm returns the names of the files in the form, in their order, and the files. It refuses
// what ReadDocuments, which is made for folders, would ignore.
func readForm(form *multipart.Reader) (names []string, files posted, err error) {
	files = posted{}
	taken := map[string]bool{}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) && len(names) == 0 {
			err = errors.New("there are no files in it")
		} else if errors.Is(err, io.EOF) {
			return names, files, nil
		}
		if err != nil {
			return names, nil, fmt.Errorf("read the form: %w", err)
		}
		name := part.FileName()
		_, of, _ := strings.Cut(name, ".")
		if of == "root.json" {
			of = name // of root there may be several versions
		}
		switch {
		case !versionedName.MatchString(name):
			err = errors.New("the name must be VERSION.ROLE.json")
		case of == "snapshot.json" || of == ledger.Timestamp:
			err = errors.New("the repository signs this role itself")
		case taken[of]:
			err = errors.New("the role has a document in the form already")
		default:
			taken[of] = true
			names = append(names, name)
			files[name], err = io.ReadAll(part)
		}
		if err != nil {
			return names, nil, fmt.Errorf("file %q: %w", name, err)
		}
	}
}

// posted are files by name: a folder, as far as ReadDocuments looks at one.
type posted map[string][]byte

func (p posted) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}

func (p posted) ReadDir(string) (entries []fs.DirEntry, err error) {
	for name := range p {
		entries = append(entries, entry(name))
	}
	return entries, nil
}

func (p posted) ReadFile(name string) ([]byte, error) { return p[name], nil }

type entry string

func (e entry) Name() string               { return string(e) }
func (e entry) IsDir() bool                { return false }
func (e entry) Type() fs.FileMode          { return 0 }
func (e entry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]any{"error": excerpt.Of(err.Error(), excerpt.Error)})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.Encode(body) // the client may have gone
}
