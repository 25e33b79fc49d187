package ledger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

var noon = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

const digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func row(n int64) ledger.Row {
	r := ledger.Row{Version: n, Length: int32(n), Signed: 1_764_417_600, Expires: 1_765_022_400}
	for i := range r.SHA256 {
		r.SHA256[i] = byte(int64(i) * n)
	}
	return r
}

// bodies has one of each thing that a record can say.
func bodies() []ledger.Body {
	doc := ledger.Doc{Version: 3, Blob: ledger.Blob{SHA256: digest, Length: 7}}
	return []ledger.Body{
		&ledger.Documents{
			InForce: map[string]ledger.Doc{"root": doc, "targets": doc},
			Files: []ledger.File{
				{Role: "root", Doc: doc, Data: []byte("root\x00\xff"), AtCommit: true},
				{Role: "targets", Doc: doc, Data: []byte("targets"), Online: true},
			},
			Withdrawn: []string{"2.root.json"}, Rotated: []string{"bins-*", "timestamp"},
		},
		&ledger.Intent{
			Roles: []string{"snapshot", "recently-claimed", "<&>é\u2028"},
			Bins:  []ledger.BinRange{{Prefix: "bins", Digits: 3, First: 0, Last: 4095}, {Prefix: "a-b", Digits: 1, First: 7, Last: 7}},
		},
		&ledger.Seal{
			Signed: 1_764_417_600, Expires: ledger.Expires{Snapshot: 1, Timestamp: 2}, Keys: []string{"k1", "k2"},
			Sets: []ledger.SetSize{{Prefix: "bins", Bins: 16}}, Rows: []ledger.RoleRow{{Role: "bins-f", Row: row(41)}},
			Dropped: []string{"claimed"}, Documents: map[string]ledger.Doc{"targets": doc}, Snapshot: doc.Blob,
			SignedBy: ledger.SignedBy{"timestamp": {"k1"}, "targets": {"t1", "t2"}},
			Outcomes: []ledger.ItemOutcome{
				{ID: "b", Digest: digest, By: "ci", Outcome: ledger.Outcome{State: ledger.Published, Generation: 41}},
				{ID: "a", Digest: digest, Means: digest, Outcome: ledger.Outcome{State: ledger.Superseded, Generation: 41}},
				{ID: "c", Digest: digest, Outcome: ledger.Outcome{State: ledger.SetAside, Generation: 41, Reason: "too large <é>"}},
			},
			Superseded: []string{"40.bins-f.json", "40.snapshot.json"},
			Unseen:     []ledger.RemovedTarget{removed("b.whl")},
			Removed:    []ledger.RemovedTarget{{Path: "a.whl", Hashes: map[string]string{"sha256": digest, "sha512": "00"}}},
			Swaps: []ledger.Swap{
				{Name: "checkpoint", Old: []byte("old"), New: []byte("new")},
				{Name: ledger.Timestamp, New: []byte(`{"signed":{}}`)},
			},
		},
		&ledger.Commit{},
		&ledger.Decided{Outcomes: []ledger.ItemOutcome{
			{ID: "d", Digest: digest, Outcome: ledger.Outcome{State: ledger.Unchanged}},
			{ID: "e", Digest: digest, By: "é", Outcome: ledger.Outcome{State: ledger.Refused, Generation: 40, Reason: "e.whl: published"}},
		}},
		&ledger.Collected{Through: 39, Offered: []ledger.RemovedTarget{removed("a.whl")}, Settled: []ledger.RemovedTarget{removed("b.whl")}, Swept: 38},
		&ledger.Rotation{Role: "bins-*", To: "k l"},
		&ledger.Checkpoint{
			Planned: 43, Signed: 1, Expires: ledger.Expires{Snapshot: 1, Timestamp: 2},
			Swapped: map[string][]byte{ledger.Timestamp: []byte("t"), "checkpoint": []byte("c")}, Snapshot: doc.Blob,
			Documents: map[string]ledger.Doc{"root": doc}, Published: map[string]ledger.Doc{"root": doc},
			Attempts: []ledger.Attempt{{Generation: 43, Intent: ledger.Intent{Roles: []string{"snapshot"}, Bins: []ledger.BinRange{{Prefix: "bins", Digits: 1, Last: 1}}}}},
			Garbage: []ledger.Garbage{{
				Generation: 42, Time: noon, Files: []string{"41.snapshot.json"}, Burnt: []ledger.Attempt{{Generation: 41, Intent: ledger.Intent{Roles: []string{"snapshot"}}}},
				Targets: []ledger.RemovedTarget{removed("c.whl")},
			}},
			Collected: 40, Targets: []ledger.RemovedTarget{removed("d.whl")}, Unlisted: 3, Bases: map[string]int64{"bins-0": 12},
			Signings: []ledger.Signing{{SignedBy: ledger.SignedBy{"timestamp": {"k"}}, Superseded: noon}, {SignedBy: ledger.SignedBy{"timestamp": {"l"}}}},
			Table: ledger.Table{
				Keys: []string{"k"}, Roles: map[string]ledger.Row{"recently-claimed": row(1)},
				Sets: []ledger.Set{{Prefix: "bins", Rows: []ledger.Row{row(1), {}}}},
			},
			Rotations: map[string]ledger.Rotating{"bins-*": {To: "k l", Begun: noon}},
		},
	}
}

