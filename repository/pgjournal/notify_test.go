package pgjournal

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With Config.Notify nobody waits until the database is asked again.
func TestNotify(t *testing.T) {
	s := newSite(t)
	notified := func(url string) *Journal {
		cfg := config(t, url)
		cfg.Notify = true
		j, err := Open(t.Context(), cfg)
		require.NoError(t, err)
		t.Cleanup(func() { j.Close() })
		j.mu.Lock()
		j.idle = 24 * time.Hour
		j.mu.Unlock()
		return j
	}
	idle := func(j *Journal) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.active = time.Time{}
	}
	publisher, index := notified(s.publisher), notified(s.index)
	l := leads(t, publisher)
	seen, err := index.Decided(t.Context(), 0)
	require.NoError(t, err)
	// Both listen once a notification arrived.
	admin := connect(t, s.admin)
	for _, j := range []*Journal{publisher, index} {
		for n := 0; n == 0; {
			require.NoError(t, admin.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND usename = $1`,
				j.cfg.Pool.ConnConfig.User).Scan(&n))
		}
	}
	await := make(chan error, 1)
	idle(publisher)
	go func() { await <- l.Await(t.Context(), 1, math.MaxInt64) }()
	_, err = index.Enqueue(t.Context(), item(t, "a"))
	require.NoError(t, err)
	require.NoError(t, <-await)

	decided := make(chan error, 1)
	idle(index)
	go func() {
		_, err := index.Decided(t.Context(), seen)
		decided <- err
	}()
	l.publish(t, item(t, "a"))
	require.NoError(t, <-decided)

	// An index of another kind notifies in its own transaction.
	idle(publisher)
	go func() { await <- l.Await(t.Context(), 1, math.MaxInt64) }()
	_, err = connect(t, s.index).Exec(t.Context(), `BEGIN; INSERT INTO bindery.queue (id, item) VALUES ('b', '{}'); SELECT pg_notify('bindery', ''); COMMIT`)
	require.NoError(t, err)
	require.NoError(t, <-await)
}
