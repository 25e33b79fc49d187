package columns_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/columns"
)

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "Ada": 3, "Zoë": 3, "Zoe\u0308": 3, "李雷": 4, "ａ": 2, "ｱ": 1, "\uFFFD": 1,
	} {
		require.Equal(t, want, columns.Width(s), s)
	}
	require.Equal(t, "李雷 ", columns.Pad("李雷", 5))
	require.Equal(t, "Ada", columns.Pad("Ada", 2))
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  []string
	}{
		{"", 5, []string{""}},
		{"a b  ", 5, []string{"a b"}},
		{"one two", 7, []string{"one two"}},
		{"one two", 6, []string{"one", "two"}},
		{"one  two   three", 9, []string{"one  two", "three"}},
		{"a longer-than-it b", 4, []string{"a", "longer-than-it", "b"}},
		{"longer-than-it b", 4, []string{"longer-than-it", "b"}},
		{"  longer-than-it", 4, []string{"  longer-than-it"}},
		{"李雷 李雷", 8, []string{"李雷", "李雷"}},
	} {
		require.Equal(t, c.want, columns.Wrap(c.text, c.limit), c.text)
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("  one two   three 李雷", 7)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		lines := columns.Wrap(text, limit%200)
		words := func(s string) []string {
			return slices.DeleteFunc(strings.Split(s, " "), func(w string) bool { return w == "" })
		}
		require.Equal(t, words(text), words(strings.Join(lines, " ")), "no word is cut")
		for _, line := range lines {
			if len(words(line)) > 1 {
				require.LessOrEqual(t, columns.Width(line), limit%200)
			}
		}
	})
}
