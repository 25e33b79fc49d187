package dirjournal

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// FuzzOutcome: outcomes are written as encoding/json writes them, and what is read is
// what it reads, or an error where it has one or the outcome is none that a record has.
func FuzzOutcome(f *testing.F) {
	of := func(state ledger.ItemState, generation int64, reason string) ledger.Outcome {
		return ledger.Outcome{State: state, Generation: generation, Reason: reason}
	}
	digest := ledger.Entry{}.Digest()
	for _, o := range []ledger.ItemOutcome{
		{},
		{ID: "a", Digest: digest, Means: "", By: "", Outcome: of(ledger.Published, 7, "")},
		{ID: "a", Digest: digest, Means: "4567", By: "ci", Outcome: of(ledger.Refused, 0, "it is published")},
		{ID: "a", Digest: digest, Means: "4567", By: "", Outcome: of(ledger.Published, 8, "")},
		{ID: "a", Digest: digest, Means: "", By: "ci", Outcome: of(ledger.Unchanged, 0, "")},
		{ID: "a<b", Digest: digest, Means: "", By: "<é>", Outcome: of(ledger.SetAside, -1, "too large")},
		{ID: "a", Digest: digest[1:], Means: "", By: "", Outcome: of(ledger.Published, 7, "")},
		{ID: "a", Digest: digest + "00", Means: "", By: "", Outcome: of(ledger.Published, 7, "")},
		{ID: "a", Digest: strings.ToUpper(digest), Means: "", By: "", Outcome: of(ledger.Published, 7, "")},
		{ID: "é", Digest: digest, Means: "", By: "", Outcome: of("odd\n", 0, "")},
		{ID: "a", Digest: digest, Means: "", By: "", Outcome: of(ledger.Accepted, 0, "")},
		{ID: `a","digest":"`, Digest: digest, Means: `","by":"`, By: `"}`, Outcome: of(ledger.Superseded, 1, "")},
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
		f.Add("", "", "", "", "", int64(0), "", []byte(strings.ReplaceAll(data, `"d"`, `"`+digest+`"`)))
	}
	isDigest := regexp.MustCompile(`^[0-9a-f]{64}$`)
	f.Fuzz(func(t *testing.T, id, digest, means, by, state string, generation int64, reason string, data []byte) {
		o := ledger.ItemOutcome{ID: id, Digest: digest, Means: means, By: by, Outcome: of(ledger.ItemState(state), generation, reason)}
		encoded, err := json.Marshal(o)
		require.NoError(t, err)
		if r, err := remember(o); err == nil {
			require.Equal(t, "before"+string(encoded), string(r.append([]byte("before"))))
			require.Equal(t, o, r.item())
		}
		for _, data := range [][]byte{encoded, data} {
			got, gotErr := parseOutcome(data)
			want, wantErr := jsontext.Decode[ledger.ItemOutcome](data)
			if wantErr == nil && isDigest.MatchString(want.Digest) && slices.Contains(outcomeStates[1:], want.State) {
				require.NoError(t, gotErr)
				require.Equal(t, want, got.item())
			} else {
				require.Error(t, gotErr)
			}
		}
	})
}

// FuzzHead: so are the heads of entries.
func FuzzHead(f *testing.F) {
	for _, e := range []ledger.Entry{
		{}, {ID: "a", Accepted: noon}, {ID: "a", Accepted: noon.Add(123456789), By: "ci"}, {ID: `a","accepted":"`, By: "<é>\\"},
		{ID: "a", Accepted: noon.AddDate(9000, 0, 0)},
	} {
		data, err := json.Marshal(entryHead{e, 7})
		if err == nil {
			f.Add(e.ID, e.Accepted.UnixNano(), e.By, 7, data)
		}
	}
	for _, data := range []string{
		`{"id":"a","accepted":"2026-05-17T12:00:00Z","size":07}`, `{"id":"a","accepted":"2026-05-17T12:00:00.10Z","size":7}`,
		`{"id":"a","accepted":"2026-05-17T12:00:00+00:00","by":"","size":7}`, `{"id":"a","accepted":"2026-05-17T12:00:00Z","size":7}}`,
		`{"id":"a","accepted":"2026-05-17T12:00:00Z","size":7,"more":1}`, `{"size":7,"id":"a"}`,
	} {
		f.Add("", int64(0), "", 0, []byte(data))
	}
	f.Fuzz(func(t *testing.T, id string, at int64, by string, size int, data []byte) {
		h := entryHead{ledger.Entry{ID: id, Accepted: time.Unix(0, at).UTC(), By: by}, size}
		want, err := json.Marshal(h)
		require.NoError(t, err)
		got, err := h.append([]byte("before"))
		require.NoError(t, err)
		require.Equal(t, "before"+string(want), string(got))

		for _, data := range [][]byte{want, data} {
			got, gotErr := parseHead(data)
			want, wantErr := decode[entryHead](data)
			require.Equal(t, wantErr, gotErr)
			if wantErr == nil {
				require.Equal(t, want, got)
			}
		}
	})
}
