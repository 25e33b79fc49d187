package ceremony_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// held is a world whose targets and bins are signed by the holders of root, too.
func held(t *testing.T) (*world, func(version int64) []ceremony.Document) {
	t.Helper()
	w := newWorld(t, "Ada", "Bob", "Cleo")
	docs := func(version int64) []ceremony.Document {
		targets, err := delegation.NewTargets(version, expires, w.holders(2))
		require.NoError(t, err)
		bins, err := w.layout.NewRole(version, expires, of(1, w.bins))
		require.NoError(t, err)
		return []ceremony.Document{{Role: "targets", File: targets.Bytes()}, {Role: "bins", File: bins.Bytes()}}
	}
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires, Root: w.holders(2), Targets: w.holders(2),
		Snapshot: of(1, w.online), Timestamp: of(1, w.online),
	})
	require.NoError(t, err)
	r := w.request(ceremony.Proposal{
		Reason: "held keys", Names: w.names,
		New: append([]ceremony.Document{{Role: "root", File: root.Bytes()}}, docs(1)...),
	})
	w.publish(r, w.people[0], w.people[1])
	w.people[2].notebook = w.people[0].notebook
	return w, docs
}

// Keys of targets and bins that are kept sign like those of root.
func TestKeysThatAreKept(t *testing.T) {
	w, docs := held(t)
	ada := w.people[0]
	require.Equal(t, []string{"root version 1", "targets version 1", "bins version 1"}, marks(ada.notebook.Signed))
	p := w.next(nil)
	p.New = docs(2)
	r := w.request(p)
	answers := w.sign(r, ada, w.people[2])
	require.Equal(t, []string{"targets version 2", "bins version 2"}, marks(answers[0].Marks()))
	progress, err := r.Merge(answers[0])
	require.NoError(t, err)
	require.False(t, progress.Complete())
	require.Equal(t, []string{"Bob", "Cleo"}, names(progress.Documents[0].Quorums[0].Missing))
	progress, err = r.Merge(answers...)
	require.NoError(t, err)
	require.True(t, progress.Complete())

	// What is signed already is nobody's business any more.
	p.New[0] = progress.Files()[0]
	r = w.request(p)
	require.True(t, r.Steps()[0].Signed)
	w.people[1].notebook.Trusted = r.Based()
	answers = w.sign(r, w.people[1])
	require.Equal(t, []string{"bins version 2"}, marks(answers[0].Marks()))
}

func marks(all []ceremony.Mark) []string {
	var out []string
	for _, m := range all {
		out = append(out, m.String())
	}
	return out
}

// A root that drops a key may lock out what that key is about to sign.
func TestKeysThatGo(t *testing.T) {
	w, docs := held(t)
	drop := func(n int) func(*roles.RootSpec) {
		return func(s *roles.RootSpec) {
			gone := w.people[2].key.Public()
			s.Targets.Keys = slices.DeleteFunc(slices.Clone(s.Targets.Keys), gone.Same)
			s.Targets.Threshold = n
		}
	}
	// Ada and Bob signed what is published, so Cleo may go.
	w.request(w.next(drop(2)))
	// Nothing is known of who signed.
	p := w.next(drop(2))
	p.Current.Targets, p.Current.Bins = nil, nil
	_, err := ceremony.NewRequest(p)
	require.ErrorContains(t, err, "it changes who signs targets, and the request doesn't hold the targets that are published now")
	// Cleo may be one of two who sign targets 2.
	p = w.next(nil)
	next := nextRoot(t, w.root(), drop(2))
	p.New = append(docs(2), ceremony.Document{Role: "root", File: next.Bytes()})
	_, err = ceremony.NewRequest(p)
	require.ErrorIs(t, err, ceremony.ErrLocksOut)
	require.ErrorContains(t, err, "targets version 2: it may be signed by keys that are dropped")
	// One more key harms nobody.
	p = w.next(func(s *roles.RootSpec) { s.Targets.Keys = append(s.Targets.Keys, newKey(t).Public()) })
	p.Current.Targets, p.Current.Bins = nil, nil
	w.request(p)
	// Of targets 2 the version before has to be known.
	p = w.next(nil)
	p.Current.Targets, p.Current.Bins = nil, nil
	p.New = docs(2)
	_, err = ceremony.NewRequest(p)
	require.ErrorContains(t, err, "targets version 2: the request doesn't hold the one that is published now")
	p.New = docs(1)
	_, err = ceremony.NewRequest(p)
	require.ErrorContains(t, err, "targets version 1: the request doesn't hold the one that is published now")
}

func TestVerifyDocuments(t *testing.T) {
	w, other := begun(t), begun(t)
	for range 2 {
		w.publish(w.request(w.next(nil)), w.people[0], w.people[1])
	}
	d := w.current
	require.NoError(t, d.Verify())
	require.NoError(t, ceremony.Documents{Roots: d.Roots[1:], Targets: d.Targets}.Verify())
	for name, c := range map[string]struct {
		docs ceremony.Documents
		want string
	}{
		"nothing":       {ceremony.Documents{}, "no root"},
		"a gap":         {ceremony.Documents{Roots: [][]byte{d.Roots[0], d.Roots[2]}}, "root version 3 does not follow version 1: version 2 must come next"},
		"backwards":     {ceremony.Documents{Roots: [][]byte{d.Roots[1], d.Roots[0]}}, "root version 1 does not follow version 2: version 3 must come next"},
		"other holders": {ceremony.Documents{Roots: [][]byte{other.current.Roots[0], d.Roots[1]}}, "root version 2: by the keys of root version 1: 0 of 2 signatures"},
		"other targets": {ceremony.Documents{Roots: d.Roots, Targets: other.current.Targets}, "targets version 1 under root version 3: 0 of 2 signatures"},
		"other bins":    {ceremony.Documents{Roots: d.Roots, Targets: d.Targets, Bins: other.current.Bins}, "bins version 1 under targets version 1: 0 of 2 signatures"},
		"no JSON":       {ceremony.Documents{Roots: [][]byte{d.Roots[0], []byte("x")}}, "root 2 of 2: root: "},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, c.docs.Verify(), c.want) })
	}
}

// Another key that takes over an ID takes nothing else over.
func TestNextRootWithAnotherKeyUnderAnID(t *testing.T) {
	w := begun(t)
	old := w.people[0].key.Public()
	fresh, err := keys.ParsePublicKey(old.ID(), "ed25519", "ed25519", newKey(t).Public().Value())
	require.NoError(t, err)
	next := nextRoot(t, w.root(), func(s *roles.RootSpec) {
		for i, k := range s.Root.Keys {
			if k.Same(old) {
				s.Root.Keys[i] = fresh
			}
		}
	})
	a, err := roles.RootAuthority(next, metadata.ROOT)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(a.Keys, fresh.Same))
	require.False(t, slices.ContainsFunc(a.Keys, old.Same))
}
