package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
)

// shared is a repository whose backups are put back, and a client that remembers what it has seen.
type shared struct {
	*site
	cluster *pgtest.Cluster
	client  string
	name    string                       // of the first database: all copies begin with it
	backups map[string]map[string][]byte // of the store
	lose    func()                       // loses the store; a new bucket is there then
}

// TestRunbook does what README.md says under "Backup and restore", for a journal in PostgreSQL.
func TestRunbook(t *testing.T) {
	s := newShared(t)
	s.lose = func() { require.NoError(t, os.RemoveAll(s.path("metadata"))) }
	s.runbook()
}

// The same with a bucket.
func TestRunbookBucket(t *testing.T) {
	s := newShared(t)
	server := s.withBucket()
	s.lose = func() {
		s.empty()
		require.NoError(t, server.Do(t.Context(), http.MethodDelete, "/index", nil))
		require.NoError(t, server.CreateBucket(t.Context(), "index", true))
	}
	s.runbook()
}

func newShared(t *testing.T) *shared {
	if testing.Short() {
		t.Skip("it starts the publisher three dozen times")
	}
	return &shared{site: newSite(t), cluster: pgtest.Need(t), client: t.TempDir(), backups: map[string]map[string][]byte{}}
}

func (s *shared) runbook() {
	t := s.t
	s.withDatabase()
	_, s.name = s.database()
	s.publish("1", "a")
	s.backup("first")
	s.publish("2", "b")
	s.visit("a", "b")

	t.Log("The store is lost.")
	s.lose()
	s.refused("RestoreStore")
	require.Contains(t, s.restore("-restore", "store"), "is published: start the publisher")
	s.visit("a", "b")

	t.Log("The store is of an earlier point.")
	s.publish("3", "c")
	s.putBack("", "first")
	s.refused("RestoreStore")
	s.restore("-restore", "store")
	s.visit("a", "b", "c")

	t.Log("Both are of one earlier point: only the witness shows it.")
	s.backup("second")
	s.publish("4", "d")
	s.visit("a", "b", "c", "d")
	s.write("timestamp.json", s.contents()["timestamp.json"], 0o644)
	s.putBack("second", "second")
	s.restore("-restore", "store", "-witness", s.path("timestamp.json"))
	s.visit("a", "b", "c") // d was published after the backup, and is lost

	t.Log("The same with the witness in the configuration: the publisher doesn't start.")
	s.config["witness"] = s.path("timestamp.json")
	s.visit("a", "b", "c")
	s.backup("third")
	s.publish("5", "e")
	s.visit("a", "b", "c", "e")
	s.write("timestamp.json", s.contents()["timestamp.json"], 0o644)
	s.putBack("third", "third")
	s.refused("with the witness: clients have seen version", "RestoreStore")
	s.restore("-restore", "store")
	s.visit("a", "b", "c")

	t.Log("The store is lost, and the database is of an earlier point.")
	s.backup("fourth")
	s.publish("6", "e")
	s.visit("a", "b", "c", "e")
	s.write("timestamp.json", s.contents()["timestamp.json"], 0o644)
	s.lose()
	s.putBack("fourth", "")
	s.refused("RestoreStore")
	s.restore("-restore", "store")
	s.visit("a", "b", "c")

	t.Log("The witness is missing: a backup could go unnoticed.")
	require.NoError(t, os.Remove(s.path("timestamp.json")))
	_, err := start(t.Context(), s.configFile(), discard)
	require.ErrorContains(t, err, "witness: open "+s.path("timestamp.json"))
	delete(s.config, "witness")

	t.Log("The database is of an earlier point: a replica that lagged was promoted.")
	s.backup("fifth")
	s.publish("7", "e")
	s.visit("a", "b", "c", "e")
	s.putBack("fifth", "")
	s.refused("Adopt")
	require.Contains(t, s.restore("-restore", "tail"), "the journal knew generation")
	s.publish("8", "f")
	s.visit("a", "b", "c", "e", "f")

	t.Log("The database is lost.")
	s.withDatabase()
	s.refused("RestoreJournal")
	s.restore("-restore", "journal", "-root", s.path("documents/1.root.json"))
	s.publish("9", "d")
	s.visit("a", "b", "c", "d", "e", "f")
}

