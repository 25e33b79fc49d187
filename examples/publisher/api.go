package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/excerpt"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/web"
)

// maxItem bounds the body of an item, in bytes.
const maxItem = 16 << 20

// api is what the index and operators ask.
func (d *daemon) api(want token) http.Handler {
	v1 := http.NewServeMux()
	v1.HandleFunc("PUT /v1/items/{id}", d.submit)
	v1.HandleFunc("GET /v1/items/{id}", d.outcome)
	v1.HandleFunc("GET /v1/status", d.status)
	v1.HandleFunc("GET /v1/documents", d.listDocuments)
	v1.HandleFunc("GET /v1/documents/{name}", d.document)
	v1.Handle("POST /v1/documents", web.Admin(d.repo, d.log))
	v1.HandleFunc("POST /v1/clock", d.acceptClock)
	d.holders(v1)
	if d.ceremony != nil {
		v1.HandleFunc("PUT /v1/ceremony/request", d.ceremony.leading(d.ceremony.putRequest))
		v1.HandleFunc("DELETE /v1/ceremony/request", d.ceremony.leading(d.ceremony.giveUp))
		v1.HandleFunc("POST /v1/ceremony/install", d.ceremony.leading(d.ceremony.postInstall))
	}
	v1.HandleFunc("/", notFound)

	all := http.NewServeMux()
	// Probes of load balancers bring no token, and get no details.
	all.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { probe(w, true, "live") })
	all.HandleFunc("GET /ready", d.probe(func(s standing) bool { return s == leads }))
	all.HandleFunc("GET /lead", d.probe(func(s standing) bool { return s == leads || s == leadsInTrouble }))
	all.HandleFunc("GET /standby", d.probe(func(s standing) bool { return s == standsBy }))
	all.Handle("/", guard(want, v1))
	return all
}

// holdersAPI is what holders of offline keys ask, at an address of their own.
func (d *daemon) holdersAPI(want token) http.Handler {
	mux := http.NewServeMux()
	d.holders(mux)
	mux.HandleFunc("/", notFound)
	return guard(want, mux)
}

func (d *daemon) holders(mux *http.ServeMux) {
	if d.ceremony != nil {
		mux.HandleFunc("GET /v1/ceremony", d.ceremony.leading(d.ceremony.show))
		mux.HandleFunc("GET /v1/ceremony/request", d.ceremony.leading(d.ceremony.getRequest))
		mux.HandleFunc("POST /v1/ceremony/responses", d.ceremony.leading(d.ceremony.postResponse))
	}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusNotFound, "not_found", fmt.Errorf("%s %s: there is nothing at this path, or not for this method: README.md lists what there is", r.Method, r.URL.Path))
}

// item is the answer about an item.
type item struct {
	ID       string `json:"id"`
	Repeated bool   `json:"repeated,omitempty"` // an item with this ID had been submitted before
	repository.Outcome
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
}

// submit queues an item under the ID in the path. The answer is 202 once the item is durable and not yet
// decided. With wait it is that of the outcome.
func (d *daemon) submit(w http.ResponseWriter, r *http.Request) {
	wait, err := waitOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "wait", err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxItem))
	if err != nil {
		d.refuseBody(w, err, "an item")
		return
	}
	it, err := ledger.ParseItem(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid", fmt.Errorf("the body is no item: %w", err))
		return
	}
	it.ID, it.By = r.PathValue("id"), r.URL.Query().Get("by")
	receipt, err := d.repo.Submit(r.Context(), it)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	d.answerItem(w, r, receipt, receipt.Repeated(), wait, http.StatusAccepted)
}

// outcome says what became of an item.
func (d *daemon) outcome(w http.ResponseWriter, r *http.Request) {
	wait, err := waitOf(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "wait", err)
		return
	}
	d.answerItem(w, r, d.repo.Receipt(r.PathValue("id")), false, wait, http.StatusOK)
}

