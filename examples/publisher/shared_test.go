package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/gcstest"
	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// withDatabase puts the journal into PostgreSQL, with a role for the publisher and one for the index. It
// returns the URL of the index.
func (s *site) withDatabase() string {
	s.t.Helper()
	cluster := pgtest.Need(s.t)
	owner, name := pgtest.Database(s.t)
	_, err := cluster.SQL(s.t.Context(), name, "CREATE ROLE "+name+"_index LOGIN; CREATE ROLE "+name+"_publisher LOGIN")
	require.NoError(s.t, err)
	s.write("owner-url", []byte(owner+"\n"), 0o600)
	s.write("publisher-url", []byte(cluster.URL(name+"_publisher", name)+"\n"), 0o600)
	s.config["journal"] = map[string]any{"postgres": map[string]any{"url_file": s.path("publisher-url"), "lease": "2s"}}
	s.config["one_machine"] = true

	// Without the schema the error says what to do.
	_, err = start(s.t.Context(), s.configFile(), discard)
	require.ErrorContains(s.t, err, "schema")
	for range 2 {
		var out strings.Builder
		require.NoError(s.t, run(s.t.Context(), []string{
			"-migrate", "-owner", s.path("owner-url"), "-index-role", name + "_index", "-publisher-role", name + "_publisher", s.configFile(),
		}, &out, os.Stderr))
		require.Equal(s.t, "schema bindery has version 1\n", out.String())
	}
	return cluster.URL(name+"_index", name)
}

// insert queues an item in the index's own transaction.
func insert(t *testing.T, url, id, item string, commit bool) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `INSERT INTO bindery.queue (id, "by", item) VALUES ($1, $2, $3)`, id, "the index", []byte(item))
	require.NoError(t, err)
	if commit {
		require.NoError(t, tx.Commit(t.Context()))
	} else {
		require.NoError(t, tx.Rollback(t.Context()))
	}
}

// Two publishers share nothing but a database and a store. One is killed, and the other goes on.
func TestShared(t *testing.T) { testShared(t, newSite(t)) }

// The same with a bucket.
func TestSharedBucket(t *testing.T) {
	s := newSite(t)
	s.withBucket()
	testShared(t, s)
}

// withBucket puts the store into a bucket.
func (s *site) withBucket() *s3test.Server {
	s.t.Helper()
	server := s3test.Need(s.t)
	require.NoError(s.t, server.CreateBucket(s.t.Context(), "index", true))
	s.t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	s.t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	s.config["store"] = map[string]any{"s3": map[string]any{
		"bucket": "index", "prefix": "metadata/", "region": s3test.Region, "endpoint": server.URL, "path_style": true, "public_url": server.Object("index", "metadata/"),
	}}
	return server
}

// And with one of Google's.
func TestSharedGoogle(t *testing.T) {
	server := gcstest.Need(t)
	require.NoError(t, server.CreateBucket(t.Context(), "index"))
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	s := newSite(t)
	s.config["store"] = map[string]any{"gcs": map[string]any{"bucket": "index", "prefix": "metadata/", "public_url": server.URL + "/index/metadata/"}}
	testShared(t, s)
}

func testShared(t *testing.T, s *site) {
	index := s.withDatabase()
	s.config["standby"] = true
	leader := s.spawn()
	leader.until("/ready", http.StatusOK)
	standby := s.spawn()
	standby.do("GET", "/standby", "", http.StatusOK)

	insert(t, index, "1", adds("a", 1), true)
	insert(t, index, "2", adds("b", 2), false)
	require.Contains(t, leader.do("GET", "/v1/items/1?wait=1m", "", http.StatusOK), `"state":"published"`)
	leader.do("GET", "/v1/items/2", "", http.StatusNotFound)
	require.EqualValues(t, 1, s.find(standby.url[forClients], "a"))
	require.Contains(t, standby.do("GET", "/v1/status", "", http.StatusOK), `"generation":2`)

	// A standby accepts uploads too, and tells what becomes of them.
	require.Contains(t, standby.do("PUT", "/v1/items/0?wait=1m", adds("e", 5), http.StatusOK), `"state":"published"`)
	require.Contains(t, standby.do("GET", "/v1/items/1", "", http.StatusOK), `"state":"published"`)

	leader.stop()
	insert(t, index, "3", adds("c", 3), true)
	standby.until("/lead", http.StatusOK)
	require.Contains(t, standby.do("GET", "/v1/items/3?wait=1m", "", http.StatusOK), `"state":"published"`)
	require.Contains(t, standby.do("PUT", "/v1/items/4?wait=1m", adds("d", 4), http.StatusOK), `"state":"published"`)
	for n, path := range []string{"a", "b", "c", "d", "e"} {
		want := int64(n + 1)
		if path == "b" { // rolled back
			want = -1
		}
		require.Equal(t, want, s.find(standby.url[forClients], path), path)
	}
}

// With notify, the publisher listens: an index that notifies wakes it.
func TestNotify(t *testing.T) {
	s := newSite(t)
	s.withDatabase()
	postgres := s.config["journal"].(map[string]any)["postgres"].(map[string]any)
	postgres["notify"] = true
	postgres["lease"] = "5m" // it asks whether its connection is alive after half of it, and that is its last query then
	r := s.start()
	conn, err := pgx.Connect(t.Context(), strings.TrimSpace(string(s.read("publisher-url"))))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	require.Eventually(t, func() bool {
		listeners := 0
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND usename = current_user AND query ILIKE 'listen%bindery%'`).Scan(&listeners))
		return listeners > 0
	}, time.Minute, 20*time.Millisecond)
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
}

// Older history in the database is deleted, and each signature is logged.
func TestArchive(t *testing.T) {
	s := newSite(t)
	s.withDatabase()
	s.config["archive"] = map[string]any{"every": "1d", "delete": true}
	s.config["log_signatures"] = true
	var out bytes.Buffer
	d, err := start(t.Context(), s.configFile(), slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, err)
	_, err = d.repo.Archive(t.Context(), repository.Archive{Delete: true})
	require.NoError(t, err)
	journal, err := d.shared(t.Context())
	require.NoError(t, err)
	var first ledger.Kind
	for step, err := range journal.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
		if step.Record != nil {
			first = step.Record.Kind()
			break
		}
	}
	require.Equal(t, ledger.KindCheckpoint, first)
	d.archive(t.Context(), *d.config().Archive)
	require.NoError(t, d.close(new(sync.WaitGroup)))
	require.Contains(t, out.String(), `msg="older history was put away"`)
	require.Contains(t, out.String(), "role=timestamp")
}
