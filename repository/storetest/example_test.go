package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// The test of a store of one's own calls the suite.
func ExampleTestStore() {
	_ = func(t *testing.T) { // func TestStore(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) repository.Store {
			return newStore(t.TempDir())
		})
	}
}

// newStore stands for one's own.
func newStore(string) repository.Store { return storetest.NewStore() }

// Tests of what is built upon a store have one in memory.
func ExampleNewStore() {
	ctx := context.Background()
	store := storetest.NewStore()
	if err := store.Swap(ctx, "timestamp.json", nil, []byte("one")); err != nil {
		log.Fatal(err)
	}
	err := store.Swap(ctx, "timestamp.json", []byte("zero"), []byte("two"))
	fmt.Println(errors.Is(err, repository.ErrConflict))
	// Output: true
}
