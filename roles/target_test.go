package roles_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// target makes a valid target whose content depends on n.
func target(path string, n int) roles.Target {
	return roles.Target{Path: path, Length: int64(n), Hashes: map[string]string{"sha256": fmt.Sprintf("%064x", n)}}
}

func TestReadTarget(t *testing.T) {
	const content = "hello"
	got, err := roles.ReadTarget("a/b", strings.NewReader(content))
	require.NoError(t, err)
	require.Equal(t, roles.Target{Path: "a/b", Length: 5, Hashes: map[string]string{
		"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
	}}, got)
	got, err = roles.ReadTarget("a/b", iotest.OneByteReader(strings.NewReader(content)), "sha512", "blake2b-256", "sha256")
	require.NoError(t, err)
	require.NoError(t, got.Validate())
	require.Equal(t, map[string]string{
		"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		"sha512": "9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7" +
			"2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
		"blake2b-256": "324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf",
	}, got.Hashes)
	got, err = roles.ReadTarget("empty", strings.NewReader(""))
	require.NoError(t, err)
	require.Zero(t, got.Length)

	for _, test := range []struct {
		path, algorithm, want string
	}{
		{"../b", "sha512", `target "../b": path: a segment ".."`},
		{"b", "md5", `target "b": unknown hash algorithm "md5"`},
		{"a/" + strings.Repeat("n", 150), "sha512", "a file name of more than 126 bytes with a SHA-512"},
	} {
		r := strings.NewReader(content)
		_, err := roles.ReadTarget(test.path, r, test.algorithm)
		require.ErrorContains(t, err, test.want)
		if !strings.HasPrefix(test.path, "a/") {
			require.Equal(t, len(content), r.Len(), "nothing is read in vain")
		}
	}
	_, err = roles.ReadTarget("b", iotest.ErrReader(io.ErrNoProgress))
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.ErrorContains(t, err, `target "b": `)
}

func TestCheckPath(t *testing.T) {
	for _, path := range []string{
		"a", "packages/ab/cd/x-1.0.whl", "a b/+~&=;:@[]{}*'\"<>|^,$!", " é/名/a b", "...", ".a", "a../b",
		strings.Repeat("n", 190), strings.Repeat("d", 255) + "/" + strings.Repeat("n", 190),
		strings.Repeat("d/", 447) + "n",
	} {
		require.NoError(t, roles.CheckPath(path), path)
		require.NoError(t, target(path, 1).Validate(), path)
	}
	for _, test := range []struct{ path, want string }{
		{"", "path: empty"},
		{"/a", "path: absolute"},
		{"//a", "path: absolute"},
		{"a/", `path: "/" at the end`},
		{"a//b", "path: an empty segment"},
		{".", `path: a segment "."`},
		{"a/../b", `path: a segment ".."`},
		{"a/./b", `path: a segment "."`},
		{`a\b`, `path: '\\', which clients differ on`},
		{"a%2fb", "path: '%', which clients differ on"},
		{"a?b", "path: '?', which clients differ on"},
		{"a#b", "path: '#', which clients differ on"},
		{"a ", "path: a space at the end"},
		{"é/名/😀", "path: U+1F600 is beyond the basic plane"},
		{"__proto__", "path: a name that tuf-js finds in every object: choose another"},
		{"a\nb", "path: a control character U+000A"},
		{"a\x00", "path: a control character U+0000"},
		{"a\x7f", "path: a control character U+007F"},
		{"a\u0085", "path: a control character U+0085"},
		{"e\u0301", "path: not in Unicode's normal form C"},
		{"a\xff", "path: invalid UTF-8"},
		{strings.Repeat("n", 191), "path: a file name of 191 bytes, at most 190"},
		{strings.Repeat("é", 96), "path: a file name of 192 bytes, at most 190"},
		{strings.Repeat("d", 256) + "/n", "path: a segment of 256 bytes, at most 255"},
		{strings.Repeat("d/", 447) + "nn", "path: 896 bytes, at most 895"},
	} {
		want := fmt.Sprintf("target %q: %s", test.path, test.want)
		require.EqualError(t, roles.CheckPath(test.path), want)
		require.EqualError(t, target(test.path, 1).Validate(), want)
	}
}

func TestTargetValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*roles.Target)
		want   string // "" for valid
	}{
		{"empty file", func(t *roles.Target) { t.Length = 0 }, ""},
		{"largest", func(t *roles.Target) { t.Length = 1<<53 - 1 }, ""},
		{"negative", func(t *roles.Target) { t.Length = -1 }, "length -1: not from 0 to 2^53-1"},
		{"too large", func(t *roles.Target) { t.Length = 1 << 53 }, "length 9007199254740992: not from 0 to 2^53-1"},
		{"all hashes", func(t *roles.Target) {
			t.Hashes["sha512"], t.Hashes["blake2b-256"] = strings.Repeat("0f", 64), strings.Repeat("a9", 32)
		}, ""},
		{"no hashes", func(t *roles.Target) { t.Hashes = nil }, "hashes: no sha256"},
		{"no sha256", func(t *roles.Target) { t.Hashes = map[string]string{"sha512": strings.Repeat("00", 64)} }, "hashes: no sha256"},
		{"short", func(t *roles.Target) { t.Hashes["sha256"] = "00" }, "hashes: sha256 has 2 characters, not 64"},
		{"long", func(t *roles.Target) { t.Hashes["sha512"] = strings.Repeat("0", 130) }, "hashes: sha512 has 130 characters, not 128"},
		{"unknown", func(t *roles.Target) { t.Hashes["md5"] = strings.Repeat("00", 16) }, `hashes: unknown algorithm "md5"`},
		{"upper case", func(t *roles.Target) { t.Hashes["sha256"] = strings.Repeat("AB", 32) }, "hashes: sha256 is not in lower-case hex"},
		{"no hex", func(t *roles.Target) { t.Hashes["sha256"] = strings.Repeat("0g", 32) }, "hashes: sha256 is not in lower-case hex"},
		{"name with sha512", func(t *roles.Target) { setSHA512(t, 126) }, ""},
		{"long name with sha512", func(t *roles.Target) { setSHA512(t, 127) }, "path: a file name of more than 126 bytes with a SHA-512"},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := target("a/b", 7)
			test.change(&target)
			requireErrorOrNone(t, target.Validate(), target.Path, test.want)
		})
	}
}

