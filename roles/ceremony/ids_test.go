package ceremony_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// A holder whose key two roots list under different IDs counts for both.
func TestOneKeyUnderTwoIDs(t *testing.T) {
	w := begun(t)
	ada, bob := w.people[0], w.people[1]
	w.current = renamedRoot(t, w, "ada", ada.key.Public())
	ada.notebook, bob.notebook = ceremony.Notebook{}, ceremony.Notebook{}

	r := w.request(w.next(func(s *roles.RootSpec) { replaceKey(s, ada.key.Public(), ada.key.Public()) }))
	ada.notebook.Trusted, bob.notebook.Trusted = r.Based(), r.Based()
	answers := w.sign(r, ada, bob)
	require.Equal(t, []string{"ada", ada.key.Public().ID()}, answers[0].KeyIDs())
	progress, err := r.Merge(answers...)
	require.NoError(t, err)
	require.True(t, progress.Complete())
}

// under is a key as a document lists it that gives it another ID.
func under(t *testing.T, id string, k *keys.PublicKey) *keys.PublicKey {
	t.Helper()
	renamed, err := keys.ParsePublicKey(id, k.Type(), k.Scheme(), k.Value())
	require.NoError(t, err)
	return renamed
}

func replaceKey(s *roles.RootSpec, old, new *keys.PublicKey) {
	for i, k := range s.Root.Keys {
		if k.Same(old) {
			s.Root.Keys[i] = new
		}
	}
}

// A stranger's key can't be listed as that of a holder, whose name and ID the screen
// would show.
func TestAStrangersKeyUnderTheIDOfAHolder(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo")
	stranger, cleo := newKey(t).Public(), w.people[2].key.Public()
	fake := under(t, cleo.ID(), stranger)
	want := fmt.Sprintf("new key %q: wrong ID: the ID of this key is %s", cleo.ID(), stranger.ID())

	p := w.first(2)
	root, err := roles.Parse[metadata.RootType](p.New[0].File)
	require.NoError(t, err)
	spec, err := ceremony.RootSpec(root)
	require.NoError(t, err)
	replaceKey(&spec, cleo, fake)
	root, err = roles.NewRoot(spec)
	require.NoError(t, err)
	p.New[0].File = root.Bytes()
	_, err = ceremony.NewRequest(p)
	require.ErrorContains(t, err, "role root: "+want)

	w = begun(t)
	ada := w.people[0].key.Public()
	_, err = ceremony.NewRequest(w.next(func(s *roles.RootSpec) { replaceKey(s, ada, under(t, ada.ID(), stranger)) }))
	require.ErrorContains(t, err, "wrong ID: the ID of this key is", "though the ID is published")

	w = newWorld(t, "Ada", "Bob", "Cleo")
	p = w.first(2)
	o := w.signOnce(1, roles.Authority{Threshold: 1, Keys: []*keys.PublicKey{under(t, w.bins.Public().ID(), stranger)}})
	spec.Root, spec.Targets = w.holders(2), o.authority
	root, err = roles.NewRoot(spec)
	require.NoError(t, err)
	p.New, p.Destroyed = append([]ceremony.Document{{Role: "root", File: root.Bytes()}}, o.docs...), o.destroyed
	_, err = ceremony.NewRequest(p)
	require.ErrorContains(t, err, "bins version 1: new key ")
	require.ErrorContains(t, err, "wrong ID: the ID of this key is")
}

// What Install would refuse after everybody signed is refused before: also a key that no role uses.
func TestAnIdleKeyThatNobodyMayList(t *testing.T) {
	w := begun(t)
	p := w.next(nil)
	p.New[0].File = []byte(strings.Replace(string(p.New[0].File), `"keys":{`,
		`"keys":{"idle":{"keytype":"ed25519","keyval":{"public":"01`+strings.Repeat("00", 31)+`"},"scheme":"ed25519"},`, 1))
	_, err := ceremony.NewRequest(p)
	require.ErrorContains(t, err, `root version 2: public key "idle": `)
}
