package repository

import (
	"container/list"
	"slices"
	"sync"
)

// binCache keeps the files of recently used bins, within a budget of bytes, the
// least recently used going first. Its bytes are never changed.
//
// While a generation is made it may hold two files of a bin: the published one and the new one. Once
// the attempt has succeeded or failed, one of them goes. So a failed attempt costs no reads later, and
// its files take no place in the cache.
type binCache struct {
	mu     sync.Mutex
	budget int64
	used   int64
	order  *list.List              // of cached, most recent first
	byBin  map[int][]*list.Element // of one bin, the oldest version first
}

type cached struct {
	bin     int
	version int64
	data    []byte
}

func newBinCache(budget int64) *binCache {
	return &binCache{budget: budget, order: list.New(), byBin: map[int][]*list.Element{}}
}

// get returns the file of a bin at a version, or nil.
func (c *binCache) get(bin int, version int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.byBin[bin] {
		if e.Value.(cached).version == version {
			c.order.MoveToFront(e)
			return e.Value.(cached).data
		}
	}
	return nil
}

// put keeps one more version of a bin. If there is no room, the earlier versions of the bin go first.
func (c *binCache) put(bin int, version int64, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if int64(len(data)) > c.budget {
		return
	}
	for _, e := range c.byBin[bin] {
		c.order.MoveToBack(e)
	}
	c.byBin[bin] = append(c.byBin[bin], c.order.PushFront(cached{bin, version, data}))
	c.used += int64(len(data))
	for c.used > c.budget {
		c.drop(c.order.Back())
	}
}

// remove forgets those versions of a bin for which unwanted returns true.
func (c *binCache) remove(bin int, unwanted func(version int64) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Clone(c.byBin[bin]) {
		if unwanted(e.Value.(cached).version) {
			c.drop(e)
		}
	}
}

// removeAfter forgets all versions after the one given, of all bins.
func (c *binCache) removeAfter(version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next *list.Element
	for e := c.order.Front(); e != nil; e = next {
		next = e.Next()
		if e.Value.(cached).version > version {
			c.drop(e)
		}
	}
}

func (c *binCache) drop(e *list.Element) {
	v := c.order.Remove(e).(cached)
	c.byBin[v.bin] = slices.DeleteFunc(c.byBin[v.bin], func(other *list.Element) bool { return other == e })
	if len(c.byBin[v.bin]) == 0 {
		delete(c.byBin, v.bin)
	}
	c.used -= int64(len(v.data))
}
