package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bindery-tuf/bindery/delegation"
)

// printer writes what a person reads. It remembers the first error.
type printer struct {
	w      io.Writer
	titles int
	err    error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// title begins a numbered section.
func (p *printer) title(title string) {
	p.titles++
	p.printf("\n%d. %s\n", p.titles, title)
}

// line writes one indented line.
func (p *printer) line(format string, args ...any) {
	p.printf("   "+format+"\n", args...)
}

func (p *printer) blank() { p.printf("\n") }

// table writes rows in aligned columns, the first row being the heading. Columns
// whose heading begins with ">" are aligned to the right.
func (p *printer) table(rows [][]string) {
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
				cell = pad + cell
			} else {
				cell += pad
			}
			line.WriteString(cell + "  ")
		}
		p.line("%s", strings.TrimRight(line.String(), " "))
	}
}

// count is "1 file" or "1,234 files".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(int64(n)) + " " + thing + "s"
}

// number is n with a comma between thousands.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// How many characters are printed of what may be long: of a path within a
// sentence, and of an error that has a line to itself.
const (
	maxPhrase = 41
	maxLine   = 94
)

// shortened is s without its middle if it is longer than most characters.
func shortened(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most/2-1]) + "…" + string(r[len(r)-most/2:])
}

// byteSize is n with a unit and three digits or so.
func byteSize(n int64) string {
	switch {
	case n < 10_000:
		return number(n) + " B"
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// advice ends the demonstration with what to do next.
func (p *printer) advice(o options) {
	p.title("What to try next")
	var rows [][]string
	add := func(flags, what string) { rows = append(rows, []string{flags, what}) }
	if o.dir == "" {
		add("-dir index", "keep it: point any TUF client at index/metadata and index/targets")
	} else {
		add("-dir "+o.dir, "again: it is opened, and published to once more")
	}
	if o.serve == "" {
		add("-serve localhost:8080", "keep serving it, with the publisher running")
	}
	if o.files == "" {
		add("-files FOLDER", "publish files of your own")
	}
	if o.dir == "" {
		add("-bins 2048", "fewer bins: a smaller snapshot, larger bins")
		if o.form == delegation.Succinct {
			add("-form explicit", "the bins listed one by one, for clients that don't know TAP 15")
		}
	}
	p.table(append([][]string{{"flags", ""}}, rows...))
	p.blank()
	p.line("What -dir keeps is checked, with every signature and hash, by:")
	p.line("  go run -C examples/operator . audit %s", auditArgument(o.dir))
}

// auditArgument is the folder of an index for a shell. It is absolute, because -C changes the folder.
func auditArgument(dir string) string {
	switch {
	case dir == "":
		dir = "index"
	case filepath.IsAbs(dir):
		return strconv.Quote(dir)
	}
	return `"$PWD/` + filepath.ToSlash(filepath.Clean(dir)) + `"`
}
