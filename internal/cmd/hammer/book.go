package main

import (
	"fmt"
	"sync"

	"github.com/bindery-tuf/bindery/internal/tufclient"
)

// book records what publishers said, and every content that was seen.
type book struct {
	mu         sync.Mutex
	lanes      [lanes]laneAccount
	generation int64 // highest that a receipt named
	accepted   int
	published  int
	contents   tufclient.Contents
}

type laneAccount struct {
	accepted    int     // items 1 to accepted were accepted
	published   int     // highest item whose receipt resolved
	asked       int     // items 1 to asked have all told their generation
	generations []int64 // by item; 0 if it was not told
}

func newBook() *book { return &book{} }

// accept notes that an item was accepted. A publisher may say so twice, if it was killed before the
// first line arrived.
func (b *book) accept(lane, n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &b.lanes[lane]
	if n != a.accepted+1 {
		return fmt.Errorf("lane %d: item %d accepted after item %d", lane, n, a.accepted)
	}
	a.accepted = n
	b.accepted++
	return nil
}

// publish notes what a receipt said, and reports whether its generation is higher than any before. A
// publisher reports the items of a lane in order.
func (b *book) publish(lane, n int, generation int64) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &b.lanes[lane]
	for len(a.generations) <= n {
		a.generations = append(a.generations, 0)
	}
	switch told := a.generations[n]; {
	case generation < 1:
		return false, fmt.Errorf("lane %d: the receipt of item %d names generation %d", lane, n, generation)
	case told == generation:
		return false, nil
	case told != 0:
		return false, fmt.Errorf("lane %d: the receipt of item %d names generation %d, and earlier it was %d", lane, n, generation, told)
	}
	a.generations[n] = generation
	b.published++
	if before := a.generations[n-1]; before > generation {
		return false, fmt.Errorf("lane %d: item %d is of generation %d, and item %d of %d", lane, n-1, before, n, generation)
	}
	a.published = max(a.published, n)
	for a.asked+1 < len(a.generations) && a.generations[a.asked+1] != 0 {
		a.asked++
	}
	isNew := generation > b.generation
	b.generation = max(b.generation, generation)
	return isNew, nil
}

// orders are the orders for the next publisher: to ask for every outcome that was not told, and
// again for some that were.
func (b *book) orders(settle bool) orders {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := orders{Settle: settle}
	for _, a := range b.lanes {
		l := laneOrders{Next: a.accepted + 1}
		for n := max(1, a.asked-2); n <= a.accepted; n++ {
			l.Ask = append(l.Ask, n)
		}
		o.Lanes = append(o.Lanes, l)
	}
	return o
}

// floor is what a client that begins now must find, or more.
func (b *book) floor() (generation int64, published [lanes]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, a := range b.lanes {
		published[i] = a.published
	}
	return b.generation, published
}

// settled returns an error if something is missing after a publisher settled everything.
func (b *book) settled() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, a := range b.lanes {
		if a.asked != a.accepted {
			return fmt.Errorf("lane %d: %d items were accepted, and item %d was never published", i, a.accepted, a.asked+1)
		}
	}
	return nil
}

func (b *book) counts() (accepted, published int, generation int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted, b.published, b.generation
}
