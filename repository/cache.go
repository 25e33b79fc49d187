package repository

import (
	"container/list"
	"sync"
)

// binCache keeps the files of recently used bins, within a budget of bytes, the
// least recently used going first. Its bytes are never changed.
type binCache struct {
	mu     sync.Mutex
	budget int64
	used   int64
	order  *list.List // of cached, most recent first
	byBin  map[int]*list.Element
}

type cached struct {
	bin     int
	version int64
	data    []byte
}

func newBinCache(budget int64) *binCache {
	return &binCache{budget: budget, order: list.New(), byBin: map[int]*list.Element{}}
}

// get returns the file of a bin at a version, or nil.
func (c *binCache) get(bin int, version int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byBin[bin]
	if e == nil || e.Value.(cached).version != version {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(cached).data
}

// put keeps one version of a bin in place of any other.
func (c *binCache) put(bin int, version int64, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byBin[bin]; e != nil {
		c.drop(e)
	}
	if int64(len(data)) > c.budget {
		return
	}
	c.byBin[bin] = c.order.PushFront(cached{bin, version, data})
	c.used += int64(len(data))
	for c.used > c.budget {
		c.drop(c.order.Back())
	}
}

// remove forgets a bin.
func (c *binCache) remove(bin int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byBin[bin]; e != nil {
		c.drop(e)
	}
}

func (c *binCache) drop(e *list.Element) {
	v := c.order.Remove(e).(cached)
	delete(c.byBin, v.bin)
	c.used -= int64(len(v.data))
}
