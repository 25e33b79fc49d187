package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// ceremonies has holders of offline keys sign the request that is open. The folder is that of
// examples/ceremony, so that responses may come by HTTP or by stick:
//
//	open/request.json    what is being signed now
//	open/responses/      the responses to it, each verified before it was kept
//	done/…               a request whose documents are installed, as open was
//	given-up/…           one that was given up
//
// Documents of a request that is complete are installed first, and then written to the folder of
// documents. If the program is killed in between, it does both again: documents in force are skipped.
type ceremonies struct {
	folder    string
	automatic bool
	documents func() string // the folder of documents
	repo      installer
	store     repository.Store
	log       *slog.Logger

	installing sync.Mutex // held by install and giveUp, and taken before mu: a key that fails may take long
	mu         sync.Mutex // guards the folder, and what follows
	err        error      // why the documents of the open request were not installed
}

type installer interface {
	Install(ctx context.Context, d repository.Documents) error
	InstallAfterCompromise(ctx context.Context, d repository.Documents) error
	Status(ctx context.Context) (repository.Status, error)
}

// open is the request that is open, with the responses so far.
type open struct {
	request   *ceremony.Request
	responses []*ceremony.Response
	progress  ceremony.Progress
}

func (c *ceremonies) path(elements ...string) string {
	return filepath.Join(append([]string{c.folder}, elements...)...)
}

var errNoRequest = errors.New("no request is open: an operator sends one with PUT /v1/ceremony/request")

// current is read with the lock.
func (c *ceremonies) current() (*open, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// read returns the open request. Responses that others put into the folder are verified too: a bad one
// is logged and left out.
func (c *ceremonies) read() (*open, error) {
	data, err := os.ReadFile(c.path("open", "request.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoRequest
	}
	if err != nil {
		return nil, err
	}
	o := &open{}
	if o.request, err = ceremony.ParseRequest(data); err != nil {
		return nil, fmt.Errorf("%s: %w", c.path("open", "request.json"), err)
	}
	entries, err := os.ReadDir(c.path("open", "responses"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".json") {
			continue // a temporary file
		}
		name := c.path("open", "responses", e.Name())
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		response, err := ceremony.ParseResponse(data)
		if err == nil {
			_, err = o.request.Merge(response)
		}
		if err != nil {
			c.log.Error("a response doesn't count: move the file away", "file", name, "err", err)
			continue
		}
		o.responses = append(o.responses, response)
	}
	o.progress, err = o.request.Merge(o.responses...)
	return o, err
}

// progress is the answer about the open request.
type progress struct {
	Digest   ceremony.Digest   `json:"digest"`
	Reason   string            `json:"reason"`
	Complete bool              `json:"complete"`
	Missing  []missing         `json:"missing"`
	Progress ceremony.Progress `json:"progress"`
	Install  string            `json:"install"`         // what happens once it is complete
	Error    string            `json:"error,omitempty"` // why the documents were not installed
}

// missing says that as many of these people must still sign a document.
type missing struct {
	Document ceremony.Mark  `json:"document"`
	Needed   int            `json:"needed"`
	Of       []ceremony.Who `json:"of"`
}

func (c *ceremonies) view(o *open) progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := progress{
		Digest: o.request.Digest(), Reason: o.request.Proposal().Reason, Complete: o.progress.Complete(), Progress: o.progress,
		Missing: []missing{}, Install: installOperator,
	}
	if c.automatic && !o.request.Proposal().Compromise {
		p.Install = installAutomatic
	}
	for _, d := range o.progress.Documents {
		for _, q := range d.Quorums {
			if q.Needed() > 0 {
				p.Missing = append(p.Missing, missing{d.Mark, q.Needed(), q.Missing})
			}
		}
	}
	if c.err != nil {
		p.Error = sentence(c.err)
	}
	return p
}

// leading answers with handler while this publisher has the lead. A standby says who has it: its folder may be another
// one, with no request or an old one.
func (c *ceremonies) leading(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := c.repo.Status(r.Context()); err != nil {
			c.fail(w, r, err)
			return
		}
		handler(w, r)
	}
}

func (c *ceremonies) show(w http.ResponseWriter, r *http.Request) {
	o, err := c.current()
	if err != nil {
		c.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, c.view(o))
}

func (c *ceremonies) getRequest(w http.ResponseWriter, r *http.Request) {
	o, err := c.current()
	if err != nil {
		c.fail(w, r, err)
		return
	}
	sendFile(w, o.request.Bytes())
}

// The sizes of the files of a ceremony, in bytes: see the package comment of roles/ceremony.
const (
	maxRequest  = 8 << 20
	maxResponse = 64 << 10
)

// putRequest opens a request. The same one again changes nothing.
func (c *ceremonies) putRequest(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	request, err := ceremony.ParseRequest(data)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid", fmt.Errorf("the body is no request that holders can sign: %w", err))
		return
	}
	if err := c.inForce(r.Context(), request); err != nil {
		c.fail(w, r, err)
		return
	}
	o, err := c.begin(request)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, c.view(o))
}

