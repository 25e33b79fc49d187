package repository

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// records makes a log: documents, two generations, the first attempt at the
// second abandoned, a checkpoint, and a third generation sealed.
func testRecords(t *testing.T) []Record {
	t.Helper()
	s := &state{epoch: 3}
	var out []Record
	add := func(kind RecordKind, gen int64, body any) {
		r, err := s.record(kind, gen, body, nil)
		require.NoError(t, err)
		require.NoError(t, s.apply(r))
		out = append(out, r)
	}
	sealOf := func(gen int64, bins ...int) *seal {
		b := &seal{Signed: 1000 * gen, Keys: []string{"k"}, Timestamp: fmt.Append(nil, "timestamp ", gen), Docs: s.docs}
		for _, i := range bins {
			b.Bins = append(b.Bins, binChange{Index: i, binState: binState{Version: gen, Signed: 1000 * gen}})
		}
		return b
	}
	add(KindDocuments, 0, documentsBody{Docs: docs{Root: doc{Version: 1}}, Files: []file{{Name: "1.root.json", Data: []byte("root")}}})
	require.Len(t, s.unwritten, 1)
	add(KindIntent, 1, nil)
	add(KindSeal, 1, sealOf(1, 0, 1))
	require.Empty(t, s.bins, "sealed is not committed")
	add(KindCommit, 1, nil)
	require.Empty(t, s.unwritten)
	add(KindIntent, 2, nil)
	add(KindIntent, 3, nil)
	add(KindSeal, 3, sealOf(3, 1))
	add(KindCommit, 3, nil)
	checkpoint, err := s.checkpoint()
	require.NoError(t, err)
	require.NoError(t, s.apply(checkpoint))
	out = append(out, checkpoint)
	add(KindIntent, 4, nil)
	add(KindSeal, 4, sealOf(4, 0))
	return out
}

func TestLoad(t *testing.T) {
	records := testRecords(t)
	whole, err := load(Log{Epoch: 3, Records: records})
	require.NoError(t, err)
	require.EqualValues(t, 3, whole.generation)
	require.EqualValues(t, 4, whole.sealed.generation)
	require.Equal(t, []int64{1, 3}, []int64{whole.bins[0].Version, whole.bins[1].Version})
	require.Equal(t, "timestamp 3", string(whole.timestamp))

	tail, err := load(Log{Epoch: 3, Records: records[8:]})
	require.NoError(t, err)
	require.Equal(t, whole, tail, "from the checkpoint on")
}

// A log with a record missing, altered, moved or of an unknown kind is refused.
func TestLoadRefuses(t *testing.T) {
	records := testRecords(t)
	for i := range records[:len(records)-1] {
		missing := append(append([]Record{}, records[:i]...), records[i+1:]...)
		_, err := load(Log{Records: missing})
		require.Error(t, err, "without record %d", i)
		altered := append([]Record{}, records...)
		altered[i].Epoch++
		_, err = load(Log{Records: altered})
		require.ErrorContains(t, err, "the chain is broken", "record %d", i)
	}
	for kind, want := range map[RecordKind]string{
		KindIntent: "it follows generation 4", KindSeal: "no intent before it", KindCommit: "no seal before it", "resize": "newer version",
	} {
		s, err := load(Log{Records: records})
		require.NoError(t, err)
		require.ErrorContains(t, s.apply(Record{Kind: kind, Generation: 3, Prev: s.chain, Body: json.RawMessage("{}")}), want)
	}
}

// Whatever a journal's records say, reading them ends in a state or an error.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`[{"epoch":3,"kind":"commit","generation":1,"prev":""}]`))
	f.Add([]byte(`[{"epoch":3,"kind":"checkpoint","generation":1,"prev":"","body":{"bins":[{"v":1}],"keys":[]}}]`))
	f.Add([]byte(`[{"epoch":3,"kind":"intent","generation":1,"prev":""},{"epoch":3,"kind":"seal","generation":1,"prev":"PREV","body":{"keys":["k"],"bins":[{"i":-1}]}},{"epoch":3,"kind":"commit","generation":1,"prev":"PREV"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var records []Record
		if json.Unmarshal(data, &records) != nil {
			return
		}
		prev := ""
		for i := range records { // a chain that holds, so that all else is reached
			records[i].Prev = prev
			var err error
			if prev, err = records[i].hash(); err != nil {
				return
			}
		}
		s, err := load(Log{Epoch: 3, Records: records})
		if err == nil && s.generation > 0 && s.sealed != nil {
			require.Greater(t, s.sealed.generation, s.generation)
		}
	})
}
