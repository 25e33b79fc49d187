package storetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
)

// TestStore tests a repository.Store against its interface's contract. open returns a new, empty store, and
// registers its clean-up with t.Cleanup.
func TestStore(t *testing.T, open func(t *testing.T) repository.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s repository.Store)
	}{
		{"Missing", testMissing},
		{"Create", testCreate},
		{"CreateAgain", testCreateAgain},
		{"CreateRace", testCreateRace},
		{"CreateSameRace", testCreateSameRace},
		{"Swap", testSwap},
		{"SwapConflict", testSwapConflict},
		{"SwapRace", testSwapRace},
		{"SwapReaders", testSwapReaders},
		{"Contents", testContents},
		{"NoSharedMemory", testNoSharedMemory},
		{"List", testList},
		{"Delete", testDelete},
		{"ContextEnded", testStoreContext},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

const (
	binName  = "17.bins-0a3f.json"
	swapName = "timestamp.json"
)

// crowd is how many callers race for the same name or ID.
const crowd = 100

func requireContent(t *testing.T, s repository.Store, name, want string) {
	t.Helper()
	got, err := s.Get(t.Context(), name)
	require.NoError(t, err)
	require.Equal(t, want, string(got))
}

func list(t *testing.T, s repository.Store) map[string]int64 {
	t.Helper()
	sizes := map[string]int64{}
	for info, err := range s.List(t.Context()) {
		require.NoError(t, err)
		require.NotContains(t, sizes, info.Name)
		sizes[info.Name] = info.Size
	}
	return sizes
}

func testMissing(t *testing.T, s repository.Store) {
	_, err := s.Get(t.Context(), binName)
	require.ErrorIs(t, err, repository.ErrNotExist)
	require.ErrorContains(t, err, binName)
	require.NoError(t, s.Delete(t.Context(), binName))
	require.Empty(t, list(t, s))
}

func testCreate(t *testing.T, s repository.Store) {
	require.NoError(t, s.Create(t.Context(), binName, []byte("first")))
	requireContent(t, s, binName, "first")
	require.Equal(t, map[string]int64{binName: 5}, list(t, s))
	_, err := s.Get(t.Context(), "18.bins-0a3f.json")
	require.ErrorIs(t, err, repository.ErrNotExist)
}

func testCreateAgain(t *testing.T, s repository.Store) {
	require.NoError(t, s.Create(t.Context(), binName, []byte("first")))
	require.NoError(t, s.Create(t.Context(), binName, []byte("first")))
	for _, other := range []string{"other", "firs", "first!", ""} {
		err := s.Create(t.Context(), binName, []byte(other))
		require.ErrorIs(t, err, repository.ErrConflict, "%q", other)
		require.ErrorContains(t, err, binName)
		requireContent(t, s, binName, "first")
	}
	require.Equal(t, map[string]int64{binName: 5}, list(t, s))
}

// race calls f from many goroutines at once and returns their errors.
func race(f func(i int) error) []error {
	errs := make([]error, crowd)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// winner requires that one caller had success and all others the error want.
func winner(t *testing.T, errs []error, want error) int {
	t.Helper()
	won := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, won, "a second winner: %d", i)
			won = i
			continue
		}
		require.ErrorIs(t, err, want)
	}
	require.NotEqual(t, -1, won, "nobody won")
	return won
}

func contender(i int) string { return fmt.Sprintf("content of contender %d", i) }

func testCreateRace(t *testing.T, s repository.Store) {
	errs := race(func(i int) error { return s.Create(t.Context(), binName, []byte(contender(i))) })
	requireContent(t, s, binName, contender(winner(t, errs, repository.ErrConflict)))
	require.Len(t, list(t, s), 1)
}

func testCreateSameRace(t *testing.T, s repository.Store) {
	for _, err := range race(func(int) error { return s.Create(t.Context(), binName, []byte("same")) }) {
		require.NoError(t, err)
	}
	requireContent(t, s, binName, "same")
	require.Equal(t, map[string]int64{binName: 4}, list(t, s))
}

func testSwap(t *testing.T, s repository.Store) {
	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("one")))
	requireContent(t, s, swapName, "one")
	require.NoError(t, s.Swap(t.Context(), swapName, []byte("one"), []byte("two, longer")))
	requireContent(t, s, swapName, "two, longer")
	require.NoError(t, s.Swap(t.Context(), swapName, []byte("two, longer"), []byte("3")))
	requireContent(t, s, swapName, "3")
	// Once more: it was done, and the caller was not told.
	require.NoError(t, s.Swap(t.Context(), swapName, []byte("two, longer"), []byte("3")))
	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("3")))
	requireContent(t, s, swapName, "3")
	require.Equal(t, map[string]int64{swapName: 1}, list(t, s))
}

func testSwapConflict(t *testing.T, s repository.Store) {
	err := s.Swap(t.Context(), swapName, []byte("one"), []byte("two"))
	require.ErrorIs(t, err, repository.ErrConflict, "the name does not exist")
	require.Empty(t, list(t, s))

	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("one")))
	for _, old := range [][]byte{nil, []byte("zero"), []byte("on"), []byte("one!")} {
		err := s.Swap(t.Context(), swapName, old, []byte("two"))
		require.ErrorIs(t, err, repository.ErrConflict, "%q", old)
		require.ErrorContains(t, err, swapName)
		requireContent(t, s, swapName, "one")
	}
}

