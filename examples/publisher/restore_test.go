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
)

// shared is a repository whose backups are put back, and a client that remembers what it has seen.
type shared struct {
	*site
	cluster *pgtest.Cluster
	client  string
}

// TestRunbook does what README.md says under "Backup and restore", for a journal in PostgreSQL.
func TestRunbook(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts the publisher two dozen times")
	}
	cluster := pgtest.Need(t)
	s := &shared{newSite(t), cluster, t.TempDir()}
	s.withDatabase()
	s.publish("1", "a")
	s.backup("first")
	s.publish("2", "b")
	s.visit("a", "b")

	t.Log("The store is lost.")
	require.NoError(t, os.RemoveAll(s.path("metadata")))
	s.refused("RestoreStore")
	require.Contains(t, s.restore("-restore", "store"), "is published: start the publisher")
	s.visit("a", "b")

	t.Log("The store is of an earlier point.")
	s.publish("3", "c")
	s.putBack("", "first")
	s.refused("RestoreStore")
	s.restore("-restore", "store")
	s.visit("a", "b", "c")

	t.Log("Both are of one earlier point: nothing shows it from inside, and the operator knows what clients saw.")
	s.backup("second")
	s.publish("4", "d")
	s.visit("a", "b", "c", "d")
	require.NoError(t, os.CopyFS(s.path("witness"), os.DirFS(s.path("metadata"))))
	s.putBack("second", "second")
	s.restore("-restore", "store", "-witness", s.path("witness/timestamp.json"))
	s.visit("a", "b", "c") // d was published after the backup, and is lost

	t.Log("The database is of an earlier point: a replica that lagged was promoted.")
	s.backup("third")
	s.publish("5", "e")
	s.visit("a", "b", "c", "e")
	s.putBack("third", "")
	s.refused("Adopt")
	require.Contains(t, s.restore("-restore", "tail"), "the journal knew generation")
	s.publish("6", "f")
	s.visit("a", "b", "c", "e", "f")

	t.Log("The database is lost.")
	s.withDatabase()
	s.refused("RestoreJournal")
	s.restore("-restore", "journal", "-root", s.path("documents/1.root.json"))
	s.publish("7", "d")
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

// backup copies the store first, and then the database.
func (s *shared) backup(name string) {
	s.t.Helper()
	require.NoError(s.t, os.CopyFS(s.path("backup-"+name), os.DirFS(s.path("metadata"))))
	_, database := s.database()
	_, err := s.cluster.SQL(s.t.Context(), "postgres", "CREATE DATABASE "+name+" TEMPLATE "+database)
	require.NoError(s.t, err)
}

// putBack puts copies back. An empty name leaves what is there.
func (s *shared) putBack(database, store string) {
	s.t.Helper()
	if database != "" {
		url, before := s.database()
		s.write("publisher-url", []byte(strings.Replace(url, "/"+before+"?", "/"+database+"?", 1)+"\n"), 0o600)
	}
	if store != "" {
		require.NoError(s.t, os.RemoveAll(s.path("metadata")))
		require.NoError(s.t, os.CopyFS(s.path("metadata"), os.DirFS(s.path("backup-"+store))))
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
