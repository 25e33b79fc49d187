package cjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	reference "github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
)

// splice edits an object that comes from anywhere.
func splice(dst, object []byte, edits []Edit) ([]byte, error) {
	x, err := indexOf(object)
	if err != nil {
		return nil, err
	}
	got, made, err := x.Splice(dst, object, edits)
	if err != nil {
		return nil, err
	}
	// The index that comes with the result is the result's.
	if again, err := indexOf(got[len(dst):]); err != nil || !slices.Equal(made, again) {
		return nil, fmt.Errorf("index %v of %q, not %v: %w", made, got, again, err)
	}
	return got, nil
}

func TestSplice(t *testing.T) {
	for _, test := range []struct {
		name, object string
		edits        []Edit
		want         string
	}{
		{"no edits", `{"a":1,"b":{"c":[]}}`, nil, `{"a":1,"b":{"c":[]}}`},
		{"into nothing", `{}`, []Edit{{"a", []byte("1")}, {"b", []byte("2")}}, `{"a":1,"b":2}`},
		{"nothing into nothing", `{}`, []Edit{{"a", nil}}, `{}`},
		{"before, between, after", `{"b":1,"d":2}`, []Edit{{"a", []byte("0")}, {"c", []byte("0")}, {"e", []byte("0")}}, `{"a":0,"b":1,"c":0,"d":2,"e":0}`},
		{"two in one gap", `{"a":1,"d":2}`, []Edit{{"b", []byte("0")}, {"c", []byte("0")}}, `{"a":1,"b":0,"c":0,"d":2}`},
		{"replace each", `{"a":1,"b":2,"c":3}`, []Edit{{"a", []byte("0")}, {"b", []byte(`"\\"`)}, {"c", []byte("[]")}}, `{"a":0,"b":"\\","c":[]}`},
		{"remove the first", `{"a":1,"b":2,"c":3}`, []Edit{{"a", nil}}, `{"b":2,"c":3}`},
		{"remove the middle", `{"a":1,"b":2,"c":3}`, []Edit{{"b", nil}}, `{"a":1,"c":3}`},
		{"remove the last", `{"a":1,"b":2,"c":3}`, []Edit{{"c", nil}}, `{"a":1,"b":2}`},
		{"remove all", `{"a":1,"b":2,"c":3}`, []Edit{{"a", nil}, {"b", nil}, {"c", nil}}, `{}`},
		{"remove all, add one", `{"a":1,"b":2}`, []Edit{{"a", nil}, {"b", nil}, {"c", []byte("3")}}, `{"c":3}`},
		{"remove what isn't there", `{"b":2}`, []Edit{{"a", nil}, {"c", nil}}, `{"b":2}`},
		{"escapes sort decoded", `{"a":1,"a#":2,"a]":3}`, []Edit{{`a"`, []byte("0")}, {`a\`, []byte("0")}}, `{"a":1,"a\"":0,"a#":2,"a\\":0,"a]":3}`},
		{"escapes are found", `{"a\"":0,"a#":2,"a\\":0,"a]":3}`, []Edit{{`a"`, nil}, {`a\`, []byte("9")}}, `{"a#":2,"a\\":9,"a]":3}`},
		{"braces in strings", `{"a},":"{","b":"}"}`, []Edit{{"a},", []byte(`"]"`)}}, `{"a},":"]","b":"}"}`},
		{"control characters", "{\"a\n\":\"\x00\"}", []Edit{{"a\n", []byte("\"\t\"")}}, "{\"a\n\":\"\t\"}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := splice([]byte("before"), []byte(test.object), test.edits)
			require.NoError(t, err)
			require.Equal(t, "before"+test.want, string(got))
		})
	}
}

func TestSpliceRefuses(t *testing.T) {
	for _, test := range []struct{ object, want string }{
		{``, "byte 0: the text ends where '{' should be"},
		{`[]`, "byte 0: '[' where '{' should be"},
		{`{"a":1`, "byte 6: the text ends where ',' should be"},
		{`{"a":1}}`, "byte 7: '}' where the object's end should be"},
		{`{"a":1,}`, "byte 7: '}' where a string should be"},
		{`{"a":1 ,"b":2}`, "byte 6: ' ' where ',' should be"},
		{`{"b":1,"a":2}`, `byte 7: key "a" is out of order`},
		{`{"a":1,"a":2}`, `byte 7: key "a" is out of order`},
		{`{"a#":1,"a\"":2}`, `byte 8: key "a\"" is out of order`},
		{`{"a":{"c":1,"b":2}}`, `byte 12, in a: key "b" is out of order`},
		{`{"a/b":[1,{"x":tru}]}`, `byte 15, in ["a/b"][1].x: 't' where a value should be`},
		{`{"a":[1,2}`, "byte 9, in a: '}' where ',' or ']' should be"},
		{`{"a":"\n"}`, "byte 6, in a: an escape that isn't canonical"},
		{`{"a":"b\`, "byte 8, in a: the text ends where the string's end should be"},
		{`{"a`, "byte 3: the text ends where the string's end should be"},
		{`{"a"`, "byte 4: the text ends where ':' should be"},
		{`{"a":`, "byte 5, in a: the text ends where a value should be"},
		{`{"a":01}`, "byte 5, in a: a zero that isn't canonical"},
		{`{"a":-0}`, "byte 5, in a: a zero that isn't canonical"},
		{`{"a":-}`, "byte 6, in a: '}' where a digit should be"},
		{`{"a":1.5}`, "byte 6: '.' where ',' should be"},
		{`{"a":99999999999999999999}`, "byte 5, in a: an integer outside 64 bits"},
	} {
		t.Run(test.object, func(t *testing.T) {
			got, err := splice(nil, []byte(test.object), []Edit{{"a", []byte("0")}})
			require.EqualError(t, err, test.want)
			require.Nil(t, got)
		})
	}
	deep := strings.Repeat(`{"a":`, 102) + "1" + strings.Repeat("}", 102)
	_, err := splice(nil, []byte(deep), nil)
	require.ErrorContains(t, err, "nested deeper than 100")

	for _, test := range []struct {
		edits []Edit
		want  string
	}{
		{[]Edit{{"b", nil}, {"a", nil}}, `edit of "a": out of order after "b"`},
		{[]Edit{{"a", nil}, {"a", nil}}, `edit of "a": out of order after "a"`},
		{[]Edit{{"\xff", []byte("1")}}, `edit of "\xff": invalid UTF-8`},
		{[]Edit{{"a", []byte("")}}, `edit of "a": byte 0: the text ends where a value should be`},
		{[]Edit{{"a", []byte(`1,"b":2`)}}, `edit of "a": byte 1: ',' where the value's end should be`},
	} {
		_, err := splice(nil, []byte(`{}`), test.edits)
		require.EqualError(t, err, test.want)
	}
}

// TestSpliceModel applies random edits to an object and to a map, which the
// reference encodes.
func TestSpliceModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	model := map[string]any{}
	object := []byte("{}")
	for range 2000 {
		edits := randomEdits(rng)
		for _, e := range edits {
			if e.Value == nil {
				delete(model, e.Key)
			} else {
				model[e.Key] = json.RawMessage(AppendJSON(nil, e.Value))
			}
		}
		var err error
		object, err = splice(nil, object, edits)
		require.NoError(t, err)
		want, err := reference.EncodeCanonical(model)
		require.NoError(t, err)
		require.Equal(t, string(want), string(object))
	}
}

func randomEdits(rng *rand.Rand) []Edit {
	alphabet := []rune{'a', 'b', '"', '\\', '#', ']', '{', '}', ',', ':', 0x20, 0x0a, 'é', '～', '😀'}
	byKey := map[string][]byte{}
	for range rng.IntN(6) {
		var key strings.Builder
		for range rng.IntN(4) {
			key.WriteRune(alphabet[rng.IntN(len(alphabet))])
		}
		switch rng.IntN(3) {
		case 0:
			byKey[key.String()] = nil
		case 1:
			byKey[key.String()] = AppendString(nil, key.String())
		default:
			byKey[key.String()] = fmt.Appendf(nil, `{"a":[%d,{}],"b":null}`, rng.Int64()-rng.Int64())
		}
	}
	var edits []Edit
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		edits = append(edits, Edit{key, byKey[key]})
	}
	return edits
}

// FuzzSplice: Splice accepts exactly what Canonicalize leaves as it is (JSON that
// has valid UTF-8 and no control characters), and setting and removing a member
// gives what the reference gives.
func FuzzSplice(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed), "a/b.whl")
	}
	f.Add([]byte(`{"a\"":1,"a#":2}`), `a"`)
	f.Add([]byte(`{"a":`+usualTarget+`,"b":`+usualTarget+`}`), "b")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		got, err := splice(nil, data, nil)
		if err == nil {
			require.True(t, bytes.Equal(data, got))
		}
		canonical, refused := Canonicalize(data)
		if refused == nil && bytes.HasPrefix(canonical, []byte("{")) {
			isCanonical := bytes.Equal(canonical, data)
			require.Equal(t, isCanonical, err == nil, "%v", err)
			requireEdited(t, canonical, strings.ToValidUTF8(key, "?"))
		}
	})
}

