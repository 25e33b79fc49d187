package ceremony_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// begun is a world whose first documents are published.
func begun(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "Ada", "Bob", "Cleo")
	w.publish(w.request(w.first(2)), w.people[0], w.people[1])
	w.people[2].notebook = w.people[0].notebook
	return w
}

// A request that is read back says the same.
func TestRequestRoundTrip(t *testing.T) {
	w := begun(t)
	p := w.next(nil)
	p.Reason = "R&D <1>"
	r := w.request(p)
	back, err := ceremony.ParseRequest(r.Bytes())
	require.NoError(t, err)
	require.Equal(t, r.Proposal(), back.Proposal())
	require.Equal(t, r.Bytes(), back.Bytes())
	require.Equal(t, p.Reason, back.Proposal().Reason)
	require.Equal(t, p.Names, back.Proposal().Names)
	require.Equal(t, p.New, back.Proposal().New)
	require.Equal(t, p.Current, back.Proposal().Current)

	// White space between members is no part of what people compare.
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, r.Bytes(), "", "\t"))
	back, err = ceremony.ParseRequest(indented.Bytes())
	require.NoError(t, err)
	require.Equal(t, r.Digest(), back.Digest())
}

// Files that are damaged, or that are something else.
func TestRequestFilesThatAreRefused(t *testing.T) {
	w := begun(t)
	p := w.next(nil)
	r := w.request(p)
	file := string(r.Bytes())
	answer := w.sign(r, w.people[0])[0]
	digest, err := r.Marks()[0].Digest.MarshalText()
	require.NoError(t, err)
	swap := func(old, new string) string {
		require.Equal(t, 1, strings.Count(file, old), old)
		return strings.Replace(file, old, new, 1)
	}
	at := strings.LastIndex(file, "2031-01-31T12:00:00Z")
	flip := file[:at] + "2039" + file[at+4:]
	for name, c := range map[string]struct{ file, want string }{
		"empty":            {"", "damaged, or another kind of file"},
		"truncated":        {file[:len(file)/2], "damaged, or another kind of file"},
		"trailing data":    {file + "{}", "damaged, or another kind of file"},
		"duplicate member": {swap(`"reason":`, `"reason":"x","reason":`), "damaged, or another kind of file"},
		"unknown member":   {swap(`"reason":`, `"because":"x","reason":`), `["because"]: unknown`},
		"other case":       {swap(`"reason":`, `"Reason":"x","reason":`), `Reason: some clients take it for "reason"`},
		"missing member":   {swap(`"destroyed":[],`, ""), "destroyed: missing"},
		"wrong type":       {swap(`"compromise":false`, `"compromise":"no"`), "declares.compromise: a string instead of true or false"},
		"a response":       {string(answer.Bytes()), "this file is a response, and a request is wanted"},
		"a notebook":       {string(w.people[0].notebook.Bytes()), "this file is a notebook, and a request is wanted"},
		"metadata":         {string(p.New[0].File), "this file is TUF metadata, and a request is wanted"},
		"a later format":   {swap("request/1", "request/2"), `format "bindery-ceremony-request/2", and this program knows "bindery-ceremony-request/1"`},
		"oversized":        {file + strings.Repeat(" ", 8_000_000), "and a request has at most 8000000"},
		"another digest":   {swap(string(digest), strings.Repeat("0", 64)), "root version 2 has the digest\n  " + r.Marks()[0].Digest.String()},
		"a flipped digit":  {flip, "documents[0]: root version 2 has the digest\n  "},
		"text backwards":   {swap(`"a change"`, `"a \u202echange"`), "characters that can't be printed"},
		"several lines":    {swap(`"a change"`, `"a\nchange"`), "characters that can't be printed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ceremony.ParseRequest([]byte(c.file))
			require.Error(t, err)
			require.ErrorContains(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), "request: "), err.Error())
		})
	}
}

