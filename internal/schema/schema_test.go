package schema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/schema"
)

func TestRules(t *testing.T) {
	pair := schema.Object(
		schema.Members{"a": schema.Integer(1, 3)},
		schema.Members{"key": schema.OneOf("x", "y"), "hex": schema.LowerHex, "on": schema.Boolean, "at": schema.Instant})
	document := schema.Dictionary(schema.All(schema.List(pair), nonEmptyList))
	for _, c := range []struct{ value, want string }{
		{`{"p q":[{"a":1,"key":"x","hex":"0f","on":false,"at":"2030-01-31T12:00:00Z","other":null}]}`, ""},
		{`{"p":[]}`, `["p"]: no elements`},
		{`[]`, `an array instead of an object`},
		{`{"p":{}}`, `["p"]: an object instead of an array`},
		{`{"p q":[{"a":1},{"a":4}]}`, `["p q"][1].a: 4 is not an integer from 1 to 3`},
		{`{"p":[{"a":1.5}]}`, `["p"][0].a: 1.5 is not an integer from 1 to 3`},
		{`{"p":[{"a":99999999999999999999}]}`, `["p"][0].a: 99999999999999999999 is not an integer from 1 to 3`},
		{`{"p":[{"a":"1"}]}`, `["p"][0].a: a string instead of an integer`},
		{`{"p":[{"key":"x"}]}`, `["p"][0].a: missing`},
		{`{"p":[{"a":1,"key":"z"}]}`, `["p"][0].key: "z" instead of "x" or "y"`},
		{`{"p":[{"a":1,"Key":"z"}]}`, `["p"][0].Key: some clients take it for "key"`},
		{`{"p":[{"a":1,"\u212aey":"z"}]}`, "[\"p\"][0].\u212aey: some clients take it for \"key\""},
		{`{"p":[{"a":1,"hex":"0F"}]}`, `["p"][0].hex: "0F" is not a digest in lower-case hexadecimal`},
		{`{"p":[{"a":1,"hex":""}]}`, `["p"][0].hex: "" is not a digest in lower-case hexadecimal`},
		{`{"p":[{"a":1,"hex":"0"}]}`, `["p"][0].hex: encoding/hex: odd length hex string`},
		{`{"p":[{"a":1,"on":null}]}`, `["p"][0].on: null instead of true or false`},
		{`{"p":[{"a":1,"at":"2030-01-31 12:00:00Z"}]}`, `["p"][0].at: "2030-01-31 12:00:00Z" is not a time in UTC such as "2030-01-31T12:00:00Z"`},
	} {
		t.Run(c.value, func(t *testing.T) {
			decoder := json.NewDecoder(strings.NewReader(c.value))
			decoder.UseNumber()
			var v any
			require.NoError(t, decoder.Decode(&v))
			if err := document(v); c.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.want)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	rule := schema.Dictionary(schema.Closed(schema.Members{"a": schema.Text}, schema.Members{"b": schema.Text}))
	require.NoError(t, rule(map[string]any{"p": map[string]any{"a": "1", "b": "2"}}))
	require.EqualError(t, rule(map[string]any{"p": map[string]any{"b": "2"}}), `["p"].a: missing`)
	require.EqualError(t, rule(map[string]any{"p": map[string]any{"a": "1", "c": "2"}}), `["p"]["c"]: unknown`)
	require.EqualError(t, rule(map[string]any{"p": map[string]any{"a": "1", "A": "2"}}), `["p"].A: some clients take it for "a"`)
}

func nonEmptyList(v any) error {
	if len(v.([]any)) == 0 {
		return errEmpty{}
	}
	return nil
}

type errEmpty struct{}

func (errEmpty) Error() string { return "no elements" }
