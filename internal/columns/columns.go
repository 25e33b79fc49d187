// Package columns fits text into the columns of a terminal or of a printed page. It breaks lines
// between words only. A word that is wider than the line stands on a line of its own, whole.
package columns

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width returns how many columns s takes: two for each wide letter, such as Chinese, and none for
// a mark that is drawn over the letter before it.
func Width(s string) int {
	n := 0
	for _, r := range s {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// Pad returns s with spaces after it, up to a width.
func Pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-Width(s))) }

// Wrap breaks s into lines of at most limit columns. It gives at least one line. Spaces within a
// line stay as they are; those at a break and at the end go.
func Wrap(s string, limit int) []string {
	var lines []string
	for {
		s = strings.TrimRight(s, " ")
		at := breakAt(s, limit)
		if at < 0 {
			return append(lines, s)
		}
		lines = append(lines, strings.TrimRight(s[:at], " "))
		s = strings.TrimLeft(s[at:], " ")
	}
}

// breakAt returns where the first line of s ends, at a space, or -1 if s is one line.
func breakAt(s string, limit int) int {
	if Width(s) <= limit {
		return -1
	}
	at, n, word := -1, 0, false
	for i, r := range s {
		if r == ' ' && word {
			if n > limit && at >= 0 {
				return at
			}
			if at = i; n > limit {
				return at
			}
		}
		word = word || r != ' ' // spaces before the first word are no place to break
		n += Width(string(r))
	}
	return at
}
