package excerpt

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestOf(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"short":                 "short",
		strings.Repeat("x", 20): strings.Repeat("x", 20),
		"invalid\xff":           "invalid",
		"begin" + strings.Repeat("x", 100) + "end": "beginxx … xxxxend",
	} {
		require.Equal(t, want, Of(text, 20), text)
	}
	for text, want := range map[string]string{
		"short":                    "short",
		"12345678901":              "1234567…",
		"123456é8901":              "123456…",
		"12345😀8901":               "12345…",
		"invalid\xff":              "invalid",
		strings.Repeat("\x80", 12): "…",
	} {
		require.Equal(t, want, Beginning(text, 10), text)
	}
	for _, char := range []string{"é", "語", "😀", "\xff", "\x80"} {
		for n := range 8 {
			text := strings.Repeat("x", n) + strings.Repeat(char, 100) + strings.Repeat("x", n/2)
			short := Of(text, 40)
			require.LessOrEqual(t, len(short), 40)
			require.True(t, utf8.ValidString(short), "%q", short)
			if utf8.ValidString(char) {
				require.Greater(t, len(short), 25)
				require.True(t, strings.HasPrefix(text, short[:strings.Index(short, cut)]))
			}
		}
	}
}
