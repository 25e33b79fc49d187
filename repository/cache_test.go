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
	require.Nil(t, c.get(1, 1), "one version of a bin")
	require.EqualValues(t, 50, c.used)

	c.put(3, 2, make([]byte, 101))
	require.Nil(t, c.get(3, 2), "larger than the budget")
	require.Nil(t, c.get(3, 1))
	require.EqualValues(t, 10, c.used)
}