func (c *ceremonies) begin(request *ceremony.Request) (*open, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.read()
	switch {
	case err == nil && bytes.Equal(o.request.Bytes(), request.Bytes()):
		return o, nil
	case err == nil:
		return nil, conflict{fmt.Errorf("another request is open: finish it, or give it up with DELETE /v1/ceremony/request?digest=%s", digits(o.request))}
	case !errors.Is(err, errNoRequest):
		return nil, err
	}
	if err := c.writeOpen(request.Bytes()); err != nil {
		return nil, err
	}
	c.err = nil
	c.log.Info("a request is open for the holders", "digest", request.Digest().String(), "reason", request.Proposal().Reason)
	return c.read()
}

// inForce makes sure that a request goes on from the documents in force.
func (c *ceremonies) inForce(ctx context.Context, request *ceremony.Request) error {
	based := request.Based()
	if based == nil {
		return conflict{errors.New("the request is for a new repository: this one exists, and its root must be the request's current one")}
	}
	status, err := c.repo.Status(ctx)
	if err != nil {
		return err
	}
	current := request.Proposal().Current
	for role, file := range map[string][]byte{metadata.ROOT: current.Roots[len(current.Roots)-1], metadata.TARGETS: current.Targets, "bins": current.Bins} {
		if file == nil {
			continue
		}
		name := ledger.Name(status.Roles[role].Version, role)
		published, err := c.store.Get(ctx, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(published, file) {
			return conflict{fmt.Errorf("the request goes on from another document than %s, which is in force: make it again from the published documents", name)}
		}
	}
	return nil
}

// postResponse keeps a response once it is verified. The answer has who is still missing.
func (c *ceremonies) postResponse(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxResponse))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	response, err := ceremony.ParseResponse(data)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid", fmt.Errorf("the body is no response of a holder: %w", err))
		return
	}
	o, err := c.take(response)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.log.Info("a holder's response is kept", "keys", response.KeyIDs(), "complete", o.progress.Complete())
	if c.automatic && o.progress.Complete() && !o.request.Proposal().Compromise {
		c.install(r.Context(), o, false) // the answer has the error, and watch tries again
	}
	reply(w, http.StatusOK, c.view(o))
}

// take verifies a response, and keeps it durably. What nobody needs is not kept: the same signatures
// again, or one signature more for documents that are complete, which would change their files.
func (c *ceremonies) take(response *ceremony.Response) (*open, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.read()
	if err != nil {
		return nil, err
	}
	if _, err := o.request.Merge(response); err != nil {
		return nil, refused{fmt.Errorf("the response was not kept: %w", err)}
	}
	after, err := o.request.Merge(append(o.responses, response)...)
	if err != nil {
		return nil, err
	}
	if o.progress.Complete() || signatures(after) == signatures(o.progress) {
		return o, nil
	}
	sum := sha256.Sum256(response.Bytes())
	if err := writeNew(c.path("open", "responses", fmt.Sprintf("%x.json", sum[:8])), response.Bytes()); err != nil {
		return nil, fmt.Errorf("the response was not kept: %w", err)
	}
	o.responses, o.progress = append(o.responses, response), after
	return o, nil
}

func signatures(p ceremony.Progress) (n int) {
	for _, d := range p.Documents {
		for _, q := range d.Quorums {
			n += len(q.Signed)
		}
	}
	return n
}

// postInstall installs the documents of a request that is complete. If the request declares a
// compromise, clients behind caches may fail for a while, so it is always an operator who says so.
func (c *ceremonies) postInstall(w http.ResponseWriter, r *http.Request) {
	o, err := c.current()
	if err == nil && !o.progress.Complete() {
		err = conflict{errors.New("signatures are missing: GET /v1/ceremony says whose")}
	}
	if err == nil {
		err = c.install(r.Context(), o, o.request.Proposal().Compromise)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, c.view(o))
}

