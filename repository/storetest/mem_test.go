package storetest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

func TestMemStore(t *testing.T) {
	storetest.TestStore(t, func(*testing.T) repository.Store { return storetest.NewStore() })
}

func TestMemJournal(t *testing.T) { storetest.TestJournal(t, place) }

func place(*testing.T) storetest.Place {
	j := storetest.NewJournal()
	return storetest.Place{Open: func() (repository.Journal, error) { return j.Handle(), nil }, Expire: j.Expire}
}

func TestMemReader(t *testing.T) {
	storetest.TestReader(t, func(*testing.T) (storetest.Place, func() (repository.Reader, error)) {
		j := storetest.NewJournal()
		place := storetest.Place{Open: func() (repository.Journal, error) { return j.Handle(), nil }, Expire: j.Expire}
		return place, func() (repository.Reader, error) { return j.Handle(), nil }
	})
}

func TestMemStoreHistory(t *testing.T) {
	s := storetest.NewStore()
	require.NoError(t, s.Swap(t.Context(), "timestamp.json", nil, []byte("1")))
	require.NoError(t, s.Swap(t.Context(), "timestamp.json", []byte("1"), []byte("2")))
	require.NoError(t, s.Swap(t.Context(), "timestamp.json", []byte("1"), []byte("2")))
	require.ErrorIs(t, s.Swap(t.Context(), "timestamp.json", []byte("1"), []byte("3")), repository.ErrConflict)
	require.NoError(t, s.Create(t.Context(), "1.a.json", []byte("a")))
	require.NoError(t, s.Delete(t.Context(), "1.a.json"))
	require.NoError(t, s.Create(t.Context(), "1.a.json", []byte("b")))

	require.Equal(t, [][]byte{[]byte("1"), []byte("2")}, s.History("timestamp.json"))
	require.Equal(t, [][]byte{[]byte("a"), []byte("b")}, s.History("1.a.json"))
	require.Empty(t, s.History("never"))
	require.Equal(t, []string{"1.a.json", "timestamp.json"}, s.Names())
}
