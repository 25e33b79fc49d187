package jsontext_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/jsontext"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a b~", `"`, `\`, "<&>", "é", "\xff", "\x00", "\x7f", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		require.NoError(t, err)
		require.Equal(t, "before"+string(want), string(jsontext.AppendString([]byte("before"), s)))
	})
}
