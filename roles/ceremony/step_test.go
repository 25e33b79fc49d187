package ceremony_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// Everything that two roots in one ceremony change, in words.
func TestSteps(t *testing.T) {
	w := begun(t)
	ada, bob := w.people[0], w.people[1]
	dora, web := w.newPerson("Dora"), newKey(t)
	w.names[web.Public().ID()] = "web 2"
	o := w.signOnce(2, of(1, web))
	for i, k := range o.authority.Keys {
		w.names[k.ID()] = []string{"once 1", "once 2"}[i]
	}
	root2 := nextRoot(t, w.root(), func(s *roles.RootSpec) {
		s.Root = of(3, ada.key, bob.key, dora.key)
		s.Targets.Keys = append(s.Targets.Keys, o.authority.Keys...)
		s.Timestamp.Keys = append(s.Timestamp.Keys, web.Public())
		s.Expires = expires.AddDate(0, 0, 29)
	})
	root3 := nextRoot(t, root2, func(s *roles.RootSpec) { s.Targets, s.Timestamp = o.authority, of(1, web) })
	p := w.next(nil)
	p.Destroyed = o.destroyed
	p.New = []ceremony.Document{{Role: "root", File: root2.Bytes()}, o.docs[0], o.docs[1], {Role: "root", File: root3.Bytes()}}
	r := w.request(p)
	steps := r.Steps()
	require.Len(t, steps, 4)

	short := func(name string, id string) string { return name + " (" + id[:8] + ")" }
	who := func(p *person) string { return short(p.name, p.key.Public().ID()) }
	once := func(i int) string { return short(w.names[o.authority.Keys[i].ID()], o.authority.Keys[i].ID()) }
	webs := short("web 2", web.Public().ID())
	key := func(id string) *ceremony.Who { return &ceremony.Who{Name: w.names[id], KeyID: id} }
	require.Equal(t, []ceremony.Change{
		{Role: "root", What: "expires", Was: "2031-01-31 12:00 UTC", Is: "2031-03-01 12:00 UTC"},
		{Role: "root", What: "key added", Is: who(dora), Key: key(dora.key.Public().ID())},
		{Role: "root", What: "key removed", Was: who(w.people[2]), Key: key(w.people[2].key.Public().ID())},
		{Role: "root", What: "threshold", Was: "2 of 3", Is: "3 of 3"},
		{Role: "targets", What: "key added", Is: once(0), Key: key(o.authority.Keys[0].ID())},
		{Role: "targets", What: "key added", Is: once(1), Key: key(o.authority.Keys[1].ID())},
		{Role: "targets", What: "threshold", Was: "2 of 2", Is: "2 of 4"},
		{Role: "timestamp", What: "key added", Is: webs, Key: key(web.Public().ID())},
		{Role: "timestamp", What: "threshold", Was: "1 of 1", Is: "1 of 2"},
	}, steps[0].Changes)
	require.Equal(t, []string{"when one root key is lost, there can never be another root: all 3 must sign"}, steps[0].Warnings)
	require.False(t, steps[0].Signed)
	require.Equal(t, "root", steps[0].Signers[0].Role)
	require.Equal(t, 3, steps[0].Signers[0].Threshold)
	require.Equal(t, []string{"Ada", "Bob", "Dora"}, names(steps[0].Signers[0].Keys))

	require.True(t, steps[1].Signed)
	require.True(t, steps[2].Signed)
	require.Equal(t, []ceremony.Change{
		{Role: "each bin", What: "key added", Is: webs, Key: key(web.Public().ID())},
		{Role: "each bin", What: "key removed", Was: short("online bins", w.bins.Public().ID()), Key: key(w.bins.Public().ID())},
	}, steps[2].Changes)
	require.Equal(t, []string{"the publisher must have one of the keys listed here before this document is published; all bins are then signed again at once"}, steps[2].Warnings)

	require.Len(t, steps[3].Changes, 5, "three keys go, and two thresholds are of fewer keys")
	require.Equal(t, []string{
		"when one root key is lost, there can never be another root: all 3 must sign",
		"role timestamp: before this root is published, a generation must be published that a key signed which stays; the repository makes sure of that",
	}, steps[3].Warnings)

	// Whatever words leave out is shown as it stands.
	p = w.next(func(s *roles.RootSpec) { s.Snapshot = of(1, w.online); s.Timestamp = of(1, w.online) })
	p.New[0].File = []byte(string(p.New[0].File[:len(p.New[0].File)-2]) + `,"x\u001b":[1,{"a":null}]}}`)
	require.Equal(t, []ceremony.Change{
		{Role: "root", What: "other content", Is: `"x\x1b": [1,{"a":null}]`, Grave: true},
	}, w.request(p).Steps()[0].Changes)
}

func TestWarnings(t *testing.T) {
	w := begun(t)
	second := w.newPerson("Ada")
	step := w.request(w.next(func(s *roles.RootSpec) {
		s.Root.Keys = append(s.Root.Keys, second.key.Public())
		s.Snapshot.Keys = append(s.Snapshot.Keys, w.people[1].key.Public())
	})).Steps()[0]
	bob := w.people[1].key.Public().ID()
	require.Equal(t, []string{
		"Ada has more than one of the root keys, and counts more than once",
		"Bob (" + bob[:8] + ") signs both root and snapshot, which is signed online",
	}, step.Warnings)

	// After a compromise no online key may stay, and none has to.
	p := w.next(func(s *roles.RootSpec) {
		web := newKey(t)
		s.Snapshot, s.Timestamp = of(1, web), of(1, web)
	})
	p.Compromise = true
	require.Empty(t, w.request(p).Steps()[0].Warnings)
}

// That keys are destroyed is shown where the request says so of all that signed, and
// nowhere else.
func TestStepsOfKeysThatAreNotDestroyed(t *testing.T) {
	w := newWorld(t, "Ada", "Bob")
	p := w.first(2)
	steps := w.request(p).Steps()
	require.Zero(t, steps[0].Destroyed)
	require.Equal(t, now, steps[1].Destroyed)
	require.Equal(t, now, steps[2].Destroyed)
	require.Empty(t, steps[1].Warnings)

	p.Destroyed = p.Destroyed[:1] // of targets
	p.Destroyed[0].KeyIDs = p.Destroyed[0].KeyIDs[:1]
	for _, step := range w.request(p).Steps()[1:] {
		require.True(t, step.Signed)
		require.Zero(t, step.Destroyed)
		require.Len(t, step.Warnings, 1)
		require.Regexp(t, `^the request doesn't say that key [0-9a-f]{8}, which signed it already, is destroyed$`, step.Warnings[0])
	}
	var sheet strings.Builder
	require.NoError(t, ceremony.Sheet{Request: w.request(p), Made: now}.WriteText(&sheet))
	require.NotContains(t, sheet.String(), "signed by one-time keys")
}
