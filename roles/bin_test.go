package roles_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"
)

var binExpires = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func put(t roles.Target) roles.TargetEdit { return roles.TargetEdit{Path: t.Path, Target: &t} }
func remove(path string) roles.TargetEdit { return roles.TargetEdit{Path: path} }
func binFile(signed string) []byte        { return []byte(`{"signatures":[],"signed":` + signed + `}`) }
func edit(t testing.TB, b *roles.Bin, version int64, edits ...roles.TargetEdit) *roles.Bin {
	t.Helper()
	b, err := b.Edit(version, binExpires, edits)
	require.NoError(t, err)
	return b
}

func targetsOf(t testing.TB, b *roles.Bin) []roles.Target {
	t.Helper()
	var list []roles.Target
	for target, err := range b.Targets() {
		require.NoError(t, err)
		list = append(list, target)
	}
	return list
}

func TestBinEdit(t *testing.T) {
	bin := roles.NewBin()
	require.Equal(t, `{"_type":"targets","expires":"0001-01-01T00:00:00Z","spec_version":"`+roles.SpecVersion+`","targets":{},"version":0}`, string(bin.Canonical()))
	require.Zero(t, bin.Version())
	_, err := bin.Sign(t.Context(), binSigner(t))
	require.EqualError(t, err, "bin: version 0: call Edit before Sign")

	one := target(`b "q"`, 1)
	one.Custom = json.RawMessage(`{"z":1, "y":"x"}`)
	bin = edit(t, bin, 7, put(one), remove("none"), put(target("a", 2)), put(target("c", 3)), remove("c"), put(target("a", 4)))
	want := `{"_type":"targets","expires":"2030-01-02T03:04:05Z","spec_version":"` + roles.SpecVersion + `","targets":{` +
		`"a":{"hashes":{"sha256":"` + fmt.Sprintf("%064x", 4) + `"},"length":4},` +
		`"b \"q\"":{"custom":{"y":"x","z":1},"hashes":{"sha256":"` + fmt.Sprintf("%064x", 1) + `"},"length":1}` +
		`},"version":7}`
	require.Equal(t, want, string(bin.Canonical()))
	require.Equal(t, int64(7), bin.Version())
	require.Equal(t, binExpires, bin.Expires())
	require.Empty(t, bin.Signatures())

	one.Custom = json.RawMessage(`{"y":"x","z":1}`)
	require.Equal(t, []roles.Target{target("a", 4), one}, targetsOf(t, bin))
	got, found, err := bin.Lookup(`b "q"`)
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, one, got)
	for _, path := range []string{"", "aa", "z"} {
		_, found, err = bin.Lookup(path)
		require.NoError(t, err)
		require.False(t, found)
	}

	renewed, err := bin.Edit(8, binExpires.Add(time.Hour+time.Millisecond).In(time.FixedZone("", 7200)), nil)
	require.NoError(t, err)
	require.Equal(t, binExpires.Add(time.Hour), renewed.Expires())
	require.Equal(t, strings.NewReplacer("T03:", "T04:", `"version":7`, `"version":8`).Replace(want), string(renewed.Canonical()))
	require.Equal(t, want, string(bin.Canonical()), "the bin that was edited changed")
}

func TestBinEditRefuses(t *testing.T) {
	bad := target("a", 1)
	bad.Hashes = nil
	for _, test := range []struct {
		version int64
		expires time.Time
		edit    roles.TargetEdit
		want    string
	}{
		{-1, binExpires, remove("a"), "bin: version -1: not from 0 to 2^53-1"},
		{1 << 53, binExpires, remove("a"), "bin: version 9007199254740992: not from 0 to 2^53-1"},
		{1, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), remove("a"), "bin: expires in the year 10000: not from 1 to 9999"},
		{1, binExpires, put(bad), `target "a": hashes: no sha256`},
		{1, binExpires, put(target("a/", 1)), `target "a/": path: "/" at the end`},
		{1, binExpires, roles.TargetEdit{Path: "b", Target: &bad}, `target "a": it is listed under the path "b"`},
	} {
		_, err := roles.NewBin().Edit(test.version, test.expires, []roles.TargetEdit{test.edit})
		require.EqualError(t, err, test.want)
	}
}