func removed(path string) ledger.RemovedTarget {
	return ledger.RemovedTarget{Path: path, Hashes: map[string]string{"sha256": digest, "sha512": "00"}}
}

func newRecord(t testing.TB, epoch, generation int64, prev string, body ledger.Body) ledger.Record {
	t.Helper()
	r, err := ledger.NewRecord(epoch, generation, prev, noon, body)
	require.NoError(t, err)
	return r
}

// TestRecords: a record is read as it was made, and its hash is that of its bytes.
func TestRecords(t *testing.T) {
	kinds := map[ledger.Kind]bool{}
	for _, body := range bodies() {
		made := newRecord(t, 3, 41, digest, body)
		read, err := ledger.ParseRecord(slices.Clone(made.Bytes()))
		require.NoError(t, err)
		require.Equal(t, made, read)
		require.Equal(t, body.Kind(), read.Kind())
		require.Equal(t, ledger.BlobOf(made.Bytes()).SHA256, read.Hash())
		kinds[body.Kind()] = true
	}
	require.Len(t, kinds, 8)
}

func TestOutcomesOfRecords(t *testing.T) {
	for _, body := range bodies() {
		r := newRecord(t, 1, 1, "", body)
		switch b := body.(type) {
		case *ledger.Seal:
			require.Equal(t, b.Outcomes, r.Outcomes())
		case *ledger.Decided:
			require.Equal(t, b.Outcomes, r.Outcomes())
		default:
			require.Empty(t, r.Outcomes())
		}
	}
}

// TestNewerRecords: what this version doesn't know is refused by that name, wherever it is.
func TestNewerRecords(t *testing.T) {
	member := func(object string) string { return strings.Replace(object, "{", `{"since_v9":1,`, 1) }
	whole := `{"epoch":1,"kind":"commit","generation":1,"prev":"","time":"2026-05-17T12:00:00Z","body":{}}`
	_, err := ledger.ParseRecord([]byte(whole))
	require.NoError(t, err)
	for _, newer := range []string{
		strings.Replace(whole, "commit", "merge", 1),
		member(whole),
		strings.Replace(whole, "{}", `{"since_v9":1}`, 1),
		strings.Replace(whole, "{}", `{},"since_v9":1`, 1),
	} {
		_, err := ledger.ParseRecord([]byte(newer))
		require.ErrorIs(t, err, ledger.ErrNewer, newer)
	}
	for _, body := range bodies() {
		data := newRecord(t, 1, 1, "", body).Bytes()
		at := bytes.Index(data, []byte(`"body":`)) + len(`"body":`)
		newer := string(data[:at]) + strings.Replace(member(string(data[at:])), ",}", "}", 1)
		_, err := ledger.ParseRecord([]byte(newer))
		require.ErrorIs(t, err, ledger.ErrNewer, newer)
		require.ErrorContains(t, err, string(body.Kind()))
	}
	for _, bad := range []string{"", "{}", "[]", "null", whole + " x", whole[:20], strings.Replace(whole, "1", `"1"`, 1)} {
		_, err := ledger.ParseRecord([]byte(bad))
		require.Error(t, err, bad)
	}
}

