package passphrase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// Terminal returns a Source that asks at the terminal of the process (/dev/tty), even if
// standard input is something else. It doesn't show what is typed. Without a terminal, as
// in a service, the error says so. Windows has no /dev/tty: the error wraps
// errors.ErrUnsupported, and Descriptor can be used instead.
func Terminal() Source { return terminal(runtime.GOOS, "/dev/tty") }

func terminal(goos, name string) Source {
	return inTurn(func(ctx context.Context, prompt string) (line []byte, err error) {
		if goos == "windows" {
			err = unsupported("windows is not supported: it has no /dev/tty: give the passphrase on standard input, as file descriptor 0")
		} else {
			line, err = ask(ctx, name, prompt)
		}
		if err != nil {
			return nil, fmt.Errorf("ask for the passphrase at the terminal: %w", err)
		}
		return line, nil
	})
}

func ask(ctx context.Context, name, prompt string) (line []byte, err error) {
	tty, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("no terminal (a file descriptor can be used instead): %w", err)
	}
	defer tty.Close()
	restore, err := silence(tty)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, restore()) }()

	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := term.NewTerminal(tty, "").ReadPassword(printable(prompt) + ": ")
		done <- result{line, err}
	}()
	var got result
	select {
	case got = <-done:
	case <-ctx.Done():
		// Where the system has no deadlines for terminals, the goroutine ends with
		// the next key.
		if tty.SetReadDeadline(time.Unix(1, 0)) == nil {
			<-done
		}
		fmt.Fprint(tty, "\r\n")
		return nil, ctx.Err()
	}
	switch {
	case errors.Is(got.err, io.EOF): // Ctrl-C and Ctrl-D
		fmt.Fprint(tty, "\r\n")
		return nil, errors.New("no passphrase was given")
	case got.err != nil:
		return nil, got.err
	}
	line = []byte(got.line)
	return line, check(line)
}

// silence makes a terminal show nothing by itself until restore is called. It leaves the
// file as it is: its method Fd would take away its deadlines.
func silence(tty *os.File) (restore func() error, err error) {
	raw, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	control := func(do func(fd int) error) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = do(int(fd)) })
		return errors.Join(err, failed)
	}
	var before *term.State
	err = control(func(fd int) error {
		var err error
		before, err = term.MakeRaw(fd)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func() error { return control(func(fd int) error { return term.Restore(fd, before) }) }, nil
}

// printable keeps names in a prompt from steering the terminal.
func printable(prompt string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, prompt)
}