// TestBinModel makes random edits to a bin and to a map, which the reference
// encodes; go-tuf reads every file, and it is in its canonical form.
func TestBinModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	signer := binSigner(t)
	bin, model := roles.NewBin(), map[string]roles.Target{}
	for version := int64(1); version <= 300; version++ {
		var edits []roles.TargetEdit
		for range rng.IntN(8) {
			path := fmt.Sprintf("%c/%c", []rune(`a"éー[~`)[rng.IntN(6)], []rune(`b"{},:`)[rng.IntN(6)])
			target := target(path, rng.IntN(1000))
			if rng.IntN(4) == 0 {
				target.Custom = json.RawMessage(fmt.Sprintf(`{"n":%d,"a":["\"\\"]}`, rng.IntN(9)))
			}
			if rng.IntN(3) == 0 {
				edits = append(edits, remove(path))
				delete(model, path)
			} else {
				edits = append(edits, put(target))
				model[path] = target
			}
		}
		bin = edit(t, bin, version, edits...)
		require.Equal(t, referenceBin(t, version, model), string(bin.Canonical()))

		file, err := bin.Sign(t.Context(), signer)
		require.NoError(t, err)
		theirs, err := metadata.Targets().FromBytes(file)
		require.NoError(t, err)
		require.Len(t, theirs.Signed.Targets, len(model))
		again, err := cjson.EncodeCanonical(theirs)
		require.NoError(t, err)
		require.Equal(t, string(again), string(file))

		opened, err := roles.OpenBin(file)
		require.NoError(t, err)
		parsed, err := roles.ParseBin(file)
		require.NoError(t, err)
		require.Equal(t, parsed, opened)
		require.Equal(t, bin.Canonical(), opened.Canonical())
		require.Equal(t, bin.Expires(), opened.Expires())
		require.Len(t, opened.Signatures(), 1)
		require.NoError(t, signer.Public().Verify(bin.Canonical(), opened.Signatures()[0].Sig))
		if version%3 == 0 { // else the next edit is made to the edited bin itself
			bin = opened
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(model)), slices.Collect(func(yield func(string) bool) {
		for _, target := range targetsOf(t, bin) {
			yield(target.Path)
		}
	}))
}

func referenceBin(t *testing.T, version int64, model map[string]roles.Target) string {
	t.Helper()
	targets := map[string]any{}
	for path, target := range model {
		value := map[string]any{"length": target.Length, "hashes": target.Hashes}
		if target.Custom != nil {
			value["custom"] = target.Custom
		}
		targets[path] = value
	}
	want, err := cjson.EncodeCanonical(map[string]any{
		"_type": "targets", "version": version, "spec_version": roles.SpecVersion,
		"expires": binExpires.Format(time.RFC3339), "targets": targets,
	})
	require.NoError(t, err)
	return string(want)
}

// foreignBin has white space, members out of order, members that nobody knows
// (among them one with a control character and one with an integer that JavaScript
// rounds), and targets that Bindery would not add.
const foreignBin = ` {
  "signed": {
    "version": 3, "x-known": {"to": "nobody", "n": 9007199254740993, "pem": "a\nb"}, "_type": "targets",
    "targets": {"b%c": {"length": 1, "hashes": {"sha256": "00", "future": "ab"}, "x": [1]}, "a": {"length": 0, "hashes": {"sha256": "00"}}},
    "targets-not": {"},\"version\":9": 1}, "spec_version": "1.0", "expires": "2029-01-01T00:00:00.5Z"
  }, "unsigned": 1, "signatures": [{"keyid": "abc", "sig": ""}, {"keyid": "k", "sig": "00ff"}]
}`

