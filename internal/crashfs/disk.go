// Package crashfs is a disk in memory that can lose power, for tests:
//
//	d := crashfs.New(seed)
//	fsys := d.Start() // a process, which is a disk.FS
//	...
//	d.PowerCut(d.AnyCut()) // what wasn't synced may be gone, whole or in part
//	fsys = d.Start() // the next process recovers
//
// After a power cut the disk can be in every state that package disk allows:
//
//   - Bytes that were written and not synced are lost, torn at any byte, or kept page by page (of
//     4 KiB) in any subset. If a file has its new length, missing bytes read as zeros.
//   - Names that were made, replaced or removed since the last sync of their directory are lost, in
//     any subset or from some point in time on. A rename within a directory is kept as a whole or not
//     at all. A rename into another directory is two changes. A directory that loses its name loses
//     its contents.
//   - A process can read what a killed process wrote. Reading makes nothing durable.
//   - After a failed sync, each of its pages (or names) is either durable or will never become
//     durable, although later syncs succeed. Until the power is cut, a read shows either the new
//     bytes of such a page or the old ones.
//   - Locks end with their process.
//
// A [Disk] outlives its processes. Each [Process] uses it as a disk.FS. The seed decides everything
// random: the same calls in the same order have the same results.
package crashfs

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

// Disk is a disk with the directory "/". It is safe for concurrent use.
type Disk struct {
	mu      sync.Mutex
	chance  *rand.PCG
	names   map[string]*node // what is visible, by path
	durable map[string]*node // which names survive whatever happens
	changes []change         // of names, not durable yet, oldest first
	locks   map[*node]*lock
	process *Process // the newest
	ops     int
	endless bool
	boots   int // processes so far

	before func(Op)       // without the lock
	inject func(Op) Fault // with the lock
}

// New returns an empty disk.
func New(seed uint64) *Disk {
	root := &node{dir: true}
	return &Disk{
		chance: rand.NewPCG(seed, 0), locks: map[*node]*lock{},
		names: map[string]*node{"/": root}, durable: map[string]*node{"/": root},
	}
}

// Start begins a process. Earlier ones must have ended.
func (d *Disk) Start() *Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil && !d.process.dead {
		panic("crashfs: another process lives")
	}
	d.boots++
	d.process = &Process{disk: d}
	return d.process
}

// Kill ends the process, if there is one. Each of its later calls fails with ErrKilled and does nothing.
// Its locks are free, and what it wrote can be read. Injecting of faults stops.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
	d.before, d.inject = nil, nil
}

// End ends the process as Kill does, but goes on injecting faults.
func (d *Disk) End() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kill()
}

func (d *Disk) kill() {
	if d.process != nil {
		d.process.dead = true
	}
	clear(d.locks)
}

// Clone returns an independent disk in the same state, with the same random future and without a
// process.
func (d *Disk) Clone(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	nodes := make(map[*node]*node, len(d.names))
	copied := func(n *node) *node {
		if n == nil {
			return nil
		}
		c := nodes[n]
		if c == nil {
			c = n.clone()
			nodes[n] = c
		}
		return c
	}
	all := func(names map[string]*node) map[string]*node {
		out := make(map[string]*node, len(names))
		for name, n := range names {
			out[name] = copied(n)
		}
		return out
	}
	out := &Disk{
		chance: rand.NewPCG(seed, 1), locks: map[*node]*lock{}, ops: d.ops, boots: d.boots,
		names: all(d.names), durable: all(d.durable), changes: slices.Clone(d.changes),
	}
	for i, c := range out.changes {
		out.changes[i].node = copied(c.node)
	}
	return out
}

// Files returns the content of every file that can be read, by path.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string][]byte{}
	for name, n := range d.names {
		if !n.dir {
			files[name] = slices.Clone(n.data)
		}
	}
	return files
}

// Put makes a durable file, or a durable directory if data is nil. Its parent must exist.
func (d *Disk) Put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &node{dir: data == nil, made: d.ops, data: slices.Clone(data), synced: slices.Clone(data)}
	d.names[name], d.durable[name] = n, n
}

// Drop removes a file as durably as Put makes one.
func (d *Disk) Drop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.names, name)
	delete(d.durable, name)
}

// Ops returns the number of operations so far.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Keep says which of the changes that were not durable survive a loss of power.
type Keep int

// What is left.
const (
	None   Keep = iota // nothing
	All                // everything
	Before             // what came before some moment: of a file, all bytes up to any one
	Any                // any subset: of names, changes; of a file, pages, each torn anywhere
)

// Cut is a loss of power.
type Cut struct{ Names, Data Keep }

// AnyCut returns a random kind of cut.
func (d *Disk) AnyCut() Cut {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := rand.New(d.chance)
	return Cut{Keep(r.IntN(4)), Keep(r.IntN(4))}
}

// PowerCut ends the process and leaves on the disk what survived. Everything that can then be read is
// durable.
func (d *Disk) PowerCut(c Cut) {
	d.Kill()
	d.mu.Lock()
	defer d.mu.Unlock()
	r := rand.New(d.chance)
	// In the order in which they came, so that the result depends on the seed alone.
	kept := len(d.changes)
	if c.Names == Before {
		kept = r.IntN(len(d.changes) + 1)
	}
	for i, ch := range d.changes {
		if c.Names == All || c.Names == Before && i < kept || c.Names == Any && r.IntN(2) == 0 {
			ch.apply(d.durable)
		}
	}
	d.changes = nil
	for name := range d.durable {
		if !d.reachable(name) {
			delete(d.durable, name)
		}
	}
	d.names = maps.Clone(d.durable)
	// In the order in which they were made, because names may be random.
	files := slices.SortedFunc(maps.Values(d.names), func(a, b *node) int { return a.made - b.made })
	for _, n := range slices.Compact(files) {
		n.survive(c.Data, r)
	}
}

// reachable reports whether all directories above a durable name are durable.
func (d *Disk) reachable(name string) bool {
	for name != "/" {
		name = filepath.Dir(name)
		if n := d.durable[name]; n == nil || !n.dir {
			return false
		}
	}
	return true
}

// Locks returns how many locks are held.
func (d *Disk) Locks() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.locks)
}

// Read returns the content of a file that can be read.
func (d *Disk) Read(name string) (data []byte, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[name]
	if n == nil || n.dir {
		return nil, false
	}
	return slices.Clone(n.data), true
}