func TestProposalsThatAreRefused(t *testing.T) {
	w := begun(t)
	ada, bob := w.people[0], w.people[1]
	other := newKey(t)
	skip := func(p *ceremony.Proposal) {
		p.New[0].File = nextRoot(t, nextRoot(t, w.root(), nil), nil).Bytes()
	}
	root := func(change func(*roles.RootSpec)) func(*ceremony.Proposal) {
		return func(p *ceremony.Proposal) { p.New[0].File = nextRoot(t, w.root(), change).Bytes() }
	}
	replaced := func(old, new string) func(*ceremony.Proposal) {
		return func(p *ceremony.Proposal) {
			require.Contains(t, string(p.New[0].File), old)
			p.New[0].File = []byte(strings.ReplaceAll(string(p.New[0].File), old, new))
		}
	}
	adaKey := ada.key.Public()
	for name, c := range map[string]struct {
		change func(*ceremony.Proposal)
		want   string
	}{
		"no reason":         {func(p *ceremony.Proposal) { p.Reason = "" }, "the reason is empty"},
		"no document":       {func(p *ceremony.Proposal) { p.New = nil }, "no document to sign"},
		"another role":      {func(p *ceremony.Proposal) { p.New[0].Role = "timestamp" }, `a document of the role "timestamp": only root, targets and bins are signed by people`},
		"a wrong role":      {func(p *ceremony.Proposal) { p.New[0].Role = "bins" }, "bins: targets: "},
		"a version skipped": {skip, "root version 3: skips a version: the one before it is 1"},
		"a version again":   {func(p *ceremony.Proposal) { p.New[0].File = w.current.Roots[0] }, "root version 1: version 1 is in force already"},
		"signed already": {func(p *ceremony.Proposal) {
			d, err := nextRoot(t, w.root(), nil).Sign(t.Context(), ada.key)
			require.NoError(t, err)
			p.New[0].File = d.Bytes()
		}, "already has signatures"},
		"no current root":      {func(p *ceremony.Proposal) { p.Current = ceremony.Documents{} }, "root version 2: the first one must be version 1"},
		"current not signed":   {func(p *ceremony.Proposal) { p.Current.Roots = [][]byte{nextRoot(t, w.root(), nil).Bytes()} }, "current: root version 2: 0 of 2 signatures"},
		"threshold lowered":    {root(func(s *roles.RootSpec) { s.Root.Threshold = 1 }), "role root: the threshold drops from 2 to 1, and the request doesn't declare that"},
		"nothing lowered":      {func(p *ceremony.Proposal) { p.Lowers = []string{"root"} }, "it declares a lower threshold of root, which doesn't drop"},
		"online key replaced":  {root(func(s *roles.RootSpec) { s.Timestamp = of(1, other) }), ceremony.ErrLocksOut.Error() + ": role timestamp: only 0 of its keys stay, and its threshold is 1"},
		"online threshold":     {root(func(s *roles.RootSpec) { s.Snapshot = of(2, w.online, other) }), "role snapshot: threshold 2: a role that is signed online must have threshold 1"},
		"parts of a second":    {replaced("2031-01-31T12:00:00Z", "2031-01-31T12:00:00.5Z"), `root version 2: expires is "2031-01-31T12:00:00.5Z", which not all clients can read`},
		"targets keys":         {root(func(s *roles.RootSpec) { s.Targets = of(1, other) }), "drops from 2 to 1"},
		"targets keys dropped": {root(func(s *roles.RootSpec) { s.Targets = of(2, other, newKey(t)) }), ceremony.ErrLocksOut.Error() + ": targets version 1: 0 of 2 signatures"},
		"targets unknown": {func(p *ceremony.Proposal) {
			p.Current.Targets, p.Current.Bins = nil, nil
			root(func(s *roles.RootSpec) { s.Targets = of(2, other, newKey(t)) })(p)
		}, "the request doesn't hold the targets that are published now"},
		"bins without targets": {func(p *ceremony.Proposal) { p.Current.Targets = nil }, "current: bins without targets"},
		"a key twice":          {replaced(`"`+bob.key.Public().ID()+`":{"keytype":"ed25519","keyval":{"public":"`+bob.key.Public().Value(), `"`+bob.key.Public().ID()+`":{"keytype":"ed25519","keyval":{"public":"`+adaKey.Value()), "): the same as "},
		"an unknown kind":      {replaced(`{"keytype":"ed25519","keyval":{"public":"`+adaKey.Value(), `{"keytype":"ed448","keyval":{"public":"`+adaKey.Value()), `unsupported kind of key: keytype "ed448"`},
		"a key not listed":     {replaced(`"`+adaKey.ID()+`":{`, `"00`+adaKey.ID()[2:]+`":{`), "is not listed"},
		"no consistent":        {replaced(`"consistent_snapshot":true`, `"consistent_snapshot":false`), "consistent_snapshot is not true"},
		"a name of two lines":  {func(p *ceremony.Proposal) { p.Names = map[string]string{adaKey.ID(): "Ada\nBob"} }, "characters that can't be printed"},
		"destroyed and unknown": {func(p *ceremony.Proposal) {
			p.Destroyed = []ceremony.Destroyed{{Role: "targets", KeyIDs: []string{"ab"}, At: now}}
		}, "destroyed[0]: key ab signed no targets of this request"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.next(nil)
			c.change(&p)
			_, err := ceremony.NewRequest(p)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, strings.HasPrefix(c.want, ceremony.ErrLocksOut.Error()), isLockOut(err))
		})
	}
}

func isLockOut(err error) bool { return strings.Contains(err.Error(), ceremony.ErrLocksOut.Error()) }