func TestParseBinForeign(t *testing.T) {
	bin, err := roles.ParseBin([]byte(foreignBin))
	require.NoError(t, err)
	require.Equal(t, int64(3), bin.Version())
	require.Equal(t, time.Date(2029, 1, 1, 0, 0, 0, 500_000_000, time.UTC), bin.Expires())
	require.Equal(t, []roles.Signature{{KeyID: "abc", Sig: []byte{}}, {KeyID: "k", Sig: []byte{0, 0xff}}}, bin.Signatures())
	require.Equal(t, []roles.Target{
		{Path: "a", Hashes: map[string]string{"sha256": "00"}},
		{Path: "b%c", Length: 1, Hashes: map[string]string{"sha256": "00", "future": "ab"}},
	}, targetsOf(t, bin))

	next := edit(t, bin, 4, remove("a"), put(target("c", 1)))
	want := `{"_type":"targets","expires":"2030-01-02T03:04:05Z","spec_version":"1.0","targets":{` +
		`"b%c":{"hashes":{"future":"ab","sha256":"00"},"length":1,"x":[1]},` +
		`"c":{"hashes":{"sha256":"` + fmt.Sprintf("%064x", 1) + `"},"length":1}},` +
		`"targets-not":{"},\"version\":9":1},"version":4,` +
		`"x-known":{"n":9007199254740993,"pem":"a` + "\n" + `b","to":"nobody"}}`
	require.Equal(t, want, string(next.Canonical()))

	file, err := next.Sign(t.Context(), binSigner(t))
	require.NoError(t, err)
	require.True(t, json.Valid(file))
	opened, err := roles.OpenBin(file)
	require.NoError(t, err)
	require.Equal(t, want, string(opened.Canonical()))
	require.Equal(t, int64(4), opened.Version())
	parsed, err := roles.ParseBin(file)
	require.NoError(t, err)
	require.Equal(t, parsed, opened)
}

func TestParseBinRefuses(t *testing.T) {
	good := `{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0.34","targets":{"a":{"hashes":{"sha256":"00"},"length":1}},"version":1}`
	_, err := roles.ParseBin(binFile(good))
	require.NoError(t, err)
	for _, test := range []struct{ old, new, place string }{
		{`"version":1`, `"version":0`, "version"},
		{`"version":1`, `"version":1.5`, "version"},
		{`,"version":1`, ``, "version"},
		{`"targets",`, `"snapshot",`, "_type"},
		{`"targets":{"a"`, `"meta":{"a"`, "targets"},
		{`"length":1`, `"length":-1`, "length"},
		{`"length":1`, `"length":"1"`, "length"},
		{`"sha256":"00"`, ``, "hashes"},
		{`"00"`, `"0G"`, "sha256"},
		{`"00"`, `"AB"`, "sha256"},
		{`"a":`, `"a":{},"a":`, `duplicate key "a"`},
		{`{"a":{`, `{"a":[{`, "byte"},
	} {
		changed := bytes.Replace([]byte(good), []byte(test.old), []byte(test.new), 1)
		_, err := roles.ParseBin(binFile(string(changed)))
		require.ErrorContains(t, err, test.place, "%s", changed)
	}
}

func TestOpenBinRefuses(t *testing.T) {
	file, err := edit(t, roles.NewBin(), 1, put(target("a", 1))).Sign(t.Context(), binSigner(t))
	require.NoError(t, err)
	for i := range file {
		_, err := roles.OpenBin(file[:i])
		require.Error(t, err, "%s", file[:i])
	}
	_, err = roles.OpenBin(binFile(`{"_type":"snapshot","expires":"2030-01-01T00:00:00Z","targets":{},"version":1}`))
	require.EqualError(t, err, `targets: _type is "snapshot", not "targets"`)
	_, err = roles.OpenBin(binFile(`{"_type":"targets","expires":"2030-01-01T00:00:00Z","version":1}`))
	require.EqualError(t, err, "targets: one of _type, expires, targets, version is missing")
}

