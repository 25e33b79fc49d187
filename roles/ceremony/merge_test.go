package ceremony_test

import (
	"slices"
	"strings"
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
	ada, bob := w.people[0], w.people[1]
	dora, emil := w.newPerson("Dora"), w.newPerson("Emil")
	dora.notebook, emil.notebook = bob.notebook, bob.notebook
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
}

// Two roots in one ceremony: the first trusts old and new one-time keys, the second
// only the new ones.
func TestOneTimeKeysReplaced(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo")
	w.publish(w.request(w.first(2)), w.people[0], w.people[1])
	o := w.signOnce(2, of(1, w.bins))
	before, err := ceremony.RootSpec(w.root())
	require.NoError(t, err)
	after := before
	after.Targets = o.authority
	both := nextRoot(t, w.root(), func(s *roles.RootSpec) { *s = ceremony.Overlap(before, after) })
	drop := nextRoot(t, both, func(s *roles.RootSpec) { *s = after })
	r := w.request(ceremony.Proposal{
		Reason: "new one-time keys", Names: w.names, Current: w.current, Destroyed: o.destroyed,
		New: []ceremony.Document{{Role: "root", File: both.Bytes()}, o.docs[0], o.docs[1], {Role: "root", File: drop.Bytes()}},
	})
	w.publish(r, w.people[0], w.people[1])
	require.Len(t, w.current.Roots, 3)

	// Without the overlap, or with the old targets still in force, clients would fail.
	o = w.signOnce(3, of(1, w.bins))
	_, err = ceremony.NewRequest(w.next(func(s *roles.RootSpec) { s.Targets = o.authority }))
	require.ErrorIs(t, err, ceremony.ErrLocksOut)
}

// Responses that must not count.
func TestMergeRefuses(t *testing.T) {
	w := begun(t)
	ada, bob := w.people[0], w.people[1]
	r := w.request(w.next(nil))
	good := w.sign(r, ada)[0]
	digest, err := r.Marks()[0].Digest.MarshalText()
	require.NoError(t, err)

	// Another root 2, of the same holders.
	ada.notebook.Signed, bob.notebook.Signed = nil, nil
	twin := w.request(w.next(func(s *roles.RootSpec) { s.Expires = expires.AddDate(0, 1, 0) }))
	otherDocument := w.sign(twin, ada)[0]
	// The same version and digest, and the signature is over the twin.
	otherBytes := edit(t, otherDocument, twin.Marks()[0].Digest, r.Marks()[0].Digest)

	// Somebody who is no holder of this repository.
	stranger := begun(t)
	strangers := stranger.sign(stranger.request(stranger.next(nil)), stranger.people[0])[0]

	// Ada's signature under Bob's ID.
	bobs := parse(t, strings.ReplaceAll(string(good.Bytes()), ada.key.Public().ID(), bob.key.Public().ID()))

	later := parse(t, strings.ReplaceAll(string(good.Bytes()), `"version":2`, `"version":3`))
	nobody := parse(t, strings.ReplaceAll(string(good.Bytes()), ada.key.Public().ID(), strings.Repeat("ab", 32)))
	for name, c := range map[string]struct {
		response *ceremony.Response
		want     string
	}{
		"another document":     {otherDocument, "it signs another root version 2, with the digest\n  " + twin.Marks()[0].Digest.String() + "; that of the request has\n  " + r.Marks()[0].Digest.String()},
		"over other bytes":     {otherBytes, "root version 2: Ada (" + ada.key.Public().ID()[:8] + "): invalid signature"},
		"another repository":   {strangers, "it signs another root version 2"},
		"another version":      {later, "it signs root version 3, and the request asks for root version 2"},
		"nobody":               {nobody, "key " + strings.Repeat("ab", 32) + " has nothing to sign: the request asks Ada ("},
		"under another's name": {bobs, "root version 2: Bob ("},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Merge(good, c.response)
			require.ErrorContains(t, err, "response 2 of 2: "+c.want)
		})
	}
	require.Contains(t, string(good.Bytes()), string(digest))

	// Replayed: the response that made root 2 doesn't count for root 3.
	ada.notebook.Signed, bob.notebook.Signed = nil, nil
	w.publish(r, ada, bob)
	_, err = w.request(w.next(nil)).Merge(good)
	require.EqualError(t, err, "response 1 of 1: it signs root version 2, and the request asks for root version 3")
}