// What is refused as a lock-out is allowed after a compromise, and a lower threshold
// once it is declared.
func TestDeclarations(t *testing.T) {
	w := begun(t)
	p := w.next(func(s *roles.RootSpec) { s.Snapshot, s.Timestamp = of(1, newKey(t)), of(1, newKey(t)) })
	_, err := ceremony.NewRequest(p)
	require.ErrorIs(t, err, ceremony.ErrLocksOut)
	p.Compromise = true
	w.request(p)

	p = w.next(func(s *roles.RootSpec) { s.Root.Threshold = 1 })
	p.Lowers = []string{"root"}
	step := w.request(p).Steps()[0]
	require.Equal(t, []ceremony.Change{{Role: "root", What: "threshold", Was: "2 of 3", Is: "1 of 3", Grave: true}}, step.Changes)
	require.Equal(t, []string{"any one holder of a root key can change everything alone"}, step.Warnings)
}

// The documents that one-time keys sign.
func TestTargetsThatAreRefused(t *testing.T) {
	w := begun(t)
	other := newKey(t)
	first := w.signOnce(2, of(1, w.bins))
	over := nextRoot(t, w.root(), func(s *roles.RootSpec) { s.Targets.Keys = append(s.Targets.Keys, first.authority.Keys...) }).Bytes()
	rootDoc := ceremony.Document{Role: "root", File: over}
	unsigned := func(d ceremony.Document) ceremony.Document {
		parsed, err := roles.Parse[metadata.TargetsType](d.File)
		require.NoError(t, err)
		fresh, err := roles.New(parsed.Signed())
		require.NoError(t, err)
		return ceremony.Document{Role: d.Role, File: fresh.Bytes()}
	}
	once := func(version int64, threshold int) (*ceremony.OneTime, ceremony.Document) {
		keys, err := ceremony.NewOneTime("bins", 2)
		require.NoError(t, err)
		a := keys.Authority()
		a.Threshold = threshold
		doc, err := delegation.NewTargets(version, expires, a)
		require.NoError(t, err)
		return keys, ceremony.Document{Role: "targets", File: doc.Bytes()}
	}
	layout8, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	resized, err := layout8.NewRole(2, expires, of(1, w.bins))
	require.NoError(t, err)
	two, err := w.layout.NewRole(2, expires, of(2, w.bins, other))
	require.NoError(t, err)
	rebound, err := w.layout.NewRole(2, expires, of(1, other))
	require.NoError(t, err)
	_, lower := once(2, 1)
	_, alone := once(2, 2)
	_, third := once(3, 2)
	for name, c := range map[string]struct {
		docs []ceremony.Document
		want string
	}{
		"in order": {[]ceremony.Document{rootDoc, first.docs[0], first.docs[1]}, ""},
		"unsigned": {[]ceremony.Document{rootDoc, unsigned(first.docs[0]), unsigned(first.docs[1])}, ""},
		"by keys of no root": {[]ceremony.Document{first.docs[0], first.docs[1]},
			"documents[0]: targets version 2: it must have all signatures or none: 0 of 2 signatures"},
		"a version skipped":  {[]ceremony.Document{rootDoc, third}, "documents[1]: targets version 3: skips a version: the one before it is 1"},
		"targets alone":      {[]ceremony.Document{alone}, "targets version 2: " + ceremony.ErrLocksOut.Error() + ": bins version 1: 0 of 2 signatures"},
		"threshold of bins":  {[]ceremony.Document{lower}, "role bins: the threshold drops from 2 to 1"},
		"bins resized":       {[]ceremony.Document{{Role: "bins", File: resized.Bytes()}}, "bins can't be resized by a new document"},
		"online key of bins": {[]ceremony.Document{{Role: "bins", File: rebound.Bytes()}}, ""},
		"threshold of each":  {[]ceremony.Document{{Role: "bins", File: two.Bytes()}}, "bins version 2: role each bin: threshold 2"},
		"bins for targets":   {[]ceremony.Document{{Role: "targets", File: resized.Bytes()}}, `targets version 2: it delegates to bins itself, not to the role "bins"`},
		"targets for bins":   {[]ceremony.Document{{Role: "bins", File: alone.File}}, "bins version 2: "},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.next(nil)
			p.New = c.docs
			_, err := ceremony.NewRequest(p)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
	_, err = ceremony.NewRequest(ceremony.Proposal{Reason: "x", New: first.docs})
	require.ErrorContains(t, err, "documents[0]: targets without a root before it")
}

// Each key in a root that others made has an ID of its own, members that Bindery
// doesn't know, and may be of a kind that it doesn't know.
func TestNextRootKeepsWhatOthersWrote(t *testing.T) {
	ada, bob, online := newKey(t), newKey(t), newKey(t)
	key := func(k keys.Signer, more string) string {
		return `{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"` + k.Public().Value() + `"}` + more + `}`
	}
	wild := `{"signatures":[],"signed":{"_type":"root","spec_version":"1.0","version":4,"expires":"2030-06-01T00:00:00Z",
		"consistent_snapshot":true,"x-tuf-on-ci-expiry-period":365,
		"keys":{"ada-1":` + key(ada, `,"x-tuf-on-ci-keyowner":"@ada"`) + `,"bob-1":` + key(bob, "") + `,"web":` + key(online, `,"x-tuf-on-ci-online-uri":"awskms:x"`) + `},
		"roles":{"root":{"keyids":["ada-1","bob-1"],"threshold":1,"x-note":[9007199254740993]},"targets":{"keyids":["ada-1"],"threshold":1},
		"snapshot":{"keyids":["web"],"threshold":1},"timestamp":{"keyids":["web"],"threshold":1}}}}`
	last, err := roles.Parse[metadata.RootType]([]byte(wild))
	require.NoError(t, err)
	spec, err := ceremony.RootSpec(last)
	require.NoError(t, err)
	carl := newKey(t)
	spec.Root.Keys = append(spec.Root.Keys[:1:1], carl.Public())
	spec.Expires = expires
	next, err := ceremony.NextRoot(last, spec)
	require.NoError(t, err)
	require.Empty(t, next.Signatures())
	canonical := string(next.Canonical())
	require.Contains(t, canonical, `"version":5`)
	require.Contains(t, canonical, `"spec_version":"1.0.34"`)
	require.Contains(t, canonical, `"x-tuf-on-ci-expiry-period":365`)
	require.Contains(t, canonical, `"x-tuf-on-ci-keyowner":"@ada"`)
	require.Contains(t, canonical, `"x-note":[9007199254740993]`)
	require.Contains(t, canonical, `"ada-1":{`)
	require.NotContains(t, canonical, "bob-1")

	// It is asked for and signed under the IDs that it gives the keys.
	last, err = last.Sign(t.Context(), ada)
	require.NoError(t, err)
	signature := last.Signatures()[0]
	last, err = roles.Parse[metadata.RootType]([]byte(strings.Replace(wild, `"signatures":[]`, fmt.Sprintf(`"signatures":[{"keyid":"ada-1","sig":"%x"}]`, signature.Sig), 1)))
	require.NoError(t, err)
	r, err := ceremony.NewRequest(ceremony.Proposal{
		Reason: "adopted", Names: map[string]string{"ada-1": "Ada"},
		Current: ceremony.Documents{Roots: [][]byte{last.Bytes()}},
		New:     []ceremony.Document{{Role: "root", File: next.Bytes()}},
	})
	require.NoError(t, err)
	mark := r.Based()
	response, _, err := r.Sign(t.Context(), ada, ceremony.Notebook{Trusted: mark}, now)
	require.NoError(t, err)
	require.Equal(t, []string{"ada-1"}, response.KeyIDs())
	progress, err := r.Merge(response)
	require.NoError(t, err)
	require.True(t, progress.Complete())

	// What Bindery has no words for is shown as it is.
	changed := strings.Replace(string(next.Bytes()), `"x-tuf-on-ci-expiry-period":365`, `"x-tuf-on-ci-expiry-period":7`, 1)
	r, err = ceremony.NewRequest(ceremony.Proposal{
		Reason: "adopted", Current: ceremony.Documents{Roots: [][]byte{last.Bytes()}},
		New: []ceremony.Document{{Role: "root", File: []byte(changed)}},
	})
	require.NoError(t, err)
	require.Contains(t, r.Steps()[0].Changes, ceremony.Change{
		Role: "root", What: "other content", Was: `"x-tuf-on-ci-expiry-period": 365`, Is: `"x-tuf-on-ci-expiry-period": 7`, Grave: true,
	})
}

func TestP384IsRefused(t *testing.T) {
	w := begun(t)
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	value, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	require.NoError(t, err)
	p := w.next(nil)
	bob := w.people[1].key.Public()
	p.New[0].File = []byte(strings.Replace(string(p.New[0].File),
		`{"keytype":"ed25519","keyval":{"public":"`+bob.Value()+`"},"scheme":"ed25519"}`,
		`{"keytype":"ecdsa","keyval":{"public":`+string(value)+`},"scheme":"ecdsa-sha2-nistp256"}`, 1))
	_, err = ceremony.NewRequest(p)
	require.ErrorIs(t, err, keys.ErrUnsupported)
}

func TestExpiredIsRefused(t *testing.T) {
	w := begun(t)
	r := w.request(w.next(func(s *roles.RootSpec) { s.Expires = now }))
	ada := w.people[0]
	require.EqualError(t, r.Check(ada.notebook, now), "root version 2 expired at 2030-01-31T12:00:00Z, and now it is 2030-01-31T12:00:00Z")
	require.NoError(t, r.Check(ada.notebook, now.Add(-time.Second)))
}