// answerItem answers with an item's outcome, and waits for it before that if wait isn't zero. Undecided
// is the status while there is none.
func (d *daemon) answerItem(w http.ResponseWriter, r *http.Request, receipt *service.Receipt, repeated bool, wait time.Duration, undecided int) {
	answer := item{ID: receipt.ID(), Repeated: repeated}
	var err error
	if wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		defer context.AfterFunc(d.draining, cancel)()
		answer.Outcome, err = receipt.Wait(ctx)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil // the item goes on without the caller
		}
	} else {
		answer.Outcome, err = d.repo.Outcome(r.Context(), receipt.ID())
	}
	if answer.State == "" && err == nil { // the wait ended before anything was known
		answer.State = repository.Accepted
	}
	status := http.StatusOK
	switch {
	case answer.State == "":
		d.fail(w, r, err)
		return
	case answer.State == repository.Accepted:
		status = undecided
	case answer.State == repository.Refused || answer.State == repository.SetAside:
		if err = refusal(answer.Outcome); undecided == http.StatusOK {
			err = nil // this was asked, and the answer is right
		}
	}
	if err != nil { // nothing was published, or clients don't see it
		status = statusOf(err)
		answer.Error, answer.Code = sentence(err), codeOf(err)
		retryAfter(w, err)
	}
	reply(w, status, answer)
}

// refusal is what Wait says of an item that was not published.
func refusal(o repository.Outcome) error {
	if o.State == repository.SetAside {
		return fmt.Errorf("%w: %s", repository.ErrSetAside, o.Reason)
	}
	return fmt.Errorf("%w: %s", repository.ErrRefused, o.Reason)
}

// waitOf is how long a request wants to wait for an outcome.
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > maxWait {
		return 0, fmt.Errorf("wait=%q: want a time from 0s to %v, such as 30s; ask again if there is no outcome yet", text, maxWait)
	}
	return wait, nil
}

// statusNow is that of the repository. In a standby, it is read from the journal.
func (d *daemon) statusNow(ctx context.Context) (repository.Status, error) {
	status, err := d.repo.Status(ctx)
	if !errors.Is(err, repository.ErrLocked) {
		return status, err
	}
	doubt := err
	if status, err = d.readStatus(ctx); err == nil && errors.Is(doubt, repository.ErrClock) {
		status.Problems = append([]repository.Problem{{
			Severity: repository.SeverityError, What: doubt.Error(), Advice: "set this machine's clock, or send POST /v1/clock if it is right",
		}}, status.Problems...)
	}
	return status, err
}

// acceptClock is an operator's word that the clock is right.
func (d *daemon) acceptClock(w http.ResponseWriter, r *http.Request) {
	if err := d.repo.AcceptClock(r.Context()); err != nil {
		d.fail(w, r, err)
		return
	}
	d.log.Warn("an operator said that this machine's clock is right", "time", time.Now().UTC().Format(time.RFC3339))
	w.WriteHeader(http.StatusNoContent)
}

func (d *daemon) status(w http.ResponseWriter, r *http.Request) {
	status, err := d.statusNow(r.Context())
	if err != nil {
		d.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, status)
}

// standing is what a probe asks about.
type standing string

const (
	leads          standing = "ready"   // it has the lead, and nothing is urgent
	leadsInTrouble standing = "trouble" // it has the lead, and the status has an error
	standsBy       standing = "standby"
	closed         standing = "closed" // it neither publishes nor stands by
)

func (d *daemon) standing(ctx context.Context) standing {
	status, err := d.repo.Status(ctx)
	switch {
	case errors.Is(err, repository.ErrLocked):
		return standsBy
	case err != nil, errors.Is(status.Err, service.ErrUnavailable):
		return closed
	}
	for _, p := range status.Problems {
		if p.Severity == repository.SeverityError {
			return leadsInTrouble
		}
	}
	return leads
}

func (d *daemon) probe(good func(standing) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s := d.standing(r.Context())
		probe(w, good(s), s)
	}
}

func probe(w http.ResponseWriter, good bool, s standing) {
	status := http.StatusOK
	if !good {
		status = http.StatusServiceUnavailable
	}
	reply(w, status, map[string]standing{"status": s})
}

// document is one that people signed and that is in force.
type inForce struct {
	Name string `json:"name"`
	Role string `json:"role"`
	repository.RoleStatus
}

