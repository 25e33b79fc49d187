package dirstore_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// gated makes the syncs of the store's directory wait, each for one value.
func gated(fsys *faulty) chan struct{} {
	gate := make(chan struct{})
	fsys.gate = func(call string) {
		if call == "syncdir store" {
			<-gate
		}
	}
	return gate
}

func syncs(fsys *faulty) (n int) {
	for _, call := range fsys.took() {
		if call == "syncdir store" {
			n++
		}
	}
	return n
}

// All who come while a sync runs share the next one, and none is served by one
// that began before it came.
func TestSyncsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fsys, _ := newStore(t)
		gate, done := gated(fsys), make(chan error, 100)
		create := func(i int) { done <- s.Create(ctx, fmt.Sprint(i), nil) }
		go create(0)
		synctest.Wait()
		for i := range 50 {
			go create(1 + i)
		}
		synctest.Wait()
		require.Empty(t, done)

		gate <- struct{}{}
		synctest.Wait()
		require.Len(t, done, 1)
		go create(51) // the second sync is running: this one needs a third
		synctest.Wait()

		gate <- struct{}{}
		synctest.Wait()
		require.Len(t, done, 51)
		gate <- struct{}{}
		synctest.Wait()
		require.Len(t, done, 52)
		require.Equal(t, 3, syncs(fsys))
		for range 52 {
			require.NoError(t, <-done)
		}
	})
}

// A failed sync is told to all whose change it may have dropped: also to one
// whose own sync succeeds after it. Repeated, their calls make the name anew.
func TestFailedSyncIsToldToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, fsys, _ := newStore(t)
		failed := 0
		fsys.reset(func(_ int, call string) *fault {
			if call == "syncdir store" && failed == 0 {
				failed++
				return &fault{}
			}
			return nil
		})
		gate, first, second := gated(fsys), make(chan error, 1), make(chan error, 1)
		go func() { first <- s.Create(ctx, "first", nil) }()
		synctest.Wait()
		go func() { second <- s.Create(ctx, "second", nil) }()
		synctest.Wait()
		close(gate)
		require.ErrorIs(t, <-first, errInjected)
		require.ErrorContains(t, <-second, "another sync of the directory failed meanwhile")

		fsys.reset(nil)
		require.NoError(t, s.Create(ctx, "third", nil))
		require.NoError(t, s.Create(ctx, "second", nil))
		require.Contains(t, fsys.took(), "rename second")
	})
}
