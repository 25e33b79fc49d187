package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Cluster is a PostgreSQL server in a temporary folder. It listens on a Unix socket in that folder, so it
// takes no port. Anybody who can reach the socket is let in, under any name. Its methods are not safe for
// concurrent use.
type Cluster struct {
	dir      string // has the data, the socket and the log
	settings []string
	server   *exec.Cmd // nil while stopped
	ended    chan struct{}
}

// New makes a cluster and starts it. Each setting is as in postgresql.conf: "fsync=on". By default a commit
// outlives the server's processes, but not the machine: fsync is off. The superuser is postgres.
func New(ctx context.Context, settings ...string) (*Cluster, error) {
	c, err := folder(settings)
	if err != nil {
		return nil, err
	}
	if err := c.run(ctx, "initdb", "--no-sync", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--pgdata="+c.data()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// folder makes the cluster's folder.
func folder(settings []string) (*Cluster, error) {
	if _, err := tool("postgres"); err != nil {
		return nil, err
	}
	// The path of a socket has at most 107 bytes, and a test's own folder often has more. TMPDIR may be such a folder,
	// and closed to the user that runs PostgreSQL for root.
	temp := "/tmp"
	if _, err := os.Stat(temp); err != nil {
		temp = ""
	}
	dir, err := os.MkdirTemp(temp, "pgtest-")
	if err != nil {
		return nil, err
	}
	if err := give(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Cluster{dir: dir, settings: settings}, nil
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// Socket is the folder of the socket, and Port the number in the socket's name: what libpq calls host and
// port.
func (c *Cluster) Socket() string { return c.dir }

// Port is a part of the socket's name.
const Port = "5432"

// URL is where a client finds a database, as the user given.
func (c *Cluster) URL(user, database string) string {
	query := url.Values{"host": {c.dir}, "port": {Port}}
	return "postgres://" + url.PathEscape(user) + "@/" + url.PathEscape(database) + "?" + query.Encode()
}

// Start starts a stopped server, and returns once it accepts connections.
func (c *Cluster) Start(ctx context.Context) error {
	if c.server != nil {
		return errors.New("start PostgreSQL: it is running")
	}
	postgres, err := tool("postgres")
	if err != nil {
		return err
	}
	args := []string{"-D", c.data(), "-k", c.dir, "-p", Port, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(postgres, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = ordinary(true)
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	c.server, c.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(c.ended)
	for !c.ready() {
		select {
		case <-c.ended:
			c.server = nil
			return fmt.Errorf("PostgreSQL did not start:\n%s", c.lastLog())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), c.Stop("immediate"))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// ready reports whether the server says that it accepts connections: on the eighth line of postmaster.pid.
func (c *Cluster) ready() bool {
	text, _ := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	return len(lines) >= 8 && slices.Contains([]string{"ready", "standby"}, strings.TrimSpace(lines[7])) &&
		strings.TrimSpace(lines[0]) == fmt.Sprint(c.server.Process.Pid)
}

func (c *Cluster) log() string { return filepath.Join(c.dir, "log") }

func (c *Cluster) lastLog() []byte {
	text, _ := os.ReadFile(c.log())
	return text[max(0, len(text)-4000):]
}

// Stop stops the server and waits for its end. The mode is "fast", which disconnects clients in good order, or
// "immediate", after which the next start recovers as after a crash. It does nothing if the server is
// stopped.
func (c *Cluster) Stop(mode string) error {
	if c.server == nil {
		return nil
	}
	signal, ok := map[string]os.Signal{"fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}[mode]
	if !ok {
		return fmt.Errorf("stop PostgreSQL: mode %q: want fast or immediate", mode)
	}
	if err := c.server.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.ended
	c.server = nil
	return nil
}

// Restart stops the server in a mode of Stop, and starts it.
func (c *Cluster) Restart(ctx context.Context, mode string) error {
	if err := c.Stop(mode); err != nil {
		return err
	}
	return c.Start(ctx)
}

// Replica makes an asynchronous streaming replica and starts it. Clients may read from it. It has the
// settings given besides those of the primary: "recovery_min_apply_delay=2s" makes it lag.
func (c *Cluster) Replica(ctx context.Context, settings ...string) (*Cluster, error) {
	r, err := folder(slices.Concat(c.settings, settings))
	if err != nil {
		return nil, err
	}
	err = r.run(ctx, "pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--wal-method=stream",
		"--host="+c.dir, "--port="+Port, "--username=postgres", "--pgdata="+r.data())
	if err == nil {
		err = r.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Promote makes a replica a primary, and returns once it accepts writes.
func (c *Cluster) Promote(ctx context.Context) error {
	return c.run(ctx, "pg_ctl", "promote", "--wait", "--silent", "--pgdata="+c.data())
}

// SQL runs statements with psql, as the superuser, and returns what it prints: values only, with "|" between
// columns.
func (c *Cluster) SQL(ctx context.Context, database, statements string) (string, error) {
	var out bytes.Buffer
	err := c.runTo(ctx, &out, "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--host="+c.dir, "--port="+Port,
		"--username=postgres", "--dbname="+database, "--command="+statements)
	return strings.TrimSpace(out.String()), err
}

// Close stops the server and removes its folder. It is idempotent.
func (c *Cluster) Close() error {
	return errors.Join(c.Stop("immediate"), os.RemoveAll(c.dir))
}

func (c *Cluster) run(ctx context.Context, name string, args ...string) error {
	return c.runTo(ctx, &bytes.Buffer{}, name, args...)
}

func (c *Cluster) runTo(ctx context.Context, out *bytes.Buffer, name string, args ...string) error {
	path, err := tool(name)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = ordinary(false)
	cmd.WaitDelay = 5 * time.Second // pg_basebackup has a child, which outlives it if it is killed, and holds its output
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s%s", name, err, out.Bytes(), stderr.Bytes())
	}
	return nil
}

// tool finds a program of PostgreSQL. Debian's are in no folder of the PATH.
func tool(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is not installed: %w", err)
	}
	return path, nil
}

var shared = sync.OnceValues(func() (*Cluster, error) { return New(context.Background()) })
