package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

// maxShared is how long a copy is given to new requests. Without it, a file that was altered in the
// store and then mended would be served altered for as long as somebody reads it.
const maxShared = time.Minute

// sharing lets simultaneous requests for the same name use one copy of its content. It is for names
// whose content never changes.
type sharing struct {
	store repository.Store

	mu     sync.Mutex
	copies map[string]*shared // those that new requests may use
}

// shared is one reading of a name, and what was read.
type shared struct {
	users int           // guarded by sharing.mu
	stop  func()        // ends the reading
	ended chan struct{} // closed once data or err is set
	since time.Time     // when it ended
	data  []byte
	err   error
}

// get returns the content of name, which must not be changed. The caller gives it back with done. If
// a reading that began before the call failed, get reads again: the name may have been written since.
func (s *sharing) get(ctx context.Context, name string) (data []byte, done func(), err error) {
	for again := false; ; again = true {
		c, first := s.join(ctx, name)
		leave := func() { s.leave(name, c) }
		select {
		case <-c.ended:
		case <-ctx.Done():
			leave()
			return nil, nil, ctx.Err()
		}
		if c.err == nil {
			return c.data, leave, nil
		}
		leave()
		if first || again {
			return nil, nil, c.err
		}
	}
}

// join returns a copy of name that the caller uses from now on. It reports whether the caller
// is the first to do so.
func (s *sharing) join(ctx context.Context, name string) (c *shared, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.copies[name]
	if c != nil && !c.old() {
		c.users++
		return c, false
	}
	// The request that happens to come first may be given up while others wait.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	c = &shared{users: 1, stop: stop, ended: make(chan struct{})}
	if s.copies == nil {
		s.copies = map[string]*shared{}
	}
	s.copies[name] = c
	go s.read(reading, name, c)
	return c, true
}

// old reports whether the copy is too old for new requests.
func (c *shared) old() bool {
	select {
	case <-c.ended:
		return time.Since(c.since) > maxShared
	default:
		return false
	}
}

func (s *sharing) read(ctx context.Context, name string, c *shared) {
	c.err = errors.New("the store's Get did not return")
	defer func() {
		if p := recover(); p != nil { // net/http would have caught it in a handler
			c.err = fmt.Errorf("the store's Get panicked: %v", p)
		}
		if c.err != nil {
			s.forget(name, c)
		}
		c.since = time.Now()
		close(c.ended)
	}()
	c.data, c.err = s.store.Get(ctx, name)
}

func (s *sharing) leave(name string, c *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users--; c.users > 0 {
		return
	}
	c.stop()
	if s.copies[name] == c {
		delete(s.copies, name)
	}
}

func (s *sharing) forget(name string, c *shared) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies[name] == c {
		delete(s.copies, name)
	}
}
