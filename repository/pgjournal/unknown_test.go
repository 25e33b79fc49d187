package pgjournal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// cutter is a network that loses the connection around a commit.
type cutter struct {
	commits   atomic.Int64 // how many commits are lost
	delivered bool         // whether the database gets the commit, and only the answer is lost
	down      atomic.Bool  // whether it then stays down
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.down.Load() {
		return nil, io.ErrClosedPipe
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	return &cutConn{Conn: conn, cutter: c}, err
}

type cutConn struct {
	net.Conn
	*cutter
	cut atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.down.Load() { // a connection that was idle
		c.Conn.Close()
		return 0, io.ErrClosedPipe
	}
	if bytes.Contains(bytes.ToLower(b), []byte("commit\x00")) && c.commits.Add(-1) >= 0 {
		c.down.Store(c.down.Load() || !c.delivered && c.commits.Load() > 0)
		c.cut.Store(true)
		if !c.delivered {
			c.Conn.Close()
			return 0, io.ErrClosedPipe
		}
	}
	return c.Conn.Write(b)
}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.Load() { // the answer
		c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// An append whose commit was not answered asks what became of it.
func TestCommitNotAnswered(t *testing.T) {
	for _, delivered := range []bool{true, false} {
		s := newSite(t)
		net := &cutter{delivered: delivered}
		cfg := config(t, s.publisher)
		cfg.Pool.ConnConfig.DialFunc = net.dial
		j, err := Open(t.Context(), cfg)
		require.NoError(t, err)
		defer j.Close()
		_, err = j.Enqueue(t.Context(), item(t, "a"))
		require.NoError(t, err)
		l := leads(t, j)
		entries := l.requirePending(t, "a")
		net.commits.Store(1)
		r := l.decided(t, entries...)
		err = l.Append(t.Context(), r)
		if delivered {
			require.NoError(t, err)
		} else {
			require.Error(t, err)
			require.NotErrorIs(t, err, repository.ErrUnknown)
			l.requirePending(t, "a")
			require.NoError(t, l.Append(t.Context(), r))
		}
		l.load(t)
		require.Equal(t, r.Hash(), l.history.State.Chain)

		// An upload is told that it isn't known. It may be repeated.
		net.commits.Store(1)
		_, err = j.Enqueue(t.Context(), item(t, "b"))
		require.ErrorIs(t, err, repository.ErrUnknown)
		known, err := j.Enqueue(t.Context(), item(t, "b"))
		require.NoError(t, err)
		require.Equal(t, []bool{delivered}, known)

		// The database can't be asked: nobody knows.
		l.requirePending(t, "b")
		net.delivered = false
		net.commits.Store(2)
		j.askFor = time.Second
		err = l.Append(t.Context(), l.decided(t, item(t, "b")))
		require.ErrorIs(t, err, repository.ErrUnknown)
		net.down.Store(false)
		require.ErrorIs(t, l.Append(t.Context(), l.record(t, &ledger.Intent{})), repository.ErrClosed)
		_, err = l.Pending(t.Context(), 1, 1)
		require.ErrorIs(t, err, repository.ErrClosed)
		require.NoError(t, j.Close())
		l = leads(t, opened(t, s.publisher)) // at once
		l.requirePending(t, "b")
	}
}

// Another process has taken over, and much was queued, before a leader asks what became of its append.
func TestCommitNotAnsweredAndFenced(t *testing.T) {
	s := newSite(t)
	l := leads(t, opened(t, s.publisher))
	_, err := l.Lead.(*lead).Enqueue(t.Context(), item(t, "a"), item(t, "b"))
	require.NoError(t, err)
	r := l.decided(t, l.requirePending(t, "a", "b")...)
	l.append(t, r)
	var made appended
	admin := connect(t, s.admin)
	require.NoError(t, admin.QueryRow(t.Context(), `SELECT seq, hash FROM bindery.record ORDER BY seq DESC LIMIT 1`).Scan(&made.seq, &made.head))
	require.Equal(t, r.Hash(), made.head)

	_, err = admin.Exec(t.Context(), `UPDATE bindery.lease SET renewed = '-infinity'`)
	require.NoError(t, err)
	j := opened(t, s.publisher)
	next := leads(t, j)
	var many []ledger.Entry
	for n := range 1200 {
		many = append(many, item(t, fmt.Sprint("c", n)))
	}
	_, err = j.Enqueue(t.Context(), many...)
	require.NoError(t, err)
	entries, err := next.Pending(t.Context(), 1, 1<<30)
	require.NoError(t, err)
	next.append(t, next.decided(t, entries...))

	recorded, err := l.Lead.(*lead).wasMade(t.Context(), &made)
	require.NoError(t, err)
	require.True(t, recorded)
	made.head = "another"
	_, err = l.Lead.(*lead).wasMade(t.Context(), &made)
	require.ErrorIs(t, err, repository.ErrFenced)
}
