package ceremony_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// What a holder's machine refuses to sign, because of what the holder trusts.
func TestSignRefusesWhatIsNotTrusted(t *testing.T) {
	w := begun(t)
	ada, bob := w.people[0], w.people[1]
	old := w.request(w.next(nil)) // root 2, never signed
	w.publish(w.request(w.next(func(s *roles.RootSpec) { s.Expires = expires.AddDate(0, 2, 0) })), bob, w.people[2])
	w.publish(w.request(w.next(nil)), bob, w.people[2])
	r := w.request(w.next(nil)) // root 4, based on root 3
	require.Equal(t, int64(1), ada.notebook.Trusted.Version)
	require.Equal(t, int64(2), bob.notebook.Trusted.Version)
	require.NoError(t, r.Check(ada.notebook, now), "from root 1 there is a way to root 3")
	require.NoError(t, r.Check(bob.notebook, now))

	other := begun(t)
	p := r.Proposal()
	p.Current.Roots = p.Current.Roots[2:]
	short := w.request(p)
	at3 := ceremony.Notebook{Trusted: r.Based()}
	require.NoError(t, short.Check(at3, now))
	for name, c := range map[string]struct {
		request  *ceremony.Request
		notebook ceremony.Notebook
		want     string
	}{
		"nothing trusted":      {r, ceremony.Notebook{}, "you trust none yet, and it goes on from root version 3: say which root you trust"},
		"another repository":   {other.request(other.next(nil)), ada.notebook, "your root version 1 has the digest\n  "},
		"an old request":       {old, at3, "it ends at root version 2, and you trust version 3: it is an old request, or one of another repository"},
		"an old one, one back": {old, ceremony.Notebook{Trusted: bob.notebook.Trusted}, "your root version 2 has the digest\n  "},
		"no way to it":         {short, ada.notebook, "it begins with root version 3, and you trust version 1: ask for a request that holds all roots from there"},
		"a new repository":     {other.request(other.first(2)), ada.notebook, "your root version 1 has the digest\n  "},
	} {
		t.Run(name, func(t *testing.T) {
			_, after, err := c.request.Sign(t.Context(), ada.key, c.notebook, now)
			require.ErrorIs(t, err, ceremony.ErrUntrusted)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.notebook, after)
		})
	}
}

// One version is signed with one content only.
func TestSignRefusesASecondContent(t *testing.T) {
	w := begun(t)
	ada := w.people[0]
	r := w.request(w.next(nil))
	w.sign(r, ada)
	require.Equal(t, []ceremony.Mark{{Role: "root", Version: 1, Digest: ada.notebook.Trusted.Digest}, r.Marks()[0]}, ada.notebook.Signed)
	before := ada.notebook
	w.sign(r, ada) // the same again, say because the stick was lost
	require.Equal(t, before, ada.notebook)

	twin := w.request(w.next(func(s *roles.RootSpec) { s.Expires = expires.AddDate(0, 1, 0) }))
	_, after, err := twin.Sign(t.Context(), ada.key, ada.notebook, now)
	require.ErrorIs(t, err, ceremony.ErrSigned)
	require.ErrorContains(t, err, "root version 2: your key has signed this version with other contents: it had the digest\n  "+r.Marks()[0].Digest.String())
	require.Equal(t, before, after)
}