func testSwapRace(t *testing.T, s repository.Store) {
	errs := race(func(i int) error { return s.Swap(t.Context(), swapName, nil, []byte(contender(i))) })
	old := contender(winner(t, errs, repository.ErrConflict))
	requireContent(t, s, swapName, old)

	errs = race(func(i int) error { return s.Swap(t.Context(), swapName, []byte(old), []byte("new "+contender(i))) })
	requireContent(t, s, swapName, "new "+contender(winner(t, errs, repository.ErrConflict)))
	require.Len(t, list(t, s), 1)
}

func testSwapReaders(t *testing.T, s repository.Store) {
	const swaps = 50
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, 1000+i) }
	require.NoError(t, s.Swap(t.Context(), swapName, nil, content(0)))

	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := 0
			for {
				select {
				case <-done:
					return
				default:
				}
				got, err := s.Get(t.Context(), swapName)
				if err != nil || len(got) < 1000 || !bytes.Equal(got, content(len(got)-1000)) || len(got)-1000 < last {
					t.Errorf("after content %d a reader saw %.20q…, %d bytes, error %v", last, got, len(got), err)
					return
				}
				last = len(got) - 1000
			}
		})
	}
	for i := range swaps {
		require.NoError(t, s.Swap(t.Context(), swapName, content(i), content(i+1)))
	}
	close(done)
	wg.Wait()
}

func testContents(t *testing.T, s repository.Store) {
	large := make([]byte, 5_000_000)
	for i := range large {
		large[i] = byte(i * 7 >> 3)
	}
	all := map[string][]byte{
		"1.root.json": []byte("{\"é\":\"\u2028\"}"),
		"2.bins.json": large,
		"3.bins-" + string(bytes.Repeat([]byte("x"), 200)) + ".json": []byte("a long name"),
		"4.A.json":       []byte("letters have a case"),
		"4.a.json":       []byte("LETTERS HAVE A CASE"),
		"5.zeroes.json":  {0, 0, 0, '\r', '\n'},
		"6.nothing.json": {},
	}
	sizes := map[string]int64{}
	for name, data := range all {
		require.NoError(t, s.Create(t.Context(), name, data), name)
		sizes[name] = int64(len(data))
	}
	for name, data := range all {
		got, err := s.Get(t.Context(), name)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(data, got), name)
	}
	require.Equal(t, sizes, list(t, s))
	require.ErrorIs(t, s.Swap(t.Context(), "6.nothing.json", nil, []byte("x")), repository.ErrConflict,
		"an empty content is not a missing one")
}

func testNoSharedMemory(t *testing.T, s repository.Store) {
	data := []byte("data")
	require.NoError(t, s.Create(t.Context(), binName, data))
	require.NoError(t, s.Swap(t.Context(), swapName, nil, data))
	data[0] = 'X'
	for _, name := range []string{binName, swapName} {
		got, err := s.Get(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, "data", string(got))
		got[0] = 'X'
		requireContent(t, s, name, "data")
	}
}

func testList(t *testing.T, s repository.Store) {
	want := map[string]int64{}
	for i := range 300 {
		name := fmt.Sprintf("%d.bins-%04x.json", i, i)
		require.NoError(t, s.Create(t.Context(), name, make([]byte, i)))
		want[name] = int64(i)
	}
	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("one")))
	want[swapName] = 3
	require.Equal(t, want, list(t, s))

	seen := 0
	for _, err := range s.List(t.Context()) { // ending early must be possible
		require.NoError(t, err)
		if seen++; seen == 3 {
			break
		}
	}
	require.Equal(t, 3, seen)
}

func testDelete(t *testing.T, s repository.Store) {
	require.NoError(t, s.Create(t.Context(), binName, []byte("first")))
	require.NoError(t, s.Create(t.Context(), "1.root.json", []byte("root")))
	require.NoError(t, s.Delete(t.Context(), binName))
	_, err := s.Get(t.Context(), binName)
	require.ErrorIs(t, err, repository.ErrNotExist)
	require.Equal(t, map[string]int64{"1.root.json": 4}, list(t, s))
	require.NoError(t, s.Delete(t.Context(), binName))
	requireContent(t, s, "1.root.json", "root")
}

func testStoreContext(t *testing.T, s repository.Store) {
	require.NoError(t, s.Create(t.Context(), binName, []byte("first")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, binName)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Create(ctx, "1.root.json", []byte("root")), context.Canceled)
	require.ErrorIs(t, s.Swap(ctx, swapName, nil, []byte("one")), context.Canceled)
	require.ErrorIs(t, s.Delete(ctx, binName), context.Canceled)
	ended := 0
	for _, err := range s.List(ctx) {
		require.ErrorIs(t, err, context.Canceled)
		ended++
	}
	require.Equal(t, 1, ended)
	requireContent(t, s, binName, "first")
}
