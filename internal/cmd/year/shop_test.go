package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

var errNoPower = errors.New("the power is out")

// shop is what clients fetch from: a store in memory, that outlives the processes that write to it.
type shop struct {
	mu     sync.Mutex
	files  map[string][]byte
	ever   map[string]uint32 // the checksum of each content that a name ever had
	bytes  int64
	peak   int64
	swaps  []swapped // of the timestamp, oldest first, for as long as keep says
	keep   time.Duration
	boot   int           // the process that may use it
	left   int           // operations until the power goes; 0: it stays
	cut    func()        // called when it goes
	awake  chan struct{} // while the machine sleeps, what is closed when it wakes up; else nil
	faults []error
}

// swapped is a timestamp, and when it was superseded; zero if it is the newest.
type swapped struct {
	file       []byte
	superseded time.Time
}

func newShop(keep time.Duration) *shop {
	return &shop{files: map[string][]byte{}, ever: map[string]uint32{}, keep: keep}
}

// process returns the store as a new process sees it. Earlier ones have ended.
func (s *shop) process() repository.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boot++
	return handle{s, s.boot}
}

// end ends the process that uses the store.
func (s *shop) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boot++
	s.left = 0
}

// cutAfter lets the power go after n more operations that change something.
func (s *shop) cutAfter(n int, cut func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.cut = n, cut
}

// sleep lets the publisher's machine sleep. Its calls don't return until the result is called.
func (s *shop) sleep() (wake func()) {
	awake := make(chan struct{})
	s.mu.Lock()
	s.awake = awake
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.awake = nil
		s.mu.Unlock()
		close(awake)
	}
}

// read is what a client fetches.
func (s *shop) read(name string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.files[name]
	return data, ok
}

func (s *shop) set(name string, data []byte) {
	if name == "timestamp.json" {
		now := time.Now()
		if n := len(s.swaps); n > 0 {
			s.swaps[n-1].superseded = now
		}
		s.swaps = slices.DeleteFunc(s.swaps, func(w swapped) bool {
			return !w.superseded.IsZero() && now.Sub(w.superseded) > s.keep
		})
		s.swaps = append(s.swaps, swapped{file: data})
	}
	s.bytes += int64(len(data) - len(s.files[name]))
	s.peak = max(s.peak, s.bytes)
	if data == nil {
		delete(s.files, name)
	} else {
		s.files[name] = data
	}
}

// handle is the store as one process sees it.
type handle struct {
	*shop
	boot int
}

// enter returns with the lock held.
func (h handle) enter(changes bool) error {
	h.mu.Lock()
	for h.awake != nil {
		awake := h.awake
		h.mu.Unlock()
		<-awake
		h.mu.Lock()
	}
	if h.boot != h.shop.boot {
		h.mu.Unlock()
		return errNoPower
	}
	if changes && h.left > 0 {
		if h.left--; h.left == 0 {
			h.shop.boot++
			h.mu.Unlock()
			h.cut()
			return errNoPower
		}
	}
	return nil
}

func (h handle) Get(_ context.Context, name string) ([]byte, error) {
	if err := h.enter(false); err != nil {
		return nil, err
	}
	defer h.mu.Unlock()
	data, ok := h.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, repository.ErrNotExist)
	}
	return bytes.Clone(data), nil
}

func (h handle) Create(_ context.Context, name string, data []byte) error {
	if err := h.enter(true); err != nil {
		return err
	}
	defer h.mu.Unlock()
	if old, ok := h.files[name]; ok {
		if !bytes.Equal(old, data) {
			return fmt.Errorf("%s: %w", name, repository.ErrConflict)
		}
		return nil
	}
	sum := crc32.ChecksumIEEE(data)
	if before, ok := h.ever[name]; ok && before != sum {
		h.faults = append(h.faults, fmt.Errorf("%s had another content before", name))
	}
	h.ever[name] = sum
	h.set(name, bytes.Clone(data))
	return nil
}

func (h handle) Swap(_ context.Context, name string, old, data []byte) error {
	if err := h.enter(true); err != nil {
		return err
	}
	defer h.mu.Unlock()
	now, ok := h.files[name]
	switch {
	case ok && bytes.Equal(now, data):
		return nil
	case ok != (old != nil) || !bytes.Equal(now, old):
		return fmt.Errorf("%s: %w", name, repository.ErrConflict)
	}
	h.set(name, bytes.Clone(data))
	return nil
}

func (h handle) Delete(_ context.Context, name string) error {
	if err := h.enter(true); err != nil {
		return err
	}
	defer h.mu.Unlock()
	h.set(name, nil)
	return nil
}

func (h handle) List(context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		if err := h.enter(false); err != nil {
			yield(repository.Info{}, err)
			return
		}
		sizes := map[string]int64{}
		for name, data := range h.files {
			sizes[name] = int64(len(data))
		}
		h.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(sizes)) {
			if !yield(repository.Info{Name: name, Size: sizes[name]}, nil) {
				return
			}
		}
	}
}
