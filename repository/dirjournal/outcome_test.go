package dirjournal

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
)

// FuzzOutcome: outcomes are written as encoding/json writes them, and what is read is
// what it reads, or an error where it has one.
func FuzzOutcome(f *testing.F) {
	for _, o := range []outcome{
		{},
		{"a", "0123", 7, true, repository.Outcome{State: repository.Published, Generation: 7}},
		{"a<b", `\"`, -1, false, repository.Outcome{State: repository.SetAside, Generation: 1, Reason: "too large"}},
		{"é", "\xff", 7, true, repository.Outcome{State: "odd\n"}},
		{`a","digest":"`, `","sealed":1,`, 1, true, repository.Outcome{State: repository.Superseded, Generation: 1}},
	} {
		line, err := json.Marshal(o)
		require.NoError(f, err)
		f.Add(o.ID, o.Digest, o.Sealed, o.Committed, string(o.State), o.Generation, o.Reason, line)
	}
	for _, line := range []string{
		`{"id":"a","digest":"d","sealed":01,"state":"published"}`,
		`{"id":"a","digest":"d","sealed":1,"committed":false,"state":"published","generation":1}`,
		`{"id":"a","digest":"d","sealed":1,"state":"published","generation":1}}`,
		`{"id":"a","digest":"d","sealed":1,"state":"published","generation":1,"more":1}`,
		`{ "state":"published","id":"a","digest":"d","sealed":1}`,
		`{"id":"a","digest":"d","sealed":99999999999999999999,"state":"published"}`,
	} {
		f.Add("", "", int64(0), false, "", int64(0), "", []byte(line))
	}
	f.Fuzz(func(t *testing.T, id, digest string, sealed int64, committed bool, state string, generation int64, reason string, line []byte) {
		o := outcome{id, digest, sealed, committed, repository.Outcome{State: repository.State(state), Generation: generation, Reason: reason}}
		want, err := json.Marshal(o)
		require.NoError(t, err)
		require.Equal(t, "before"+string(want), string(o.appendJSON([]byte("before"))))

		for _, line := range [][]byte{want, line} {
			got, gotErr := decodeOutcome(line)
			want, wantErr := jsontext.Decode[outcome](line)
			require.Equal(t, wantErr, gotErr)
			if wantErr == nil {
				require.Equal(t, want, got)
			}
		}
	})
}