// An outdated request is called that: its documents are complete, and the key has signed newer ones.
func TestOutdatedRequests(t *testing.T) {
	w := begun(t)
	ada, bob := w.people[0], w.people[1]
	two := w.request(w.next(nil))
	same, newer := two.SignedBefore(ada.notebook)
	require.Empty(t, same)
	require.Empty(t, newer)
	w.publish(two, ada, bob)
	same, newer = two.SignedBefore(ada.notebook)
	require.Equal(t, two.Marks(), same, "the stick was lost")
	require.Empty(t, newer)

	three := w.request(w.next(nil))
	w.publish(three, ada, bob)
	same, newer = two.SignedBefore(ada.notebook)
	require.Equal(t, two.Marks(), same)
	require.Equal(t, three.Marks(), newer)
	require.NoError(t, two.Check(ada.notebook, now), "it does no harm")
	same, newer = three.SignedBefore(ada.notebook)
	require.Equal(t, three.Marks(), same)
	require.Empty(t, newer)

	four := w.request(w.next(nil))
	w.publish(four, ada, bob)
	_, newer = two.SignedBefore(ada.notebook)
	require.Equal(t, four.Marks(), newer)
	require.EqualError(t, two.Check(ada.notebook, now), ceremony.ErrUntrusted.Error()+
		": your key has signed root version 2 of it already, and root version 4 since: the request is outdated. Ask for the one that is open")

	// A newer root that was given up, with the one before it, outdates nothing.
	n := ceremony.Notebook{Trusted: two.Based(), Signed: append(two.Marks(), ceremony.Mark{Role: "root", Version: 3})}
	same, newer = two.SignedBefore(n)
	require.Equal(t, two.Marks(), same)
	require.Empty(t, newer)

	// So it is of targets and bins.
	held, docs := held(t)
	ada, bob = held.people[0], held.people[1]
	ask := func(version int64) *ceremony.Request {
		p := held.next(nil)
		p.New = docs(version)
		return held.request(p)
	}
	two = ask(2)
	held.publish(two, ada, bob)
	three = ask(3)
	held.publish(three, ada, bob)
	same, newer = two.SignedBefore(ada.notebook)
	require.Equal(t, two.Marks(), same)
	require.Equal(t, three.Marks(), newer)
}

func TestSignRefusesAKeyThatIsNotAsked(t *testing.T) {
	w := begun(t)
	r := w.request(w.next(nil))
	_, _, err := r.Sign(t.Context(), w.online, w.people[0].notebook, now)
	require.ErrorContains(t, err, "online ("+w.online.Public().ID()[:8]+") has nothing to sign: the request asks Ada (")

	// The holder of a key that was removed is asked once more, the others are not.
	w.publish(w.request(w.next(func(s *roles.RootSpec) { s.Root.Keys = s.Root.Keys[:2] })), w.people...)
}

// A key that makes bad signatures, or none, leaves no response.
func TestSignWithAFaultyKey(t *testing.T) {
	w := begun(t)
	r := w.request(w.next(nil))
	for _, bad := range []keys.Signer{faulty{Signer: w.people[0].key}, faulty{w.people[0].key, context.Canceled}} {
		response, notebook, err := r.Sign(t.Context(), bad, w.people[0].notebook, now)
		require.ErrorContains(t, err, "root version 2: Ada ("+bad.Public().ID()[:8]+"): ")
		require.NotContains(t, err.Error(), bad.Public().ID())
		require.Nil(t, response)
		require.Equal(t, w.people[0].notebook, notebook)
	}
}

type faulty struct {
	keys.Signer
	err error
}

func (f faulty) Sign(context.Context, []byte) ([]byte, error) { return make([]byte, 64), f.err }

