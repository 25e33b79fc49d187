package audit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/audit"
)

var foreignNow = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const noHash = "a key ID must be the SHA-256 of the key's entry"

// auditForeign leaves out that key IDs are no hashes: in what newForeign makes none is.
func auditForeign(t *testing.T, files fstest.MapFS) []audit.Finding {
	t.Helper()
	p := published{env: &env{t: t}, files: files, cfg: audit.Config{Now: func() time.Time { return foreignNow }}}
	var out []audit.Finding
	for _, f := range p.audit() {
		if f.Check != "keys" || f.Severity != isWarning || !strings.Contains(f.Problem, noHash) {
			out = append(out, f)
		}
	}
	return out
}

// Metadata that Bindery did not write, in a folder that isn't a store.
func TestAuditOfForeignMetadata(t *testing.T) {
	want := []string{"1.root.json", "2.root.json", "7.targets.json", "3.ö.json"}
	for f, err := range audit.Run(t.Context(), audit.FS(os.DirFS(foreignDir)), audit.Config{
		Now: func() time.Time { return foreignNow },
	}) {
		require.NoError(t, err)
		require.NotEmpty(t, want, "%+v", f)
		requireFindings(t, []audit.Finding{finding(isWarning, "keys", want[0], "", noHash)}, []audit.Finding{f})
		want = want[1:]
	}
	require.Empty(t, want)
}

// tough takes a key's ID for wrong unless it is the hash of the whole entry, as it was received.
func TestAuditNamesKeyIDsThatAreNoHashes(t *testing.T) {
	f := newForeign(t)
	extra := func(k *metadata.Key) *metadata.Key {
		k.UnrecognizedFields = map[string]any{"x-owner": "@alice", "x-large": json.Number("9007199254740993")}
		return k
	}
	dev := f.targets["ö"].Delegations
	text, err := cjson.EncodeCanonical(extra(dev.Keys["alice"]))
	require.NoError(t, err)
	sum := sha256.Sum256(text)
	right := hex.EncodeToString(sum[:])
	wrong, err := dev.Keys["carol"].ID() // before it gets the other members
	require.NoError(t, err)
	dev.Keys[right], dev.Keys[wrong] = dev.Keys["alice"], extra(dev.Keys["carol"])
	delete(dev.Keys, "alice")
	delete(dev.Keys, "carol")
	dev.Roles[0].KeyIDs = []string{right, wrong}
	f.keys[right], f.keys[wrong] = f.keys["alice"], f.keys["carol"]
	f.signers["deep"] = []string{right, wrong}
	p := published{env: &env{t: t}, files: f.sign(), cfg: audit.Config{Now: func() time.Time { return foreignNow }}}
	all := p.audit()
	all = slices.DeleteFunc(all, func(f audit.Finding) bool { return f.Name != "3.ö.json" })
	requireFindings(t, []audit.Finding{finding(isWarning, "keys", "3.ö.json", "", "tough clients refuse the file: "+noHash+": key "+wrong+" should be ")}, all)
	require.NotContains(t, all[0].Problem, right)

	for i := range 10 { // a few are enough to see what is wrong
		dev.Keys[fmt.Sprint("later ", i)] = f.public("alice")["alice"]
	}
	p.files = f.sign()
	all = slices.DeleteFunc(p.audit(), func(f audit.Finding) bool { return f.Name != "3.ö.json" })
	require.Len(t, all, 1)
	require.Contains(t, all[0].Problem, "key later 0 should be ")
	require.True(t, strings.HasSuffix(all[0].Problem, "; and 6 more"), all[0].Problem)
}

// A role's file may be under its escaped name.
func TestAuditOfEscapedNames(t *testing.T) {
	files := newForeign(t).sign()
	files["3.%C3%B6.json"] = files["3.ö.json"]
	delete(files, "3.ö.json")
	require.Empty(t, auditForeign(t, files))
}