// publish publishes one file, with a publisher of its own.
func (s *shared) publish(id, path string) {
	s.t.Helper()
	r := s.start()
	r.do("PUT", "/v1/items/"+id+"?wait=1m", adds(path, 1), http.StatusOK)
	r.stop()
}

// database is the name of the database in a URL.
func (s *shared) database() (url, name string) {
	url = strings.TrimSpace(string(s.read("publisher-url")))
	_, rest, _ := strings.Cut(url, "://")
	_, rest, _ = strings.Cut(rest, "/")
	name, _, _ = strings.Cut(rest, "?")
	return url, name
}

// place opens the store.
func (s *shared) place() repository.Store {
	s.t.Helper()
	c, err := readConfig(s.configFile())
	require.NoError(s.t, err)
	store, err := c.Store.open(s.t.Context(), repository.Caching{}, nil)
	require.NoError(s.t, err)
	return store
}

// contents is what the store holds, by name.
func (s *shared) contents() map[string][]byte {
	s.t.Helper()
	store, found := s.place(), map[string][]byte{}
	for info, err := range store.List(s.t.Context()) {
		require.NoError(s.t, err)
		found[info.Name], err = store.Get(s.t.Context(), info.Name)
		require.NoError(s.t, err)
	}
	return found
}

func (s *shared) empty() {
	s.t.Helper()
	store := s.place()
	for name := range s.contents() {
		require.NoError(s.t, store.Delete(s.t.Context(), name))
	}
}

// backup copies the store first, and then the database.
func (s *shared) backup(name string) {
	s.t.Helper()
	s.backups[name] = s.contents()
	_, database := s.database()
	_, err := s.cluster.SQL(s.t.Context(), "postgres", "CREATE DATABASE "+s.name+"_"+name+" TEMPLATE "+database)
	require.NoError(s.t, err)
}

// putBack puts copies back. An empty name leaves what is there.
func (s *shared) putBack(database, store string) {
	s.t.Helper()
	if database != "" {
		url, before := s.database()
		s.write("publisher-url", []byte(strings.Replace(url, "/"+before+"?", "/"+s.name+"_"+database+"?", 1)+"\n"), 0o600)
	}
	if store != "" {
		s.empty()
		place := s.place()
		for name, data := range s.backups[store] {
			require.NoError(s.t, place.Create(s.t.Context(), name, data))
		}
	}
}

// refused starts the publisher, which must not start.
func (s *shared) refused(says ...string) {
	s.t.Helper()
	_, err := start(s.t.Context(), s.configFile(), discard)
	require.ErrorContains(s.t, err, "README.md, Backup and restore")
	for _, text := range says {
		require.ErrorContains(s.t, err, text)
	}
}

func (s *shared) restore(args ...string) string {
	s.t.Helper()
	var out strings.Builder
	require.NoError(s.t, run(s.t.Context(), append(args, s.configFile()), &out, io.Discard))
	return out.String()
}

// visit is one of the same client, which refuses what goes back.
func (s *shared) visit(paths ...string) {
	s.t.Helper()
	r := s.start()
	defer r.stop()
	cfg, err := clientconfig.New(r.url[forClients]+"/metadata", s.read("documents/1.root.json"))
	require.NoError(s.t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = s.client, filepath.Join(s.client, "targets")
	client, err := updater.New(cfg)
	require.NoError(s.t, err)
	require.NoError(s.t, client.Refresh())
	for _, path := range []string{"a", "b", "c", "d", "e", "f"} {
		_, err := client.GetTargetInfo(path)
		if strings.Contains(strings.Join(paths, " "), path) {
			require.NoError(s.t, err, path)
		} else {
			require.ErrorContains(s.t, err, "not found", path)
		}
	}
}
