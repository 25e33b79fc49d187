package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestItems(t *testing.T) {
	s := newSite(t)
	r := s.start()

	require.JSONEq(t, `{"id":"upload/1","state":"published","generation":2}`, r.do("PUT", "/v1/items/upload%2F1?wait=1m&by=ada", adds("a/a.whl", 1), http.StatusOK))
	require.EqualValues(t, 1, s.find(r.url[forClients], "a/a.whl"))
	require.JSONEq(t, `{"id":"upload/1","state":"published","generation":2}`, r.do("GET", "/v1/items/upload%2F1", "", http.StatusOK))

	// The same again is the same, with or without white space, and another item is refused.
	require.JSONEq(t, `{"id":"upload/1","repeated":true,"state":"published","generation":2}`, r.do("PUT", "/v1/items/upload%2F1", " "+adds("a/a.whl", 1), http.StatusOK))
	require.Contains(t, r.do("PUT", "/v1/items/upload%2F1", adds("a/a.whl", 2), http.StatusConflict), `"code":"id_reused"`)

	// Without wait, the item is durable and not yet decided; a request for its outcome may wait.
	require.Regexp(t, `^{"id":"2","state":"(accepted|published)"`, r.do("PUT", "/v1/items/2", adds("b/b.whl", 2), http.StatusAccepted))
	require.Contains(t, r.do("GET", "/v1/items/2?wait=1m", "", http.StatusOK), `"state":"published"`)

	// What an item asks for may not be possible. To ask what became of it is right all the same.
	absent := strings.TrimSuffix(adds("a/a.whl", 3), "}") + `,"if":[{"path":"a/a.whl","absent":true}]}`
	for _, again := range []string{"", `"repeated":true,`} {
		require.Contains(t, r.do("PUT", "/v1/items/3?wait=1m", absent, http.StatusConflict), `{"id":"3",`+again+`"state":"refused"`)
	}
	require.Contains(t, r.do("PUT", "/v1/items/3", absent, http.StatusConflict), `"code":"refused"`)
	refused := r.do("GET", "/v1/items/3?wait=1m", "", http.StatusOK)
	require.Contains(t, refused, `"state":"refused"`)
	require.NotContains(t, refused, `"error"`)

	for _, bad := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/v1/items/4", adds("a/../b", 1), http.StatusBadRequest, `"code":"invalid"`},
		{"PUT", "/v1/items/4", `{"add":`, http.StatusBadRequest, "the body is no item"},
		{"PUT", "/v1/items/4", `{"ad":[]}`, http.StatusBadRequest, "the body is no item"},
		{"PUT", "/v1/items/4", "{}", http.StatusBadRequest, `"code":"invalid"`},
		{"PUT", "/v1/items/%00", adds("c", 1), http.StatusBadRequest, `"code":"invalid"`},
		{"PUT", "/v1/items/4?wait=2h", adds("c", 1), http.StatusBadRequest, "want a time from 0s to 1m0s"},
		{"PUT", "/v1/items/4", strings.Repeat(" ", maxItem+1), http.StatusRequestEntityTooLarge, "16777216 bytes"},
		{"GET", "/v1/items/4", "", http.StatusNotFound, `"code":"unknown_item"`},
		{"GET", "/v1/items/4?wait=1s", "", http.StatusNotFound, `"code":"unknown_item"`},
		{"POST", "/v1/items/4", "", http.StatusNotFound, `"code":"not_found"`},
		{"GET", "/", "", http.StatusNotFound, `"code":"not_found"`},
	} {
		require.Contains(t, r.do(bad.method, bad.path, bad.body, bad.status), bad.says, "%s %s", bad.method, bad.path)
	}

	require.Contains(t, r.do("PUT", "/v1/items/5?wait=1m", `{"remove":["a/a.whl"]}`, http.StatusOK), `"state":"published"`)
	require.EqualValues(t, -1, s.find(r.url[forClients], "a/a.whl"))
	r.stop()

	// A restart forgets nothing.
	r = s.start()
	require.Contains(t, r.do("GET", "/v1/items/3", "", http.StatusOK), `"state":"refused"`)
	require.Contains(t, r.do("PUT", "/v1/items/2", adds("b/b.whl", 2), http.StatusOK), `"repeated":true`)
	require.EqualValues(t, 2, s.find(r.url[forClients], "b/b.whl"))
}

