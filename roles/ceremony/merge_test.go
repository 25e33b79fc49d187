package ceremony_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

func names(list []ceremony.Who) []string {
	out := []string{}
	for _, w := range list {
		out = append(out, w.Name)
	}
	slices.Sort(out)
	return out
}

func TestFirstCeremony(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo", "Dora", "Emil")
	r := w.request(w.first(3))

	progress, err := r.Merge()
	require.NoError(t, err)
	require.False(t, progress.Complete())
	require.Empty(t, progress.Files())
	require.Equal(t, []string{"Ada", "Bob", "Cleo", "Dora", "Emil"}, names(progress.Documents[0].Quorums[0].Missing))
	require.True(t, progress.Documents[1].Complete(), "one-time keys signed targets")
	require.True(t, progress.Documents[2].Complete(), "one-time keys signed bins")

	answers := w.sign(r, w.people[4], w.people[0], w.people[2])
	progress, err = r.Merge(answers[0], answers[1], answers[0])
	require.NoError(t, err)
	require.False(t, progress.Complete())
	require.Empty(t, progress.Files(), "targets must not come out before root")
	require.Equal(t, 1, progress.Documents[0].Quorums[0].Needed())
	require.Equal(t, []string{"Ada", "Emil"}, names(progress.Documents[0].Quorums[0].Signed))

	// In every order the same document comes out.
	var first []ceremony.Document
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2, 1}} {
		var some []*ceremony.Response
		for _, i := range order {
			some = append(some, answers[i])
		}
		progress, err = r.Merge(some...)
		require.NoError(t, err)
		require.True(t, progress.Complete())
		if first == nil {
			first = progress.Files()
		}
		require.Equal(t, first, progress.Files())
	}
	require.Len(t, first, 3)
	d := ceremony.Documents{Roots: [][]byte{first[0].File}, Targets: first[1].File, Bins: first[2].File}
	require.NoError(t, d.Verify())
}

// A holder's key is replaced: the old threshold and the new one must both be met.
func TestBothThresholds(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo")
	w.publish(w.request(w.first(2)), w.people[0], w.people[1])
	ada, bob, cleo := w.people[0], w.people[1], w.people[2]
	dora, emil := w.newPerson("Dora"), w.newPerson("Emil")
	for _, p := range []*person{dora, emil, cleo} {
		p.notebook = bob.notebook
	}
	r := w.request(w.next(func(s *roles.RootSpec) { s.Root = of(2, ada.key, dora.key, emil.key) }))
	answers := w.sign(r, ada, bob, dora, emil)

	for _, c := range []struct {
		people   []int
		old, new int // needed
	}{
		{nil, 2, 2},
		{[]int{0}, 1, 1},
		{[]int{0, 1}, 0, 1},
		{[]int{2, 3}, 2, 0},
		{[]int{0, 2}, 1, 0},
		{[]int{0, 1, 2}, 0, 0},
	} {
		var some []*ceremony.Response
		for _, i := range c.people {
			some = append(some, answers[i])
		}
		progress, err := r.Merge(some...)
		require.NoError(t, err)
		quorums := progress.Documents[0].Quorums
		require.Equal(t, "root 1", quorums[0].Of)
		require.Equal(t, "root 2", quorums[1].Of)
		require.Equal(t, c.old, quorums[0].Needed(), "%v", c.people)
		require.Equal(t, c.new, quorums[1].Needed(), "%v", c.people)
		require.Equal(t, c.old+c.new == 0, progress.Complete())
	}
	_ = cleo
}

// Two roots in one ceremony: the first trusts old and new one-time keys, the second
// only the new ones.
func TestOneTimeKeysReplaced(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo")
	w.publish(w.request(w.first(2)), w.people[0], w.people[1])
	o := w.signOnce(2, of(1, w.bins))
	both := nextRoot(t, w.root(), func(s *roles.RootSpec) { s.Targets.Keys = append(s.Targets.Keys, o.authority.Keys...) })
	drop := nextRoot(t, both, func(s *roles.RootSpec) { s.Targets = o.authority })
	r := w.request(ceremony.Proposal{
		Reason: "new one-time keys", Names: w.names, Current: w.current, Destroyed: o.destroyed,
		New: []ceremony.Document{{Role: "root", File: both.Bytes()}, o.docs[0], o.docs[1], {Role: "root", File: drop.Bytes()}},
	})
	w.publish(r, w.people[0], w.people[1])
	require.Len(t, w.current.Roots, 3)

	// Without the overlap, or with the old targets still in force, clients would fail.
	o = w.signOnce(3, of(1, w.bins))
	_, err := ceremony.NewRequest(w.next(func(s *roles.RootSpec) { s.Targets = o.authority }))
	require.ErrorIs(t, err, ceremony.ErrLocksOut)
}
