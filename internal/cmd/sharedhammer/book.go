package main

import (
	"fmt"
	"sync"
	"time"
)

// book has what was promised: that items are published, and in which generation.
type book struct {
	mu       sync.Mutex
	promises []promise // not yet in what follows
	// What a client must see that begins now, or more.
	generation int64
	lanes      [lanes]state
	era        int
}

type promise struct {
	at         time.Time
	lane       int
	s          state
	generation int64
}

func (b *book) promise(lane, era, n int, generation int64) error {
	if lane < 0 || lane >= lanes || generation < 1 {
		return fmt.Errorf("lane %d: item %d is said to be published in generation %d", lane, n, generation)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := state{Era: era, N: n}
	if era < b.era { // it was on its way meanwhile
		s = state{}
	}
	b.promises = append(b.promises, promise{time.Now(), lane, s, generation})
	return nil
}

// floor is what a client must see, or more, that begins now behind a cache whose timestamps are at most age old.
func (b *book) floor(age time.Duration) (generation int64, of [lanes]state, era int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	n := 0
	for ; n < len(b.promises) && now.Sub(b.promises[n].at) >= age; n++ {
		p := b.promises[n]
		b.generation = max(b.generation, p.generation)
		if b.lanes[p.lane].before(p.s) {
			b.lanes[p.lane] = p.s
		}
	}
	b.promises = b.promises[n:]
	return b.generation, b.lanes, b.era
}

// newest is the highest generation of any promise.
func (b *book) newest() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.generation
	for _, p := range b.promises {
		n = max(n, p.generation)
	}
	return n
}

func (b *book) currentEra() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.era
}

// newEra forgets what was promised of lanes: the database may have lost it. Generations don't go back.
func (b *book) newEra(era int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.era = era
	b.lanes = [lanes]state{}
	for i := range b.promises {
		b.promises[i].s = state{}
	}
}