const usualTarget = `{"hashes":{"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},"length":123}`

// Each byte of an object is replaced, or is the last: what isn't canonical is refused.
func TestSpliceRefusesEachByte(t *testing.T) {
	object := []byte(`{"a":` + usualTarget + `,"b":1}`)
	check := func(data []byte) {
		_, err := splice(nil, data, nil)
		canonical, refused := Canonicalize(data)
		require.Equal(t, refused == nil && bytes.Equal(canonical, data), err == nil, "%s", data)
	}
	check(object)
	for i := range object {
		check(object[:i])
		for _, b := range []byte("\"\\{}[]:,0-1ax ") {
			data := bytes.Clone(object)
			data[i] = b
			check(data)
		}
	}
	for _, target := range []string{
		strings.Replace(usualTarget, "123", "0", 1), strings.Replace(usualTarget, "123", "-1", 1), strings.Replace(usualTarget, "123", "012", 1),
		strings.Replace(usualTarget, "123", "123,\"more\":1", 1), strings.Replace(usualTarget, "0123", `\\\\`, 1),
		strings.Replace(usualTarget, "123", "99999999999999999999", 1), usualTarget + "}",
	} {
		check([]byte(`{"a":` + target + `}`))
	}
	for _, depth := range []int{maxDepth - 3, maxDepth - 2, maxDepth - 1, maxDepth} {
		check([]byte(strings.Repeat(`{"a":`, depth) + usualTarget + strings.Repeat("}", depth)))
	}
}

