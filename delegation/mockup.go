package delegation

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// mockup makes up documents that have the size of real ones and compress as well as they. Keys,
// hashes and signatures are random digits. The same spec makes the same documents.
type mockup struct {
	PlanSpec
	rates
	lengths int64 // about what the snapshot says how long a bin is. Zero: it doesn't.
}

func newMockup(s PlanSpec, r rates) *mockup { return &mockup{PlanSpec: s, rates: r} }

// chance is a source of random numbers that is the same each time.
func chance() *rand.Rand { return rand.New(rand.NewPCG(458, 15)) }

func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = hexDigits[r.IntN(16)]
	}
	return string(b)
}

// key is a key as metadata lists it, and signature one by such a key.
type key struct{ id, entry, signature string }

func newKey(r *rand.Rand, scheme string) key {
	k := key{id: digits(r, 64)}
	kind, public, signature := "", "", 0
	switch scheme {
	case metadata.KeySchemeEd25519:
		kind, public, signature = "ed25519", digits(r, 64), 64
	case metadata.KeySchemeECDSA_SHA2_P256:
		kind, public, signature = "ecdsa", pemOf(r, 27, 64), 71 // 70 to 72
	case metadata.KeySchemeRSASSA_PSS_SHA256:
		kind, public, signature = "rsa", pemOf(r, 33, 389), 384
	}
	k.entry = fmt.Sprintf(`"%s":{"keytype":"%s","keyval":{"public":"%s"},"scheme":"%s"}`, k.id, kind, public, scheme)
	k.signature = fmt.Sprintf(`{"keyid":"%s","sig":"%s"}`, k.id, digits(r, 2*signature))
	return k
}

// pemOf is a public key in PEM, as it stands in a JSON string. The first bytes are the same for
// all keys of the kind.
func pemOf(r *rand.Rand, same, random int) string {
	der := make([]byte, same+random)
	for i := range random {
		der[same+i] = byte(r.IntN(256))
	}
	for i := range same {
		der[i] = byte(7 * i)
	}
	return strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), "\n", `\u000a`)
}

func checkScheme(scheme string) error {
	switch scheme {
	case metadata.KeySchemeEd25519, metadata.KeySchemeECDSA_SHA2_P256, metadata.KeySchemeRSASSA_PSS_SHA256:
		return nil
	}
	return fmt.Errorf("%q is not one of ed25519, ecdsa-sha2-nistp256, rsassa-pss-sha256", scheme)
}

// authority is several keys.
type mockKeys struct {
	all       []key
	threshold int
}

func newMockKeys(r *rand.Rand, k PlanKeys) mockKeys {
	m := mockKeys{threshold: k.Threshold}
	for range k.Keys {
		m.all = append(m.all, newKey(r, k.Scheme))
	}
	return m
}

// list is f of each key with commas between.
func list(all []key, f func(key) string) string {
	var out []string
	for _, k := range all {
		out = append(out, f(k))
	}
	return strings.Join(out, ",")
}

func entries(all ...key) string { return list(all, func(k key) string { return k.entry }) }

// ids are the members "keyids" and "threshold" of a role, with between what stands there.
func (m mockKeys) ids(between string) string {
	return fmt.Sprintf(`"keyids":[%s]%s,"threshold":%d`, list(m.all, func(k key) string { return `"` + k.id + `"` }), between, m.threshold)
}

// file is a document that the threshold of m signed.
func (m mockKeys) file(format string, args ...any) []byte {
	signatures := list(m.all[:m.threshold], func(k key) string { return k.signature })
	return fmt.Appendf([]byte(`{"signatures":[`+signatures+`],"signed":`), format+"}", args...)
}

const mockExpires = "2030-01-31T12:00:00Z"

func (m *mockup) root() []byte {
	r := chance()
	root, targets := newMockKeys(r, m.RootKeys), newMockKeys(r, m.TargetsKeys)
	top := newMockKeys(r, PlanKeys{m.SnapshotScheme, 1, 1})
	return root.file(`{"_type":"root","consistent_snapshot":true,"expires":"%s","keys":{%s},"roles":{"root":{%s},"snapshot":{%s},"targets":{%s},"timestamp":{%s}},"spec_version":"%s","version":1}`,
		mockExpires, entries(slices.Concat(root.all, targets.all, top.all)...), root.ids(""), top.ids(""), targets.ids(""), top.ids(""), roles.SpecVersion)
}

func (m *mockup) timestamp(snapshot int64) []byte {
	r := chance()
	return newMockKeys(r, PlanKeys{m.SnapshotScheme, 1, 1}).file(`{"_type":"timestamp","expires":"%s","meta":{"snapshot.json":{"hashes":{"sha256":"%s"},"length":%d,"version":%d}},"spec_version":"%s","version":%[4]d}`,
		mockExpires, digits(r, 64), snapshot, m.Generation, roles.SpecVersion)
}

func (m *mockup) targets() []byte {
	r := chance()
	bins := newMockKeys(r, m.BinsKeys)
	return newMockKeys(r, m.TargetsKeys).delegating(bins.all, fmt.Sprintf(`"roles":[{%s}]`, bins.ids(`,"name":"bins","path_hash_prefixes":[""],"terminating":true`)))
}

func (m *mockup) succinct() []byte {
	r := chance()
	online := newMockKeys(r, PlanKeys{m.BinScheme, 1, 1})
	return newMockKeys(r, m.BinsKeys).delegating(online.all, fmt.Sprintf(`"succinct_roles":{"bit_length":%d,%s}`, Bins{n: m.Bins}.bits(), online.ids(`,"name_prefix":"bins"`)))
}

