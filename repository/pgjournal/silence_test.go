package pgjournal

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// blackHole is a proxy that, once it is closed, accepts everything and lets nothing through.
type blackHole struct {
	listener net.Listener
	closed   atomic.Bool
	target   atomic.Value // a function that dials the database
}

func newBlackHole(t *testing.T) *blackHole {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &blackHole{listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(client)
		}
	}()
	return h
}

func (h *blackHole) serve(client net.Conn) {
	defer client.Close()
	server, err := h.target.Load().(func() (net.Conn, error))()
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if err == nil && !h.closed.Load() {
				_, err = to.Write(buffer[:n])
			}
			if err != nil {
				to.Close()
				return
			}
		}
	}
	both.Go(func() { pass(server, client) })
	both.Go(func() { pass(client, server) })
	both.Wait()
}

func (h *blackHole) dial(ctx context.Context, network, address string) (net.Conn, error) {
	// A request to cancel goes to the address that answered, which is the proxy's own.
	h.target.CompareAndSwap(nil, func() (net.Conn, error) { return net.Dial(network, address) })
	return (&net.Dialer{}).DialContext(ctx, "tcp", h.listener.Addr().String())
}

// A network that drops everything ends each call with an error, and the lead once its lease is over.
func TestBlackHole(t *testing.T) {
	t.Parallel() // it waits, most of the time
	s := newSite(t)
	hole := newBlackHole(t)
	cfg := config(t, s.publisher)
	cfg.Lease, cfg.silence = 4*time.Second, 2*time.Second
	cfg.Pool.ConnConfig.DialFunc = hole.dial
	j, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	defer j.Close()
	l := leads(t, j)
	one := item(t, "one")
	_, err = j.Enqueue(t.Context(), one)
	require.NoError(t, err)
	l.requirePending(t, "one")
	decided := l.decided(t, one)

	hole.closed.Store(true)
	calls := map[string]func() error{
		"await":   func() error { return l.Await(t.Context(), 2, 1<<40) },
		"pending": func() error { _, err := l.Pending(t.Context(), 1, 1); return err },
		"append":  func() error { return l.Append(t.Context(), decided) },
		"enqueue": func() error { _, err := j.Enqueue(t.Context(), item(t, "two")); return err },
		"outcomes": func() error {
			_, err := j.Outcomes(t.Context(), "one")
			return err
		},
		"backlog": func() error { _, err := j.Backlog(t.Context()); return err },
		"decided": func() error {
			_, err := j.Decided(t.Context(), 0)
			return err
		},
		"lead": func() error { _, _, err := j.Lead(t.Context()); return err },
		"read": func() error {
			for _, err := range j.Read(t.Context(), ledger.FromBeginning) {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	var all sync.WaitGroup
	for name, call := range calls {
		all.Go(func() { assertFails(t, name, call()) })
	}
	all.Wait()
	for { // the lead gives up
		if _, err := l.Pending(t.Context(), 1, 1); err != nil && strings.Contains(err.Error(), "the lease of 4s was over") {
			require.ErrorIs(t, err, repository.ErrClosed)
			break
		}
	}
	hole.closed.Store(false)
	_, err = l.Pending(t.Context(), 1, 1)
	require.ErrorIs(t, err, repository.ErrClosed)
	require.ErrorContains(t, err, "the lease of 4s was over before it could be renewed, and another process may lead")
	require.NotErrorIs(t, l.Append(t.Context(), decided), nil)
	next := leads(t, j) // of the same handle
	next.requirePending(t, "one")
}

func assertFails(t *testing.T, name string, err error) {
	if err == nil {
		t.Errorf("%s: no error while the network drops everything", name)
	}
}

// Status shows that the database can't be reached, and the repository must be opened again.
func TestBlackHoleInStatus(t *testing.T) {
	t.Parallel() // it waits, most of the time
	e := newEngine(t)
	require.NoError(t, e.create(t).Close())
	hole := newBlackHole(t)
	cfg := e.config(t)
	require.NoError(t, cfg.Journal.Close())
	jc := config(t, e.publisher)
	jc.Lease, jc.silence = 4*time.Second, 2*time.Second
	jc.Pool.ConnConfig.DialFunc = hole.dial
	var err error
	cfg.Journal, err = Open(t.Context(), jc)
	require.NoError(t, err)
	repo, err := repository.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer repo.Close()
	hole.closed.Store(true)
	status, err := repo.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, status.Problems)
	require.Contains(t, status.Problems[0].What, "the queue can't be read: ")
	require.Error(t, status.Err)
	require.ErrorIs(t, repo.Run(t.Context()), repository.ErrClosed)
	status, err = repo.Status(t.Context())
	require.NoError(t, err)
	require.False(t, status.Leads)
	require.Contains(t, status.Problems[0].What, "nothing is published: closed: the repository must be opened again: ")
}

// A transfer that goes on isn't cut, however long it takes. The caller's own deadline counts too.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		c := &limited{Conn: here, limit: 10 * time.Second}
		go func() {
			for range 20 {
				time.Sleep(9 * time.Second)
				there.Write([]byte("x"))
			}
		}()
		got := make([]byte, 20)
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		_, err = c.Read(got)
		require.ErrorContains(t, err, "was silent for 10s: see whether the network drops packets")
		_, err = c.Write(got)
		require.ErrorContains(t, err, "was silent for 10s")
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Second)))
		_, err = c.Read(got)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())
	})
}
