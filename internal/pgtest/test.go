package pgtest

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// started reports whether a test of this binary asked for the cluster that all share.
var started atomic.Bool

// Run runs the tests of a binary, and removes the cluster that they shared. A TestMain must call it.
func Run(m *testing.M) int {
	code := m.Run()
	if started.Load() {
		if c, err := shared(); err == nil {
			if err := c.Close(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
		}
	}
	return code
}

// Need returns the cluster that all tests of the binary share. Where PostgreSQL isn't installed the test is
// skipped, or fails if BINDERY_INTEROP is 1.
func Need(t testing.TB) *Cluster {
	t.Helper()
	NeedTool(t, "postgres")
	started.Store(true)
	c, err := shared()
	require.NoError(t, err)
	return c
}

// NeedTool returns the path of a program of PostgreSQL's, or treats the test as Need does.
func NeedTool(t testing.TB, name string) string {
	t.Helper()
	path, err := tool(name)
	if err != nil && os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skip(err)
	}
	require.NoError(t, err)
	return path
}

var databases atomic.Int64

// Database makes a database in the cluster of Need, and returns its URL for the superuser. It is removed with the
// cluster.
func Database(t testing.TB) (url, name string) {
	t.Helper()
	c := Need(t)
	name = fmt.Sprintf("test_%d", databases.Add(1))
	_, err := c.SQL(t.Context(), "postgres", "CREATE DATABASE "+name)
	require.NoError(t, err)
	return c.URL("postgres", name), name
}
