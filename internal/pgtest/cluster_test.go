package pgtest_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestCluster(t *testing.T) {
	pgtest.NeedTool(t, "postgres")
	ctx := t.Context()
	c, err := pgtest.New(ctx)
	require.NoError(t, err)
	defer c.Close()
	sql := func(c *pgtest.Cluster, statement string) string {
		t.Helper()
		out, err := c.SQL(ctx, "postgres", statement)
		require.NoError(t, err)
		return out
	}
	sql(c, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
	require.NoError(t, c.Restart(ctx, "immediate"))
	require.Equal(t, "1", sql(c, "SELECT n FROM t"))

	r, err := c.Replica(ctx)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, "t", sql(r, "SELECT pg_is_in_recovery()"))
	require.NoError(t, c.Stop("immediate"))
	require.NoError(t, r.Promote(ctx))
	sql(r, "INSERT INTO t VALUES (2)")
	require.Equal(t, "1\n2", sql(r, "SELECT n FROM t ORDER BY n"))
}

func TestDatabase(t *testing.T) {
	one, name := pgtest.Database(t)
	two, _ := pgtest.Database(t)
	require.NotEqual(t, one, two)
	out, err := pgtest.Need(t).SQL(t.Context(), name, "SELECT current_database()")
	require.NoError(t, err)
	require.Equal(t, name, out)
}