// Bad input of each kind is refused with a code and a sentence of at most 1,000 bytes, however long what it quotes is, and
// changes nothing.
func TestBadInput(t *testing.T) {
	s := newSite(t)
	s.withCeremonies(installOperator)
	r := s.start()
	long := strings.Repeat("é/", 10_000)
	hash := strings.Repeat("0", 64)
	target := func(path, length, hashes string) string {
		return fmt.Sprintf(`{"add":[{"path":%q,"length":%s,"hashes":%s}]}`, path, length, hashes)
	}
	sha256 := `{"sha256":"` + hash + `"}`
	for name, c := range map[string]struct {
		method, path, body string
		status             int
		code, says         string
	}{
		"an empty body":           {"PUT", "/v1/items/1", "", 400, "invalid", "the body is no item"},
		"trailing data":           {"PUT", "/v1/items/1", adds("a", 1) + "{}", 400, "invalid", "where the end of the document should be"},
		"a member twice":          {"PUT", "/v1/items/1", `{"remove":["a"],"remove":["b"]}`, 400, "invalid", "remove"},
		"an unknown member":       {"PUT", "/v1/items/1", `{"delete":["a"]}`, 400, "invalid", "delete"},
		"another type":            {"PUT", "/v1/items/1", `{"remove":"a"}`, 400, "invalid", "remove"},
		"not UTF-8":               {"PUT", "/v1/items/1", "{\"remove\":[\"\xff\"]}", 400, "invalid", "UTF-8"},
		"nested too deeply":       {"PUT", "/v1/items/1", strings.Repeat("[", 100_000), 400, "invalid", ""},
		"nothing to do":           {"PUT", "/v1/items/1", `{}`, 400, "invalid", ""},
		"no length":               {"PUT", "/v1/items/1", `{"add":[{"path":"a","hashes":` + sha256 + `}]}`, 400, "invalid", "length is missing"},
		"a length of null":        {"PUT", "/v1/items/1", target("a", "null", sha256), 400, "invalid", "length is missing"},
		"a negative length":       {"PUT", "/v1/items/1", target("a", "-1", sha256), 400, "invalid", "length"},
		"a fraction":              {"PUT", "/v1/items/1", target("a", "1.5", sha256), 400, "invalid", ""},
		"no hashes":               {"PUT", "/v1/items/1", target("a", "1", "{}"), 400, "invalid", "hash"},
		"a short hash":            {"PUT", "/v1/items/1", target("a", "1", `{"sha256":"00"}`), 400, "invalid", "sha256"},
		"upper case":              {"PUT", "/v1/items/1", target("a", "1", `{"sha256":"`+strings.Repeat("A", 64)+`"}`), 400, "invalid", "sha256"},
		"an absolute path":        {"PUT", "/v1/items/1", target("/a", "1", sha256), 400, "invalid", "path"},
		"an absurdly long path":   {"PUT", "/v1/items/1", target(long, "1", sha256), 400, "invalid", "é/é/"},
		"a long path removed":     {"PUT", "/v1/items/1", `{"remove":["` + long + `"]}`, 400, "invalid", "é/é/"},
		"a path twice":            {"PUT", "/v1/items/1", `{"remove":["a","a"]}`, 400, "invalid", ""},
		"added and removed":       {"PUT", "/v1/items/1", strings.TrimSuffix(adds("a", 1), "}") + `,"remove":["a"]}`, 400, "invalid", ""},
		"an odd condition":        {"PUT", "/v1/items/1", `{"remove":["a"],"if":[{"path":"a"}]}`, 400, "invalid", ""},
		"much custom data":        {"PUT", "/v1/items/1", `{"add":[{"path":"a","length":1,"hashes":` + sha256 + `,"custom":{"x":"` + long + `"}}]}`, 400, "invalid", "custom"},
		"an import":               {"PUT", "/v1/items/1", `{"import":{"name":"x","sha256":"` + hash + `","length":1,"targets":1}}`, 400, "invalid", ""},
		"an ID with a space":      {"PUT", "/v1/items/a%20b", adds("a", 1), 400, "invalid", "ID"},
		"a long ID":               {"PUT", "/v1/items/" + strings.Repeat("x", 10_000), adds("a", 1), 400, "invalid", "10000 bytes"},
		"a long ID that is asked": {"GET", "/v1/items/" + strings.Repeat("x", 10_000), "", 404, "unknown_item", ""},
		"a long By":               {"PUT", "/v1/items/1?by=" + strings.Repeat("x", 10_000), adds("a", 1), 400, "invalid", "10000 bytes"},
		"a By of two lines":       {"PUT", "/v1/items/1?by=a%0Ab", adds("a", 1), 400, "invalid", "By"},
		"a long wait":             {"PUT", "/v1/items/1?wait=" + strings.Repeat("9", 10_000), adds("a", 1), 400, "wait", "want a time from 0s to 1m0s"},
		"no ID":                   {"PUT", "/v1/items/", adds("a", 1), 404, "not_found", ""},
		"no such path":            {"GET", "/v1/" + strings.Repeat("x", 10_000), "", 404, "not_found", ""},
		"no such method":          {"DELETE", "/v1/items/1", "", 404, "not_found", ""},
		"no such document":        {"GET", "/v1/documents/" + strings.Repeat("x", 10_000), "", 404, "not_found", ""},
		"no form":                 {"POST", "/v1/documents", "{}", 400, "", "curl -F document=@8.root.json"},
		"no request":              {"PUT", "/v1/ceremony/request", "{}", 400, "invalid", "the body is no request"},
		"an odd request":          {"PUT", "/v1/ceremony/request", `{"` + long + `":1}`, 400, "invalid", "the body is no request"},
		"no response":             {"POST", "/v1/ceremony/responses", `{"` + long + `":1}`, 400, "invalid", "the body is no response"},
		"nothing is open":         {"DELETE", "/v1/ceremony/request?digest=" + strings.Repeat("x", 10_000), "", 404, "no_request", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &running{t: t, url: r.url}
			var answer struct{ Error, Code string }
			require.NoError(t, json.Unmarshal([]byte(r.do(c.method, c.path, c.body, c.status)), &answer))
			require.Equal(t, c.code, answer.Code)
			require.Contains(t, answer.Error, c.says)
			require.NotEmpty(t, answer.Error)
			require.LessOrEqual(t, len(answer.Error), 1000)
		})
	}
	require.Contains(t, r.do("GET", "/v1/status", "", http.StatusOK), `"generation":1`)
	r.do("GET", "/v1/items/1", "", http.StatusNotFound)
}

