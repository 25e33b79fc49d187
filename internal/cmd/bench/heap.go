package main

import (
	"runtime/metrics"
	"time"
)

// peak watches how large the heap gets.
type peak struct {
	begin, most int64
	end, ended  chan struct{}
}

const heapSample = 5 * time.Millisecond

func watchHeap() *peak {
	p := &peak{begin: heapBytes(), end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		tick := time.NewTicker(heapSample)
		defer tick.Stop()
		for {
			p.most = max(p.most, heapBytes())
			select {
			case <-tick.C:
			case <-p.end:
				p.most = max(p.most, heapBytes())
				return
			}
		}
	}()
	return p
}

// stop returns the most by which the heap grew, in bytes.
func (p *peak) stop() int64 {
	close(p.end)
	<-p.ended
	return max(p.most-p.begin, 0)
}

// heapBytes returns the size of all objects, including dead ones that were not collected.
func heapBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