// TestChainOverBytes: a record's identity is its bytes, so that one that another program
// wrote chains as long as they are kept, and doesn't if somebody encodes it again.
func TestChainOverBytes(t *testing.T) {
	made := newRecord(t, 1, 1, "", &ledger.Intent{Roles: []string{"<snapshot>"}})
	var v map[string]any
	require.NoError(t, json.Unmarshal(made.Bytes(), &v))
	pretty, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	other, err := ledger.ParseRecord(pretty)
	require.NoError(t, err)
	require.Equal(t, made.Body, other.Body)
	require.Equal(t, string(pretty), string(other.Bytes()))
	require.NotEqual(t, made.Hash(), other.Hash())

	// Members may stand in any order.
	first, err := ledger.ParseRecord([]byte(`{"epoch":1,"kind":"intent","body":{"roles":["<snapshot>"]},"generation":1,"prev":"","time":"2026-05-17T12:00:00Z"}`))
	require.NoError(t, err)
	require.Equal(t, made.Body, first.Body)
	require.Equal(t, int64(1), first.Generation)

	var s ledger.State
	require.NoError(t, s.Apply(other))
	next, err := s.Next(1, 2, noon, &ledger.Intent{})
	require.NoError(t, err)
	require.Equal(t, other.Hash(), next.Prev)
	require.NoError(t, s.Apply(next))

	var again ledger.State
	require.NoError(t, again.Apply(made))
	require.ErrorContains(t, again.Apply(next), "the chain is broken")
}

func TestIntentNames(t *testing.T) {
	i := ledger.Intent{
		Roles: []string{"snapshot", "timestamp"},
		Bins:  []ledger.BinRange{{Prefix: "bins", Digits: 2, First: 0xfe, Last: 0xff}, {Prefix: "x", Digits: 1, First: 0, Last: 1}},
	}
	require.Equal(t, []string{"snapshot", "timestamp", "bins-fe", "bins-ff", "x-0", "x-1"}, slices.Collect(i.Names))
	for range i.Names {
		break
	}
	require.Equal(t, "41.bins-fe.json", ledger.Name(41, "bins-fe"))
	require.Equal(t, "3.root.json", ledger.File{Role: "root", Doc: ledger.Doc{Version: 3}}.Name())
}

func TestRowText(t *testing.T) {
	for _, r := range []ledger.Row{{}, row(1), row(41), {Version: math.MaxInt64, Length: math.MaxInt32, Signed: math.MaxInt64, Expires: math.MaxInt64, Key: math.MaxInt32}} {
		text, err := r.MarshalText()
		require.NoError(t, err)
		var again ledger.Row
		require.NoError(t, again.UnmarshalText(text))
		require.Equal(t, r, again)
	}
	const good = "41 131072 1764417600 1765022400 0 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	var r ledger.Row
	require.NoError(t, r.UnmarshalText([]byte(good))) // the package comment's
	require.Equal(t, ledger.Blob{SHA256: good[len(good)-64:], Length: 131072}, r.Blob())
	for _, bad := range []string{
		"", good[:len(good)-1], good + "0", good + " ", " " + good, strings.Replace(good, " ", "  ", 1),
		strings.Replace(good, "41", "-1", 1), strings.Replace(good, "41", "+1", 1), strings.Replace(good, "41", "041", 1),
		strings.Replace(good, "131072", "2147483648", 1), strings.Replace(good, " 0 ", " 2147483648 ", 1),
		strings.Replace(good, "41", "9223372036854775808", 1), strings.Replace(good, "9f86", "9F86", 1), strings.Replace(good, "9f86", "9g86", 1),
		"1 2 3 4", "1 2 3 4 5",
	} {
		require.Error(t, r.UnmarshalText([]byte(bad)), "%q", bad)
	}
}

