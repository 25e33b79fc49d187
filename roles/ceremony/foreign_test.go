package ceremony_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// style is how another program writes metadata.
type style struct {
	key    string // more members of a key's entry
	keyval string // more members of its keyval
	whole  bool   // whether the ID is the hash of all of them
	role   string // more members of a role
	signed string // more members of the signed part
}

var styles = map[string]style{
	"python-tuf": {},
	"tuf-on-ci": {key: `,"x-tuf-on-ci-keyowner":"@ada"`, role: `,"x-tuf-on-ci-note":["a",1]`,
		signed: `,"x-tuf-on-ci-expiry-period":365,"x-tuf-on-ci-signing-period":60`},
	"RSTUF": {key: `,"x-rstuf-key-name":"Ada's","x-rstuf-online-key-uri":"fn:abc"`, role: `,"x-rstuf-expire-policy":365`},
	// As in PEP 458's reference and in Sigstore's root: the ID covers a member that others don't have.
	"PyPI":       {key: `,"keyid_hash_algorithms":["sha256","sha512"]`, whole: true},
	"an old one": {key: `,"x-n":9007199254740993,"x-\u2028":{"b":null,"a":true}`, keyval: `,"private":""`, whole: true},
}

// entry is a key as the style lists it, and its ID.
func (s style) entry(t *testing.T, k *keys.PublicKey) (id, entry string) {
	t.Helper()
	value, err := json.Marshal(k.Value())
	require.NoError(t, err)
	entry = `{"keytype":"` + k.Type() + `","scheme":"` + k.Scheme() + `"` + s.key + `,"keyval":{"public":` + string(value) + s.keyval + `}}`
	if !s.whole {
		return k.ID(), entry
	}
	return hashOf(t, entry), entry
}

func hashOf(t *testing.T, entry string) string {
	t.Helper()
	canonical, err := cjson.Canonicalize([]byte(entry))
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(canonical))
}

// foreign is a repository that a style made, whose root, targets and bins Ada and Bob sign.
type foreign struct {
	t *testing.T
	style
	ada, bob, online keys.Signer
	more             map[string]string // other keys of all roles, by ID
	current          ceremony.Documents
}

func newForeign(t *testing.T, s style, more map[string]string) *foreign {
	f := &foreign{t: t, style: s, ada: newKey(t), bob: newKey(t), online: newKey(t), more: more}
	people, holders := f.list(f.ada, f.bob)
	machine, web := f.list(f.online)
	all, _ := f.list(f.ada, f.bob, f.online)
	role := func(ids string, threshold int) string {
		return fmt.Sprintf(`{"keyids":%s,"threshold":%d%s}`, ids, threshold, f.role)
	}
	head := `"spec_version":"1.0.31","version":3,"expires":"2031-01-31T00:00:00Z"` + f.signed
	f.current.Roots = [][]byte{f.sign(`{"_type":"root",` + head + `,"consistent_snapshot":true,"keys":` + all + `,"roles":{"root":` + role(holders, 2) +
		`,"targets":` + role(holders, 2) + `,"snapshot":` + role(web, 1) + `,"timestamp":` + role(web, 1) + `}}`)}
	f.current.Targets = f.sign(`{"_type":"targets",` + head + `,"targets":{},"delegations":{"x-d":1,"keys":` + people +
		`,"roles":[{"name":"bins","terminating":true,"path_hash_prefixes":[""],` + role(holders, 2)[1:] + `]}}`)
	f.current.Bins = f.sign(`{"_type":"targets",` + head + `,"targets":{},"delegations":{"keys":` + machine +
		`,"succinct_roles":{"bit_length":2,"name_prefix":"bins",` + role(web, 1)[1:] + `}}`)
	require.NoError(t, f.current.Verify())
	return f
}

// list is an object of the signers' keys, and an array of their IDs.
func (f *foreign) list(signers ...keys.Signer) (object, ids string) {
	entries := map[string]json.RawMessage{}
	for _, s := range signers {
		id, entry := f.entry(f.t, s.Public())
		entries[id] = json.RawMessage(entry)
	}
	var all []string
	for id, entry := range f.more {
		entries[id] = json.RawMessage(entry)
		if entry == "" {
			delete(entries, id) // an ID without a key
			all = append(all, id)
		}
	}
	for id := range entries {
		all = append(all, id)
	}
	slices.Sort(all)
	o, err := json.Marshal(entries)
	require.NoError(f.t, err)
	i, err := json.Marshal(all)
	require.NoError(f.t, err)
	return string(o), string(i)
}

