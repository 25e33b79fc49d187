package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/bindery-tuf/bindery/internal/columns"
	"github.com/bindery-tuf/bindery/keys"
)

// app is the program's surroundings.
type app struct {
	in       io.Reader
	out, err io.Writer
	screen   strings.Builder // what is said and not shown yet
	terminal *terminal       // of in and out, or nil
	asked    bool            // somebody may still be typing
	clock    func() time.Time
	clockSet bool // by -now: nobody needs to ask
	json     bool

	fileOpener func(ask func(context.Context, string) ([]byte, error)) keys.Opener // keys.FileOpener
}

// now is in UTC and whole seconds, as metadata has it.
func (a *app) now() time.Time { return a.clock().UTC().Truncate(time.Second) }

func (a *app) setClock(s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("%q is not a time such as 2030-01-31T12:00:00Z", s)
	}
	a.clock, a.clockSet = func() time.Time { return t }, true
	return nil
}

// say adds lines to the screen, for people; with -json none. A long line goes on below its own
// beginning.
func (a *app) say(format string, args ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		text := strings.TrimLeft(line, " ")
		a.hang(line[:len(line)-len(text)], text)
	}
}

// hang adds a text to the screen, whose lines are all below the beginning of the first.
func (a *app) hang(first, text string) {
	if !a.json {
		a.screen.WriteString(a.hanging(first, clean(text)))
	}
}

// hanging is a text in lines that are all below the beginning of the first.
func (a *app) hanging(first, text string) string {
	var b strings.Builder
	indent := columns.Width(first)
	for _, line := range columns.Wrap(text, max(a.width()-indent, narrow)) {
		b.WriteString(strings.TrimRight(first+line, " ") + "\n")
		first = strings.Repeat(" ", indent)
	}
	return b.String()
}

// pageWidth is the columns of a screen, and narrow the fewest that its last column of a table has.
const pageWidth, narrow = 80, 24

// table adds rows in columns to the screen. What is too wide goes on in its own column, the last.
func (a *app) table(rows ...[]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i < len(row)-1 {
				widths[i] = max(widths[i], columns.Width(clean(cell)))
			}
		}
	}
	for _, row := range rows {
		line := "  "
		for i, cell := range row[:len(row)-1] {
			line += columns.Pad(clean(cell), widths[i]) + "  "
		}
		last := row[len(row)-1]
		if wide := columns.Width(line); wide+narrow > a.width() && wide+columns.Width(last) > a.width() {
			a.hang("", strings.TrimRight(line, " "))
			line = "      "
		}
		a.hang(line, last)
	}
}

// title begins a part of a screen.
func (a *app) title(s string) { a.say("\n%s\n", strings.ToUpper(s)) }

// wrapped is a text of several lines for the standard error. Only on a terminal they are broken:
// elsewhere somebody may search for a sentence.
func (a *app) wrapped(text string) string {
	text = clean(text)
	if a.terminal == nil {
		return text + "\n"
	}
	var b strings.Builder
	for _, line := range strings.Split(text, "\n") {
		b.WriteString(strings.Join(columns.Wrap(line, a.width()-1), "\n") + "\n")
	}
	return b.String()
}

// finish shows what was said, and how it ended.
func (a *app) finish(ctx context.Context, code int, answer any, err error) error {
	if !a.json {
		text := ""
		if err != nil {
			text = a.wrapped("ceremony: " + err.Error())
		}
		if err := a.show(ctx, strings.Count(text, "\n")+1); err != nil && ctx.Err() == nil {
			return err
		}
		_, err = fmt.Fprint(a.err, text)
		return err
	}
	result := struct {
		Status string `json:"status"`
		Error  string `json:"error,omitempty"`
		Result any    `json:"result,omitempty"`
	}{Status: []string{"done", "refused", "incomplete"}[code], Result: answer}
	if err != nil {
		result.Error = err.Error()
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(result)
}

// clean escapes what would move the cursor or change colours: some of what is shown
// comes from files that others wrote.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ", ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }
