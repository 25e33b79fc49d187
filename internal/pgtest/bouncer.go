package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Bouncer starts a PgBouncer in front of the cluster of Need, in transaction mode, for one user: all clients share two
// connections to the database. It returns the URL of a database there. Where PgBouncer isn't installed, the test is
// treated as Need does.
func Bouncer(t testing.TB, user, database string) string {
	t.Helper()
	cluster := Need(t)
	program, err := exec.LookPath("pgbouncer")
	if _, stat := os.Stat("/usr/sbin/pgbouncer"); err != nil && stat == nil {
		program, err = "/usr/sbin/pgbouncer", nil
	}
	if err != nil && os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skip(err)
	}
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "pgtest-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, give(dir))
	write := func(name, format string, args ...any) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, fmt.Appendf(nil, format, args...), 0o644))
		return name
	}
	users := write("users", "\"%s\" \"\"\n", user)
	config := write("ini", `[databases]
* = host=%s port=%s
[pgbouncer]
pool_mode = transaction
default_pool_size = 2
listen_port = %s
unix_socket_dir = %s
auth_type = trust
auth_file = %s
`, cluster.Socket(), Port, Port, dir, users)
	cmd := exec.Command(program, config)
	cmd.SysProcAttr = ordinary(true)
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd.Stderr = log
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
	})
	for {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", filepath.Join(dir, ".s.PGSQL."+Port))
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			ended <- err
			text, _ := os.ReadFile(log.Name())
			require.NoError(t, errors.Join(err, errors.New("PgBouncer ended")), string(text))
		case <-t.Context().Done():
			require.NoError(t, context.Cause(t.Context()))
		case <-time.After(20 * time.Millisecond):
		}
	}
	query := url.Values{"host": {dir}, "port": {Port}}
	return "postgres://" + url.PathEscape(user) + "@/" + url.PathEscape(database) + "?" + query.Encode()
}
