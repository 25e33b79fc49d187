package repository

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

func target(path string, length int64) roles.Target {
	return roles.Target{Path: path, Length: length, Hashes: map[string]string{"sha256": fmt.Sprintf("%064x", length)}}
}

func testPlanner(t *testing.T) testPlan {
	layout, err := delegation.New("bins", 2, delegation.Succinct)
	require.NoError(t, err)
	return testPlan{planner{
		name:   layout.Name,
		length: func(int) int64 { return 0 }, limit: func(int) int64 { return roles.MaxTargets },
		blocked: func(int) bool { return false },
		load:    func(int) (*roles.Bin, error) { panic("not needed") },
	}, layout}
}

type testPlan struct {
	planner
	layout delegation.Bins
}

// decides plans items, which may be invalid.
func (p testPlan) decides(t *testing.T, generation int64, items ...Item) plan {
	t.Helper()
	var batch []queued
	for _, it := range items {
		e, err := it.Entry()
		require.NoError(t, err)
		q := queued{entry: e, item: it, err: it.Validate()}
		for path := range it.Paths {
			q.roles = append(q.roles, p.layout.Find(path))
			q.leaves = append(q.leaves, []int{p.layout.Find(path)})
		}
		batch = append(batch, q)
	}
	got, err := p.plan(batch, generation)
	require.NoError(t, err)
	return got
}

func states(p plan) (out []string) {
	for n, o := range p.outcomes {
		out = append(out, p.items[n].entry.ID+" "+string(o.State))
	}
	return out
}

// pathIn returns the nth path that falls into a bin.
func pathIn(layout delegation.Bins, bin, n int) string {
	for i := 0; ; i++ {
		path := fmt.Sprintf("packages/file-%d.whl", i)
		if layout.Find(path) == bin {
			if n == 0 {
				return path
			}
			n--
		}
	}
}

func TestPlanLastAcceptedWins(t *testing.T) {
	p := testPlanner(t)
	got := p.decides(t, 7,
		Item{ID: "a", Add: []roles.Target{target("x", 1)}},
		Item{ID: "b", Add: []roles.Target{target("x", 2), target("y", 2)}},
		Item{ID: "c", Remove: []string{"y"}},
		Item{ID: "d", Add: []roles.Target{target("z", 4)}},
	)
	require.Equal(t, []string{"a superseded", "b published", "c published", "d published"}, states(got))
	for _, o := range got.outcomes {
		require.EqualValues(t, 7, o.Generation)
	}
	bin, err := roles.NewBin().Edit(1, time.Unix(0, 0), append(got.edits[0], got.edits[1]...))
	require.NoError(t, err)
	var paths []string
	for target, err := range bin.Targets() {
		require.NoError(t, err)
		paths = append(paths, fmt.Sprint(target.Path, target.Length))
	}
	require.Equal(t, []string{"x2", "z4"}, paths)
}

func TestPlanQuarantine(t *testing.T) {
	p := testPlanner(t)
	p.blocked = func(bin int) bool { return bin == 0 }
	bad, good, other := pathIn(p.layout, 0, 0), pathIn(p.layout, 1, 0), pathIn(p.layout, 1, 1)
	got := p.decides(t, 1,
		Item{ID: "a", Add: []roles.Target{target(bad, 1), target(good, 1)}},
		Item{ID: "b", Add: []roles.Target{target(good, 2), target(other, 2)}}, // must not overtake a
		Item{ID: "c", Remove: []string{other}},                                // nor this b
		Item{ID: "d", Add: []roles.Target{target(pathIn(p.layout, 1, 2), 3)}},
	)
	require.Equal(t, []string{"a", "b", "c"}, got.waiting)
	require.Equal(t, []string{"d published"}, states(got))
	require.Empty(t, got.edits[0])
	require.Len(t, got.edits[1], 1)
}

func TestPlanPoisonousItem(t *testing.T) {
	got := testPlanner(t).decides(t, 1,
		Item{ID: "a", Add: []roles.Target{{Path: "../x", Length: 1}}},
		Item{ID: "b", Add: []roles.Target{target("x", 1)}},
	)
	require.Equal(t, []string{"a set aside", "b published"}, states(got))
	require.Contains(t, got.outcomes[0].Reason, `"../x"`)
}

