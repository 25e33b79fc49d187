package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// daemon starts one that serves nobody until close is called.
func (s *site) daemon() (d *daemon, stop func()) {
	s.t.Helper()
	d, err := start(s.t.Context(), s.configFile(), slog.New(slog.NewTextHandler(&output{}, nil)))
	require.NoError(s.t, err)
	stop = sync.OnceFunc(func() { require.NoError(s.t, d.close(new(sync.WaitGroup))) })
	s.t.Cleanup(stop)
	return d, stop
}

// How old the history is counts, and not for how long the publisher runs: one that is restarted each day puts history
// away too.
func TestArchiveCountsFromTheJournal(t *testing.T) {
	s := newSite(t)
	s.config["archive"] = map[string]any{"every": "1d", "to": s.path("history")}
	require.NoError(t, os.Mkdir(s.path("history"), 0o755))
	archived := func() int {
		files, err := os.ReadDir(s.path("history"))
		require.NoError(t, err)
		return len(files)
	}
	began := time.Now().Truncate(time.Second)
	d, stop := s.daemon()
	daily := *d.config().Archive
	due := d.archiveIfDue(t.Context(), daily, time.Time{})
	require.WithinRange(t, due, began.AddDate(0, 0, 1), time.Now().Add(24*time.Hour))
	stop()

	d, stop = s.daemon()
	require.Equal(t, due, d.archiveIfDue(t.Context(), daily, time.Time{}), "a restart changes nothing")
	require.Zero(t, archived())
	overdue := daily
	overdue.Every = 1 // as if a day had passed
	d.archiveIfDue(t.Context(), overdue, time.Time{})
	require.Positive(t, archived())
	stop()

	d, _ = s.daemon()
	require.False(t, d.archiveIfDue(t.Context(), daily, time.Time{}).Before(due))
	first, err := d.historyBegins(t.Context())
	require.NoError(t, err)
	status, err := d.repo.Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, status.Generation)
	require.False(t, first.Before(status.Signed), "the history begins at the checkpoint that was made then")
}

// Queue, outcomes and records in the database are pruned as the configuration says, while publishing goes on.
func TestTablesLevelOff(t *testing.T) {
	s := newSite(t)
	s.withDatabase()
	s.config["archive"] = map[string]any{"every": "1d", "delete": true}
	s.config["journal"].(map[string]any)["postgres"].(map[string]any)["remember"] = "9d"
	d, _ := s.daemon()
	conn, err := pgx.Connect(t.Context(), string(s.read("owner-url")[:len(s.read("owner-url"))-1]))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	// The newest 100,000 outcomes are remembered whatever their age. 40 more were decided before these.
	for _, statement := range []string{
		`INSERT INTO bindery.decided (first, last, record, nth, time, generation, state, reason) VALUES (1000001, 1100000, -1, 1, now(), 1, 'published', '')`,
		`INSERT INTO bindery.queue (id, item) SELECT 'old-' || n, '{}' FROM generate_series(1, 40) n`,
		`INSERT INTO bindery.decided (first, last, record, nth, time, generation, state, reason)
		SELECT place, place, -200000 - place, 1, now() - CASE WHEN place % 2 = 0 THEN interval '8 days' ELSE interval '10 days' END, 1, 'published', ''
		FROM bindery.queue`,
	} {
		_, err := conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	count := func(table string) (n int) {
		t.Helper()
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM bindery.`+table).Scan(&n))
		return n
	}
	var records []int
	overdue := *d.config().Archive
	overdue.Every = 1
	for round := range 3 {
		for n := range 10 {
			receipt, err := d.repo.Add(t.Context(), roles.Target{
				Path: fmt.Sprintf("%d/%d", round, n), Length: 1, Hashes: map[string]string{"sha256": fmt.Sprintf("%064x", n)}})
			require.NoError(t, err)
			o, err := receipt.Wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, repository.Published, o.State)
		}
		d.archiveIfDue(t.Context(), overdue, time.Time{})
		records = append(records, count("record"))
		require.Equal(t, 20+10*(round+1), count("queue"), "what was decided 10 days ago is forgotten, and 8 days are remembered")
		require.Equal(t, 1+count("queue"), count("decided"))
	}
	require.Equal(t, []int{records[0], records[0], records[0]}, records)
}
