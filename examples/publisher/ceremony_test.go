package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// withCeremonies configures ceremonies, with an address for the holders.
func (s *site) withCeremonies(install string) {
	s.config["ceremony"] = map[string]any{"folder": s.path("ceremonies"), "install": install, "listen": "127.0.0.1:0", "token_file": s.path("holders-token")}
	s.write("holders-token", []byte(strings.Repeat("h", 32)), 0o600)
}

// request asks for the signatures of these documents, after those that are published.
func (s *site) request(reason string, compromise bool, documents ...ceremony.Document) *ceremony.Request {
	s.t.Helper()
	names := map[string]string{}
	for i, k := range s.holders {
		names[k.Public().ID()] = []string{"Ada", "Bob", "Cyd"}[i]
	}
	current := ceremony.Documents{Targets: s.read("documents/1.targets.json"), Bins: s.read("documents/1.bins.json")}
	for n := 1; ; n++ {
		data, err := os.ReadFile(s.path(fmt.Sprintf("documents/%d.root.json", n)))
		if err != nil {
			break
		}
		current.Roots = append(current.Roots, data)
	}
	r, err := ceremony.NewRequest(ceremony.Proposal{Reason: reason, Names: names, Compromise: compromise, Current: current, New: documents})
	require.NoError(s.t, err)
	return r
}

// sign is the response of a holder to what the publisher serves.
func (s *site) sign(request string, holder int) string {
	s.t.Helper()
	r, err := ceremony.ParseRequest([]byte(request))
	require.NoError(s.t, err)
	response, _, err := r.Sign(s.t.Context(), s.holders[holder], ceremony.Notebook{Trusted: r.Based()}, time.Now())
	require.NoError(s.t, err)
	return string(response.Bytes())
}

func (r *running) missing(text string) (names []string) {
	r.t.Helper()
	var p progress
	require.NoError(r.t, json.Unmarshal([]byte(text), &p))
	for _, m := range p.Missing {
		for _, who := range m.Of {
			names = append(names, who.Name)
		}
	}
	return names
}

// Holders sign at different times, with restarts in between, and the documents are installed once they
// are complete.
func TestCeremony(t *testing.T) {
	s := newSite(t)
	s.withCeremonies(installAutomatic)
	r := s.start()
	require.Contains(t, r.do("GET", "/v1/ceremony", "", http.StatusNotFound), `"code":"no_request"`)
	r.do("GET", "/v1/ceremony/request", "", http.StatusNotFound)
	r.do("POST", "/v1/ceremony/install", "", http.StatusNotFound)

	request := s.request("It is time.", false, ceremony.Document{Role: "root", File: s.nextRoot()})
	opened := r.do("PUT", "/v1/ceremony/request", string(request.Bytes()), http.StatusOK)
	require.Equal(t, opened, r.do("PUT", "/v1/ceremony/request", string(request.Bytes()), http.StatusOK))
	require.Equal(t, []string{"Ada", "Bob", "Cyd", "Ada", "Bob", "Cyd"}, r.missing(opened)) // of root 1 and of root 2
	s.root.Version--
	other := s.request("Another one.", false, ceremony.Document{Role: "root", File: s.nextRoot()})
	require.Contains(t, r.do("PUT", "/v1/ceremony/request", string(other.Bytes()), http.StatusConflict), "another request is open")

	// Holders have an address and a token of their own, and nothing else there.
	r.ask(forHolders, "GET", "/v1/ceremony/request", "", http.StatusUnauthorized)
	r.token = strings.Repeat("h", 32)
	require.Equal(t, string(request.Bytes()), r.ask(forHolders, "GET", "/v1/ceremony/request", "", http.StatusOK))
	r.ask(forHolders, "PUT", "/v1/ceremony/request", string(other.Bytes()), http.StatusNotFound)
	r.ask(forHolders, "GET", "/v1/status", "", http.StatusNotFound)
	r.ask(forHolders, "PUT", "/v1/items/1", adds("a", 1), http.StatusNotFound)

	ada := s.sign(string(request.Bytes()), 0)
	for _, again := range []int{1, 2} {
		require.Equal(t, []string{"Bob", "Cyd", "Bob", "Cyd"}, r.missing(r.ask(forHolders, "POST", "/v1/ceremony/responses", ada, http.StatusOK)), again)
	}
	entries, err := os.ReadDir(s.path("ceremonies/open/responses"))
	require.NoError(t, err)
	require.Len(t, entries, 1)

	// Bad responses are refused by name, and change nothing.
	stranger, err := keys.GenerateEd25519()
	require.NoError(t, err)
	for _, bad := range []struct {
		body   string
		status int
		says   string
	}{
		{"{", http.StatusBadRequest, "the body is no response of a holder"},
		{string(request.Bytes()), http.StatusRequestEntityTooLarge, ""},
		{s.sign(string(other.Bytes()), 1), http.StatusUnprocessableEntity, "the response was not kept: "},
		{strings.Replace(ada, s.holders[0].Public().ID(), stranger.Public().ID(), 1), http.StatusUnprocessableEntity, "the response was not kept: "},
		{strings.Replace(ada, s.holders[0].Public().ID(), s.holders[1].Public().ID(), 1), http.StatusUnprocessableEntity, "the response was not kept: "},
	} {
		if bad.status == http.StatusRequestEntityTooLarge {
			bad.body += strings.Repeat(" ", maxResponse)
		}
		require.Contains(t, r.ask(forHolders, "POST", "/v1/ceremony/responses", bad.body, bad.status), bad.says)
	}
	r.stop()

	// After a restart all is there. A response that a person put into the folder counts, and a bad one doesn't.
	s.write("ceremonies/open/responses/bad.json", []byte("{"), 0o644)
	r = s.start()
	require.Contains(t, r.do("POST", "/v1/ceremony/install", "", http.StatusConflict), "signatures are missing")
	require.Equal(t, []string{"Bob", "Cyd", "Bob", "Cyd"}, r.missing(r.do("GET", "/v1/ceremony", "", http.StatusOK)))
	require.Contains(t, r.log.String(), "a response doesn't count")
	done := r.do("POST", "/v1/ceremony/responses", s.sign(string(request.Bytes()), 2), http.StatusOK)
	require.Contains(t, done, `"complete":true`)
	require.NotContains(t, done, `"error"`)
	require.Empty(t, r.missing(done))

	r.do("GET", "/v1/ceremony", "", http.StatusNotFound)
	second := r.do("GET", "/v1/documents/2.root.json", "", http.StatusOK)
	require.Equal(t, second, string(s.read("documents/2.root.json")))
	found, err := filepath.Glob(s.path("ceremonies/done/root-2-*/responses/*.json"))
	require.NoError(t, err)
	require.Len(t, found, 3)
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
	require.EqualValues(t, 1, s.find(r.url[forClients], "a"))
	// It doesn't go on from the root in force.
	require.Contains(t, r.do("PUT", "/v1/ceremony/request", string(request.Bytes()), http.StatusConflict), "the request goes on from another document than 2.root.json")
}

