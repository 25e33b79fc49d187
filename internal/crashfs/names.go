package crashfs

import (
	"math/rand/v2"
	"path/filepath"
)

// change makes name mean node, or nothing if node is nil. other is a name in the same directory that the
// change removes.
type change struct {
	name, other string
	node        *node
}

func (c change) apply(names map[string]*node) {
	delete(names, c.other)
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

// change makes the change visible.
func (d *Disk) change(c change) {
	c.apply(d.names)
	d.changes = append(d.changes, c)
}

// syncDir makes the names in dir durable, except those that a failed sync lost.
func (d *Disk) syncDir(dir string) { d.settle(dir, func() bool { return true }) }

// failSyncDir makes some of the changes durable. The others will never be.
func (d *Disk) failSyncDir(dir string, r *rand.Rand) {
	d.settle(dir, func() bool { return r.IntN(2) == 0 })
}

func (d *Disk) settle(dir string, durable func() bool) {
	left := d.changes[:0:0]
	for _, c := range d.changes {
		if filepath.Dir(c.name) != dir {
			left = append(left, c)
		} else if durable() {
			c.apply(d.durable)
		}
	}
	d.changes = left
}
