package repository

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBinCache(t *testing.T) {
	c := newBinCache(100)
	c.put(1, 1, make([]byte, 40))
	c.put(2, 1, make([]byte, 40))
	require.Len(t, c.get(1, 1), 40)
	require.Nil(t, c.get(1, 2), "another version")

	c.put(3, 1, make([]byte, 40))
	require.Nil(t, c.get(2, 1), "the least recently used went")
	require.NotNil(t, c.get(1, 1))
	require.EqualValues(t, 80, c.used)

	c.put(1, 2, make([]byte, 10))
	require.Len(t, c.get(1, 1), 40, "until the generation is committed")
	require.Len(t, c.get(1, 2), 10)
	require.EqualValues(t, 90, c.used)
	c.put(3, 2, make([]byte, 20))
	require.Nil(t, c.get(3, 1), "what is to be replaced goes first")
	require.Len(t, c.get(1, 1), 40)
	c.remove(1, func(version int64) bool { return version != 2 })
	require.Nil(t, c.get(1, 1))
	require.EqualValues(t, 30, c.used)
	c.removeAfter(1)
	require.Zero(t, c.used)
	require.Zero(t, c.order.Len())
	require.Empty(t, c.byBin)

	c.put(3, 2, make([]byte, 101))
	require.Nil(t, c.get(3, 2), "larger than the budget")
	require.Zero(t, c.used)
}