// edit puts one digest in the place of another.
func edit(t *testing.T, r *ceremony.Response, old, new ceremony.Digest) *ceremony.Response {
	t.Helper()
	was, err := old.MarshalText()
	require.NoError(t, err)
	is, err := new.MarshalText()
	require.NoError(t, err)
	return parse(t, strings.ReplaceAll(string(r.Bytes()), string(was), string(is)))
}

func parse(t *testing.T, file string) *ceremony.Response {
	t.Helper()
	r, err := ceremony.ParseResponse([]byte(file))
	require.NoError(t, err)
	return r
}

func TestResponseFilesThatAreRefused(t *testing.T) {
	w := begun(t)
	r := w.request(w.next(nil))
	file := string(w.sign(r, w.people[0])[0].Bytes())
	_, err := ceremony.ParseResponse([]byte(file))
	require.NoError(t, err)
	for name, c := range map[string]struct{ file, want string }{
		"truncated":       {file[:len(file)-3], "response: damaged, or another kind of file"},
		"trailing data":   {file + "null", "response: damaged, or another kind of file"},
		"a request":       {string(r.Bytes()), "response: this file is a request, and a response is wanted"},
		"unknown member":  {strings.Replace(file, `"keyid"`, `"by":"x","keyid"`, 1), `response: signatures[0]["by"]: unknown`},
		"no signature":    {`{"format":"bindery-ceremony-response/1","signatures":[]}`, "response: signatures: there is none: ask for a new response"},
		"no hex":          {strings.Replace(file, `"sig":"`, `"sig":"x`, 1), "response: signatures[0].sig: encoding/hex"},
		"a timestamp":     {strings.Replace(file, `"role":"root"`, `"role":"timestamp"`, 1), `response: signatures[0].role: "timestamp" instead of "root" or "targets" or "bins"`},
		"version zero":    {strings.Replace(file, `"version":2`, `"version":0`, 1), "response: signatures[0].version: 0 is not an integer from 1"},
		"a short digest":  {strings.Replace(file, `"digest":"`+file[strings.Index(file, `"digest":"`)+10:][:2], `"digest":"`, 1), "response: signatures[0].digest: not the 64 digits of a SHA-256"},
		"oversized":       {file + strings.Repeat(" ", 64_000), "and a response has at most 64000"},
		"no JSON at all":  {"\x00\x01", "response: damaged, or another kind of file"},
		"another program": {`{"format":"x"}`, `response: no member "format" that says "bindery-ceremony-response/1": not a response`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ceremony.ParseResponse([]byte(c.file))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestOverlap(t *testing.T) {
	a, b, c, d := newKey(t), newKey(t), newKey(t), newKey(t)
	before := roles.RootSpec{Root: of(2, a, b, c), Targets: of(2, a, b), Snapshot: of(1, c), Timestamp: of(1, c, d)}
	after := roles.RootSpec{Version: 7, Expires: expires, Root: of(1, d), Targets: of(1, c), Snapshot: of(1, c, d), Timestamp: of(1, d)}
	between := ceremony.Overlap(before, after)
	require.Equal(t, roles.RootSpec{
		Version: 7, Expires: expires,
		Root:      of(1, d),
		Targets:   of(1, a, b, c), // what two of a and b signed, and what c will
		Snapshot:  of(1, c, d),
		Timestamp: of(1, d), // c only goes
	}, between)
	require.Equal(t, of(2, a, b), before.Targets, "nothing is shared")
	require.Equal(t, of(1, c), after.Targets)
}
