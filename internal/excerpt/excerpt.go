// Package excerpt shortens texts that quote what a caller sent.
package excerpt

import (
	"strings"
	"unicode/utf8"
)

// Error is how many bytes of an error's text an answer over HTTP has at most.
const Error = 1000

const cut = " … "

// Of returns a text as it is if it has at most so many bytes. Otherwise it leaves out the middle: the beginning says
// what failed, and the end says why. It cuts between characters, and the result is valid UTF-8. most must be at least 20.
func Of(text string, most int) string {
	if len(text) > most {
		half := (most - len(cut)) / 2
		tail := text[len(text)-half:]
		for n := 1; n < utf8.UTFMax && !utf8.RuneStart(tail[0]); n++ {
			tail = tail[1:]
		}
		text = head(text, half) + cut + tail
	}
	return strings.ToValidUTF8(text, "")
}

// Beginning is Of that leaves out the end. most must be at least 3.
func Beginning(text string, most int) string {
	if len(text) > most {
		const cut = "…"
		text = head(text, most-len(cut)) + cut
	}
	return strings.ToValidUTF8(text, "")
}

// head returns so many first bytes of a longer text, or some less: it cuts between characters.
func head(text string, end int) string {
	for n := 1; n < utf8.UTFMax && !utf8.RuneStart(text[end]); n++ {
		end--
	}
	return text[:end]
}
