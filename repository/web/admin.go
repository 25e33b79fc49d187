package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Installer is a repository that takes finished documents, such as *repository.Repository.
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
// The fields' names don't matter. Of several versions of a role other than root the highest is
// taken. The answer is JSON, 200 and
//
//	{"installed": ["8.root.json", "7.targets.json"]}
//
// once the documents are in force and published, also if they were so before. Otherwise it is
// {"error": "…"} under the status of StatusCode, or 400 for a file that isn't what its name
// says, 413 for more than 64 MiB, and 403 for a request that a browser makes for another site.
// Both are reported to the log (nil: nowhere). A request that is given up may have been accepted:
// send it again.
//
// Admin asks nobody who he is. What it installs must be signed by the keys that the root demands,
// so others can't install what they made, but they can have documents installed before their
// time, and keep the publisher busy. Serve it on an address of its own, of the
// loopback interface or a private network, or put authentication in front.
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

// install returns the names of what was sent, as far as they are known, and a status for err.
func (a *admin) install(r *http.Request) (names []string, status int, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, http.StatusBadRequest, fmt.Errorf("read the form: %w: use %s", err, usage)
	}
	found, err := readForm(form)
	if tooMuch, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, fmt.Errorf("more than %d bytes", tooMuch.Limit)
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	documents := repository.Documents{Roles: map[string][]byte{}}
	for _, d := range found {
		names = append(names, d.name())
		if d.role == metadata.ROOT {
			documents.Roots = append(documents.Roots, d.data)
		} else {
			documents.Roles[d.role] = d.data
		}
	}
	err = a.installer.Install(r.Context(), documents)
	return names, StatusCode(err), err
}

// posted is one document of a request.
type posted struct {
	role    string
	version int64
	data    []byte
}

func (d posted) name() string { return fmt.Sprintf("%d.%s.json", d.version, d.role) }

// readForm returns all roots, oldest first, and the newest of each other role.
func readForm(form *multipart.Reader) ([]posted, error) {
	newest := map[string]posted{} // by role, and each root by its name
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the form: %w", err)
		}
		d, err := readPart(part)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", part.FileName(), err)
		}
		key := d.role
		if key == metadata.ROOT {
			key = d.name()
		}
		switch other, ok := newest[key]; {
		case ok && other.version == d.version && !bytes.Equal(other.data, d.data):
			return nil, fmt.Errorf("file %q: there are two, and they differ", part.FileName())
		case !ok || other.version < d.version:
			newest[key] = d
		}
	}
	if len(newest) == 0 {
		return nil, errors.New("there are no documents in the form")
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b posted) int {
		switch {
		case a.role == metadata.ROOT && b.role != metadata.ROOT:
			return -1
		case b.role == metadata.ROOT && a.role != metadata.ROOT:
			return 1
		}
		return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.version, b.version))
	}), nil
}

func readPart(part *multipart.Part) (d posted, err error) {
	version, rest, _ := strings.Cut(part.FileName(), ".")
	role, ok := strings.CutSuffix(rest, ".json")
	if !ok || role == "" || !versionedName.MatchString(part.FileName()) {
		return d, errors.New("the name must be VERSION.ROLE.json")
	}
	d.role = role
	if d.data, err = io.ReadAll(part); err != nil {
		return d, err
	}
	switch role {
	case metadata.SNAPSHOT, metadata.TIMESTAMP:
		return d, errors.New("the repository signs this role itself")
	case metadata.ROOT:
		d.version, err = versionOf[metadata.RootType](d.data)
	default:
		d.version, err = versionOf[metadata.TargetsType](d.data)
	}
	if err == nil && strconv.FormatInt(d.version, 10) != version {
		err = fmt.Errorf("it is version %d", d.version)
	}
	return d, err
}

func versionOf[T roles.Type](file []byte) (int64, error) {
	d, err := roles.Parse[T](file)
	if err != nil {
		return 0, err
	}
	return d.Version(), nil
}

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]any{"error": err.Error()})
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