func TestNotebook(t *testing.T) {
	w := begun(t)
	n := w.people[0].notebook
	back, err := ceremony.ParseNotebook(n.Bytes())
	require.NoError(t, err)
	require.Equal(t, n, back)
	back, err = ceremony.ParseNotebook(ceremony.Notebook{}.Bytes())
	require.NoError(t, err)
	require.Nil(t, back.Trusted)
	require.Empty(t, back.Signed)

	file := string(n.Bytes())
	for name, c := range map[string]struct{ file, want string }{
		"truncated":       {file[:len(file)-4], "notebook: damaged, or another kind of file"},
		"trusts no root":  {strings.Replace(file, `"trusted":{"role":"root"`, `"trusted":{"role":"bins"`, 1), `notebook: trusted.role: "bins" instead of "root"`},
		"unknown member":  {strings.Replace(file, `"signed"`, `"notes":[],"signed"`, 1), `notebook: ["notes"]: unknown`},
		"nothing trusted": {strings.Replace(file, `"trusted":{`, `"trusted":null,"x":{`, 1), "notebook: trusted: null instead of an object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ceremony.ParseNotebook([]byte(c.file))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestCards(t *testing.T) {
	p256, err := keys.GenerateP256()
	require.NoError(t, err)
	for _, key := range []keys.Signer{newKey(t), p256} {
		file, err := ceremony.NewCard(t.Context(), key, "Ada Lovelace")
		require.NoError(t, err)
		h, err := ceremony.ParseCard(file)
		require.NoError(t, err)
		require.Equal(t, "Ada Lovelace", h.Name)
		require.Equal(t, key.Public().ID(), h.Key.ID())
		require.True(t, key.Public().Same(h.Key))

		other, err := ceremony.NewCard(t.Context(), newKey(t), "Ada Lovelace")
		require.NoError(t, err)
		proof := func(card []byte) string { return string(card)[strings.Index(string(card), `"proof"`):] }
		for name, c := range map[string]struct{ file, want string }{
			"another name":  {strings.Replace(string(file), "Ada L", "Eva L", 1), "card of Eva Lovelace: the proof that its author has the private key: key " + key.Public().ID() + ": invalid signature"},
			"another proof": {strings.Replace(string(file), proof(file), proof(other), 1), "card of Ada Lovelace: the proof that its author has the private key"},
			"no proof":      {strings.Replace(string(file), proof(file), `"proof":""}`, 1), "card of Ada Lovelace: the proof that its author has the private key"},
			"another kind":  {strings.Replace(string(file), key.Public().Scheme(), "rsassa-pss-sha256", 2), "card of Ada Lovelace: public key"},
			"truncated":     {string(file)[:len(file)-4], "card: damaged, or another kind of file"},
			"bad name":      {strings.Replace(string(file), "Ada L", `Ada  L`, 1), `card: name: the name "Ada  Lovelace" has spaces at an end, or several together`},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := ceremony.ParseCard([]byte(c.file))
				require.ErrorContains(t, err, c.want)
			})
		}
	}
	for _, name := range []string{"", " Ada", "Ada\x1b[2J", "A\u202eda", "Ada\u200b", "e\u0301", strings.Repeat("x", 81), "\xff",
		"Ada\ufe00", "Ada\u034f", "\u3164", "\u2800", "Ada (1F0c77aa), was Ada", "key 1f0c77aa"} {
		_, err := ceremony.NewCard(t.Context(), newKey(t), name)
		require.ErrorContains(t, err, "card: the name ", "%q", name)
	}
	for _, name := range []string{"\u05d0\u05d3\u05d4", "\u00c9mile (backup)", "key 2", "online, awskms:alias/tuf"} {
		_, err := ceremony.NewCard(t.Context(), newKey(t), name)
		require.NoError(t, err, "%q", name)
	}
}

func TestDigests(t *testing.T) {
	var d ceremony.Digest
	for i := range d {
		d[i] = byte(0xa0 + i)
	}
	require.Equal(t, "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf b0b1b2b3 b4b5b6b7 b8b9babb bcbdbebf", d.String())
	for _, typed := range []string{d.String(), "  " + strings.ToUpper(strings.ReplaceAll(d.String(), " ", "")) + "\n"} {
		back, err := ceremony.ParseDigest(typed)
		require.NoError(t, err)
		require.Equal(t, d, back)
	}
	for _, typed := range []string{"", d.String()[:len(d.String())-1], d.String() + "0", "x" + d.String()[1:]} {
		_, err := ceremony.ParseDigest(typed)
		require.Error(t, err)
	}
	require.True(t, d.Confirms(3, " A8A9 AAAB"))
	require.True(t, d.Confirms(0, "bcbdbebf"))
	require.True(t, d.Confirms(0, d.String()))
	for n, typed := range map[int]string{1: "a4a5a6a7", 2: "", 0: "", 3: "a8a9aaa", 4: d.String(), 9: "bcbdbebf", -1: "bcbdbebf"} {
		require.False(t, d.Confirms(n, typed), "%d %q", n, typed)
	}
}

func TestOneTimeKeysSignOnce(t *testing.T) {
	w := newWorld(t, "Ada")
	o, err := ceremony.NewOneTime("targets", 2)
	require.NoError(t, err)
	require.Equal(t, 2, o.Authority().Threshold)
	record := o.Destroy(now)
	require.Equal(t, ceremony.Destroyed{Role: "targets", KeyIDs: []string{o.Authority().Keys[0].ID(), o.Authority().Keys[1].ID()}, At: now}, record)
	doc := w.signOnce(1, of(1, w.bins)).docs[0]
	parsed, err := roles.Parse[metadata.TargetsType](doc.File)
	require.NoError(t, err)
	_, err = o.Sign(t.Context(), parsed)
	require.EqualError(t, err, "the one-time keys of targets are destroyed")
	for role, n := range map[string]int{"root": 2, "targets": 0, "bins": -1} {
		_, err := ceremony.NewOneTime(role, n)
		require.Error(t, err)
	}
}