// sign has Ada and Bob sign, under the IDs of the style.
func (f *foreign) sign(signed string) []byte {
	canonical, err := cjson.Canonicalize([]byte(signed))
	require.NoError(f.t, err)
	var signatures []string
	for _, s := range []keys.Signer{f.ada, f.bob} {
		id, _ := f.entry(f.t, s.Public())
		sig, err := s.Sign(f.t.Context(), canonical)
		require.NoError(f.t, err)
		signatures = append(signatures, fmt.Sprintf(`{"keyid":"%s","sig":"%x"}`, id, sig))
	}
	return []byte(`{"signatures":[` + strings.Join(signatures, ",") + `],"signed":` + signed + `}`)
}

// renewal is the next root and bins, of the same keys.
func (f *foreign) renewal(keep bool, dropped ...string) ceremony.Proposal {
	t := f.t
	last, err := roles.Parse[metadata.RootType](f.current.Roots[0])
	require.NoError(t, err)
	spec, err := ceremony.RootSpec(last, dropped...)
	require.NoError(t, err)
	spec.Expires = expires
	root, err := ceremony.NextRoot(last, spec)
	require.NoError(t, err)
	bins, err := roles.Parse[metadata.TargetsType](f.current.Bins)
	require.NoError(t, err)
	each, err := roles.DelegatedAuthority(bins, "bins-0")
	require.NoError(t, err)
	next, err := newWorld(t).layout.NewRole(4, expires, each)
	require.NoError(t, err)
	if keep {
		next, err = ceremony.NextTargets(bins, next)
		require.NoError(t, err)
	}
	return ceremony.Proposal{
		Reason: "renewal", Current: f.current,
		New: []ceremony.Document{{Role: "root", File: root.Bytes()}, {Role: "bins", File: next.Bytes()}},
	}
}

