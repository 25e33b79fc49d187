package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// toxics are what a proxy does to connections. The zero value does nothing.
type toxics struct {
	Refuse    bool          // connections end as soon as they begin
	Delay     time.Duration // before each piece of data
	Stall     float64       // how likely a piece is held for StallFor
	StallFor  time.Duration
	LoseReply float64 // how likely a connection is cut in place of an answer's first or next piece
	PerSecond int     // bytes; 0: no limit
}

// hold stops the next transaction that begins while it is in force.
type hold struct {
	after int32         // pieces of data of the transaction that go through, its BEGIN not counted
	held  chan struct{} // closed once it is stopped
	end   chan struct{} // it goes on when this is closed
	taken atomic.Bool
}

// beginning is how an append begins, in the protocol's messages.
var beginning = []byte("BEGIN ISOLATION LEVEL READ COMMITTED")

// proxy forwards TCP connections from a loopback port to a service.
type proxy struct {
	Address string

	listener net.Listener
	now      atomic.Pointer[toxics]
	hold     atomic.Pointer[hold]

	dial func() (net.Conn, error)

	mu     sync.Mutex
	rng    *rand.Rand
	open   map[net.Conn]bool
	closed bool
}

// newProxy listens on a port that the system chooses.
func newProxy(rng *rand.Rand, dial func() (net.Conn, error)) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{Address: l.Addr().String(), listener: l, dial: dial, rng: rng, open: map[net.Conn]bool{}}
	p.now.Store(&toxics{})
	go p.accept()
	return p, nil
}

func dialTo(network, address string) func() (net.Conn, error) {
	return func() (net.Conn, error) { return net.DialTimeout(network, address, 2*time.Second) }
}

// Set changes what is done, also to connections that are open.
func (p *proxy) Set(t toxics) { p.now.Store(&t) }

// Hold stops the next transaction after that many pieces, until end is called. held is closed once it has begun to.
func (p *proxy) Hold(after int) (held <-chan struct{}, end func()) {
	h := &hold{after: int32(after), held: make(chan struct{}), end: make(chan struct{})}
	p.hold.Store(h)
	return h.held, func() {
		p.hold.Store(nil)
		close(h.end)
	}
}

// Cut ends all connections.
func (p *proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

// Close ends the proxy.
func (p *proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go p.serve(c)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	if p.now.Load().Refuse {
		return
	}
	server, err := p.dial()
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, client)
		delete(p.open, server)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{}, 2)
	forward := func(to, from net.Conn, reply bool) {
		p.forward(ctx, to, from, reply)
		done <- struct{}{}
	}
	go forward(server, client, false)
	go forward(client, server, true)
	<-done // either end is the end of both
}

func (p *proxy) forward(ctx context.Context, to, from net.Conn, reply bool) {
	buffer := make([]byte, 16<<10)
	pieces := int32(math.MinInt32) // since the transaction began
	for {
		n, err := from.Read(buffer)
		if n > 0 && !reply {
			if pieces++; bytes.Contains(buffer[:n], beginning) {
				pieces = 0
			}
			if h := p.hold.Load(); h != nil && pieces > h.after && h.taken.CompareAndSwap(false, true) {
				close(h.held)
				select {
				case <-h.end:
				case <-ctx.Done():
					return
				}
			}
		}
		if n > 0 {
			t := p.now.Load()
			wait := t.Delay
			if t.Stall > 0 && p.chance(t.Stall) {
				wait += t.StallFor
			}
			if t.PerSecond > 0 {
				wait += time.Duration(n) * time.Second / time.Duration(t.PerSecond)
			}
			if wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return
				}
			}
			if reply && t.LoseReply > 0 && p.chance(t.LoseReply) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) chance(of float64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rng.Float64() < of
}
