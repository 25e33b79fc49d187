package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/bindery-tuf/bindery/internal/interrupt"
	"github.com/bindery-tuf/bindery/keys"
)

// app is the program's surroundings.
type app struct {
	in       io.Reader
	out, err io.Writer
	clock    func() time.Time
	json     bool

	fileOpener func(ask func(context.Context, string) ([]byte, error)) keys.Opener // keys.FileOpener

	terminal bool          // whether err is one
	patience time.Duration // after which a progress bar appears
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// columns is how wide the screen is.
const columns = 80

// say prints for people; with -json nothing.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprint(a.out, clean(fmt.Sprintf(format+"\n", args...)))
	}
}

// title begins a part of a screen.
func (a *app) title(s string) { a.say("\n%s\n", strings.ToUpper(s)) }

// text prints a paragraph, in lines that fit the screen: first before it, and the others indented
// as far. A word that is longer than a line stays whole, for it may be a path to be copied.
func (a *app) text(first, s string) { a.flow(first, utf8.RuneCountInString(first), s) }

// hanging prints a paragraph whose first line stands out.
func (a *app) hanging(s string) { a.flow("", 4, s) }

func (a *app) flow(line string, indent int, s string) {
	empty := true
	for word := range strings.FieldsSeq(s) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			a.say("%s", line)
			line, empty = strings.Repeat(" ", indent), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	a.say("%s", line)
}

// table prints rows in columns below each other. The first row is the heading; a column whose
// heading begins with ">" is aligned to the right. The last column is cut where the screen ends.
func (a *app) table(rows ...[]string) {
	right := make([]bool, len(rows[0]))
	for i, heading := range rows[0] {
		rows[0][i], right[i] = strings.CutPrefix(heading, ">")
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				cell, pad = pad+cell, ""
			}
			line.WriteString("  " + cell + pad)
		}
		a.say("%s", cut(strings.TrimRight(line.String(), " "), columns))
	}
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// finish prints how it ended.
func (a *app) finish(code int, answer any, err error) error {
	if !a.json {
		if err != nil {
			_, err = fmt.Fprint(a.err, clean("operator: "+shorten(err.Error())+"\n"))
		}
		return err
	}
	result := struct {
		Status string `json:"status"`
		Error  string `json:"error,omitempty"`
		Result any    `json:"result,omitempty"`
	}{Status: []string{"done", "refused", "attention"}[code], Result: answer}
	if err != nil {
		result.Error = err.Error()
	}
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(result)
}

// shorten leaves out lines of an error that would scroll its beginning away: a store that is lost lacks
// thousands of files.
func shorten(s string) string {
	const most = 20
	lines := strings.Split(s, "\n")
	if len(lines) <= most {
		return s
	}
	return strings.Join(lines[:most-1], "\n") + "\n… and " + count(len(lines)-most+1, "more line") + ": -json shows all"
}

// clean escapes what would move the cursor or change colours: some of what is shown comes from
// files that others wrote.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// confirm asks a question that only "yes" answers.
func (a *app) confirm(ctx context.Context, question string) error {
	if a.json {
		return errors.New("with -json nobody is asked: say -yes")
	}
	a.say("\n%s Type \"yes\" to go on:", question)
	line, err := interrupt.Await(ctx, func() (string, error) {
		var line []byte
		for one := make([]byte, 1); len(line) < 100; { // byte by byte: what follows is not ours
			if n, err := a.in.Read(one); n == 0 || one[0] == '\n' {
				return string(line), err
			}
			line = append(line, one[0])
		}
		return string(line), nil
	})
	if strings.TrimSpace(line) == "yes" {
		return nil
	}
	if err != nil && err != io.EOF {
		return err
	}
	return errors.New("not confirmed: nothing was changed")
}

// progress is a bar on a terminal, for what takes long. It appears after some time only. Several
// goroutines may use it.
type progress struct {
	a     *app
	what  string
	total int // -1: nobody knows
	began time.Time

	mu   sync.Mutex
	n    int
	bar  *progressbar.ProgressBar
	over bool
}

func (a *app) progress(what string, total int) *progress {
	return &progress{a: a, what: what, total: total, began: time.Now()}
}

// step says that one more of the total is done.
func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if !p.a.terminal || p.over || p.total >= 0 && p.n > p.total {
		return
	}
	if p.bar == nil {
		if time.Since(p.began) < p.a.patience {
			return
		}
		options := []progressbar.Option{
			progressbar.OptionSetWriter(p.a.err), progressbar.OptionSetDescription(p.what),
			progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetSpinnerChangeInterval(0), // step moves it
		}
		if p.total >= 0 {
			options = append(options, progressbar.OptionShowCount(), progressbar.OptionSetWidth(20), progressbar.OptionSetPredictTime(true))
		}
		p.bar = progressbar.NewOptions(p.total, options...)
	}
	_ = p.bar.Set(p.n)
}

// working shows that something goes on, until done is called. It is for work that can't be counted.
func (a *app) working(what string) (done func()) {
	bar := a.progress(what, -1)
	ended := make(chan struct{})
	var moving sync.WaitGroup
	moving.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				bar.step()
			case <-ended:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(ended)
		moving.Wait()
		bar.end()
	})
}

// hide takes the bar away until the next step, so that something can be printed.
func (p *progress) hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil && !p.over {
		_ = p.bar.Clear()
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.hide()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// number is n with a comma between thousands.
func number[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count is "1 file" or "1,234 files".
func count[T int | int64](n T, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(n) + " " + thing + "s"
}

// byteSize is n with a unit and three digits or so.
func byteSize(n int64) string {
	switch {
	case n < 10_000:
		return number(n) + " B"
	case n < 10_000_000:
		return number(n/1000) + " kB"
	case n < 10_000_000_000:
		return number(n/1_000_000) + " MB"
	}
	return number(n/1_000_000_000) + " GB"
}

// at is a time as people read it.
func at(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// from says how far a time is from now.
func (a *app) from(t time.Time) string {
	d := t.Sub(a.clock())
	if d < 0 {
		return span(-d) + " ago"
	}
	return "in " + span(d)
}

// span is a time in days, hours, minutes or seconds, to the nearest.
func span(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d >= 2*u.unit {
			return count(int((d+u.unit/2)/u.unit), u.name)
		}
	}
	return count(int(d/time.Second), "second")
}
