package ledger_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

func target(path string) roles.Target {
	return roles.Target{Path: path, Length: 3, Hashes: map[string]string{"sha256": digest}}
}

// items has one of each thing that an item can ask for.
func items() []ledger.Item {
	custom := target("b/c.whl")
	custom.Custom = json.RawMessage(`{"yanked":false,"größe":"<&>"}`)
	return []ledger.Item{
		{ID: "add", Add: []roles.Target{target("a.whl")}},
		{ID: "remove", Remove: []string{"a.whl", "ü"}},
		{ID: "both", By: "somebody <é>", Accepted: noon, Add: []roles.Target{custom, target("a.whl")}, Remove: []string{"z", "y"}},
		{ID: "if", Add: []roles.Target{target("a"), target("b")}, If: []ledger.Condition{{Path: "a", Absent: true}, {Path: "b", SHA256: digest}}},
		{ID: "import", Import: &ledger.Import{Name: "spool-1", SHA256: digest, Length: 1 << 40, Targets: 1e6}},
		{ID: "metadata", Metadata: []ledger.SignedRole{{Role: "claimed", File: []byte("{\"signed\":\x00}")}}},
	}
}

// TestItems: an item is read as it was written. Its targets and paths are in order then.
func TestItems(t *testing.T) {
	for _, it := range items() {
		e, err := it.Entry()
		require.NoError(t, err)
		read, err := e.Item()
		require.NoError(t, err)
		slices.SortFunc(it.Add, func(a, b roles.Target) int { return strings.Compare(a.Path, b.Path) })
		slices.Sort(it.Remove)
		for i, target := range it.Add {
			if target.Custom != nil {
				require.JSONEq(t, string(target.Custom), string(read.Add[i].Custom))
				it.Add[i].Custom = read.Add[i].Custom
			}
		}
		require.Equal(t, it, read)
		again, err := read.Entry()
		require.NoError(t, err)
		require.Equal(t, e, again)
		require.Equal(t, e.Digest(), ledger.Meaning(e.Body))
		require.Equal(t, ledger.BlobOf(e.Body).SHA256, e.Digest())
	}
	e, err := ledger.Item{ // the package comment's
		Add: []roles.Target{target("a.whl")}, Remove: []string{"b.whl"}, If: []ledger.Condition{{Path: "a.whl", Absent: true}},
	}.Entry()
	require.NoError(t, err)
	require.Equal(t, `{"add":[{"path":"a.whl","length":3,"hashes":{"sha256":"`+digest+`"}}],"remove":["b.whl"],`+
		`"if":[{"path":"a.whl","absent":true}]}`, string(e.Body))
}

// TestEntryLeavesItem: what is encoded isn't changed.
func TestEntryLeavesItem(t *testing.T) {
	it := items()[2]
	before := fmt.Sprint(it)
	_, err := it.Entry()
	require.NoError(t, err)
	require.Equal(t, before, fmt.Sprint(it))
}

// TestMeaning: encodings that mean the same have one meaning, others have others.
func TestMeaning(t *testing.T) {
	same := []string{
		`{"add":[{"path":"a","length":3,"hashes":{"sha256":"x"},"custom":{"a":1,"b":[]}},{"path":"b","length":3,"hashes":{}}],"remove":["c","d"]}`,
		`{"remove":["d","c"],"add":[{"path":"b","length":3,"hashes":{}},{"custom":{"b":[ ],"a":1},"hashes":{"sha256":"x"},"length":3,"path":"a"}]}`,
		" {\n\t\"add\": [{\"path\":\"\\u0061\",\"length\":3,\"hashes\":{\"sha256\":\"x\"},\"custom\":{\"a\":1,\"b\":[]}},{\"path\":\"b\",\"length\":3,\"hashes\":{}}],\"remove\":[\"c\",\"d\"],\"if\":[]}\n",
	}
	other := []string{
		`{"add":[{"path":"a","length":3,"hashes":{"sha256":"x"},"custom":{"a":1,"b":[0]}},{"path":"b","length":3,"hashes":{}}],"remove":["c","d"]}`,
		`{"remove":["c"]}`, `{"remove":["c","d"]}`, `{"remove":["c","c"]}`, `{}`,
		`{"remove":["c"],"if":[{"path":"c","absent":true}]}`,
		"", "no item", "no  item", `{"since_v9":1}`, ` {"since_v9":1}`, `{"remove":["c"]} x`,
		`{"add":[{"path":"a","length":3,"hashes":{},"custom":{"a":1.5}}]}`,
	}
	means := map[string]string{}
	for _, body := range same {
		means[ledger.Meaning([]byte(body))] = body
		require.True(t, ledger.Entry{Body: []byte(body)}.Means("", []byte(same[0])))
	}
	require.Len(t, means, 1)
	for _, body := range other {
		require.NotContains(t, means, ledger.Meaning([]byte(body)))
		means[ledger.Meaning([]byte(body))] = body
	}
	one, two := ledger.Entry{ID: "a", Body: []byte(same[0])}, ledger.Entry{ID: "a", Body: []byte(same[1])}
	for _, pair := range [][2]ledger.Entry{{one, two}, {two, one}, {one, one}, {two, two}} {
		require.True(t, pair[0].Means(pair[1].Digest(), pair[1].Body))
		o := ledger.OutcomeOf(pair[0], ledger.Outcome{State: ledger.Published})
		require.True(t, o.Is(pair[1]))
		require.False(t, o.Is(ledger.Entry{ID: "a", Body: []byte(other[0])}))
		require.Equal(t, ledger.Meaning(one.Body), o.Meaning())
	}
	// Conditions are decided together, so that their order says nothing.
	require.Equal(t,
		ledger.Meaning([]byte(`{"remove":["a","b"],"if":[{"path":"a","sha256":"x"},{"path":"b","sha256":"y"}]}`)),
		ledger.Meaning([]byte(`{"remove":["a","b"],"if":[{"path":"b","sha256":"y"},{"path":"a","sha256":"x"}]}`)))
	require.Empty(t, ledger.OutcomeOf(ledger.Entry{Body: []byte("{}")}, ledger.Outcome{}).Means)
	require.NotEmpty(t, ledger.OutcomeOf(two, ledger.Outcome{}).Means)
	require.False(t, one.Means(two.Digest(), nil), "without a look at the body")
	require.True(t, one.Means(one.Digest(), nil))
}