// An item that makes a bin larger than clients accept is set aside as a whole;
// one that fits, or makes it smaller, is not held up by it.
func TestPlanBinLimit(t *testing.T) {
	p := testPlanner(t)
	var old []roles.TargetEdit
	for n := range 100 {
		x := target(pathIn(p.layout, 0, n), 1)
		old = append(old, roles.TargetEdit{Path: x.Path, Target: &x})
	}
	published, err := roles.NewBin().Edit(1, time.Unix(0, 0), old)
	require.NoError(t, err)
	loads := 0
	p.load = func(bin int) (*roles.Bin, error) {
		require.Zero(t, bin)
		loads++
		return published, nil
	}
	p.published = map[place]*roles.Target{}
	for _, e := range old {
		p.published[place{0, e.Path}] = e.Target
	}
	p.length = func(bin int) int64 {
		if bin == 1 {
			return 0
		}
		return int64(len(published.Canonical())) + 200
	}
	one := target(pathIn(p.layout, 0, 100), 1)
	limit := int64(len(published.Canonical())) + envelopeSlack + int64(one.Size()) + 50
	p.limit = func(int) int64 { return limit }

	elsewhere := target(pathIn(p.layout, 1, 0), 1)
	items := []Item{
		{ID: "fits", Add: []roles.Target{one}},
		{ID: "too-much", Add: []roles.Target{target(pathIn(p.layout, 0, 101), 1), elsewhere}},
		{ID: "replaces", Add: []roles.Target{target(old[0].Path, 2)}},
		{ID: "removes", Remove: []string{old[1].Path, old[2].Path}},
		{ID: "fits-again", Add: []roles.Target{target(pathIn(p.layout, 0, 102), 1)}},
	}
	got := p.decides(t, 1, items...)
	require.Equal(t, []string{"fits published", "too-much set aside", "replaces published", "removes published", "fits-again published"}, states(got))
	require.Contains(t, got.outcomes[1].Reason, "bin bins-0 would have")
	require.Empty(t, got.edits[1], "nothing of an item that was set aside")
	require.Positive(t, loads)

	// The same items far from the limit are decided without reading the bin.
	limit, loads = roles.MaxTargets, 0
	got = p.decides(t, 1, items...)
	require.Zero(t, loads)
	require.Len(t, got.edits[1], 1)
}

// A bin near its limit is read and edited once for a batch, however many items don't fit. What
// is planned for it is as large as was reckoned. One beyond its limit may only become smaller.
func TestPlanFullBin(t *testing.T) {
	for _, room := range []int64{1000, 0, -500} {
		t.Run(fmt.Sprint(room), func(t *testing.T) { testPlanFullBin(t, room) })
	}
}

func testPlanFullBin(t *testing.T, room int64) {
	random := rand.New(rand.NewPCG(1, 2))
	sized := func(n, custom int) roles.Target {
		x := target(pathIn(testPlanner(t).layout, 0, n), int64(random.IntN(100_000)))
		if custom > 0 {
			x.Custom = json.RawMessage(fmt.Sprintf(`{"x":"%0*d"}`, custom, 7))
		}
		return x
	}
	var old []roles.TargetEdit
	p := testPlanner(t)
	p.published = map[place]*roles.Target{}
	for n := range 20 {
		x := sized(n, random.IntN(100))
		old = append(old, roles.TargetEdit{Path: x.Path, Target: &x})
		p.published[place{0, x.Path}] = &x
	}
	published, err := roles.NewBin().Edit(1, time.Unix(0, 0), old)
	require.NoError(t, err)
	loads := 0
	p.load = func(int) (*roles.Bin, error) {
		loads++
		return published, nil
	}
	p.length = func(int) int64 { return int64(len(published.Canonical())) + 200 }
	limit := int64(len(published.Canonical())) + envelopeSlack + room
	p.limit = func(int) int64 { return limit }
	items := []Item{{ID: "first", Add: []roles.Target{sized(50, 5000)}}} // is refused
	for n := range 300 {
		it := Item{ID: fmt.Sprint(n)}
		for _, k := range random.Perm(40)[:1+random.IntN(3)] {
			if x := sized(k, random.IntN(300)); random.IntN(4) == 0 {
				it.Remove = append(it.Remove, x.Path)
			} else {
				it.Add = append(it.Add, x)
			}
		}
		items = append(items, it)
	}
	got := p.decides(t, 1, items...)
	require.Equal(t, 1, loads)
	n := map[State]int{}
	bin := published
	var taken []roles.TargetEdit
	for i, o := range got.outcomes {
		n[o.State]++
		edits := slices.Collect(got.items[i].item.Edits)
		next, err := published.Edit(1, time.Unix(0, 0), slices.Concat(taken, edits))
		require.NoError(t, err)
		size := len(next.Canonical())
		if o.State == SetAside {
			require.Equal(t, fmt.Sprintf("bin bins-0 would have %d bytes, and at most %d can be published", size, limit), o.Reason)
			continue
		}
		if o.State != Unchanged {
			taken, bin = append(taken, edits...), next
		}
		require.True(t, int64(size)+envelopeSlack <= limit || size <= len(published.Canonical()))
	}
	require.Greater(t, n[SetAside], 50)
	require.Greater(t, n[Published]+n[Superseded], 50)
	require.NotEqual(t, published, bin)
}
