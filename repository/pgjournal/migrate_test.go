package pgjournal

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Any number of programs may migrate at once, from nothing on. Each of them grants to its own role.
func TestMigrateAtOnce(t *testing.T) {
	url, name := pgtest.Database(t)
	admin := connect(t, url)
	var g errgroup.Group
	for n := range 8 {
		conn := connect(t, url)
		_, err := admin.Exec(t.Context(), fmt.Sprintf(`CREATE ROLE "%s index %d" LOGIN; CREATE ROLE "%[1]s publisher %[2]d" LOGIN`, name, n))
		require.NoError(t, err)
		g.Go(func() error {
			return Migrate(t.Context(), conn, Migration{IndexRole: fmt.Sprintf("%s index %d", name, n), PublisherRole: fmt.Sprintf("%s publisher %d", name, n)})
		})
	}
	require.NoError(t, g.Wait())
	var rows int
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM bindery.version) + (SELECT count(*) FROM bindery.lead)`).Scan(&rows))
	require.Equal(t, 2, rows)
	for n := range 8 {
		id := fmt.Sprint(n)
		j := opened(t, as(url, fmt.Sprintf("%s index %d", name, n)))
		_, err := j.Enqueue(t.Context(), item(t, id))
		require.NoError(t, err)
		l := leads(t, opened(t, as(url, fmt.Sprintf("%s publisher %d", name, n))))
		l.publish(t, l.requirePending(t, id)...)
		require.NoError(t, l.Release(t.Context()))
	}
}

// A migration that has nothing to do waits for no transaction of an index or a publisher, and they go on.
func TestMigrateMeanwhile(t *testing.T) {
	s := newSite(t)
	admin, index, publisher := connect(t, s.admin), connect(t, s.index).Config().User, connect(t, s.publisher).Config().User
	_, err := admin.Exec(t.Context(), `SET lock_timeout = 100`) // it waits for nobody
	require.NoError(t, err)
	migrate := func() {
		t.Helper()
		require.NoError(t, Migrate(t.Context(), admin, Migration{IndexRole: index, PublisherRole: publisher}))
	}
	j := opened(t, s.publisher)
	l := leads(t, j)
	for n, level := range levels {
		id := fmt.Sprint(n)
		uploading := held(t, s, level, id)
		migrate()
		require.NoError(t, uploading.Commit(t.Context()))
		entries := l.requirePending(t, id)
		tx, err := j.begin(t.Context())
		require.NoError(t, err)
		a, err := l.Lead.(*lead).write(t.Context(), tx, []ledger.Record{l.decided(t, entries...)})
		require.NoError(t, err)
		migrate()
		require.NoError(t, tx.Commit(t.Context()))
		l.Lead.(*lead).note(a)
		l.load(t)
		l.requirePending(t)
	}
	// All of it goes on while others migrate again and again.
	stop := make(chan struct{})
	var g errgroup.Group
	for range 3 {
		conn := connect(t, s.admin)
		g.Go(func() error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := Migrate(t.Context(), conn, Migration{IndexRole: index, PublisherRole: publisher}); err != nil {
					return err
				}
			}
		})
	}
	for n := range 20 {
		id := fmt.Sprint("while-", n)
		upload(t, s, levels[n%len(levels)], id)
		l.publish(t, l.requirePending(t, id)...)
	}
	close(stop)
	require.NoError(t, g.Wait())
}
