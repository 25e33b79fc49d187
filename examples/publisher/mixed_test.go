package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The configuration of one repository names the database of another, by mistake. The publisher doesn't start, as a standby
// either. It names both places, and no restoration touches the other repository.
func TestTwoRepositories(t *testing.T) {
	a, b := newSite(t), newSite(t)
	a.withDatabase()
	a.config["standby"] = true
	leader := a.start()
	leader.until("/ready", http.StatusOK)
	other := b.start()
	other.do("PUT", "/v1/items/1?wait=1m", adds("b", 7), http.StatusOK)
	other.stop()

	journal := b.config["journal"]
	b.config["journal"], b.config["one_machine"] = a.config["journal"], true
	explains := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "store and journal belong to different repositories: the store's 1.root.json is a valid root, and not the journal's")
		require.ErrorContains(t, err, "check where the configuration says that they are")
		require.ErrorContains(t, err, "the store is folder "+b.path("metadata"))
		require.ErrorContains(t, err, "the journal is schema bindery of database ")
	}
	b.config["standby"] = true
	_, err := start(t.Context(), b.configFile(), discard)
	explains(err)
	var out strings.Builder
	explains(run(t.Context(), []string{"-check", b.configFile()}, &out, os.Stderr))
	leader.do("PUT", "/v1/items/1?wait=1m", adds("a", 5), http.StatusOK)
	leader.stop()
	_, err = start(t.Context(), b.configFile(), discard)
	explains(err)
	for _, lost := range []string{lostTail, lostStore, lostJournal} {
		explains(run(t.Context(), []string{"-restore", lost, "-past", "99", b.configFile()}, &out, os.Stderr))
	}
	explains(run(t.Context(), []string{"-restore", lostJournal, "-root", b.path("documents/1.root.json"), b.configFile()}, &out, os.Stderr))

	// A new journal isn't that of a store in use either.
	b.config["journal"] = map[string]any{"dir": b.path("new")}
	require.NoError(t, os.Mkdir(b.path("new"), 0o755))
	_, err = start(t.Context(), b.configFile(), discard)
	require.ErrorContains(t, err, "the journal is empty, and the store publishes a repository")
	err = run(t.Context(), []string{"-check", b.configFile()}, &out, os.Stderr)
	require.ErrorContains(t, err, "the journal is empty, and the store publishes a repository")

	// Both are as they were.
	b.config["journal"] = journal
	other = b.start()
	require.Equal(t, []int64{-1, 7}, b.findAll(other.url[forClients], "a", "b"))
	leader = a.start()
	require.Equal(t, []int64{5, -1}, a.findAll(leader.url[forClients], "a", "b"))
}
