package ceremony_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// bare is the 64 digits of a digest.
func bare(d ceremony.Digest) string { return strings.ReplaceAll(d.String(), " ", "") }

// The digest is that of the form in the package comment, written here by hand.
func TestDigestOfARequest(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo")
	p := w.first(2)
	names, err := json.Marshal(p.Names)
	require.NoError(t, err)
	r := w.request(p)
	m := r.Marks()
	var destroyed, documents []string
	for i, d := range p.Destroyed {
		destroyed = append(destroyed, fmt.Sprintf(`{"at":"2030-01-31T12:00:00Z","keyids":["%s"],"role":"%s"}`, strings.Join(d.KeyIDs, `","`), d.Role))
		ids := slices.Sorted(slices.Values(d.KeyIDs))
		documents = append(documents, fmt.Sprintf(`{"digest":"%s","role":"%s","signed":["%s"],"version":1}`, bare(m[i+1].Digest), d.Role, strings.Join(ids, `","`)))
	}
	want := fmt.Sprintf(`{"current":[],"declares":{"compromise":false,"lowers":[]},"destroyed":[%s],"documents":[`+
		`{"digest":"%s","role":"root","signed":[],"version":1},%s],"format":"bindery-ceremony-request/1","names":%s,"reason":"a new repository"}`,
		strings.Join(destroyed, ","), bare(m[0].Digest), strings.Join(documents, ","), names)
	require.Equal(t, ceremony.Digest(sha256.Sum256([]byte(want))).String(), r.Digest().String())

	w.publish(r, w.people[0], w.people[1])
	p = w.next(func(s *roles.RootSpec) { s.Root.Threshold = 1 })
	p.Compromise, p.Lowers, p.Names = true, []string{"root"}, nil
	r = w.request(p)
	want = fmt.Sprintf(`{"current":[{"digest":"%s","role":"root","version":1},{"digest":"%s","role":"targets","version":1},{"digest":"%s","role":"bins","version":1}],`+
		`"declares":{"compromise":true,"lowers":["root"]},"destroyed":[],"documents":[{"digest":"%s","role":"root","signed":[],"version":2}],`+
		`"format":"bindery-ceremony-request/1","names":{},"reason":"a change"}`,
		bare(m[0].Digest), bare(m[1].Digest), bare(m[2].Digest), bare(r.Marks()[0].Digest))
	require.Equal(t, ceremony.Digest(sha256.Sum256([]byte(want))).String(), r.Digest().String())
}

// The same request has the same digest for ever.
func TestDigestVector(t *testing.T) {
	authority := func(seeds ...byte) roles.Authority {
		a := roles.Authority{Threshold: 1}
		for _, seed := range seeds {
			key, err := keys.NewPublicKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)).Public())
			require.NoError(t, err)
			a.Keys = append(a.Keys, key)
		}
		return a
	}
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires, Root: authority(1, 2), Targets: authority(3), Snapshot: authority(4), Timestamp: authority(4),
	})
	require.NoError(t, err)
	r, err := ceremony.NewRequest(ceremony.Proposal{
		Reason: `the "first" root, by Zo` + "\u00eb",
		Names:  map[string]string{authority(1).Keys[0].ID(): "Ada", authority(2).Keys[0].ID(): "Bob"},
		New:    []ceremony.Document{{Role: "root", File: root.Bytes()}},
	})
	require.NoError(t, err)
	require.Equal(t, "740dfb3a e54fd8ff 87aa381c 1c6a4e3c 8a937d5a fd32d429 c0b92587 a5148845", r.Digest().String())
}

// Whatever is shown of a request is in its digest, so that a file that was altered on
// the way to the holders has other groups than their paper.
func TestDigestCoversWhatIsShown(t *testing.T) {
	w := begun(t)
	o := w.signOnce(2, of(1, w.bins))
	p := w.next(func(s *roles.RootSpec) { s.Targets.Keys = append(s.Targets.Keys, o.authority.Keys...) })
	p.New, p.Destroyed = append(p.New, o.docs...), o.destroyed
	r := w.request(p)
	ada, cleo := w.people[0].key.Public().ID(), w.people[2].key.Public().ID()
	swap := func(old, new string) string {
		require.Equal(t, 1, strings.Count(string(r.Bytes()), old), old)
		return strings.Replace(string(r.Bytes()), old, new, 1)
	}
	unsigned, err := roles.Parse[metadata.TargetsType](o.docs[1].File)
	require.NoError(t, err)
	fresh, err := roles.New(unsigned.Signed())
	require.NoError(t, err)
	require.Equal(t, unsigned.Digest(), fresh.Digest())
	for name, file := range map[string]string{
		"names swapped":   strings.NewReplacer(`"`+ada+`":"Ada"`, `"`+ada+`":"Cleo"`, `"`+cleo+`":"Cleo"`, `"`+cleo+`":"Ada"`).Replace(string(r.Bytes())),
		"a name left out": swap(`"`+ada+`":"Ada"`, `"00":"Ada"`),
		"a compromise":    swap(`"compromise":false`, `"compromise":true`),
		"another reason":  swap(`"reason":"a change"`, `"reason":"no change"`),
		"destroyed later": swap(`"at":"2030-01-31T12:00:00Z"}],`, `"at":"2030-01-31T13:00:00Z"}],`),
		"not destroyed":   swap(`{"role":"bins","keyids":["`+strings.Join(o.destroyed[1].KeyIDs, `","`)+`"],`, `{"role":"bins","keyids":["`+o.destroyed[1].KeyIDs[0]+`"],`),
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, string(r.Bytes()), file)
			altered, err := ceremony.ParseRequest([]byte(file))
			require.NoError(t, err)
			for i, group := range r.Digest().Groups() {
				require.False(t, altered.Digest().Confirms(i+1, group))
			}
			require.Equal(t, r.Marks(), altered.Marks())
		})
	}

	// Whether a document is signed already, and what the changes are against.
	p.Destroyed = p.Destroyed[:1]
	signed := w.request(p).Digest()
	p.New[2].File = fresh.Bytes()
	require.NotEqual(t, signed, w.request(p).Digest())
	p = w.next(nil)
	with := w.request(p).Digest()
	p.Current.Bins = nil
	require.NotEqual(t, with, w.request(p).Digest())

	// The order of signatures says nothing.
	p = w.next(func(s *roles.RootSpec) { s.Targets.Keys = append(s.Targets.Keys, o.authority.Keys...) })
	p.New = append(p.New, o.docs...)
	before := w.request(p)
	var file struct {
		Signatures []json.RawMessage `json:"signatures"`
		Signed     json.RawMessage   `json:"signed"`
	}
	require.NoError(t, json.Unmarshal(p.New[1].File, &file))
	slices.Reverse(file.Signatures)
	p.New[1].File, err = json.Marshal(file)
	require.NoError(t, err)
	require.NotEqual(t, before.Bytes(), w.request(p).Bytes())
	require.Equal(t, before.Digest(), w.request(p).Digest())
}
