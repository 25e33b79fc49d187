package service

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The code in the package comment is in the example, line by line, and that is run.
func TestCommentShowsTheExample(t *testing.T) {
	comment, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	rest, lines := string(example), 0
	for line := range strings.Lines(strings.SplitN(string(comment), "//\n// # ", 2)[0]) {
		code, ok := strings.CutPrefix(line, "//\t")
		if code = strings.TrimSpace(code); !ok || code == "..." {
			continue
		}
		code = strings.ReplaceAll(code, "slog.Default()", "slog.New(slog.DiscardHandler)")
		code = strings.ReplaceAll(code, ")     //", ") //")
		_, after, found := strings.Cut(rest, code+"\n")
		require.True(t, found, "not in the example, or not in this order: %s", code)
		rest = after
		lines++
	}
	require.Equal(t, 13, lines)
}
