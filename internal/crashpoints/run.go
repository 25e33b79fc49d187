package crashpoints

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"
)

// Options say which points Run tries.
type Options struct {
	Points int    // how many at least; zero: those of the scripted histories alone
	Seed   uint64 // decides about all chance
	First  bool   // stop after a failure, and look for one in a sample of all histories first
	Every  int    // of the points of a history, only each of so many; zero: all
	Offset int    // which of these
	Syncs  int    // of the failing syncs, only each of so many; zero: syncSample

	// History, if not empty, limits Run to one history. Op, if not negative, limits it to one
	// point.
	History     string
	Op, Variant int
}

// Failure is a point at which a rule is broken.
type Failure struct {
	Moment  *Moment
	Variant int
	Err     error
}

func (f Failure) Error() string {
	return fmt.Sprintf("history %s, after operation %d (before %s), variant %d: %v",
		f.Moment.History.Name, f.Moment.Op, f.Moment.next, f.Variant, f.Err)
}

// syncSample says that one of so many failing syncs is tried at each moment. The next moment tries
// another one, so that each part of a history meets all of them. The first history tries all.
const syncSample = 12

// firstSample says that one of so many points of the scripted histories is tried before all others,
// if Run stops after a failure: most mistakes show there.
const firstSample = 41

// fullEvery says at how many points one is checked by clients of all generations, instead of
// clients of one of the newest. Older generations were checked with the history, and don't change.
const fullEvery = 199

// Run tries every variant at each moment of the scripted histories, and then of random ones until
// there were enough points. It returns the number of points, and reports failures as they come. A
// history that fails without a crash is an error.
func Run(t require.TestingT, o Options, failed func(Failure)) (points int64, err error) {
	failures := 0
	try := func(moments []*Moment, o Options) {
		if o.First && failures > 0 {
			return
		}
		points += tryAll(moments, o, func(f Failure) {
			failures++
			failed(f)
		})
	}
	var scripted [][]*Moment
	for _, h := range Scripted(t) { // all without a crash first
		if o.History != "" && o.History != h.Name {
			continue
		}
		moments, err := Moments(h)
		if err != nil {
			return 0, err
		}
		scripted = append(scripted, moments)
	}
	if o.First && o.Every <= 1 && o.Op < 0 {
		sample := o
		sample.Every = firstSample
		for _, moments := range scripted {
			try(moments, sample)
		}
		if failures == 0 {
			points = 0 // they are tried again
		}
	}
	for _, moments := range scripted {
		try(moments, o)
	}
	random := func(seed uint64, n int) error {
		moments, err := Moments(Random(t, seed, n))
		if err == nil {
			try(moments, o)
		}
		return err
	}
	if o.History != "" {
		var seed uint64
		var n int
		if _, err := fmt.Sscanf(o.History, "random-%d-%d", &seed, &n); err == nil {
			err = random(seed, n)
			return points, err
		}
		return points, nil
	}
	for n := 0; points < int64(o.Points) && !(o.First && failures > 0); n++ {
		if err := random(o.Seed, n); err != nil {
			return points, err
		}
	}
	return points, nil
}

// tryAll tries every variant at every moment, and every failing sync.
func tryAll(moments []*Moment, o Options, failed func(Failure)) int64 {
	var points, next atomic.Int64
	var mu sync.Mutex // for failed
	var stop atomic.Bool
	var all sync.WaitGroup
	try := func(m *Moment, variant int, full bool) (tried bool) {
		tried, err := m.Point(o.Seed, variant, full)
		if tried {
			points.Add(1)
		}
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed(Failure{m, variant, err})
			stop.Store(o.First)
		}
		return tried
	}
	syncs := o.Syncs
	switch {
	case syncs > 0:
	case len(moments) > 0 && moments[0].History.thorough:
		syncs = 1
	default:
		syncs = syncSample
	}
	const each = Variants + 1 // the last one stands for the failing syncs
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(moments)*each || stop.Load() {
					return
				}
				m, variant := moments[n/each], n%each
				switch {
				case o.Every > 1 && (n+o.Offset)%o.Every != 0:
				case o.History != "" && o.Op >= 0:
					if m.Op == o.Op && variant == 0 {
						try(m, o.Variant, true)
					}
				case variant < Variants:
					try(m, variant, n%fullEvery == 0)
				default:
					for sync := 1 + n/each%syncs; try(m, FailingSync+sync, false) && !stop.Load(); sync += syncs {
					}
				}
			}
		})
	}
	all.Wait()
	return points.Load()
}