// What other programs say of keys, roles and documents stays as it was, in root and in bins, and
// nothing but the expiry and the version of the specification changes on the screen.
func TestRenewalOfWhatOthersWrote(t *testing.T) {
	for name, s := range styles {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t, s, nil)
			r, err := ceremony.NewRequest(f.renewal(true))
			require.NoError(t, err)
			odd := s.key != "" && !s.whole
			for i, step := range r.Steps() {
				for _, c := range step.Changes {
					require.Contains(t, []string{"expires", "spec_version"}, c.What)
				}
				require.Equal(t, odd, strings.Contains(strings.Join(step.Warnings, "\n"), "clients in Rust (tough) can't read this document"), i)
			}
			notebook := ceremony.Notebook{Trusted: r.Based()}
			var answers []*ceremony.Response
			for _, signer := range []keys.Signer{f.ada, f.bob} {
				answer, _, err := r.Sign(t.Context(), signer, notebook, now)
				require.NoError(t, err)
				answers = append(answers, answer)
			}
			progress, err := r.Merge(answers...)
			require.NoError(t, err)
			require.True(t, progress.Complete())
			before, after := string(canonicalOf(t, f.current.Roots[0])), string(canonicalOf(t, progress.Files()[0].File))
			bins, next := string(canonicalOf(t, f.current.Bins)), string(canonicalOf(t, progress.Files()[1].File))
			for _, signer := range []keys.Signer{f.ada, f.bob, f.online} {
				id, entry := s.entry(t, signer.Public())
				canonical, err := cjson.Canonicalize([]byte(entry))
				require.NoError(t, err)
				listed := `"` + id + `":` + string(canonical)
				require.Contains(t, before, listed)
				require.Contains(t, after, listed)
				require.Equal(t, strings.Contains(bins, listed), strings.Contains(next, listed))
			}
			if s.role != "" {
				require.Equal(t, 4, strings.Count(after, s.role[1:]))
				require.Equal(t, 1, strings.Count(next, s.role[1:]))
			}
			for member := range strings.SplitSeq(s.signed, ",") {
				require.Contains(t, after, member)
				require.Contains(t, next, member)
			}

			// Without the entry, the ID fits nothing.
			_, err = ceremony.NewRequest(f.renewal(false))
			if s.whole {
				require.ErrorContains(t, err, "its entry is not the one that is published, of which the ID was made: keep the entry as it is")
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func canonicalOf(t *testing.T, file []byte) []byte {
	t.Helper()
	var parts struct{ Signed json.RawMessage }
	require.NoError(t, json.Unmarshal(file, &parts))
	canonical, err := cjson.Canonicalize(parts.Signed)
	require.NoError(t, err)
	return canonical
}

func TestNextTargetsKeepsWhatOthersWrote(t *testing.T) {
	f := newForeign(t, styles["tuf-on-ci"], nil)
	last, err := roles.Parse[metadata.TargetsType](f.current.Targets)
	require.NoError(t, err)
	holders, err := roles.DelegatedAuthority(last, "bins")
	require.NoError(t, err)
	w := newWorld(t, "Ada")
	o := w.signOnce(4, of(1, w.bins))
	signed, err := roles.Parse[metadata.TargetsType](o.docs[0].File)
	require.NoError(t, err)
	_, err = ceremony.NextTargets(last, signed)
	require.EqualError(t, err, "targets version 4: already has signatures, which would not verify any more: give it without any")
	fresh, err := roles.New(signed.Signed())
	require.NoError(t, err)
	next, err := ceremony.NextTargets(last, fresh)
	require.NoError(t, err)
	canonical := string(next.Canonical())
	require.Contains(t, canonical, `"x-tuf-on-ci-expiry-period":365`)
	require.Contains(t, canonical, `"x-tuf-on-ci-note":["a",1]`)
	require.Contains(t, canonical, `"x-d":1`)
	require.NotContains(t, canonical, "keyowner", "of keys that went")
	is, err := roles.DelegatedAuthority(next, "bins")
	require.NoError(t, err)
	require.Len(t, is.Keys, 2)
	require.False(t, slices.ContainsFunc(is.Keys, holders.Keys[0].Same))
	_, err = ceremony.NextTargets(next, fresh)
	require.EqualError(t, err, "targets version 4 doesn't follow version 4: version 5 must come next")

	// A role that was delegated patterns has hash prefixes only.
	patterns, err := roles.Parse[metadata.TargetsType](f.sign(strings.Replace(string(last.Canonical()), `"path_hash_prefixes":[""]`, `"paths":["*"]`, 1)))
	require.NoError(t, err)
	next, err = ceremony.NextTargets(patterns, fresh)
	require.NoError(t, err)
	require.NotContains(t, string(next.Canonical()), `"paths"`)
	require.Contains(t, string(next.Canonical()), `"x-tuf-on-ci-note":["a",1]`)
	// One that delegated nothing has nothing to keep.
	bare, err := roles.Parse[metadata.TargetsType](f.sign(`{"_type":"targets","spec_version":"1.0","version":3,"expires":"2031-01-31T00:00:00Z","targets":{},"x-y":1}`))
	require.NoError(t, err)
	next, err = ceremony.NextTargets(bare, fresh)
	require.NoError(t, err)
	require.Contains(t, string(next.Canonical()), `"x-y":1`)
}

// p384 is a key that other programs sign with, as they list it.
func p384(t *testing.T) (id, entry string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	value, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	require.NoError(t, err)
	entry = `{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp384","keyval":{"public":` + string(value) + `}}`
	return hashOf(t, entry), entry
}

// A holder whose key Bindery can't use is not left out silently.
func TestAKeyOfAnotherKindIsNotDroppedSilently(t *testing.T) {
	id, entry := p384(t)
	f := newForeign(t, style{}, map[string]string{id: entry, "unlisted": ""})
	last, err := roles.Parse[metadata.RootType](f.current.Roots[0])
	require.NoError(t, err)
	unusable := roles.RootUnusable(last, "root")
	require.Len(t, unusable, 2)
	require.ElementsMatch(t, []string{id, "unlisted"}, []string{unusable[0].ID, unusable[1].ID})
	require.Empty(t, roles.RootUnusable(last, "mirrors"))
	_, err = ceremony.RootSpec(last)
	require.ErrorContains(t, err, "root version 3: role root: ")
	require.ErrorContains(t, err, "the next root can't list this key: drop it by its ID, ")
	_, err = ceremony.RootSpec(last, "unlisted")
	require.ErrorIs(t, err, keys.ErrUnsupported)
	require.ErrorContains(t, err, `public key "`+id+`": unsupported kind of key: keytype "ecdsa", scheme "ecdsa-sha2-nistp384"`)

	p := f.renewal(true, "unlisted", id)
	p.Names = map[string]string{id: "Perla"}
	r, err := ceremony.NewRequest(p)
	require.NoError(t, err)
	steps := r.Steps()
	who := ceremony.Who{Name: "Perla", KeyID: id}
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		require.Contains(t, steps[0].Changes, ceremony.Change{Role: role, What: "key removed", Was: who.String(), Key: &who})
		require.Contains(t, steps[0].Changes, ceremony.Change{Role: role, What: "key removed", Was: "key unlisted", Key: &ceremony.Who{KeyID: "unlisted"}})
	}
	require.Contains(t, steps[0].Changes, ceremony.Change{Role: "root", What: "threshold", Was: "2 of 4", Is: "2 of 2"})
	warnings := strings.Join(steps[0].Warnings, "\n")
	require.Contains(t, warnings, who.String()+" has no say any more (root, targets, snapshot, timestamp), because not all clients can verify it: "+
		`unsupported kind of key: keytype "ecdsa", scheme "ecdsa-sha2-nistp384"`)
	require.Contains(t, warnings, "key unlisted has no say any more (root, targets, snapshot, timestamp), because not all clients can verify it: key unlisted is not listed")
	require.Contains(t, warnings, "role timestamp: before this root is published, a generation must be published that a key signed which stays")
	require.Contains(t, steps[1].Changes, ceremony.Change{Role: "each bin", What: "key removed", Was: who.String(), Key: &who})
	require.Contains(t, steps[1].Warnings, "the publisher must have one of the keys listed here before this document is published; all bins are then signed again at once")

	// The key may have signed targets.
	p.Current.Targets, p.Current.Bins, p.New = nil, nil, p.New[:1]
	_, err = ceremony.NewRequest(p)
	require.ErrorContains(t, err, "it changes who signs targets, and the request doesn't hold the targets that are published now")

	targets, err := roles.Parse[metadata.TargetsType](f.current.Targets)
	require.NoError(t, err)
	require.Len(t, roles.DelegatedUnusable(targets, "bins"), 2)
	require.Empty(t, roles.DelegatedUnusable(targets, "claimed"))
}

// A repository whose targets delegate to no bins gets its first ones.
func TestFirstBins(t *testing.T) {
	f := newForeign(t, style{}, nil)
	f.current.Bins = nil
	listed := `{"_type":"targets","spec_version":"1.0.31","version":3,"expires":"2031-01-31T00:00:00Z","targets":{"a.whl":{"length":1,"hashes":{"sha256":"ab"}}}}`
	f.current.Targets = f.sign(listed)
	w := newWorld(t)
	_, err := firstBins(t, f, w, 4)
	require.ErrorContains(t, err, "bins version 4: the first one must be version 1")
	_, err = firstBins(t, f, w)
	require.ErrorContains(t, err, "targets version 4: it is the first one that delegates to bins, and no document of bins comes after it")

	r, err := firstBins(t, f, w, 1)
	require.NoError(t, err)
	steps := r.Steps()
	require.Contains(t, steps[1].Changes, ceremony.Change{Role: "targets", What: "delegates to", Is: "bins: every path"})
	require.Contains(t, steps[1].Changes, ceremony.Change{
		Role: "targets", What: "other content", Was: `"targets"."a.whl": {"hashes":{"sha256":"ab"},"length":1}`, Grave: true,
	})
	require.Contains(t, steps[2].Changes, ceremony.Change{Role: "bins", What: "delegates to", Is: "4 bins, bins-0 to bins-3 (succinct)"})

	// What targets delegated to others is shown.
	f.current.Targets = f.sign(strings.Replace(listed, `"targets":{`, `"delegations":{"keys":{},"roles":[{"name":"claimed","keyids":[],"threshold":1,"terminating":false,"paths":["a/*"]}]},"targets":{`, 1))
	r, err = firstBins(t, f, w, 1)
	require.NoError(t, err)
	require.Contains(t, r.Steps()[1].Changes, ceremony.Change{Role: "targets", What: "delegates to", Was: "claimed", Is: "bins: every path"})

	// Where targets delegate to bins, there are some.
	other := newForeign(t, style{}, nil)
	other.current.Bins = nil
	_, err = firstBins(t, other, w, 1)
	require.ErrorContains(t, err, "bins version 1: the request doesn't hold the one that is published now")
}

// firstBins asks for targets 4 and bins of these versions, which one-time keys sign.
func firstBins(t *testing.T, f *foreign, w *world, versions ...int64) (*ceremony.Request, error) {
	t.Helper()
	targets, err := ceremony.NewOneTime("targets", 2)
	require.NoError(t, err)
	bins, err := ceremony.NewOneTime("bins", 2)
	require.NoError(t, err)
	last, err := roles.Parse[metadata.RootType](f.current.Roots[0])
	require.NoError(t, err)
	root := nextRoot(t, last, func(s *roles.RootSpec) { s.Targets.Keys = append(s.Targets.Keys, targets.Authority().Keys...) })
	before, err := roles.Parse[metadata.TargetsType](f.current.Targets)
	require.NoError(t, err)
	four, err := delegation.NewTargets(4, expires, bins.Authority())
	require.NoError(t, err)
	four, err = ceremony.NextTargets(before, four)
	require.NoError(t, err)
	four, err = targets.Sign(t.Context(), four)
	require.NoError(t, err)
	p := ceremony.Proposal{
		Reason: "bins", Current: f.current,
		New: []ceremony.Document{{Role: "root", File: root.Bytes()}, {Role: "targets", File: four.Bytes()}},
	}
	for _, version := range versions {
		doc, err := w.layout.NewRole(version, expires, of(1, w.bins))
		require.NoError(t, err)
		doc, err = bins.Sign(t.Context(), doc)
		require.NoError(t, err)
		p.New = append(p.New, ceremony.Document{Role: "bins", File: doc.Bytes()})
	}
	return ceremony.NewRequest(p)
}