func TestStatusAndDocuments(t *testing.T) {
	s := newSite(t)
	r := s.start()
	for path, want := range map[string]string{"/live": "live", "/ready": "ready", "/lead": "ready"} {
		require.JSONEq(t, fmt.Sprintf(`{"status":%q}`, want), r.do("GET", path, "", http.StatusOK))
	}
	require.JSONEq(t, `{"status":"ready"}`, r.do("GET", "/standby", "", http.StatusServiceUnavailable))
	var status struct{ Generation int }
	require.NoError(t, json.Unmarshal([]byte(r.do("GET", "/v1/status", "", http.StatusOK)), &status))
	require.Equal(t, 1, status.Generation)

	var list struct {
		Documents []struct{ Name, Role string }
	}
	require.NoError(t, json.Unmarshal([]byte(r.do("GET", "/v1/documents", "", http.StatusOK)), &list))
	require.Len(t, list.Documents, 3)
	for _, d := range list.Documents {
		require.Equal(t, "1."+d.Role+".json", d.Name)
		require.Equal(t, string(s.read("documents/"+d.Name)), r.do("GET", "/v1/documents/"+d.Name, "", http.StatusOK))
	}
	r.do("GET", "/v1/documents/2.root.json", "", http.StatusNotFound)
	r.do("GET", "/v1/documents/timestamp.json", "", http.StatusNotFound)
	r.do("GET", "/v1/documents/..%2Fpassphrase", "", http.StatusNotFound)
	r.do("GET", "/v1/ceremony", "", http.StatusNotFound) // none is configured
}

func TestMetrics(t *testing.T) {
	s := newSite(t)
	s.config["metrics"] = map[string]any{"listen": "127.0.0.1:0"}
	r := s.start()
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
	text := r.ask(forMetrics, "GET", "/metrics", "", http.StatusOK)
	for _, want := range []string{
		`(?m)^bindery_lead\{[^}]*\} 1$`,
		`(?m)^bindery_generation\{[^}]*\} 2$`,
		`(?m)^bindery_store_request_duration_seconds_count\{[^}]*bindery_store_operation="swap"[^}]*\} [1-9]`,
	} {
		require.Regexp(t, want, text)
	}
	r.ask(forMetrics, "GET", "/v1/status", "", http.StatusNotFound)

	s.config["standby"] = true
	text = s.start().ask(forMetrics, "GET", "/metrics", "", http.StatusOK)
	require.Regexp(t, `(?m)^bindery_lead\{[^}]*\} 0$`, text)
	require.NotContains(t, text, "bindery_status_readable", "nothing is wrong with a standby")
}

func TestToken(t *testing.T) {
	s := newSite(t)
	s.config["token_file"] = s.path("token")
	s.write("token", []byte("short\n"), 0o600)
	_, err := start(t.Context(), s.configFile(), nil)
	require.ErrorContains(t, err, "token_file: ")
	require.ErrorContains(t, err, "must have at least 16")
	s.write("token", []byte(strings.Repeat("x", 32)+"\n"), 0o600)
	r := s.start()
	require.Contains(t, r.do("GET", "/v1/status", "", http.StatusUnauthorized), `"code":"token"`)
	r.do("GET", "/ready", "", http.StatusOK) // of a load balancer
	r.token = strings.Repeat("x", 31)
	r.do("GET", "/v1/status", "", http.StatusUnauthorized)
	r.token = strings.Repeat("x", 32)
	r.do("GET", "/v1/status", "", http.StatusOK)
}

