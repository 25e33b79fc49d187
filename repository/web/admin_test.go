package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/repository/web"
)

// post sends files, given as names and contents, the way curl -F does.
func post(t *testing.T, h http.Handler, files ...any) (status int, body string) {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for i := 0; i < len(files); i += 2 {
		part, err := w.CreateFormFile("document", files[i].(string))
		require.NoError(t, err)
		switch content := files[i+1].(type) {
		case string:
			_, err = io.WriteString(part, content)
		case []byte:
			_, err = part.Write(content)
		}
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	r := httptest.NewRequest("POST", "/", &form)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return send(t, h, r)
}

func send(t *testing.T, h http.Handler, r *http.Request) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.True(t, json.Valid(w.Body.Bytes()))
	return w.Code, w.Body.String()
}

// installs notes what it is given.
type installs struct {
	given []repository.Documents
	err   error
}

func (i *installs) Install(_ context.Context, d repository.Documents) error {
	i.given = append(i.given, d)
	return i.err
}

// What takes documents.
var _ = []web.Installer{(*repository.Repository)(nil), (*service.Service)(nil)}

func newCeremony(t *testing.T) *repotest.Ceremony {
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	return repotest.NewCeremony(t, layout, time.Now())
}

func TestAdminInstalls(t *testing.T) {
	c := newCeremony(t)
	cfg := repository.Config{Store: storetest.NewStore(), Journal: storetest.NewJournal(), Bins: c.Bins, Snapshot: c.Online, Timestamp: c.Online}
	first := c.Documents()
	repo, err := repository.Create(t.Context(), cfg, first)
	require.NoError(t, err)
	defer repo.Close()
	h := web.Admin(repo, nil)

	// What is in force already is no error.
	status, body := post(t, h, "1.root.json", first.Roots[0], "1.bins.json", first.Roles["bins"])
	require.Equal(t, 200, status, body)
	require.Equal(t, `{"installed":["1.root.json","1.bins.json"]}`+"\n", body)

	status, body = post(t, h, "2.targets.json", c.NextTargets(nil), "3.root.json", second(c.NextRoot(nil), c.NextRoot(nil)), "2.root.json", c.Documents().Roots[1])
	require.Equal(t, 200, status, body)
	require.Equal(t, `{"installed":["2.targets.json","3.root.json","2.root.json"]}`+"\n", body)
	s, err := repo.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(3), s.Roles["root"].Version)
	require.Equal(t, int64(2), s.Roles["targets"].Version)
	require.Equal(t, int64(1), s.Roles["bins"].Version)

	stranger := newCeremony(t)
	stranger.NextRoot(nil)
	stranger.NextRoot(nil)
	status, body = post(t, h, "4.root.json", stranger.NextRoot(nil))
	require.Equal(t, 500, status)
	require.Contains(t, body, `{"error":"install: root version 4`)

	require.NoError(t, repo.Close())
	status, body = post(t, h, "4.root.json", c.NextRoot(nil))
	require.Equal(t, 503, status)
	require.Contains(t, body, "closed")
}

func second(_, b []byte) []byte { return b }

// Roots are installed in order, however they were sent.
func TestAdminSorts(t *testing.T) {
	c := newCeremony(t)
	var i installs
	h := web.Admin(&i, nil)
	for range 10 {
		c.NextRoot(nil)
	}
	roots := c.Documents().Roots
	newer := c.NextTargets(nil)
	files := []any{"2.targets.json", newer}
	for n, root := range slices.Backward(roots) {
		files = append(files, fmt.Sprintf("%d.root.json", n+1), root)
	}
	status, body := post(t, h, files...)
	require.Equal(t, 200, status, body)
	require.Equal(t, []repository.Documents{{Roots: roots, Roles: map[string][]byte{"targets": newer}}}, i.given)
}

func TestAdminRefuses(t *testing.T) {
	c := newCeremony(t)
	root, other, targets := c.Documents().Roots[0], newCeremony(t).Documents().Roots[0], c.Documents().Roles["targets"]
	var i installs
	h := web.Admin(&i, nil)
	for _, test := range []struct {
		files  []any
		status int
		want   string
	}{
		{nil, 400, "there are no files in it"},
		{[]any{"root.json", root}, 400, `file \"root.json\": the name must be VERSION.ROLE.json`},
		{[]any{"01.root.json", root}, 400, "the name must be VERSION.ROLE.json"},
		{[]any{"1.root.jsonx", root}, 400, "the name must be VERSION.ROLE.json"},
		{[]any{"1.json", root}, 400, "the name must be VERSION.ROLE.json"},
		{[]any{"1..json", root}, 400, "the name must be VERSION.ROLE.json"},
		{[]any{"2.root.json", root}, 400, `2.root.json: it holds version 1`},
		{[]any{"9999.root.json", root}, 400, "it holds version 1"},
		{[]any{"1.root.json", root, "99999999999999999999.targets.json", targets}, 400, "there is a file whose name is no document's"},
		{[]any{"1.targets.json", root}, 400, `1.targets.json: targets: `},
		{[]any{"1.root.json", targets}, 400, `1.root.json: root: `},
		{[]any{"1.root.json", "{}"}, 400, `1.root.json: root: `},
		{[]any{"1.snapshot.json", "{}"}, 400, "the repository signs this role itself"},
		{[]any{"1.timestamp.json", "{}"}, 400, "the repository signs this role itself"},
		{[]any{"1.root.json", root, "1.root.json", other}, 400, `file \"1.root.json\": the role has a document in the form already`},
		{[]any{"1.targets.json", targets, "2.targets.json", targets}, 400, `file \"2.targets.json\": the role has a document in the form already`},
		{[]any{"1.root.json", root, "1.x.json", bytes.Repeat([]byte("x"), 65<<20)}, 413, "more than 67108864 bytes"},
	} {
		status, body := post(t, h, test.files...)
		require.Equal(t, test.status, status, body)
		require.Contains(t, body, test.want)
	}
	status, body := send(t, h, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 405, status)
	require.Contains(t, body, "curl -F")
	status, body = send(t, h, httptest.NewRequest("POST", "/", bytes.NewReader(root)))
	require.Equal(t, 400, status)
	require.Contains(t, body, "curl -F")
	cut := httptest.NewRequest("POST", "/", bytes.NewBufferString("--x\r\nContent-Disposition: form-data; name=a; filename=1.root.json\r\n\r\n{"))
	cut.Header.Set("Content-Type", "multipart/form-data; boundary=x")
	status, _ = send(t, h, cut)
	require.Equal(t, 400, status)
	foreign := httptest.NewRequest("POST", "/", nil)
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	status, _ = send(t, h, foreign)
	require.Equal(t, 403, status)
	require.Empty(t, i.given)
}

func TestAdminReports(t *testing.T) {
	root := newCeremony(t).Documents().Roots[0]
	var log bytes.Buffer
	var i installs
	h := web.Admin(&i, slog.New(slog.NewTextHandler(&log, nil)))
	for _, test := range []struct {
		err    error
		status int
	}{{nil, 200}, {repository.ErrLocksOut, 409}, {repository.ErrClosed, 503}, {errors.New("a <b> & c"), 500}} {
		log.Reset()
		i.err = test.err
		status, body := post(t, h, "1.root.json", root)
		require.Equal(t, test.status, status)
		require.Contains(t, log.String(), "1.root.json")
		if test.err != nil {
			require.Equal(t, fmt.Sprintf("{\"error\":%q}\n", test.err.Error()), body)
			require.Contains(t, log.String(), test.err.Error())
		}
	}
}