// An operator installs, gives up, and declares a compromise.
func TestCeremonyOfOperator(t *testing.T) {
	s := newSite(t)
	s.withCeremonies(installOperator)
	r := s.start()
	first := s.request("A mistake.", false, ceremony.Document{Role: "root", File: s.nextRoot()})
	r.do("PUT", "/v1/ceremony/request", string(first.Bytes()), http.StatusOK)
	require.Contains(t, r.do("DELETE", "/v1/ceremony/request", "", http.StatusConflict), "say which request with ?digest=")
	r.do("DELETE", "/v1/ceremony/request?digest="+digits(first), "", http.StatusNoContent)
	r.do("GET", "/v1/ceremony", "", http.StatusNotFound)
	require.Len(t, must(filepath.Glob(s.path("ceremonies/given-up/root-2-*/request.json"))), 1)
	// It may be asked for again, and given up again.
	r.do("PUT", "/v1/ceremony/request", string(first.Bytes()), http.StatusOK)
	r.do("DELETE", "/v1/ceremony/request?digest="+digits(first), "", http.StatusNoContent)

	// The online key is in other hands: root names a new one, and clients would refuse what is published.
	before := s.online
	after := repotest.NewKeyFile(t, s.path("new.pem"), thePassphrase)
	s.root.Version--
	s.root.Snapshot.Keys, s.root.Timestamp.Keys = []*keys.PublicKey{after.Public()}, []*keys.PublicKey{after.Public()}
	request := s.request("The online key was stolen.", true, ceremony.Document{Role: "root", File: s.nextRoot()})
	r.do("PUT", "/v1/ceremony/request", string(request.Bytes()), http.StatusOK)
	r.do("POST", "/v1/ceremony/responses", s.sign(string(request.Bytes()), 0), http.StatusOK)
	complete := r.do("POST", "/v1/ceremony/responses", s.sign(string(request.Bytes()), 1), http.StatusOK)
	require.Contains(t, complete, `"complete":true`)
	require.Contains(t, complete, `"install":"operator"`)
	r.do("GET", "/v1/documents/2.root.json", "", http.StatusNotFound)

	// The publisher doesn't have the new key yet. The reason is kept, and so is all that was signed.
	require.Contains(t, r.do("POST", "/v1/ceremony/install", "", http.StatusConflict), `"code":"wrong_key"`)
	require.Contains(t, r.do("GET", "/v1/ceremony", "", http.StatusOK), `"error":"install: `)
	old, fresh := "file:"+s.path("online.pem"), "file:"+s.path("new.pem")
	require.NotEqual(t, before.Public().ID(), after.Public().ID())
	s.config["keys"] = map[string]any{"bins-*": old, "snapshot": []string{fresh, old}, "timestamp": []string{fresh, old}}
	s.configFile()
	r.reload()
	require.NotContains(t, r.log.String(), "not all was reloaded")
	r.do("POST", "/v1/ceremony/install", "", http.StatusOK)
	root, err := roles.Peek([]byte(r.do("GET", "/v1/documents/2.root.json", "", http.StatusOK)))
	require.NoError(t, err)
	require.EqualValues(t, 2, root.Version)
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
	require.EqualValues(t, 1, s.find(r.url[forClients], "a"))
}