func requireEdited(t *testing.T, object []byte, key string) {
	var model map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(AppendJSON(nil, object), &model))

	model[key] = json.RawMessage("[1]")
	want, err := reference.EncodeCanonical(model)
	require.NoError(t, err)
	got, err := splice(nil, object, []Edit{{key, []byte("[1]")}})
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))

	delete(model, key)
	want, err = reference.EncodeCanonical(model)
	require.NoError(t, err)
	got, err = splice(nil, got, []Edit{{key, nil}})
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestMembers(t *testing.T) {
	object := []byte(`{"a\"b":1,"c":{"d":"}"}}`)
	var got []string
	for m, err := range Members(object) {
		require.NoError(t, err)
		require.Equal(t, m.Value, object[m.Start:m.Start+len(m.Value)])
		got = append(got, DecodeString(m.Key)+"="+string(m.Value))
	}
	require.Equal(t, []string{`a"b=1`, `c={"d":"}"}`}, got)

	got = nil
	for m, err := range Members([]byte(`{"a":1,"b":}`)) {
		got = append(got, fmt.Sprintf("%s %v", m.Key, err))
	}
	require.Equal(t, []string{"a <nil>", " byte 11, in b: '}' where a value should be"}, got)
}

// The benchmarks are of a bin of 610 targets.
func BenchmarkIndexedMembers(b *testing.B) {
	object := slices.Concat([]byte(`{"targets":`), benchmarkObject(), []byte("}"))
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	var x Index
	for b.Loop() {
		for _, err := range IndexedMembers(object, "targets", &x) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	object := benchmarkObject()
	x, err := indexOf(object)
	require.NoError(b, err)
	edits := []Edit{{"packages/4", []byte("1")}}
	dst := make([]byte, 0, len(object)+100)
	b.SetBytes(int64(len(object)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := x.Splice(dst, object, edits); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkObject() []byte {
	object := []byte("{")
	for i := range 610 {
		object = append(object, ","[:min(i, 1)]...)
		object = fmt.Appendf(object, `"packages/%064x/project_%05d-1.0-py3-none-any.whl":{"hashes":{"sha256":"%064x"},"length":%d}`, i, i, i, 1000+i)
	}
	return append(object, '}')
}