// Each of these was signed like that: there is nothing wrong but what is found.
func TestAuditOfWhatWasSigned(t *testing.T) {
	const root, targets, dev = "2.root.json", "7.targets.json", "3.ö.json"
	for name, c := range map[string]struct {
		change func(f *foreign)
		want   []audit.Finding
	}{
		"not consistent": {func(f *foreign) { f.roots[1].ConsistentSnapshot = false }, []audit.Finding{
			finding(isWarning, "format", root, "", "consistent_snapshot is false"),
		}},
		"a key that isn't listed": {func(f *foreign) {
			f.roots[1].Roles[metadata.TARGETS].KeyIDs = []string{"carol", "dave"}
		}, []audit.Finding{finding(isError, "keys", root, "", "key dave: it is not listed")}},
		"an unknown kind of key": {func(f *foreign) {
			f.roots[1].Keys["bob"].Type = "quantum"
			f.signers[metadata.ROOT] = []string{"alice", "carol"}
		}, []audit.Finding{
			finding(isError, "format", root, "", `not all clients accept it: key "bob", keytype "quantum"`),
			finding(isError, "keys", root, "", `keytype "quantum"`),
		}},
		"a key of an unknown kind that nobody uses": {func(f *foreign) {
			f.roots[1].Keys["later"] = &metadata.Key{Type: "quantum", Scheme: "quantum", Value: metadata.KeyVal{PublicKey: "00"}}
		}, []audit.Finding{finding(isError, "format", root, "", `not all clients accept it: key "later", keytype "quantum"`)}},
		"one among delegations": {func(f *foreign) {
			f.targets["ö"].Delegations.Keys["later"] = &metadata.Key{Type: "quantum", Scheme: "quantum", Value: metadata.KeyVal{PublicKey: "00"}}
		}, []audit.Finding{finding(isError, "format", dev, "", `not all clients accept it: key "later", keytype "quantum"`)}},
		"a fifth role": {func(f *foreign) {
			f.roots[1].Roles["mirrors"] = f.roots[1].Roles[metadata.TARGETS]
		}, []audit.Finding{finding(isError, "format", root, "", `role "mirrors": python-tuf clients refuse`)}},
		"an expiry with a fraction": {func(f *foreign) {
			f.snapshot.Expires = f.snapshot.Expires.Add(time.Second / 2)
		}, []audit.Finding{finding(isError, "format", "20.snapshot.json", "", "in whole seconds")}},
		"one key under two IDs": {func(f *foreign) {
			f.roots[1].Keys["carol too"] = f.roots[1].Keys["carol"]
			f.roots[1].Roles[metadata.TARGETS].KeyIDs = []string{"carol", "carol too"}
		}, []audit.Finding{finding(isWarning, "keys", root, "", "keys carol and carol too are the same")}},
		"one key under two IDs, signing under the second": {func(f *foreign) {
			f.roots[1].Keys["carol too"] = f.roots[1].Keys["carol"]
			f.roots[1].Roles[metadata.TARGETS].KeyIDs = []string{"carol", "carol too"}
			f.keys["carol too"] = f.keys["carol"]
			f.signers[metadata.TARGETS] = []string{"carol too"}
		}, []audit.Finding{finding(isWarning, "keys", root, "", "keys carol and carol too are the same")}},
		"one key for a threshold of two": {func(f *foreign) {
			f.roots[1].Keys["carol too"] = f.roots[1].Keys["carol"]
			f.roots[1].Roles[metadata.TARGETS] = &metadata.Role{KeyIDs: []string{"carol", "carol too"}, Threshold: 2}
		}, []audit.Finding{
			finding(isWarning, "keys", root, "", "keys carol and carol too are the same"),
			finding(isError, "keys", root, "", "a threshold of 2 can't be met with 1 usable keys"),
		}},
		"two signatures of one key": {func(f *foreign) {
			d := f.targets["ö"].Delegations
			d.Keys["alice too"] = d.Keys["alice"]
			d.Roles[0].KeyIDs = []string{"alice", "alice too", "carol"}
			f.keys["alice too"] = f.keys["alice"]
			f.signers["deep"] = []string{"alice", "alice too"}
		}, []audit.Finding{
			finding(isWarning, "keys", dev, "", "keys alice and alice too are the same"),
			finding(isError, "signature", "9.deep.json", "", "1 of 2 signatures"),
		}},
		"only a key that isn't listed": {func(f *foreign) {
			f.roots[1].Roles[metadata.TARGETS].KeyIDs = []string{"dave"}
		}, []audit.Finding{
			finding(isError, "keys", root, "", "key dave: it is not listed"),
			finding(isError, "keys", root, "", `role "targets": a threshold of 1 can't be met with 0 usable keys: key dave: it is not listed`),
		}},
		"no usable key among several": {func(f *foreign) {
			d := f.targets["ö"].Delegations
			d.Keys["eve"] = &metadata.Key{Type: "ed25519", Scheme: "ed25519", Value: metadata.KeyVal{PublicKey: "zz"}}
			d.Roles[0].KeyIDs = []string{"dave", "eve"}
		}, []audit.Finding{
			finding(isError, "format", dev, "", `key "eve"`),
			finding(isError, "keys", dev, "", "key dave: it is not listed"),
			finding(isError, "keys", dev, "", "key eve: keyval.public: "),
			finding(isError, "keys", dev, "", "with 0 usable keys: key dave: it is not listed; key eve: keyval.public: "),
		}},
		"no key at all": {func(f *foreign) {
			f.targets["ö"].Delegations.Roles[0].KeyIDs = []string{}
		}, []audit.Finding{finding(isError, "keys", dev, "", "with 0 usable keys: it names 0")}},
		// go-tuf knows P-384: what it accepts isn't said to be refused.
		"P-384 keys that sign": {func(f *foreign) { f.p384("deep", "p384") }, []audit.Finding{
			finding(isWarning, "keys", dev, "", "clients differ about key p384: go-tuf verifies with it, tough refuses the whole file: "),
		}},
		"P-384 keys that didn't sign": {func(f *foreign) {
			f.p384("deep", "p384")
			f.signers["deep"] = []string{"alice"}
		}, []audit.Finding{
			finding(isWarning, "keys", dev, "", "clients differ about key p384"),
			finding(isError, "signature", "9.deep.json", "", "go-tuf, which knows all keys of the role, finds fewer than 2 valid signatures"),
		}},
		"one P-384 key under two IDs": {func(f *foreign) {
			f.p384("deep", "p384")
			d := f.targets["ö"].Delegations
			d.Keys["again"] = d.Keys["p384"]
			d.Roles[0].KeyIDs = []string{"p384", "again"}
			f.larger["again"] = f.larger["p384"]
			f.signers["deep"] = []string{"p384", "again"}
		}, []audit.Finding{
			finding(isWarning, "keys", dev, "", "clients differ about key p384"),
			finding(isWarning, "keys", dev, "", "clients differ about key again"),
			finding(isWarning, "keys", dev, "", "keys p384 and again are the same"),
			finding(isError, "keys", dev, "", "a threshold of 2 can't be met with 1 usable keys: "),
		}},
		"a P-384 key of root": {func(f *foreign) {
			larger := f.newP384("p384")
			for _, r := range f.roots {
				r.Keys["p384"] = larger
				r.Roles[metadata.ROOT].KeyIDs = []string{"alice", "p384"}
			}
			f.signers[metadata.ROOT] = []string{"alice", "p384"}
		}, []audit.Finding{finding(isWarning, "keys", root, "", `role "root": clients differ about key p384`)}},
		"a threshold that can't be met": {func(f *foreign) {
			f.targets["ö"].Delegations.Roles[0].Threshold = 3
		}, []audit.Finding{finding(isError, "keys", dev, "", "a threshold of 3 can't be met with 2 usable keys")}},
		"too few signatures": {func(f *foreign) { f.signers["deep"] = []string{"carol"} }, []audit.Finding{
			finding(isError, "signature", "9.deep.json", "", "1 of 2 signatures: key alice: no signature"),
		}},
		"a root that the one before does not allow": {func(f *foreign) {
			f.roots[1].Roles[metadata.ROOT] = &metadata.Role{KeyIDs: []string{"carol"}, Threshold: 1}
			f.signers[metadata.ROOT] = []string{"alice", "carol"}
			f.roots[0].Roles[metadata.ROOT].KeyIDs = []string{"alice", "bob"}
		}, []audit.Finding{
			finding(isError, "signature", "1.root.json", "", "1 of 2 signatures"),
			finding(isError, "signature", root, "", "by the keys of root 1"),
		}},
		"a path that isn't delegated": {func(f *foreign) {
			f.targets["deep"].Targets["a/b/four"] = f.targets["deep"].Targets["a/b/three"]
		}, []audit.Finding{finding(isError, "misplaced", "9.deep.json", "a/b/four", "ö doesn't delegate this path to deep")}},
		"roles that delegate to each other": {func(f *foreign) {
			f.targets["deep"].Delegations = &metadata.Delegations{Keys: f.public("dev ö"), Roles: []metadata.DelegatedRole{
				{Name: "ö", KeyIDs: []string{"dev ö"}, Threshold: 1, Paths: []string{"a/*"}},
			}}
		}, nil},
		"no hash that all clients know": {func(f *foreign) {
			f.targets["ö"].Targets["a/one"].Hashes = metadata.Hashes{"sha512": make([]byte, 64)}
		}, []audit.Finding{finding(isError, "target", dev, "a/one", "no sha256")}},
		"millions of bins": {func(f *foreign) {
			f.targets["deep"].Delegations = &metadata.Delegations{Keys: f.public("dev ö"),
				SuccinctRoles: &metadata.SuccinctRoles{KeyIDs: []string{"dev ö"}, Threshold: 1, BitLength: 32, NamePrefix: "x"}}
		}, []audit.Finding{finding(isWarning, "delegation", "9.deep.json", "", "2^32 bins")}},
		"expired in the middle": {func(f *foreign) { f.targets["ö"].Expires = foreignNow }, []audit.Finding{
			finding(isError, "expiry", dev, "", "ago, at 2026-01-01T00:00:00Z: clients refuse "),
		}},
		"soon": {func(f *foreign) {
			f.targets["deep"].Expires, f.snapshot.Expires = foreignNow.AddDate(0, 0, 29), foreignNow.Add(5*time.Hour)
		}, []audit.Finding{
			finding(isWarning, "expiry", "20.snapshot.json", "", "it expires at 2026-01-01T05:00:00Z"),
			finding(isWarning, "expiry", "9.deep.json", "", "it expires at 2026-01-30T00:00:00Z"),
		}},
		"not yet soon": {func(f *foreign) {
			f.targets["deep"].Expires, f.snapshot.Expires = foreignNow.AddDate(0, 0, 31), foreignNow.Add(7*time.Hour)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t)
			c.change(f)
			requireFindings(t, c.want, auditForeign(t, f.sign()))
		})
	}
}

func TestAuditOfSpareSignatures(t *testing.T) {
	f := newForeign(t)
	f.signers[metadata.ROOT] = []string{"alice", "bob", "carol"}
	for keep, want := range map[string][]audit.Finding{
		"":  nil, // waiting to be filled
		"0": {finding(isWarning, "signature", "2.root.json", "", "by key carol is invalid; the others suffice")},
	} {
		files := f.sign()
		require.Empty(t, auditForeign(t, files))
		text := string(files["2.root.json"].Data)
		at := strings.Index(text, `"keyid": "carol",`)
		sig := strings.Index(text[at:], `"sig": "`) + at + len(`"sig": "`)
		spoilt := strings.Repeat(keep, 128)
		files["2.root.json"] = &fstest.MapFile{Data: []byte(text[:sig] + spoilt + text[sig+128:])}
		requireFindings(t, want, auditForeign(t, files))
	}
}
