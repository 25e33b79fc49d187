package repository

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/roles"
)

// fullest remembers what fills the bins with the most bytes.
type fullest struct {
	looked map[string]contentsOf // by the bin's name
}

type contentsOf struct {
	at           time.Time
	targets      int
	largest      string
	largestBytes int64
}

// How many bins are shown, from what size on the publisher looks into them, and for how long it
// doesn't look again.
const (
	shownBins  = 3
	lookFrom   = roles.MaxTargets / 2
	lookBefore = time.Hour
)

// of returns the bins with the most bytes, the fullest first.
func (f *fullest) of(p *publisher) []FullBin {
	var found []int
	byLength := func(a, b int) int { return cmp.Or(cmp.Compare(p.row(b).Length, p.row(a).Length), cmp.Compare(a, b)) }
	for i := range p.docs.online.starts[len(p.docs.online.sets)] {
		if len(found) == shownBins && p.row(i).Length <= p.row(found[shownBins-1]).Length || p.row(i).Version == 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(found, i, byLength)
		found = slices.Insert(found, at, i)
		found = found[:min(len(found), shownBins)]
	}
	var out []FullBin
	for _, i := range found {
		c := f.looked[p.name(i)]
		out = append(out, FullBin{p.name(i), int64(p.row(i).Length), c.targets, c.largest, c.largestBytes})
	}
	return out
}

// look finds out what fills them. A bin that can't be read is looked at an hour later.
func (f *fullest) look(ctx context.Context, p *publisher) {
	old := f.looked
	f.looked = map[string]contentsOf{}
	for _, b := range f.of(p) {
		if c, ok := old[b.Bin]; ok && p.cfg.Now().Sub(c.at).Abs() < lookBefore {
			f.looked[b.Bin] = c
			continue
		}
		i, ok := p.docs.online.index(b.Bin)
		if !ok || b.Bytes < lookFrom || p.blocked(i) || p.rebuild.wants(i) {
			continue
		}
		c := contentsOf{at: p.cfg.Now()}
		if bin, err := p.loadBin(ctx, i); err == nil {
			for t, err := range bin.Targets() {
				if err != nil {
					break
				}
				c.targets++
				if n := int64(t.Size()); n > c.largestBytes {
					c.largest, c.largestBytes = t.Path, n
				}
			}
		}
		f.looked[b.Bin] = c
	}
}
