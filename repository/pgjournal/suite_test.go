package pgjournal

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// connect returns a connection of the superuser, or of a role.
func connect(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

// migrated returns the URL of a new database with the schema.
func migrated(t testing.TB) string {
	t.Helper()
	url, _ := pgtest.Database(t)
	require.NoError(t, Migrate(t.Context(), connect(t, url), Migration{}))
	return url
}

func config(t testing.TB, url string) Config {
	t.Helper()
	pool, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	return Config{Pool: pool, Lease: time.Minute, Logger: slog.New(slog.DiscardHandler)}
}

func place(t *testing.T) storetest.Place {
	url := migrated(t)
	conn := connect(t, url)
	return storetest.Place{
		Open: func() (repository.Journal, error) { return Open(t.Context(), config(t, url)) },
		Expire: func() {
			_, err := conn.Exec(t.Context(), `UPDATE bindery.lease SET renewed = '-infinity'`)
			require.NoError(t, err)
		},
		OwnClock: true, OnlyText: true,
	}
}

func TestJournal(t *testing.T) { storetest.TestJournal(t, place) }

func TestReader(t *testing.T) {
	storetest.TestReader(t, func(t *testing.T) (storetest.Place, func() (repository.Reader, error)) {
		p := place(t)
		return p, func() (repository.Reader, error) {
			j, err := p.Open()
			if err != nil {
				return nil, err
			}
			t.Cleanup(func() { j.Close() })
			return j.(*Journal), nil
		}
	})
}
