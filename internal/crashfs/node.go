package crashfs

import (
	"math/rand/v2"
	"slices"
	"time"
)

// pageSize is the unit in which bytes reach the disk.
const pageSize = 4096

// node is a file or a directory, under any number of names.
type node struct {
	dir    bool
	boot   int          // the process that made it
	made   int          // by which operation
	data   []byte       // what is visible
	synced []byte       // what survives; never changed in place
	dirty  map[int]bool // pages that the next sync is to write
	note   []byte       // see lock.Note
}

func (n *node) clone() *node {
	c := *n
	// Clipped, so that an append to one never changes the other.
	c.data, c.synced = slices.Clip(n.data), slices.Clip(n.synced)
	c.dirty = make(map[int]bool, len(n.dirty))
	for p := range n.dirty {
		c.dirty[p] = true
	}
	return &c
}

func (n *node) write(p []byte) {
	if len(p) == 0 {
		return
	}
	first := len(n.data) / pageSize
	n.data = append(n.data, p...)
	if n.dirty == nil {
		n.dirty = map[int]bool{}
	}
	for page := first; page*pageSize < len(n.data); page++ {
		n.dirty[page] = true
	}
}

// page returns the bytes of data in a page.
func page(data []byte, i int) []byte {
	return data[min(len(data), i*pageSize):min(len(data), (i+1)*pageSize)]
}

// sync makes dirty pages durable. What an earlier failed sync lost stays lost.
func (n *node) sync() {
	if n.pristine() {
		return
	}
	after := make([]byte, len(n.data))
	copy(after, n.synced)
	for i := range n.dirty {
		copy(page(after, i), page(n.data, i))
	}
	n.synced, n.dirty = after, nil
}

func (n *node) pristine() bool { return len(n.dirty) == 0 && len(n.data) == len(n.synced) }

// failSync is a failing sync. Each page is either written, or will never be; then reads show either the
// bytes on the disk or those that should be there.
func (n *node) failSync(r *rand.Rand) {
	n.data = slices.Clone(n.data)
	after := slices.Clone(n.synced)
	for i := 0; i*pageSize < len(n.data); i++ {
		if !n.dirty[i] {
			continue
		}
		switch r.IntN(3) {
		case 0: // it was written, and with it the length
			if end := min(len(n.data), (i+1)*pageSize); end > len(after) {
				after = append(after, make([]byte, end-len(after))...)
			}
			copy(page(after, i), page(n.data, i))
		case 1: // it is dropped from memory too
			clear(page(n.data, i))
			copy(page(n.data, i), page(after, i))
		}
	}
	n.synced, n.dirty = after, nil
}

// survive reduces the file to what survives a loss of power.
func (n *node) survive(keep Keep, r *rand.Rand) {
	if n.dir {
		return
	}
	n.note = nil
	if n.pristine() {
		n.data = n.synced // they differ in what a failed sync lost
		return
	}
	size := len(n.synced)
	if len(n.data) > size {
		switch keep {
		case All:
			size = len(n.data)
		case Before, Any:
			size += r.IntN(len(n.data) - size + 1)
			if r.IntN(2) == 0 { // often the whole length and not all of the bytes
				size = len(n.data)
			}
		}
	}
	after := make([]byte, size)
	copy(after, n.synced)
	for i := 0; i*pageSize < size; i++ {
		if !n.dirty[i] {
			continue
		}
		old, now := page(after, i), page(n.data[:size], i)
		switch keep {
		case All, Before:
			copy(old, now)
		case Any:
			switch r.IntN(4) {
			case 0, 1:
				copy(old, now)
			case 2:
				torn := r.IntN(len(now) + 1)
				copy(old, now[:torn])
			}
		}
	}
	n.data, n.synced, n.dirty = after, after, nil
}

// written is when a file was last written, roughly: files that an earlier process made are very old.
func (d *Disk) written(n *node) time.Time {
	if n.boot == d.boots {
		return time.Now()
	}
	return time.Unix(0, 0)
}
