package ceremony_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// Nothing that is signed goes without a line: a key that no role uses, the version of the
// specification, an ID that a key had and has no more.
func TestChangesThatMoveNoKey(t *testing.T) {
	w := begun(t)
	ada := w.people[0].key.Public()
	idle := newKey(t).Public()
	entry := `{"keytype":"ed25519","keyval":{"public":"` + idle.Value() + `"},"scheme":"ed25519","x":1}`
	changed := func(replacements ...string) []ceremony.Change {
		p := w.next(nil)
		file := string(p.New[0].File)
		for i := 0; i < len(replacements); i += 2 {
			require.Equal(t, 1, strings.Count(file, replacements[i]))
		}
		p.New[0].File = []byte(strings.NewReplacer(replacements...).Replace(file))
		return w.request(p).Steps()[0].Changes
	}
	require.Empty(t, changed())
	require.Equal(t, []ceremony.Change{{
		Role: "root", What: "other content", Is: `"keys"."` + idle.ID() + `": ` + entry, Grave: true,
	}}, changed(`"keys":{`, `"keys":{"`+idle.ID()+`":`+entry+`,`))
	require.Equal(t, []ceremony.Change{{
		Role: "root", What: "spec_version", Was: `"1.0.34"`, Is: `"1.0.0"`,
	}}, changed(`"spec_version":"1.0.34"`, `"spec_version":"1.0.0"`))

	// Of a first document it is new.
	first := w.request(newWorld(t, "Ada").first(1))
	for i, role := range []string{"root", "targets", "bins"} {
		require.Contains(t, first.Steps()[i].Changes, ceremony.Change{Role: role, What: "spec_version", Is: `"1.0.34"`})
	}

	p := newWorld(t, "Ada").first(1)
	p.New[1].File = []byte(strings.Replace(string(p.New[1].File), `"terminating":true`, `"terminating":false`, 1))
	targets, err := roles.Parse[metadata.TargetsType](p.New[1].File)
	require.NoError(t, err)
	bare, err := roles.New(targets.Signed()) // without the signatures
	require.NoError(t, err)
	p.New[1].File, p.Destroyed = bare.Bytes(), p.Destroyed[1:]
	r, err := ceremony.NewRequest(p)
	require.NoError(t, err)
	require.Contains(t, r.Steps()[1].Changes, ceremony.Change{Role: "bins", What: "terminating", Was: "true", Is: "false", Grave: true})

	w.current = renamedRoot(t, w, "ada", ada)
	who := ceremony.Who{Name: "Ada", KeyID: ada.ID()}
	require.Equal(t, []ceremony.Change{{
		Role: "root", What: "key ID", Was: "key ada", Is: who.String(), Key: &who,
	}}, w.request(w.next(func(s *roles.RootSpec) { replaceKey(s, ada, ada) })).Steps()[0].Changes)
}

// renamedRoot is a root that lists a holder's key under another ID, as other programs
// do; Ada and Bob have signed it.
func renamedRoot(t *testing.T, w *world, id string, key *keys.PublicKey) ceremony.Documents {
	t.Helper()
	spec, err := ceremony.RootSpec(w.root())
	require.NoError(t, err)
	replaceKey(&spec, key, under(t, id, key))
	last, err := roles.NewRoot(spec)
	require.NoError(t, err)
	last, err = last.Sign(t.Context(), w.people[1].key)
	require.NoError(t, err)
	sig, err := roles.Sign(t.Context(), w.people[0].key, last.Canonical())
	require.NoError(t, err)
	last, err = last.AddSignature(roles.Signature{KeyID: id, Sig: sig.Sig})
	require.NoError(t, err)
	return ceremony.Documents{Roots: [][]byte{last.Bytes()}}
}