func setSHA512(t *roles.Target, name int) {
	t.Path, t.Hashes["sha512"] = "a/"+strings.Repeat("n", name), strings.Repeat("00", 64)
}

func requireErrorOrNone(t *testing.T, err error, path, want string) {
	t.Helper()
	if want == "" {
		require.NoError(t, err)
	} else {
		require.EqualError(t, err, fmt.Sprintf("target %q: %s", path, want))
	}
}

func TestTargetCustom(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + `{}` + strings.Repeat("}", n) }
	for _, test := range []struct{ custom, want string }{
		{`{}`, ""},
		{` { "b" : [ true, 9007199254740991, -9007199254740991, "é\u2028" ], "a": {"ß": ""} } `, ""},
		{nested(31), ""},
		{`[]`, "custom: not an object"},
		{`"x"`, "custom: not an object"},
		{`null`, "custom: not an object"},
		{`{"a":1}x`, "custom: byte 7: 'x' where the end of the document should be"},
		{`{"a":1,"\u0061":1}`, `custom: byte 7: duplicate key "a"`},
		{`{"a":1.0}`, "custom: byte 5, in a: a number that is no plain integer"},
		{`{"a":-0}`, "custom: byte 5, in a: negative zero"},
		{`{"a":[0,null]}`, `custom["a"][1]: null`},
		{`{"a":9007199254740992}`, `custom["a"]: integer 9007199254740992: beyond 2^53-1`},
		{`{"a":-9007199254740992}`, `custom["a"]: integer -9007199254740992: beyond 2^53-1`},
		{`{"a":"e\u0301"}`, `custom["a"]: not in Unicode's normal form C`},
		{`{"e\u0301":1}`, `custom: key "e` + "\u0301" + `": not in Unicode's normal form C`},
		{`{"a":"\n"}`, `custom["a"]: a control character U+000A`},
		{`{"a":{"\u0000":1}}`, `custom["a"]: key "\x00": a control character U+0000`},
		{`{"😀":1}`, `custom: key "😀": U+1F600 is beyond the basic plane`},
		{`{"a":"😀"}`, ""},
		{"{\"a\":\"\xff\"}", "custom: byte 6, in a: invalid UTF-8"},
		{nested(32), "custom" + strings.Repeat(`["a"]`, 32) + ": nested deeper than 32"},
		{`{"a":"` + strings.Repeat("x", 64<<10) + `"}`, "custom: 65544 bytes, at most 65536"},
	} {
		target := target("a/b", 7)
		target.Custom = json.RawMessage(test.custom)
		requireErrorOrNone(t, target.Validate(), target.Path, test.want)
	}
}

func TestTargetSize(t *testing.T) {
	plain, custom := target(`a/"b"`, 7), target("b", 8)
	custom.Custom = json.RawMessage(` { "y": 1, "x": "é" } `)
	both := edit(t, roles.NewBin(), 1, put(plain), put(custom))
	none := edit(t, roles.NewBin(), 1)
	require.Equal(t, len(none.Canonical())+plain.Size()+custom.Size()-len(","), len(both.Canonical()))
}

// FuzzTarget: what Validate accepts means the same to go-tuf, and is the
// reference's canonical form.
func FuzzTarget(f *testing.F) {
	f.Add("packages/ab/x-1.0.whl", int64(12), strings.Repeat("0f", 32), strings.Repeat("0f", 64), `{"requires":["a"],"size":1}`)
	f.Add(`é/"x" y`, int64(0), strings.Repeat("00", 32), "", ``)
	f.Add("a/../b", int64(-1), "XX", "00", `{"a":null}`)
	signer := binSigner(f)
	f.Fuzz(func(t *testing.T, path string, length int64, sha256, sha512, custom string) {
		in := roles.Target{Path: path, Length: length, Hashes: map[string]string{"sha256": sha256}}
		if sha512 != "" {
			in.Hashes["sha512"] = sha512
		}
		if custom != "" {
			in.Custom = json.RawMessage(custom)
		}
		if in.Validate() != nil {
			return
		}
		require.NoError(t, roles.CheckPath(path))
		bin := edit(t, roles.NewBin(), 1, put(in))
		file, err := bin.Sign(t.Context(), signer)
		require.NoError(t, err)
		theirs, err := metadata.Targets().FromBytes(file)
		require.NoError(t, err)
		got := theirs.Signed.Targets[path]
		require.Equal(t, length, got.Length)
		require.Equal(t, sha256, got.Hashes["sha256"].String())
		again, err := cjson.EncodeCanonical(theirs)
		require.NoError(t, err)
		require.Equal(t, string(again), string(file))
	})
}
