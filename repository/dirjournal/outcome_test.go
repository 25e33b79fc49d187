package dirjournal

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// FuzzOutcome: outcomes are written as encoding/json writes them, and what is read is
// what it reads, or an error where it has one.
func FuzzOutcome(f *testing.F) {
	of := func(state ledger.ItemState, generation int64, reason string) ledger.Outcome {
		return ledger.Outcome{State: state, Generation: generation, Reason: reason}
	}
	for _, o := range []ledger.ItemOutcome{
		{},
		{ID: "a", Digest: "0123", Means: "", By: "", Outcome: of(ledger.Published, 7, "")},
		{ID: "a", Digest: "0123", Means: "4567", By: "ci", Outcome: of(ledger.Refused, 0, "it is published")},
		{ID: "a", Digest: "0123", Means: "", By: "ci", Outcome: of(ledger.Unchanged, 0, "")},
		{ID: "a<b", Digest: `\"`, Means: "", By: "<é>", Outcome: of(ledger.SetAside, -1, "too large")},
		{ID: "é", Digest: "\xff", Means: "", By: "", Outcome: of("odd\n", 0, "")},
		{ID: `a","digest":"`, Digest: `","state":"`, Means: `","by":"`, By: `"}`, Outcome: of(ledger.Superseded, 1, "")},
	} {
		data, err := json.Marshal(o)
		require.NoError(f, err)
		f.Add(o.ID, o.Digest, o.Means, o.By, string(o.State), o.Generation, o.Reason, data)
	}
	for _, data := range []string{
		`{"id":"a","digest":"d","state":"published","generation":01}`,
		`{"id":"a","digest":"d","means":"","state":"published","generation":1}`,
		`{"id":"a","digest":"d","state":"published","generation":1}}`,
		`{"id":"a","digest":"d","state":"published","generation":1,"more":1}`,
		`{ "state":"published","id":"a","digest":"d"}`,
		`{"id":"a","digest":"d","state":"published","generation":99999999999999999999}`,
	} {
		f.Add("", "", "", "", "", int64(0), "", []byte(data))
	}
	f.Fuzz(func(t *testing.T, id, digest, means, by, state string, generation int64, reason string, data []byte) {
		o := ledger.ItemOutcome{ID: id, Digest: digest, Means: means, By: by, Outcome: of(ledger.ItemState(state), generation, reason)}
		want, err := json.Marshal(o)
		require.NoError(t, err)
		require.Equal(t, "before"+string(want), string(appendItemOutcome([]byte("before"), o)))

		for _, data := range [][]byte{want, data} {
			got, gotErr := parseItemOutcome(data)
			want, wantErr := jsontext.Decode[ledger.ItemOutcome](data)
			require.Equal(t, wantErr, gotErr)
			if wantErr == nil {
				require.Equal(t, want, got)
			}
		}
	})
}
