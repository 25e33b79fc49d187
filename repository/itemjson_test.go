package repository

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
)

// byReflection is an Item as package encoding/json sees it by itself.
type byReflection Item

// sameJSON requires that an item's own encoding is package encoding/json's, or an
// error where that is one.
func sameJSON(t *testing.T, it Item) {
	t.Helper()
	want, wantErr := json.Marshal(byReflection(it))
	got, err := it.MarshalJSON()
	if wantErr != nil {
		require.Error(t, err)
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	again, err := json.Marshal(it)
	require.NoError(t, err)
	require.Equal(t, string(want), string(again))
	sameItem(t, got)
}

// sameItem requires that ParseItem reads what package encoding/json reads, if that is
// strict, or that both have an error.
func sameItem(t *testing.T, data []byte) {
	t.Helper()
	var want byReflection
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&want)
	_, end := d.Token()
	got, gotErr := ParseItem(data)
	require.Equal(t, err == nil && end == io.EOF, gotErr == nil, "%v", gotErr)
	if gotErr == nil {
		require.Equal(t, Item(want), got)
	}
}

func FuzzParseItem(f *testing.F) {
	for _, it := range []Item{
		{ID: "id", Remove: []string{"a", "b"}},
		{ID: "id", Add: []roles.Target{target("a", 1)}, Accepted: time.Unix(1e9, 0).UTC()},
		{ID: "id", Add: []roles.Target{target("a", 1), target("b", 2)}, Remove: []string{"c"}, Accepted: time.Unix(1e9, 5e6).UTC()},
	} {
		data, err := it.MarshalJSON()
		require.NoError(f, err)
		f.Add(data)
		f.Add(append(data, ' '))
		f.Add(append(data, data...))
	}
	for _, text := range []string{
		`{"id":"a","more":1}`, `{"accepted":"0001-01-01T00:00:00Z","id":"a"}`, `{"id":"a","add":[],"accepted":"0001-01-01T00:00:00Z"}`,
		`{"id":"a","add":[{"path":"p","length":01,"hashes":{"a":"b","a":"c"}}],"accepted":"0001-01-01T00:00:00Z"}`,
		`{"id":"a","add":[{"path":"p","length":1,"hashes":{"a":"b",}}],"accepted":"0001-01-01T00:00:00Z"}`,
		`{"id":"a","remove":["x",],"accepted":"0001-01-01T00:00:00+01:00"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameItem(t, data) })
}

func TestItemJSON(t *testing.T) {
	text := []string{"", "a", "a b/c.whl", `q"q`, `b\b`, "<", ">", "&", "ü", "e\u0301", "\x00", "\b\f\n\r\t\x7f", "\u2028\u2029", "\xff", "😀", strings.Repeat("x", 3000)}
	accepted := []time.Time{{}, time.Unix(1e9, 123e6).UTC(), time.Unix(1e9, 0).In(time.FixedZone("", -5400)), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}
	hashes := []map[string]string{nil, {}, {"sha256": "00"}, {"sha512": "1", "sha256": "0", "blake2b-256": "2", "md5": "3", "<": "\n"}}
	custom := []json.RawMessage{nil, {}, json.RawMessage(`{ "a" : [1, "<&\u2028>"] }`), json.RawMessage(`null`), json.RawMessage(`{`), json.RawMessage(`{} {}`)}
	for _, s := range text {
		for _, at := range accepted {
			sameJSON(t, Item{ID: s, Accepted: at})
			sameJSON(t, Item{ID: s, Accepted: at, Add: []roles.Target{}, Remove: []string{}})
			sameJSON(t, Item{ID: "id", Accepted: at, Remove: []string{s, "second"}})
			for _, h := range hashes {
				for _, c := range custom {
					a := roles.Target{Path: s, Length: -1, Hashes: h, Custom: c}
					b := roles.Target{Path: "second", Length: 1<<53 - 1, Hashes: hashes[2]}
					sameJSON(t, Item{ID: "id", Accepted: at, Add: []roles.Target{a}})
					sameJSON(t, Item{ID: "id", Accepted: at, Add: []roles.Target{b, a}, Remove: []string{s}})
				}
			}
		}
	}
}

func FuzzItemJSON(f *testing.F) {
	f.Add("id", "packages/a.whl", int64(1), "sha256", "00", `{"a":"<b>"}`, "old", int64(1e9))
	f.Add("\u2028", "\xff", int64(-1), "", "\x00", "", "", int64(-1e12))
	f.Fuzz(func(t *testing.T, id, path string, length int64, algorithm, hash, custom, remove string, accepted int64) {
		it := Item{ID: id, Accepted: time.Unix(accepted, 0), Add: []roles.Target{
			{Path: path, Length: length, Hashes: map[string]string{algorithm: hash, "sha256": hash}, Custom: json.RawMessage(custom)},
		}}
		if remove != "" {
			it.Remove = []string{remove, path}
		}
		sameJSON(t, it)
	})
}

// The digest tells apart what changes differently, and nothing else.
func TestItemDigest(t *testing.T) {
	add := func(targets ...roles.Target) Item { return Item{Add: targets} }
	a, b := target("a", 1), target("b", 1)
	longer, custom, hashed := a, a, a
	longer.Length++
	custom.Custom = json.RawMessage(`{"a":1}`)
	hashed.Hashes = map[string]string{"sha256": strings.Repeat("1", 64)}
	seen := map[string]int{}
	for i, it := range []Item{
		add(a), add(b), add(a, b), add(b, a), add(longer), add(custom), add(hashed), {Remove: []string{"a"}}, {Remove: []string{"b"}},
		{Remove: []string{"a", "b"}}, {Add: []roles.Target{a}, Remove: []string{"b"}}, {Remove: []string{`a","b`}}, {},
	} {
		digest := it.Digest()
		require.Len(t, digest, 64)
		require.NotContains(t, seen, digest, "item %d", i)
		seen[digest] = i
		it.ID, it.Accepted = "id", time.Unix(1e9, 0)
		require.Equal(t, digest, it.Digest())
		data, err := json.Marshal(it)
		require.NoError(t, err)
		var read Item
		require.NoError(t, json.Unmarshal(data, &read))
		require.Equal(t, digest, read.Digest(), "as the journal reads it again")
	}
	// Journals that were written keep it.
	sum := sha256.Sum256([]byte(`{"id":"","add":[{"path":"a","length":1,"hashes":{"sha256":"` + a.Hashes["sha256"] + `"}}],"remove":["b"],"accepted":"0001-01-01T00:00:00Z"}`))
	require.Equal(t, hex.EncodeToString(sum[:]), Item{Add: []roles.Target{a}, Remove: []string{"b"}}.Digest())
	require.NotPanics(t, func() { add(roles.Target{Custom: json.RawMessage("{")}).Digest() })
}

// An upload is encoded twice, and this is all that it allocates.
func TestItemAllocations(t *testing.T) {
	it := Item{ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Add: []roles.Target{target("packages/a/project-1.2.3-py3-none-any.whl", 1)}, Accepted: time.Unix(1e9, 0)}
	require.EqualValues(t, 1, testing.AllocsPerRun(20, func() { _, _ = it.MarshalJSON() }))
	require.EqualValues(t, 2, testing.AllocsPerRun(20, func() { _ = it.Digest() }))
}

func TestLongDownload(t *testing.T) {
	for _, path := range []string{"", "a/b c.whl", strings.Repeat("a", 255), strings.Repeat("a", 256), strings.Repeat("/", 85), strings.Repeat("/", 86), strings.Repeat("ü", 43), strings.Repeat("1", 200)} {
		require.Equal(t, len(url.PathEscape(path)) > maxDownloadName, longDownload(path), path)
	}
}