// install puts complete documents into force, in their order, writes them to the folder of documents,
// and closes the request. What was done is skipped the next time.
func (c *ceremonies) install(ctx context.Context, o *open, compromise bool) error {
	c.installing.Lock()
	defer c.installing.Unlock()
	if now, err := c.current(); errors.Is(err, errNoRequest) || err == nil && now.request.Digest() != o.request.Digest() {
		return nil // another call was first
	}
	err := c.installOnce(ctx, o, compromise)
	if err != nil {
		c.log.Error("the documents that holders signed are not installed", "err", err)
	} else {
		c.log.Info("the documents that holders signed are installed", "documents", o.request.Marks())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	return err
}

func (c *ceremonies) installOnce(ctx context.Context, o *open, compromise bool) error {
	install := c.repo.Install
	if compromise {
		install = c.repo.InstallAfterCompromise
	}
	files := o.progress.Files()
	for len(files) > 0 {
		// A root is published on its own; targets and bins are in one generation.
		step, n := repository.Documents{Roles: map[string][]byte{}}, 0
		for ; n < len(files) && (n == 0 || files[n].Role != metadata.ROOT && len(step.Roots) == 0); n++ {
			if files[n].Role == metadata.ROOT {
				step.Roots = [][]byte{files[n].File}
			} else {
				step.Roles[files[n].Role] = files[n].File
			}
		}
		err := install(ctx, step)
		if err != nil && !errors.Is(err, repository.ErrAccepted) {
			return err
		}
		// They are in force now, so the folder must have them, published or not.
		for _, f := range files[:n] {
			h, perr := roles.Peek(f.File)
			if perr == nil {
				perr = writeNew(filepath.Join(c.documents(), ledger.Name(h.Version, f.Role)), f.File)
			}
			err = errors.Join(err, perr)
		}
		if err != nil {
			return err
		}
		files = files[n:]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closeOpen("done", o)
}

// giveUp moves the open request away. The caller names it, so that nobody gives up another one.
func (c *ceremonies) giveUp(w http.ResponseWriter, r *http.Request) {
	c.installing.Lock()
	defer c.installing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.read()
	if err == nil {
		var named ceremony.Digest
		if named, err = ceremony.ParseDigest(r.URL.Query().Get("digest")); err != nil || named != o.request.Digest() {
			err = conflict{fmt.Errorf("say which request with ?digest=%s, the one that is open", digits(o.request))}
		}
	}
	if err == nil {
		err = c.closeOpen("given-up", o)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.err = nil
	c.log.Info("a request was given up", "digest", o.request.Digest().String())
	w.WriteHeader(http.StatusNoContent)
}

// digits are the digest of a request, as it stands in a URL.
func digits(r *ceremony.Request) string {
	digest := r.Digest()
	return hex.EncodeToString(digest[:])
}

// watch installs what became complete in other ways than by a request here: by a response that a
// person put into the folder, before the program was killed, or because caches needed the documents
// before for a while longer.
func (c *ceremonies) watch(ctx context.Context) {
	for {
		if c.automatic {
			c.installComplete(ctx)
		}
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return
		}
	}
}

func (c *ceremonies) installComplete(ctx context.Context) {
	o, err := c.current()
	switch {
	case errors.Is(err, errNoRequest):
	case err != nil:
		c.log.Error("the open request can't be read", "err", err)
	case o.progress.Complete() && !o.request.Proposal().Compromise:
		if _, err := c.repo.Status(ctx); err == nil { // not in a standby
			c.install(ctx, o, false)
		}
	}
}

// conflict is an error of a caller who expects another state; refused is one of a response that
// doesn't verify.
type (
	conflict struct{ error }
	refused  struct{ error }
)

func (c *ceremonies) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, code := statusOf(err), codeOf(err)
	switch _, refusal := errors.AsType[refused](err); {
	case errors.Is(err, errNoRequest):
		status, code = http.StatusNotFound, "no_request"
	case refusal:
		status, code = http.StatusUnprocessableEntity, "refused"
	}
	if _, ok := errors.AsType[conflict](err); ok {
		status, code = http.StatusConflict, "conflict"
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status, code, err = http.StatusRequestEntityTooLarge, "too_large", fmt.Errorf("the body has more than %d bytes, the most that such a file can have", tooLarge.Limit)
	}
	if status >= 500 {
		if !errors.Is(err, repository.ErrLocked) {
			c.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		retryAfter(w, err)
	}
	refuse(w, status, code, err)
}

// tempPrefix is what the names of files and folders begin with while they are written. It is that of examples/ceremony, whose
// backups leave them out.
const tempPrefix = ".ceremony-"

func writeNew(name string, data []byte) error { return disk.WriteNew(name, tempPrefix, data) }

// writeOpen makes the folder of a new request, whole or not at all.
func (c *ceremonies) writeOpen(request []byte) error {
	temporary := c.path(tempPrefix + rand.Text())
	err := os.MkdirAll(filepath.Join(temporary, "responses"), 0o755)
	defer os.RemoveAll(temporary)
	if err == nil {
		err = writeNew(filepath.Join(temporary, "request.json"), request)
	}
	if err == nil {
		err = os.Rename(temporary, c.path("open"))
	}
	if err == nil {
		err = disk.SyncName(c.path("open"))
	}
	return err
}

// closeOpen moves what is open to another place, "done" or "given-up", and names it as
// examples/ceremony does.
func (c *ceremonies) closeOpen(to string, o *open) error {
	if err := os.MkdirAll(c.path(to), 0o755); err != nil {
		return err
	}
	first := o.request.Marks()[0]
	dir := c.path(to, fmt.Sprintf("%s-%d-%s", first.Role, first.Version, o.request.Digest().Groups()[0]))
	if _, err := os.Lstat(dir); err == nil {
		dir += "-" + rand.Text()[:8] // the same request was given up before
	}
	if err := os.Rename(c.path("open"), dir); err != nil {
		return err
	}
	return errors.Join(disk.SyncName(dir), disk.SyncName(c.path(to)), disk.SyncNames(c.folder))
}
