package storetest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
)

// MemStore is a repository.Store in memory that forgets nothing: History tells
// every content that a name ever had. It is safe for concurrent use.
type MemStore struct {
	mu      sync.Mutex
	content map[string][]byte
	history map[string][][]byte
}

// NewStore returns an empty store.
func NewStore() *MemStore {
	return &MemStore{content: map[string][]byte{}, history: map[string][][]byte{}}
}

// Clone returns a copy of the store as it is now, as a backup has it: what names
// held before is not in it.
func (s *MemStore) Clone() *MemStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := NewStore()
	for name, data := range s.content {
		c.content[name] = data // never changed
		c.history[name] = [][]byte{data}
	}
	return c
}

// History returns every content that name ever had, oldest first, whether it was
// deleted or replaced since. Writing the same bytes again adds nothing.
func (s *MemStore) History(name string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([][]byte, len(s.history[name]))
	for i, data := range s.history[name] {
		all[i] = bytes.Clone(data)
	}
	return all
}

// Forget reduces the history of a name to what it holds now, for a test that
// altered it and put it right again.
func (s *MemStore) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history[name] = [][]byte{s.content[name]}
}

// Names returns every name that ever had a content, sorted.
func (s *MemStore) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.history))
}

// Get implements repository.Store.
func (s *MemStore) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.content[name]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", name, repository.ErrNotExist)
	}
	// Never nil: an empty content is not a missing one.
	return append([]byte{}, data...), nil
}

// Create implements repository.Store.
func (s *MemStore) Create(ctx context.Context, name string, data []byte) error {
	if err := s.replace(ctx, name, nil, false, data); err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	return nil
}

// Swap implements repository.Store.
func (s *MemStore) Swap(ctx context.Context, name string, old, new []byte) error {
	if err := s.replace(ctx, name, old, old != nil, new); err != nil {
		return fmt.Errorf("swap %s: %w", name, err)
	}
	return nil
}

// replace gives name a new content if it has the old one, or none if !exists.
func (s *MemStore) replace(ctx context.Context, name string, old []byte, exists bool, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current, ok := s.content[name]
	if ok && bytes.Equal(current, data) {
		return nil
	}
	if ok != exists || !bytes.Equal(current, old) {
		return repository.ErrConflict
	}
	data = bytes.Clone(data)
	s.content[name] = data
	s.history[name] = append(s.history[name], data)
	return nil
}

// List implements repository.Store. It yields what was there when it began.
func (s *MemStore) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		s.mu.Lock()
		content := maps.Clone(s.content)
		s.mu.Unlock()
		for name, data := range content {
			if err := ctx.Err(); err != nil {
				yield(repository.Info{}, fmt.Errorf("list: %w", err))
				return
			}
			if !yield(repository.Info{Name: name, Size: int64(len(data))}, nil) {
				return
			}
		}
	}
}

// Delete implements repository.Store.
func (s *MemStore) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.content, name)
	return nil
}