func fullBin(t testing.TB, n int) *roles.Bin {
	t.Helper()
	edits := make([]roles.TargetEdit, n)
	for i := range edits {
		edits[i] = put(target(fmt.Sprintf("packages/%02x/%060x/a_project-%d.%d-py3-none-any.whl", i%256, i, i%7, i), 1000+i))
	}
	return edit(t, roles.NewBin(), 1, edits...)
}

// FuzzBin: no input makes opening, reading or editing panic, and where ParseBin
// accepts a file, what it became can be edited, signed, opened, and is what the
// reference makes of it.
func FuzzBin(f *testing.F) {
	signer := binSigner(f)
	file, err := fullBin(f, 3).Sign(f.Context(), signer)
	require.NoError(f, err)
	f.Add(file, "packages/x")
	f.Add([]byte(foreignBin), "b%c")
	f.Add(binFile(`{"_type":"targets","expires":"2030-01-01T00:00:00Z","targets":{"a\"":{}},"version":1}`), `a"`)
	f.Fuzz(func(t *testing.T, file []byte, path string) {
		if bin, err := roles.OpenBin(bytes.Clone(file)); err == nil {
			for range bin.Targets() {
			}
			bin.Lookup(path)
			_, err := bin.Edit(2, binExpires, []roles.TargetEdit{remove(path)})
			require.NoError(t, err)
		}
		bin, err := roles.ParseBin(file)
		if err != nil {
			return
		}
		var envelope struct{ Signed json.RawMessage }
		require.NoError(t, json.Unmarshal(file, &envelope))
		want, err := cjson.EncodeCanonical(envelope.Signed)
		require.NoError(t, err)
		require.Equal(t, string(want), string(bin.Canonical()))

		bin = edit(t, bin, 2, remove(path), put(target("new", 1)))
		_, found, err := bin.Lookup("new")
		require.NoError(t, err)
		require.True(t, found)
		signed, err := bin.Sign(t.Context(), signer)
		require.NoError(t, err)
		opened, err := roles.OpenBin(signed)
		require.NoError(t, err)
		require.Equal(t, string(bin.Canonical()), string(opened.Canonical()))
	})
}

func binSigner(t testing.TB) keys.Signer {
	t.Helper()
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	return s
}

// Sign hands out nothing whose signature doesn't verify, large or small.
func TestSignRefusesWhatDoesNotVerify(t *testing.T) {
	for _, n := range []int{1, 610} {
		bin := fullBin(t, n)
		for _, signer := range []*testSigner{ed25519Signer(t), ecdsaSigner(t)} {
			file, err := bin.Sign(t.Context(), signer)
			require.NoError(t, err)
			parsed, err := roles.ParseBin(file)
			require.NoError(t, err)
			require.NoError(t, authorityOf(1, signer).Verify(parsed))

			other := ecdsaSigner(t)
			f := &fakeSigner{Signer: signer, limit: 1 << 20, sign: func(m []byte) ([]byte, error) { return other.Sign(t.Context(), m) }}
			file, err = bin.Sign(t.Context(), f)
			require.ErrorIs(t, err, keys.ErrSignature)
			require.Nil(t, file)
		}
	}
}

// Concurrent signatures change neither each other's files nor the bin.
func TestSignAgain(t *testing.T) {
	bin := fullBin(t, 3)
	canonical := bytes.Clone(bin.Canonical())
	signers := []*testSigner{rsaSigner(t), ed25519Signer(t), ecdsaSigner(t), ed25519Signer(t)}
	files := make([][]byte, len(signers))
	var g errgroup.Group
	for i, signer := range signers {
		g.Go(func() (err error) {
			files[i], err = bin.Sign(t.Context(), signer)
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, canonical, bin.Canonical())
	for i, signer := range signers {
		parsed, err := roles.ParseBin(files[i])
		require.NoError(t, err)
		require.NoError(t, authorityOf(1, signer).Verify(parsed))
	}
}