// A page in a browser on the publisher's machine can't use it.
func TestBrowser(t *testing.T) {
	s := newSite(t)
	r := s.start()
	for name, change := range map[string]func(*http.Request){
		"another site": func(req *http.Request) { req.Header.Set("Origin", "https://example.com") },
		"rebound name": func(req *http.Request) { req.Host = "example.com:80" },
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "PUT", r.url[forIndex]+"/v1/items/1", strings.NewReader(adds("a", 1)))
			require.NoError(t, err)
			change(req)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Contains(t, []int{http.StatusForbidden, http.StatusMisdirectedRequest}, resp.StatusCode)
		})
	}
	r.do("GET", "/v1/items/1", "", http.StatusNotFound)
}

// A standby says so, refuses items, and takes over.
func TestStandby(t *testing.T) {
	s := newSite(t)
	leader := s.start()
	s.config["standby"] = true
	standby := s.start()
	leader.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)

	standby.do("GET", "/standby", "", http.StatusOK)
	standby.do("GET", "/ready", "", http.StatusServiceUnavailable)
	standby.do("GET", "/lead", "", http.StatusServiceUnavailable)
	standby.do("GET", "/live", "", http.StatusOK)
	status, header, text := standby.try(forIndex, "PUT", "/v1/items/2", adds("b", 2))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "2", header.Get("Retry-After"))
	require.Contains(t, text, `"code":"not_leading"`)
	require.Contains(t, standby.do("GET", "/v1/status", "", http.StatusOK), `"generation":2`)
	require.EqualValues(t, 1, s.find(standby.url[forClients], "a"))

	leader.stop()
	standby.until("/ready", http.StatusOK)
	standby.do("PUT", "/v1/items/2?wait=1m", adds("b", 2), http.StatusOK)
	require.Contains(t, standby.do("GET", "/v1/items/1", "", http.StatusOK), `"state":"published"`)
	require.EqualValues(t, 2, s.find(standby.url[forClients], "b"))
}

// SIGHUP takes up documents, keys and settings. What only a restart can take up is named.
func TestReload(t *testing.T) {
	s := newSite(t)
	r := s.start()
	second := s.signRoot(s.nextRoot())
	s.write("documents/2.root.json", second, 0o644)
	r.reload()
	r.do("GET", "/v1/documents/2.root.json", "", http.StatusOK)

	s.config["listen"] = "127.0.0.1:1"
	s.configFile()
	r.reload()
	require.Contains(t, r.log.String(), "listen has changed: only a restart takes that up")
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)

	s.config["listen"] = "127.0.0.1:0"
	s.config["keys"] = map[string]any{"bins-*": "file:/nowhere.pem", "snapshot": "file:/nowhere.pem", "timestamp": "file:/nowhere.pem"}
	s.configFile()
	r.reload()
	require.Contains(t, r.log.String(), "nothing was reloaded: keys.bins-*: open key file:/nowhere.pem")
	r.do("PUT", "/v1/items/2?wait=1m", adds("b", 2), http.StatusOK)
}

// Documents that come while no publisher leads, or just when one takes over, are in force soon after. Only the
// standby was told of them.
func TestDocumentsAtAFailover(t *testing.T) {
	s := newSite(t)
	s.config["standby"] = true
	leader := s.start()
	leader.until("/lead", http.StatusOK)
	standby := s.start()
	s.write("documents/2.root.json", s.signRoot(s.nextRoot()), 0o644)
	standby.reload()
	require.Contains(t, standby.do("GET", "/standby", "", http.StatusOK), "standby")
	leader.stop()
	s.write("documents/3.root.json", s.signRoot(s.nextRoot()), 0o644)
	standby.reload()
	standby.until("/v1/documents/3.root.json", http.StatusOK)
	standby.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
	require.EqualValues(t, 1, s.find(standby.url[forClients], "a"))
}

// The machine that takes over may lack the documents of the last ceremony.
func TestOlderDocuments(t *testing.T) {
	s := newSite(t)
	first := s.read("documents/1.targets.json")
	r := s.start()
	second := s.nextTargets()
	s.write("documents/2.targets.json", second, 0o644)
	r.reload()
	r.do("GET", "/v1/documents/2.targets.json", "", http.StatusOK)
	r.stop()
	require.NoError(t, os.Remove(s.path("documents/2.targets.json")))
	require.Equal(t, first, s.read("documents/1.targets.json"))
	r = s.start()
	require.Contains(t, r.log.String(), "the folder has an older document than the one in force")
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
}
