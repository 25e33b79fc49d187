package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/bindery-tuf/bindery/internal/interrupt"
)

// terminal is where somebody reads the screen and types.
type terminal struct {
	fd   int                         // of what is typed
	size func() (columns, lines int) // now: a window may change
}

// openTerminal returns nil unless both in and out are a terminal.
func openTerminal(in, out *os.File) *terminal {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil
	}
	return &terminal{int(in.Fd()), func() (columns, lines int) {
		columns, lines, err := term.GetSize(int(out.Fd()))
		if err != nil || columns <= 0 || lines <= 0 {
			return pageWidth, 24
		}
		return columns, lines
	}}
}

// width is how many columns a line may have.
func (a *app) width() int {
	if a.terminal == nil {
		return pageWidth
	}
	columns, _ := a.terminal.size()
	return min(max(columns, 2*narrow), pageWidth)
}

// pageBreak is where a screen goes on with a new page, unless the rest fits below.
const pageBreak = "\f"

// newPage keeps what is said from now on together, as far as a screen is high enough.
func (a *app) newPage() {
	if !a.json {
		a.screen.WriteString(pageBreak)
	}
}

// show shows what was said. On a terminal it waits whenever the screen is full, and leaves room for
// so many lines at the end.
func (a *app) show(ctx context.Context, room int) error {
	text := a.screen.String()
	a.screen.Reset()
	if a.terminal == nil {
		_, err := io.WriteString(a.out, strings.ReplaceAll(text, pageBreak, ""))
		return err
	}
	_, lines := a.terminal.size()
	all := pages(text, lines, room)
	for i, page := range all {
		if i > 0 {
			rest := 0
			for _, p := range all[i:] {
				rest += strings.Count(p, "\n")
			}
			a.dropTyped()
			fmt.Fprintf(a.err, "-- Press Enter for the next page (%d more lines) -- ", rest)
			_, err := a.nextLine(ctx)
			a.endPrompt(err)
			if err != nil {
				return err
			}
		}
		if _, err := io.WriteString(a.out, page); err != nil {
			return err
		}
	}
	return nil
}

// pages breaks a text into pages for a terminal. Each leaves a line for the question that follows,
// and the last so many as room says.
func pages(text string, height, room int) []string {
	full, last := max(height-1, 1), max(height-room, 1)
	if strings.Count(text, "\n") <= last {
		return []string{strings.ReplaceAll(text, pageBreak, "")}
	}
	var all []string
	for _, part := range strings.Split(text, pageBreak) {
		lines := strings.SplitAfter(strings.TrimLeft(part, "\n"), "\n")
		lines = lines[:len(lines)-1] // after the last line feed there is nothing
		for len(lines) > 0 {
			n := len(lines)
			if n > last {
				n = fit(lines, min(n-1, full))
			}
			all = append(all, strings.Join(lines[:n], ""))
			lines = lines[n:]
			for len(lines) > 0 && lines[0] == "\n" {
				lines = lines[1:]
			}
		}
	}
	return all
}

// fit returns how many of the lines, at most n and not all, a page shows. It goes on before a title or a
// row that would be cut, unless that leaves half of the page empty.
func fit(lines []string, n int) int {
	const below = "                    " // a row goes on in its last column
	for cut := n; cut > n/2; cut-- {
		title := slices.ContainsFunc(lines[max(0, cut-3):cut], func(l string) bool { return l[0] != ' ' && l[0] != '\n' })
		if !title && !strings.HasPrefix(lines[cut], below) {
			return cut
		}
	}
	return n
}

// dropTyped forgets what was typed and not read yet: it answered nothing that was on the screen.
func (a *app) dropTyped() {
	if a.terminal != nil {
		flushTyped(a.terminal.fd)
	}
}

// leave ends the program's use of the terminal. Somebody who was asked may type on, not knowing
// that it was refused: a passphrase would end in the shell, and in its history.
func (a *app) leave(ctx context.Context, why error) {
	if a.terminal == nil || !a.asked {
		return
	}
	defer a.dropTyped()
	if why == nil || errors.Is(why, errIncomplete) || errors.Is(why, errNobody) || ctx.Err() != nil {
		return
	}
	before, err := term.GetState(a.terminal.fd)
	if err != nil {
		return
	}
	// From before the question on, nothing that is typed is shown.
	if _, err := term.MakeRaw(a.terminal.fd); err != nil {
		return
	}
	fmt.Fprint(a.err, "Nothing more is asked for. Press Enter to end: what is typed here is dropped. ")
	_, _ = interrupt.Await(ctx, func() ([]byte, error) {
		one, typed := make([]byte, 1), false
		for {
			n, err := a.in.Read(one)
			enter := n == 1 && strings.Contains("\r\n", string(one))
			switch {
			case err != nil, enter && !typed, n == 1 && strings.Contains("\x03\x04", string(one)):
				return nil, err
			case enter: // more may follow: a new passphrase is typed twice
				fmt.Fprint(a.err, "\r\nThat was dropped. Press Enter alone to end. ")
				typed = false
			case n == 1:
				typed = true
			}
		}
	})
	_ = term.Restore(a.terminal.fd, before)
	fmt.Fprintln(a.err)
}