func TestNewerItem(t *testing.T) {
	for _, body := range []string{`{"since_v9":1}`, `{"if":[{"path":"a","since_v9":1}]}`, `{"add":[{"path":"a","since_v9":1}]}`} {
		_, err := ledger.ParseItem([]byte(body))
		require.ErrorIs(t, err, ledger.ErrNewer, body)
	}
	for _, body := range []string{"", "{", `{"add":1}`, "{} {}"} {
		_, err := ledger.Entry{Body: []byte(body)}.Item()
		require.Error(t, err)
		require.NotErrorIs(t, err, ledger.ErrNewer, body)
	}
}

func TestCheckEntry(t *testing.T) {
	for _, good := range []ledger.Entry{
		{ID: "a"}, {ID: strings.Repeat("~", ledger.MaxID), By: strings.Repeat("é", ledger.MaxBy/2)}, {ID: "a", Body: []byte("\xff\x00")},
	} {
		require.NoError(t, good.Check())
	}
	for want, bad := range map[string]ledger.Entry{
		"no ID":                 {},
		"an ID of 129 bytes":    {ID: strings.Repeat("~", ledger.MaxID+1)},
		"not printable ASCII":   {ID: "a b"},
		`"\x7f": not printable`: {ID: "\x7f"},
		"a By of 257 bytes":     {ID: "a", By: strings.Repeat("x", ledger.MaxBy+1)},
		"By: not UTF-8":         {ID: "a", By: "\xff"},
		"control character":     {ID: "a", By: "a\x7f"},
		"at most 67108864":      {ID: "a", Body: make([]byte, ledger.MaxBody+1)},
	} {
		require.ErrorContains(t, bad.Check(), want)
	}
	require.GreaterOrEqual(t, ledger.Entry{ID: "a", By: "b", Body: make([]byte, 1000)}.Size(), 1002)
}

func TestValidateItem(t *testing.T) {
	for _, it := range items() {
		err := it.Validate()
		if it.Import != nil || it.Metadata != nil {
			require.ErrorContains(t, err, "this version publishes none")
			continue
		}
		require.NoError(t, err)
	}
	many := make([]string, 10_001)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	bad := target("bad")
	bad.Hashes = nil
	a := []roles.Target{target("a")}
	for want, it := range map[string]ledger.Item{
		"no ID":                                    {Add: a},
		"item: it names no path":                   {ID: "a"},
		"item: 10001 paths, at most 10000":         {ID: "a", Remove: many},
		`target "bad": hashes: no sha256`:          {ID: "a", Add: []roles.Target{bad}},
		`target "a": named twice in one item`:      {ID: "a", Add: a, Remove: []string{"a"}},
		`target "r": named twice in one item`:      {ID: "a", Remove: []string{"r", "r"}},
		`path`:                                     {ID: "a", Remove: []string{"../a"}},
		`condition on "b": the item doesn't chang`: {ID: "a", Add: a, If: []ledger.Condition{{Path: "b", Absent: true}}},
		`condition on "a": there are two`:          {ID: "a", Add: a, If: []ledger.Condition{{Path: "a", Absent: true}, {Path: "a", Absent: true}}},
		`condition on "a": want either`:            {ID: "a", Add: a, If: []ledger.Condition{{Path: "a"}}},
		`want either absent or a sha256`:           {ID: "a", Add: a, If: []ledger.Condition{{Path: "a", Absent: true, SHA256: digest}}},
		`is no SHA-256`:                            {ID: "a", Add: a, If: []ledger.Condition{{Path: "a", SHA256: strings.ToUpper(digest)}}},
		`10001 conditions, at most 10000`:          {ID: "a", Add: a, If: make([]ledger.Condition, 10_001)},
	} {
		require.ErrorContains(t, it.Validate(), want)
	}
}

func TestEdits(t *testing.T) {
	it := items()[2]
	require.Equal(t, []string{"b/c.whl", "a.whl", "z", "y"}, slices.Collect(it.Paths))
	for e := range it.Edits {
		require.Equal(t, &it.Add[0], e.Target)
		break
	}
}

func FuzzParseItem(f *testing.F) {
	for _, it := range items() {
		e, err := it.Entry()
		require.NoError(f, err)
		f.Add(e.Body)
	}
	f.Add([]byte(`{"remove":["d","c"],"add":[{"custom":{"b":[ ],"a":1},"hashes":{"sha256":"x"},"length":3,"path":"a"}]}`))
	f.Add([]byte(`{"add":[{"path":"\u2028","length":-1,"hashes":null,"custom":null}],"import":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		meaning := ledger.Meaning(body)
		it, err := ledger.ParseItem(body)
		if err != nil {
			require.Equal(t, ledger.BlobOf(body).SHA256, meaning)
			return
		}
		it.Validate()
		e, err := it.Entry()
		if err != nil { // the custom data is of no kind that can be signed
			require.Equal(t, ledger.BlobOf(body).SHA256, meaning)
			return
		}
		require.Equal(t, meaning, e.Digest())
		require.Equal(t, meaning, ledger.Meaning(e.Body))
		require.True(t, e.Means(ledger.BlobOf(body).SHA256, body))
	})
}
