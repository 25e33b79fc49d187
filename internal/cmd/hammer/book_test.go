package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBookNoticesLies(t *testing.T) {
	b := newBook()
	require.NoError(t, b.accept(0, 1))
	require.NoError(t, b.accept(0, 2))
	require.ErrorContains(t, b.accept(0, 4), "accepted after item 2")

	isNew, err := b.publish(0, 1, 5)
	require.NoError(t, err)
	require.True(t, isNew)
	isNew, err = b.publish(0, 1, 5) // told again
	require.NoError(t, err)
	require.False(t, isNew)
	_, err = b.publish(0, 1, 6)
	require.ErrorContains(t, err, "earlier it was 5")
	require.ErrorContains(t, b.settled(), "item 2 was never published")
	_, err = b.publish(0, 2, 4)
	require.ErrorContains(t, err, "item 1 is of generation 5, and item 2 of 4")

	require.NoError(t, b.contents.See("1.a.json", []byte("a")))
	require.NoError(t, b.contents.See("1.a.json", []byte("a")))
	require.ErrorContains(t, b.contents.See("1.a.json", []byte("b")), "two contents")
}

// The next publisher is asked for all that was accepted and not told, and again
// for some that were.
func TestBookOrders(t *testing.T) {
	b := newBook()
	for n := range 6 {
		require.NoError(t, b.accept(3, n+1))
	}
	for n := range 4 {
		_, err := b.publish(3, n+1, 2)
		require.NoError(t, err)
	}
	o := b.orders(false)
	require.Len(t, o.Lanes, lanes)
	require.Equal(t, laneOrders{Next: 7, Ask: []int{2, 3, 4, 5, 6}}, o.Lanes[3])
	require.Equal(t, laneOrders{Next: 1}, o.Lanes[0])
	generation, published := b.floor()
	require.EqualValues(t, 2, generation)
	require.Equal(t, 4, published[3])
}
