package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// An item that two readers could read differently is refused: others write entries too.
func TestParseItemIsStrict(t *testing.T) {
	const target = `{"path":"a","length":1,"hashes":{"sha256":"00"}}`
	for body, want := range map[string]string{
		`{"add":[` + target + `],"if":[{"path":"a","absent":true}],"if":[]}`: `"if"`,
		`{"add":[` + target + `],"add":[]}`:                                  `"add"`,
		`{"ADD":[` + target + `]}`:                                           `unknown member "ADD"`,
		`{"add":[{"PATH":"a","length":1,"hashes":{"sha256":"00"}}]}`:         `unknown member "PATH"`,
		"{\"remove\":[\"q\xff\"]}":                                           "UTF-8",
		`{"remove":["a"],"if":[{"path":"a","sha256":"00","Absent":true}]}`:   `unknown member "Absent"`,
		`{"metadata":[{"role":"r","file":"","more":1}]}`:                     `unknown member "more"`,
		`{"add":[{"path":"a","hashes":{"sha256":"00"}}]}`:                    `target "a": length is missing`,
		`{"add":[{"path":"a","length":null,"hashes":{"sha256":"00"}}]}`:      `target "a": length is missing`,
		`{"remove":["a"]} {}`:                                                "end of the document",
	} {
		_, err := ledger.ParseItem([]byte(body))
		require.ErrorContains(t, err, want, body)
	}
	it, err := ledger.ParseItem([]byte(`{"remove":[],"add":[{"hashes":{"sha256":"00"},"length":1,"path":"a","custom":{"Any":{"ADD":1}}}]}`))
	require.NoError(t, err)
	require.Len(t, it.Add, 1)
}

// A state that is not known could be final or not: whoever reads it must not guess.
func TestUnknownState(t *testing.T) {
	record, err := ledger.NewRecord(1, 3, "", time.Unix(0, 0), &ledger.Decided{Outcomes: []ledger.ItemOutcome{
		{ID: "a", Outcome: ledger.Outcome{State: "postponed"}},
	}})
	require.NoError(t, err)
	_, err = ledger.ParseRecord(record.Bytes())
	require.ErrorIs(t, err, ledger.ErrNewer)
	require.ErrorContains(t, err, `item "a"`)
}