// The publisher was killed between two steps of an installation.
func TestCeremonyAfterCrash(t *testing.T) {
	s := newSite(t)
	s.withCeremonies(installAutomatic)
	request := s.request("It is time.", false, ceremony.Document{Role: "root", File: s.nextRoot()})
	prepare := func() {
		require.NoError(t, os.MkdirAll(s.path("ceremonies/open/responses"), 0o755))
		s.write("ceremonies/open/request.json", request.Bytes(), 0o644)
		for i := range 2 {
			s.write(fmt.Sprintf("ceremonies/open/responses/%d.json", i), []byte(s.sign(string(request.Bytes()), i)), 0o644)
		}
	}
	prepare() // it is complete, and nothing was installed
	r := s.start()
	r.until("/v1/documents/2.root.json", http.StatusOK)
	r.until("/v1/ceremony", http.StatusNotFound)
	r.stop()

	// Installed, and neither written nor moved.
	written := s.read("documents/2.root.json")
	require.NoError(t, os.RemoveAll(s.path("ceremonies/done")))
	require.NoError(t, os.Remove(s.path("documents/2.root.json")))
	prepare()
	r = s.start()
	r.until("/v1/ceremony", http.StatusNotFound)
	require.True(t, bytes.Equal(written, s.read("documents/2.root.json")))
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A standby answers like a publisher that lacks the lead, whatever is in its own folder, and changes nothing there.
func TestCeremonyOfStandby(t *testing.T) {
	s := newSite(t)
	s.withCeremonies(installOperator)
	s.config["standby"] = true
	leader := s.start()
	request := s.request("It is time.", false, ceremony.Document{Role: "root", File: s.nextRoot()})
	leader.do("PUT", "/v1/ceremony/request", string(request.Bytes()), http.StatusOK)

	for name, folder := range map[string]string{"an empty folder": "empty", "an old request": "old", "a shared folder": "ceremonies"} {
		require.NoError(t, os.MkdirAll(s.path(folder), 0o755))
		if folder == "old" {
			s.root.Version--
			old := s.request("An earlier one.", false, ceremony.Document{Role: "root", File: s.nextRoot()})
			require.NoError(t, os.MkdirAll(s.path("old/open/responses"), 0o755))
			s.write("old/open/request.json", old.Bytes(), 0o644)
		}
		s.config["ceremony"].(map[string]any)["folder"] = s.path(folder)
		standby := s.start()
		require.Contains(t, standby.do("GET", "/standby", "", http.StatusOK), "standby")
		for _, ask := range []struct{ method, path, body string }{
			{"GET", "/v1/ceremony", ""},
			{"GET", "/v1/ceremony/request", ""},
			{"PUT", "/v1/ceremony/request", string(request.Bytes())},
			{"DELETE", "/v1/ceremony/request?digest=" + digits(request), ""},
			{"POST", "/v1/ceremony/responses", s.sign(string(request.Bytes()), 0)},
			{"POST", "/v1/ceremony/install", ""},
		} {
			answer := standby.do(ask.method, ask.path, ask.body, http.StatusServiceUnavailable)
			require.Contains(t, answer, `"code":"not_leading"`, "%s: %s", name, ask)
			require.Contains(t, answer, fmt.Sprintf("process %d on ", os.Getpid()), "who leads")
		}
		require.NotContains(t, standby.log.String(), "request failed")
		standby.token = strings.Repeat("h", 32)
		require.Contains(t, standby.ask(forHolders, "GET", "/v1/ceremony", "", http.StatusServiceUnavailable), `"code":"not_leading"`)
		standby.stop()
	}
	require.Equal(t, string(request.Bytes()), leader.do("GET", "/v1/ceremony/request", "", http.StatusOK))
}