func (m *mockup) explicit() *large {
	return &large{make: func(n int) []byte {
		r := chance()
		online := newMockKeys(r, PlanKeys{m.BinScheme, 1, 1})
		b := Bins{BinsRole, m.Bins, Explicit}
		var all []string
		for i := range n {
			all = append(all, `{`+online.ids(fmt.Sprintf(`,"name":"%s","path_hash_prefixes":["%s"],"terminating":true`, b.Name(i), strings.Join(b.hashPrefixes(i), `","`)))+`}`)
		}
		return newMockKeys(r, m.BinsKeys).delegating(online.all, `"roles":[`+strings.Join(all, ",")+`]`)
	}}
}

func (m mockKeys) delegating(listed []key, delegations string) []byte {
	return m.file(`{"_type":"targets","delegations":{"keys":{%s},%s},"expires":"%s","spec_version":"%s","targets":{},"version":1}`,
		entries(listed...), delegations, mockExpires, roles.SpecVersion)
}

// snapshot names the version of each bin: that of the generation in which it was last signed,
// because of an upload or because it was due.
func (m *mockup) snapshot(bins int) *large {
	return &large{make: func(n int) []byte {
		r := chance()
		top := newMockKeys(r, PlanKeys{m.SnapshotScheme, 1, 1})
		b := Bins{n: bins, prefix: BinsRole}
		groups := min(bins, renewGroups)
		var meta strings.Builder
		for i := range n {
			age := float64(i%groups) / float64(groups) * m.binRenewal
			if m.touched > 0 {
				age = min(age, r.ExpFloat64()*m.rates.bins/m.touched)
			}
			version := max(1, m.Generation-int64(age*m.generations))
			length := ""
			if m.lengths > 0 {
				length = fmt.Sprintf(`"length":%d,`, m.lengths+int64(r.NormFloat64()*math.Sqrt(float64(m.lengths)*250)))
			}
			fmt.Fprintf(&meta, `"%s.json":{%s"version":%d},`, b.Name(i), length, version)
		}
		return top.file(`{"_type":"snapshot","expires":"%s","meta":{%s"bins.json":{"version":1},"targets.json":{"version":1}},"spec_version":"%s","version":%d}`,
			mockExpires, meta.String(), roles.SpecVersion, m.Generation)
	}}
}

func (m *mockup) bin() *large {
	return &large{make: func(n int) []byte {
		r := chance()
		online := newMockKeys(r, PlanKeys{m.BinScheme, 1, 1})
		var targets []string
		for range n {
			targets = append(targets, m.target(r))
		}
		slices.Sort(targets)
		return online.file(`{"_type":"targets","expires":"%s","spec_version":"%s","targets":{%s},"version":%d}`,
			mockExpires, roles.SpecVersion, strings.Join(targets, ","), m.Generation)
	}}
}

func (m *mockup) target(r *rand.Rand) string {
	var t strings.Builder
	fmt.Fprintf(&t, `"%s":{`, m.path(r))
	if m.CustomBytes > 0 {
		fmt.Fprintf(&t, `"custom":%s,`, words(r, m.CustomBytes))
	}
	var hashes []string
	for _, name := range m.Hashes {
		hashes = append(hashes, fmt.Sprintf(`"%s":"%s"`, name, digits(r, 2*roles.NewHash(name).Size())))
	}
	fmt.Fprintf(&t, `"hashes":{%s},"length":%d}`, strings.Join(hashes, ","), 1_000_000+r.IntN(9_000_000))
	return t.String()
}

// path is like those of PyPI: packages/ab/cd/REST-OF-A-HASH/name-1.0-py3-none-any.whl.
func (m *mockup) path(r *rand.Rand) string {
	hash, text := digits(r, m.PathHashDigits), m.PathBytes-m.PathHashDigits
	const folder = "packages/"
	path := ""
	if text >= len(folder)+3 {
		path, text = folder, text-len(folder)
		if len(hash) > 4 {
			hash, text = hash[:2]+"/"+hash[2:4]+"/"+hash[4:]+"/", text-3
		}
	}
	return path + hash + words(r, text)
}

// words is text of n bytes, like the name of a distribution file. In that of a project, letters
// are about as frequent as in English.
func words(r *rand.Rand, n int) string {
	const letters = "eeeeeeaaaaattttiiiiooooonnnnrrrrsssslllccddpppmmmuughhybkfvwxz---__0123"
	ending := fmt.Sprintf("-%d.%d.%d", r.IntN(4), r.IntN(20), r.IntN(20))
	if r.IntN(2) == 0 {
		ending += ".tar.gz"
	} else {
		ending += "-py3-none-any.whl"
	}
	if len(ending) > n {
		return ending[len(ending)-n:]
	}
	text := make([]byte, n-len(ending))
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
	}
	return string(text) + ending
}

// large is a document of any number of like entries.
type large struct {
	make  func(n int) []byte
	known map[int]Size
}

// size is the size of the document with n entries. That of a long one is extrapolated.
func (l *large) size(n int) Size {
	one := int64(len(l.make(1)))
	sampled := 1024
	for sampled > 16 && int64(sampled)*one > 1_000_000 {
		sampled /= 2
	}
	if n <= sampled {
		return l.measure(n)
	}
	half, whole := l.measure(sampled/2), l.measure(sampled)
	slope := Size{whole.Raw - half.Raw, whole.Gzip - half.Gzip}
	return whole.plus(slope.times(float64(n-sampled) / float64(sampled-sampled/2)))
}

func (l *large) measure(n int) Size {
	s, ok := l.known[n]
	if !ok {
		s = sizeOf(l.make(n))
		if l.known == nil {
			l.known = make(map[int]Size)
		}
		l.known[n] = s
	}
	return s
}

func sizeOf(file []byte) Size {
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write(file)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // a Buffer has no errors
	}
	return Size{int64(len(file)), int64(compressed.Len())}
}
