package cjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	reference "github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
)

func TestCanonicalize(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"sorted and bare", " { \"b\" : [ 1 , -2 , true , false , null ] ,\n\"a\":{} , \"\" : [ ] } ", `{"":[],"a":{},"b":[1,-2,true,false,null]}`},
		{"sorted by decoded bytes", `{"a#":1,"a\"":2,"a\\":3,"a]":4,"a":5}`, `{"a":5,"a\"":2,"a#":1,"a\\":3,"a]":4}`},
		{"sorted by bytes, not by UTF-16", `{"\ud83d\ude00":1,"\uff5e":2}`, `{"` + "\uff5e" + `":2,"` + "\U0001f600" + `":1}`},
		{"nested and unsorted", `{"b":{"d":{"f":1,"e":2},"c":3},"a":4}`, `{"a":4,"b":{"c":3,"d":{"e":2,"f":1}}}`},
		{"escapes", `"\"\\\/\b\f\n\r\t\u0041\u0022\u005C\u0000\u2028<"`, "\"\\\"\\\\/\b\f\n\r\tA\\\"\\\\\x00\u2028<\""},
		{"a replacement character that was meant", `"` + "\ufffd" + `\ufffd"`, "\"\ufffd\ufffd\""},
		{"integers beyond 2^53", `[9007199254740993,-9223372036854775808,9223372036854775807,0]`, `[9007199254740993,-9223372036854775808,9223372036854775807,0]`},
		{"the deepest", strings.Repeat("[", 101) + strings.Repeat("]", 101), strings.Repeat("[", 101) + strings.Repeat("]", 101)},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Canonicalize([]byte(test.in))
			require.NoError(t, err)
			require.Equal(t, test.want, string(got))
			ref, err := reference.EncodeCanonical(json.RawMessage(test.in))
			require.NoError(t, err)
			require.Equal(t, string(ref), string(got))
		})
	}
}

func TestCanonicalizeRefuses(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{``, "byte 0: the text ends where a value should be"},
		{`{"a":1} x`, "byte 8: 'x' where the end of the document should be"},
		{`{"a":1,"b":2,"a":3}`, `byte 13: duplicate key "a"`},
		{`{"signed":{"targets":{"a/b":{"x":1,"\u0078":2}}}}`, `byte 35, in signed.targets["a/b"]: duplicate key "x"`},
		{`{"a":[0,1.5]}`, "byte 8, in a[1]: a number that is no plain integer"},
		{`1e3`, "byte 0: a number that is no plain integer"},
		{`[-0]`, "byte 1, in [0]: negative zero"},
		{`01`, "byte 0: a number with a leading zero"},
		{`-`, "byte 1: the text ends where a digit should be"},
		{`+1`, "byte 0: '+' where a value should be"},
		{`9223372036854775808`, "byte 0: an integer outside 64 bits"},
		{"\"a\xff\"", "byte 2: invalid UTF-8"},
		{"\"\xed\xa0\x80\"", "byte 1: invalid UTF-8"},
		{`"\ud800"`, "byte 1: a lone surrogate"},
		{`"\udc00\ud800"`, "byte 1: a lone surrogate"},
		{`"\ud800\u0041"`, "byte 1: a lone surrogate"},
		{`"\u12g4"`, `byte 1: \u without four hexadecimal digits`},
		{`"\u+123"`, `byte 1: \u without four hexadecimal digits`},
		{`"\x"`, "byte 1: an unknown escape sequence"},
		{`"\`, "byte 2: the text ends where an escape sequence should be"},
		{"\"\n\"", "byte 1: a control character in a string"},
		{"\"a\x00\"", "byte 2: a control character in a string"},
		{`"a`, "byte 2: the text ends where the string's end should be"},
		{`{"a":1,}`, "byte 7: '}' where a key should be"},
		{`[1,]`, "byte 3, in [1]: ']' where a value should be"},
		{`[1 2]`, "byte 3: '2' where ',' or ']' should be"},
		{`{"a" 1}`, "byte 5: '1' where ':' should be"},
		{`{"a":1 "b":2}`, "byte 7: '\"' where ',' or '}' should be"},
		{`{a:1}`, "byte 1: 'a' where a key should be"},
		{`{"a":nul}`, "byte 5, in a: 'n' where a value should be"},
		{"\ufeff1", "byte 0: 'ï' where a value should be"},
	} {
		t.Run(test.in, func(t *testing.T) {
			_, err := Canonicalize([]byte(test.in))
			require.EqualError(t, err, test.want)
		})
	}
	_, err := Canonicalize([]byte(strings.Repeat("[", 5000)))
	require.ErrorContains(t, err, "byte 101, in [0][0]")
	require.ErrorContains(t, err, "nested deeper than 100")
}

// FuzzCanonicalize: what is accepted equals the reference and is a fixed point;
// what is refused, the reference refuses too or reads as something else.
func FuzzCanonicalize(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Canonicalize(data)
		if err != nil {
			return
		}
		require.True(t, json.Valid(data))
		ref, err := reference.EncodeCanonical(json.RawMessage(data))
		require.NoError(t, err)
		require.Equal(t, string(ref), string(got))

		text := AppendJSON(nil, got)
		require.True(t, json.Valid(text))
		again, err := Canonicalize(text)
		require.NoError(t, err)
		require.True(t, bytes.Equal(got, again))
	})
}

var seeds = []string{
	`{"signatures":[{"keyid":"ab","sig":"00"}],"signed":{"_type":"targets","expires":"2030-01-01T00:00:00Z","spec_version":"1.0.31","targets":{"a/b.whl":{"custom":{"x":[1,null]},"hashes":{"sha256":"00"},"length":12}},"version":1}}`,
	`{"_type":"snapshot","meta":{"bins-0.json":{"version":1},"targets.json":{"length":7,"version":2}},"version":3}`,
	`{"b":"\ud83d\ude00","a\"":1,"a\\":2,"a#":3,"a":{"c":-7}}`,
	`{"public":"-----BEGIN PUBLIC KEY-----\nAB\n-----END PUBLIC KEY-----\n"}`,
	`[9007199254740993,-0,1.5,"\ud800",null]`,
	`{"a":1,"a":2}`,
}
