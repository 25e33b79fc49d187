package service

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// A standby reads while another process publishes, says who that is, and takes over once it
// has ended.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		site, other := newSite(t, dir), newSite(t, dir)
		first := started(t, site.config())
		publish(t, first, file("a/a.whl", "1"))

		cfg := other.config()
		cfg.Standby = true
		standby := started(t, cfg)
		holder := fmt.Sprintf("locked by another publisher: process %d on ", os.Getpid())
		requireLocked := func(err error) {
			t.Helper()
			require.ErrorIs(t, err, repository.ErrLocked)
			require.ErrorContains(t, err, holder)
		}
		_, err := standby.Add(t.Context(), file("b/b.whl", "1"))
		requireLocked(err)
		_, err = standby.Outcome(t.Context(), "x")
		requireLocked(err)
		requireLocked(standby.Drain(t.Context()))
		require.NoError(t, standby.Reload(t.Context()))

		publish(t, first, file("c/c.whl", "1"))
		status, err := standby.Status(t.Context())
		require.NoError(t, err)
		require.NoError(t, status.Err)
		require.EqualValues(t, 3, status.Generation)
		v, err := standby.View(t.Context())
		require.NoError(t, err)
		found, err := v.Lookup(t.Context(), "c/c.whl")
		require.NoError(t, err)
		require.Equal(t, file("c/c.whl", "1"), found)

		// One that can only wait.
		cfg.Read = nil
		blind := started(t, cfg)
		_, err = blind.Status(t.Context())
		requireLocked(err)
		_, err = blind.View(t.Context())
		requireLocked(err)
		require.NoError(t, blind.Close())

		began := time.Now()
		require.NoError(t, first.Close())
		until(t, standby, isOpen)
		require.LessOrEqual(t, time.Since(began), pauseOfLock)
		publish(t, standby, file("b/b.whl", "1"))

		// The first one comes back as a standby.
		cfg = site.config()
		cfg.Standby = true
		first = started(t, cfg)
		_, err = first.Add(t.Context(), file("d/d.whl", "1"))
		requireLocked(err)
		require.NoError(t, standby.Close())
		until(t, first, isOpen)
		publish(t, first, file("d/d.whl", "1"))
		require.NoError(t, first.Close())
		site.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1"), file("d/d.whl", "1")})
	})
}

// A standby takes over from a process that was killed, with all that it had accepted.
func TestStandbyAfterKill(t *testing.T) {
	dir := t.TempDir()
	site := newSite(t, dir)
	require.NoError(t, started(t, site.config()).Close())

	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "started", lines.Text())

	cfg := site.config()
	cfg.Standby = true
	standby := started(t, cfg)
	_, err = standby.Add(t.Context(), file("mine", "1"))
	require.ErrorIs(t, err, repository.ErrLocked)
	require.ErrorContains(t, err, fmt.Sprintf("process %d on ", cmd.Process.Pid))

	var want []roles.Target
	for n := range 20 {
		path := fmt.Sprintf("p/%d.whl", n)
		fmt.Fprintln(in, path)
		require.True(t, lines.Scan())
		require.Equal(t, path, lines.Text())
		want = append(want, file(path, path))
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	until(t, standby, isOpen)
	publish(t, standby, file("mine", "1"))
	require.NoError(t, standby.Drain(t.Context()))
	require.NoError(t, standby.Close())
	site.check(t, append(want, file("mine", "1")))
}

// A publisher whose journal failed finds that another process took over: it becomes a standby.
func TestStandbyTakesOverFromFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		cfg := m.config()
		cfg.Standby = true
		first := started(t, cfg)
		publish(t, first, file("a/a.whl", "1"))
		second := started(t, cfg)
		m.failWith(os.ErrPermission) // of both
		repo, _ := first.now()
		first.lose(repo, failure{os.ErrClosed})
		until(t, first, because(os.ErrPermission))
		until(t, second, because(os.ErrPermission))
		m.failWith(nil)
		require.NoError(t, second.Reload(t.Context()))
		until(t, first, because(repository.ErrLocked))
		publish(t, second, file("b/b.whl", "1"))
		_, err := first.Add(t.Context(), file("c/c.whl", "1"))
		require.ErrorIs(t, err, repository.ErrLocked)
		require.NoError(t, second.Close())
		until(t, first, isOpen)
		publish(t, first, file("c/c.whl", "1"))
		require.NoError(t, first.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1")})
	})
}
