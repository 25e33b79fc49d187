package pgjournal

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A network can drop all packets and say nothing. TCP notices that after a quarter of an hour at best, and never if a
// proxy in between keeps the connection. So each connection has a limit for silence: while something is asked or sent, a
// byte must get through within the limit. A long transfer isn't cut.

// leastSilence is the limit where the lease is shorter: a database that is merely busy answers later than usual.
const leastSilence = 5 * time.Second

// limitSilence limits the silence of a pool's connections, and how long connecting may take.
func limitSilence(pc *pgxpool.Config, limit time.Duration) {
	cc := pc.ConnConfig
	if cc.ConnectTimeout == 0 || cc.ConnectTimeout > limit {
		cc.ConnectTimeout = limit
	}
	pc.PingTimeout = limit / 4 // of one that was idle: there may be several such
	dial := cc.DialFunc
	cc.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &limited{Conn: conn, limit: limit}, nil
	}
	// AfterRelease would do as well, but with it the pool takes a connection back only some time after its release.
	prepare, before := pc.PrepareConn, pc.BeforeAcquire //lint:ignore SA1019 the caller may have set it
	pc.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		setLimit(conn, limit)
		switch {
		case prepare != nil:
			return prepare(ctx, conn)
		case before != nil:
			return before(ctx, conn), nil
		}
		return true, nil
	}
}

// setLimit sets a connection's limit, until it is acquired again.
func setLimit(conn *pgx.Conn, limit time.Duration) {
	nc := conn.PgConn().Conn()
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if l, ok := nc.(*limited); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.limit = limit
	}
}

// patiently calls f with a connection for a statement that may take long before its first row.
func (j *Journal) patiently(ctx context.Context, limit time.Duration, f func(*pgxpool.Conn) error) error {
	conn, err := j.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	setLimit(conn.Conn(), limit)
	return f(conn)
}

// limited is a connection whose calls fail after too long a silence.
type limited struct {
	net.Conn

	mu          sync.Mutex // guards what follows, and the deadlines of Conn
	limit       time.Duration
	read, write time.Time // the caller's own deadlines
	heard       time.Time // when the last bytes got through, in either direction
}

func (c *limited) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read, c.write = t, t
	if err := c.Conn.SetReadDeadline(c.before(t)); err != nil {
		return err
	}
	return c.Conn.SetWriteDeadline(c.before(t))
}

func (c *limited) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = t
	return c.Conn.SetReadDeadline(c.before(t))
}

func (c *limited) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = t
	return c.Conn.SetWriteDeadline(c.before(t))
}

// before returns the earlier one of a caller's deadline and the present limit.
func (c *limited) before(t time.Time) time.Time {
	limit := time.Now().Add(c.limit)
	if !t.IsZero() && t.Before(limit) {
		return t
	}
	return limit
}

func (c *limited) Read(b []byte) (int, error) {
	return c.within(&c.read, c.Conn.SetReadDeadline, func() (int, error) { return c.Conn.Read(b) })
}

func (c *limited) Write(b []byte) (n int, err error) {
	for err == nil && n < len(b) {
		part := b[n:min(len(b), n+64<<10)] // so that progress shows
		var written int
		written, err = c.within(&c.write, c.Conn.SetWriteDeadline, func() (int, error) { return c.Conn.Write(part) })
		n += written
	}
	return n, err
}

// within does one read or write.
func (c *limited) within(deadline *time.Time, set func(time.Time) error, do func() (int, error)) (int, error) {
	begun := time.Now()
	for {
		c.mu.Lock()
		err := set(c.before(*deadline))
		c.mu.Unlock()
		if err != nil {
			return 0, err
		}
		n, err := do()
		now := time.Now()
		c.mu.Lock()
		if n > 0 {
			c.heard = now
		}
		last := begun
		if c.heard.After(last) {
			last = c.heard
		}
		limit := c.limit
		own := !deadline.IsZero() && !now.Before(*deadline)
		c.mu.Unlock()
		timeout, ok := err.(net.Error)
		switch {
		case n > 0 || !ok || !timeout.Timeout() || own:
			return n, err
		case now.Sub(last) >= limit:
			// A timeout would say that the connection can still be used.
			return 0, fmt.Errorf("the database at %v was silent for %v: see whether the network drops packets", c.RemoteAddr(), limit)
		}
	}
}