// TestSizes: a table of the largest set that there is.
func TestSizes(t *testing.T) {
	const bins = 65_536
	measure := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	data := func() []byte {
		rows := make([]ledger.Row, bins)
		for i := range rows {
			rows[i] = row(int64(1_000_000 + i)) // of seven digits each
			rows[i].Key = int32(i % 2)
		}
		r := newRecord(t, 1, 2_000_000, digest, &ledger.Checkpoint{
			Planned: 2_000_000, Table: ledger.Table{Keys: []string{"a", "b"}, Sets: []ledger.Set{{Prefix: "bins", Rows: rows}}},
		})
		return r.Bytes()
	}()
	require.LessOrEqual(t, len(data), 8_000_000)

	before := measure()
	var s ledger.State
	func() {
		r, err := ledger.ParseRecord(data)
		require.NoError(t, err)
		require.NoError(t, s.Apply(r))
	}()
	grown := int64(measure()) - int64(before)
	require.Equal(t, bins, s.Table.Len())
	require.LessOrEqual(t, grown, int64(5_000_000))
	got, ok := s.Table.Row("bins-ffff")
	require.True(t, ok)
	require.EqualValues(t, 1_065_535, got.Version)
	runtime.KeepAlive(&s)
}

func TestTable(t *testing.T) {
	table := ledger.Table{
		Keys:  []string{"k"},
		Roles: map[string]ledger.Row{"z": row(1), "claimed": row(2), "other-0": row(3)},
		Sets: []ledger.Set{
			{Prefix: "bins", Rows: []ledger.Row{row(4), {}}}, {Prefix: "extra-bins", Rows: []ledger.Row{{}, row(5), row(6), {}}},
		},
	}
	var names []string
	for name, r := range table.All() {
		names = append(names, fmt.Sprint(name, " ", r.Version))
		got, ok := table.Row(name)
		require.True(t, ok)
		require.Equal(t, r, got)
	}
	require.Equal(t, []string{"bins-0 4", "extra-bins-1 5", "extra-bins-2 6", "claimed 2", "other-0 3", "z 1"}, names)
	for range table.All() {
		break
	}
	for _, missing := range []string{"bins-1", "bins-2", "bins-00", "extra-bins-0", "", "other-1"} {
		_, ok := table.Row(missing)
		require.False(t, ok, missing)
	}
	require.Equal(t, 9, table.Len())
	require.Len(t, table.Set("extra-bins").Rows, 4)
	require.Nil(t, table.Set("other"))
}

func FuzzParseRecord(f *testing.F) {
	for _, body := range bodies() {
		f.Add(newRecord(f, 3, 41, digest, body).Bytes())
	}
	f.Add([]byte(`{"epoch":1,"kind":"intent","generation":1,"prev":"","time":"2026-05-17T12:00:00+02:00","body":{"bins":[{"prefix":"b","digits":1,"first":0,"last":1}]}}`))
	f.Add([]byte(`{"epoch":1,"kind":"commit","generation":1,"prev":"","time":"2026-05-17T12:00:00Z","body":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ledger.ParseRecord(data)
		if err != nil {
			return
		}
		require.Equal(t, string(data), string(r.Bytes()))
		require.Equal(t, ledger.BlobOf(data).SHA256, r.Hash())
		again, err := ledger.NewRecord(r.Epoch, r.Generation, r.Prev, r.Time, r.Body)
		require.NoError(t, err)
		read, err := ledger.ParseRecord(again.Bytes())
		require.NoError(t, err)
		third, err := ledger.NewRecord(read.Epoch, read.Generation, read.Prev, read.Time, read.Body)
		require.NoError(t, err)
		require.Equal(t, string(again.Bytes()), string(third.Bytes()))
		var h ledger.History
		h.Apply(ledger.Step{Record: &r}) // no panic
	})
}

func FuzzRow(f *testing.F) {
	for _, r := range []ledger.Row{{}, row(1), row(41), {Version: math.MaxInt64, Key: math.MaxInt32}} {
		text, err := r.MarshalText()
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("1 2 3 4 5 " + digest))
	f.Add([]byte("01 2 3 4 5 " + digest))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r ledger.Row
		if r.UnmarshalText(text) != nil {
			return
		}
		again, err := r.MarshalText()
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}
