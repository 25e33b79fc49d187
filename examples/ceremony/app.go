package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/bindery-tuf/bindery/keys"
)

// app is the program's surroundings.
type app struct {
	in       io.Reader
	out, err io.Writer
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

// say prints for people; with -json nothing.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprint(a.out, clean(fmt.Sprintf(format+"\n", args...)))
	}
}

// table prints rows in columns below each other.
func (a *app) table(rows ...[]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "  %s%s", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		a.say("%s", strings.TrimRight(line.String(), " "))
	}
}

// title begins a part of a screen.
func (a *app) title(s string) { a.say("\n%s\n", strings.ToUpper(s)) }

// finish prints how it ended.
func (a *app) finish(code int, answer any, err error) error {
	if !a.json {
		if err != nil {
			_, err = fmt.Fprint(a.err, clean("ceremony: "+err.Error()+"\n"))
		}
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
