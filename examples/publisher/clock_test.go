package main

import (
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// The clock of the last publisher was an hour ahead. The next one gives the lead up, says why, and goes on once an
// operator says that its own clock is right.
func TestClock(t *testing.T) {
	s := newSite(t)
	s.config["standby"] = true
	store, err := dirstore.OpenOrCreate(s.path("metadata"))
	require.NoError(t, err)
	journal, err := dirjournal.OpenOrCreate(s.path("journal"))
	require.NoError(t, err)
	documents, err := repository.ReadDocuments(os.DirFS(s.path("documents")))
	require.NoError(t, err)
	repo, err := repository.Create(t.Context(), repository.Config{
		Store: store, Journal: journal, Now: func() time.Time { return time.Now().Add(time.Hour) },
		Signers: map[string][]keys.Signer{"bins-*": {s.online}, "snapshot": {s.online}, "timestamp": {s.online}},
	}, documents)
	require.NoError(t, err)
	require.NoError(t, repo.Close())

	r := s.start()
	r.until("/standby", http.StatusOK)
	status := r.do("GET", "/v1/status", "", http.StatusOK)
	require.Contains(t, status, "the lead was given up, and is tried for again 1m0s later: ")
	require.Contains(t, status, "send POST /v1/clock if it is right")
	require.Contains(t, r.do("PUT", "/v1/items/1", adds("a.whl", 1), http.StatusServiceUnavailable), `"code":"not_leading"`)
	r.do("POST", "/v1/clock", "", http.StatusNoContent)
	r.until("/ready", http.StatusOK)
	r.do("PUT", "/v1/items/1?wait=1m", adds("a.whl", 1), http.StatusOK)
	require.EqualValues(t, 1, s.find(r.url[forClients], "a.whl"))
}