// offline are the documents in force of the roles that people sign.
func (d *daemon) offline(ctx context.Context) ([]inForce, error) {
	status, err := d.statusNow(ctx)
	if err != nil {
		return nil, err
	}
	all := []inForce{}
	keys := d.config().Keys
	for _, role := range slices.Sorted(maps.Keys(status.Roles)) {
		if _, online := keys[role]; !online && role != metadata.SNAPSHOT && role != metadata.TIMESTAMP {
			all = append(all, inForce{ledger.Name(status.Roles[role].Version, role), role, status.Roles[role]})
		}
	}
	return all, nil
}

func (d *daemon) listDocuments(w http.ResponseWriter, r *http.Request) {
	all, err := d.offline(r.Context())
	if err != nil {
		d.fail(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]any{"documents": all})
}

var rootName = regexp.MustCompile(`^[1-9][0-9]{0,15}\.root\.json$`)

// document answers with a document in force, or with any root.
func (d *daemon) document(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	all, err := d.offline(r.Context())
	if err != nil {
		d.fail(w, r, err)
		return
	}
	known := rootName.MatchString(name) || slices.ContainsFunc(all, func(f inForce) bool { return f.Name == name })
	var data []byte
	if known {
		data, err = d.store.Get(r.Context(), name)
	}
	switch {
	case !known || errors.Is(err, repository.ErrNotExist):
		refuse(w, http.StatusNotFound, "not_found", fmt.Errorf("%q is no root and no document in force: GET /v1/documents lists them", name))
	case err != nil:
		d.fail(w, r, err)
	default:
		sendFile(w, data)
	}
}

// sendFile answers with a file of JSON as it is.
func sendFile(w http.ResponseWriter, data []byte) {
	header(w)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Write(data)
}

// codes name the reasons for programs, in the order in which they are looked for.
var codes = []struct {
	err  error
	code string
}{
	{repository.ErrInvalid, "invalid"},
	{repository.ErrSignedByPeople, "signed_by_people"},
	{repository.ErrIDReused, "id_reused"},
	{repository.ErrRefused, "refused"},
	{repository.ErrSetAside, "set_aside"},
	{repository.ErrUnknownItem, "unknown_item"},
	{repository.ErrLocksOut, "locks_out"},
	{repository.ErrWrongKey, "wrong_key"},
	{repository.ErrBeingDeleted, "being_deleted"},
	{repository.ErrUnknown, "unknown"},
	{repository.ErrBusy, "busy"},
	{repository.ErrLocked, "not_leading"},
	{repository.ErrFenced, "not_leading"},
	{service.ErrUnavailable, "not_open"},
	{repository.ErrClosed, "closing"},
	{repository.ErrExpired, "expired"},
	{repository.ErrClock, "clock"},
}

func codeOf(err error) string {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return "failed"
}

// statusOf is web.StatusCode, but for a full queue: a load balancer takes 503 for a dead publisher.
func statusOf(err error) int {
	if errors.Is(err, repository.ErrBusy) {
		return http.StatusTooManyRequests
	}
	return web.StatusCode(err)
}

// retryAfter says after how many seconds a request that failed may be sent again, if that may help.
func retryAfter(w http.ResponseWriter, err error) {
	switch status := statusOf(err); {
	case errors.Is(err, repository.ErrLocked), status == http.StatusTooManyRequests, status == http.StatusBadGateway:
		w.Header().Set("Retry-After", "2")
	case status >= 500:
		w.Header().Set("Retry-After", "10")
	}
}

// fail answers with an error of the repository's. From 500 on it is logged.
func (d *daemon) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	if status >= 500 && !errors.Is(err, repository.ErrLocked) {
		d.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	retryAfter(w, err)
	refuse(w, status, codeOf(err), err)
}

// refuseBody answers a request whose body couldn't be read.
func (d *daemon) refuseBody(w http.ResponseWriter, err error, what string) {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		refuse(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Errorf("the body has more than %d bytes, the most that %s can have", tooLarge.Limit, what))
		return
	}
	refuse(w, http.StatusBadRequest, "body", fmt.Errorf("read the body: %w", err))
}

// sentence is an error for a caller. What it quotes may be as long as a request.
func sentence(err error) string { return excerpt.Of(err.Error(), excerpt.Error) }

func refuse(w http.ResponseWriter, status int, code string, err error) {
	reply(w, status, map[string]string{"error": sentence(err), "code": code})
}

func header(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

func reply(w http.ResponseWriter, status int, body any) {
	header(w)
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.Encode(body) // the client may have gone
}
