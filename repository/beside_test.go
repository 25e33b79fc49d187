//go:build unix

package repository_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// A publisher runs, is stopped, goes on, and is killed. A second one is told that
// there is another, until that one is dead; the status can be read all the time.
func TestSecondProcess(t *testing.T) {
	dir, store := newSite(t)
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), killChildDir+"="+dir)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill() })
	_, err = fmt.Fprintln(in, 1)
	require.NoError(t, err)
	accepted := bufio.NewReader(out)
	_, err = accepted.ReadString('\n')
	require.NoError(t, err, "the child publishes")

	locked := func() {
		t.Helper()
		_, err := dirjournal.Open(filepath.Join(dir, repotest.SiteJournal))
		require.ErrorIs(t, err, repository.ErrLocked)
	}
	reader, err := dirjournal.OpenReader(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	status := func() repository.Status {
		t.Helper()
		s, err := repository.ReadStatus(t.Context(), store, reader)
		require.NoError(t, err)
		require.Equal(t, int64(2), s.Roles["root"].Version)
		require.Equal(t, 8, s.BinCount)
		require.Equal(t, s.Generation, s.Roles["timestamp"].Version)
		return s
	}
	locked()
	before := status()
	for range 200 { // it works, or has work to do
		_, err = accepted.ReadString('\n')
		require.NoError(t, err)
	}
	running := status()
	require.GreaterOrEqual(t, running.Generation, before.Generation)

	require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
	var ws syscall.WaitStatus
	_, err = syscall.Wait4(child.Process.Pid, &ws, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, ws.Stopped())
	locked()
	stopped := status()
	require.GreaterOrEqual(t, stopped.Generation, running.Generation)
	require.Equal(t, stopped, status(), "nothing moves")

	require.NoError(t, child.Process.Signal(syscall.SIGCONT))
	for status().Generation == stopped.Generation { // until the test's own timeout
		_, err = accepted.ReadString('\n')
		require.NoError(t, err)
	}
	locked()

	require.NoError(t, child.Process.Kill())
	_, err = child.Process.Wait()
	require.NoError(t, err)
	dead := status()
	repo, err := openSite(dir)
	require.NoError(t, err, "its lock ended with it")
	require.GreaterOrEqual(t, status().Generation, dead.Generation)
	require.NoError(t, repo.Close())
}

// Read beside a publisher, or after it, the status is the publisher's own.
func TestReadStatus(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		requireSame := func() {
			t.Helper()
			own, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			own.Err, own.Problems = nil, nil // which only the publisher knows
			beside, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
			require.NoError(t, err)
			require.True(t, own.Leads)
			own.Leads = false
			require.Equal(t, own, beside)
		}
		requireSame()
		e.publish(file("a", "1"))
		requireSame()
		e.add(file("b", "1"))
		requireSame()
		// Sealed, and not yet committed: clients see the old generation.
		e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
		e.run(func() { time.Sleep(time.Second) })
		requireSame()
		e.inject.Plan(nil)
		require.NoError(t, e.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}))
		requireSame()
		e.close()
		beside, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
		require.NoError(t, err)
		require.Equal(t, int64(2), beside.Roles["root"].Version)
		e.open()
	})
}

// A machine whose clock is behind that of the publisher learns it before it has the lead.
func TestReadStatusNoticesTheClock(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.close()
		e.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
		e.open()
		e.publish(file("a", "1"))
		s, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
		require.NoError(t, err)
		require.Len(t, s.Problems, 1)
		require.Contains(t, s.Problems[0].What, "by this machine's clock, and the last generation was signed at")
		time.Sleep(time.Hour)
		s, err = repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
		require.NoError(t, err)
		require.Empty(t, s.Problems)
	})
}

func TestReadStatusErrors(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		empty := newEnv(t, 2, delegation.Succinct)
		_, err := repository.ReadStatus(t.Context(), e.store, empty.journal)
		require.ErrorIs(t, err, repository.ErrNotRepository)
		_, err = repository.ReadStatus(t.Context(), empty.store, e.journal)
		require.ErrorIs(t, err, repository.ErrNotExist)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = repository.ReadStatus(ctx, e.store, e.journal)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Views are read from the files while a publisher commits generations, writes a checkpoint after
// each and so begins new segments: each has all of one generation.
func TestReadViewsWhilePublishing(t *testing.T) {
	const generations = 60
	e := newEnv(t, 2, delegation.Succinct)
	dir := t.TempDir()
	store, err := dirstore.OpenOrCreate(filepath.Join(dir, "store"))
	require.NoError(t, err)
	journal, err := dirjournal.OpenOrCreate(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	e.cfg.Store, e.cfg.Journal, e.cfg.MaxDelay, e.cfg.CheckpointBytes = store, journal, -1, 1
	repo, err := repository.Create(t.Context(), e.cfg, e.ceremony.Documents())
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- repo.Run(t.Context()) }()
	published := make(chan error, 1)
	publish := func(n int) error {
		r, err := repo.Add(t.Context(), file("a", fmt.Sprint(n)), file("b", fmt.Sprint(n)))
		if err == nil {
			_, err = r.Wait(t.Context())
		}
		return err
	}
	require.NoError(t, publish(0))
	go func() {
		var err error
		for n := 1; n < generations && err == nil; n++ {
			err = publish(n)
		}
		published <- err
	}()
	reader, err := dirjournal.OpenReader(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	for last, done := int64(0), false; !done; {
		select {
		case err := <-published:
			require.NoError(t, err)
			done = true
		default:
		}
		view, err := repository.ReadView(t.Context(), store, reader)
		require.NoError(t, err)
		require.GreaterOrEqual(t, view.Generation(), last)
		last = view.Generation()
		a, err := view.Lookup(t.Context(), "a")
		require.NoError(t, err)
		n := 0
		for target, err := range view.Targets(t.Context()) {
			require.NoError(t, err)
			require.Equal(t, a.Hashes, target.Hashes)
			n++
		}
		require.Equal(t, 2, n)
		if done {
			require.Equal(t, file("a", fmt.Sprint(generations-1)), a)
		}
	}
	require.NoError(t, repo.Close())
	require.NoError(t, <-ran)
}
