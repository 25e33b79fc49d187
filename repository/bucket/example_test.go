package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/bucket"
)

// memory is a Service that keeps one bucket in memory.
type memory struct {
	mu   sync.Mutex
	keys map[string]bucket.Version
	last int
}

func (m *memory) Read(_ context.Context, key string) (bucket.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.keys[key]
	if !ok {
		return v, repository.ErrNotExist
	}
	return v, nil
}

func (m *memory) Write(_ context.Context, key string, data []byte, _ string, c bucket.Condition) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[key].Tag != c.Tag { // that of a missing key is ""
		return "", bucket.ErrRefused
	}
	m.last++
	v := bucket.Version{Data: append([]byte(nil), data...), Tag: "v" + strconv.Itoa(m.last)}
	m.keys[key] = v
	return v.Tag, nil
}

func (m *memory) List(context.Context, string) iter.Seq2[repository.Info, error] {
	return func(func(repository.Info, error) bool) {} // left out here
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, key)
	return nil
}

func ExampleOpen() {
	ctx := context.Background()
	store, err := bucket.Open(ctx, &memory{keys: map[string]bucket.Version{}}, bucket.Config{Place: "memory://example/", Prefix: "metadata/"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(store.Create(ctx, "1.root.json", []byte("root")))
	fmt.Println(store.Create(ctx, "1.root.json", []byte("root")))
	err = store.Create(ctx, "1.root.json", []byte("another root"))
	fmt.Println(errors.Is(err, repository.ErrConflict), err)
	// Output:
	// <nil>
	// <nil>
	// true create "1.root.json" in memory://example/metadata/: conflict: it doesn't hold the bytes expected
}
