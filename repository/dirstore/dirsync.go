package dirstore

import (
	"errors"
	"sync"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// dirSyncs syncs directories. One sync serves all callers that wait for the same directory.
//
// A failed sync may have dropped changes that it should have written, and the next sync then
// succeeds without them. So every caller whose change came before a failed sync must be told of
// the failure, even if it asks later. For this a caller takes a mark before it changes anything,
// and passes the mark to sync.
type dirSyncs struct {
	fsys disk.FS

	mu       sync.Mutex
	failures int               // of syncs, ever
	waiting  map[string]*round // has not begun, may be joined
	running  map[string]*round
}

// round is one sync of one directory.
type round struct {
	done     chan struct{} // closed when the fields below are set
	err      error
	failures int // of dirSyncs, when this round ended
}

var errEarlierSync = errors.New("another sync of the directory failed meanwhile")

// mark must be taken before the directory is changed.
func (s *dirSyncs) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures
}

// sync returns nil once a sync of dir that began after the call has succeeded, and no sync has
// failed since mark.
func (s *dirSyncs) sync(dir string, mark int) error {
	s.mu.Lock()
	r := s.waiting[dir]
	if r != nil {
		s.mu.Unlock()
		<-r.done
	} else {
		r = &round{done: make(chan struct{})}
		if s.waiting == nil {
			s.waiting, s.running = make(map[string]*round), make(map[string]*round)
		}
		s.waiting[dir] = r
		before := s.running[dir]
		s.mu.Unlock()
		if before != nil {
			<-before.done // meanwhile others join this round
		}
		s.run(dir, r)
	}
	if r.err == nil && r.failures != mark {
		return errEarlierSync
	}
	return r.err
}

// run is the only goroutine that runs rounds of dir: the waiting round starts only after the
// running one has ended.
func (s *dirSyncs) run(dir string, r *round) {
	s.mu.Lock()
	delete(s.waiting, dir)
	s.running[dir] = r
	s.mu.Unlock()

	r.err = s.fsys.SyncDir(dir)

	s.mu.Lock()
	if r.err != nil {
		s.failures++
	}
	r.failures = s.failures
	delete(s.running, dir)
	s.mu.Unlock()
	close(r.done)
}
