package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/bindery-tuf/bindery/internal/interrupt"
	"github.com/bindery-tuf/bindery/keys/passphrase"
)

// errNobody is the end of the input at a prompt.
var errNobody = errors.New("nobody answered")

// errNoScreen is a question about a screen that -json left out.
var errNoScreen = errors.New("with -json there is no screen to answer from")

// ask prints a question and returns the line that is typed. An interrupt ends it.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	if a.json {
		return "", errNoScreen
	}
	fmt.Fprint(a.err, clean(question+" "))
	line, err := a.nextLine(ctx)
	return string(line), err
}

func (a *app) nextLine(ctx context.Context) ([]byte, error) {
	return interrupt.Await(ctx, func() ([]byte, error) { return readLine(a.in) })
}

// readLine reads byte by byte, so that the next question finds the next line.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	one := make([]byte, 1)
	for {
		n, err := r.Read(one)
		if n == 1 {
			if one[0] == '\n' {
				return bytes.TrimSuffix(line, []byte("\r")), nil
			}
			if line = append(line, one[0]); len(line) > 4096 {
				return nil, errors.New("a line of more than 4096 bytes")
			}
		}
		switch {
		case err == io.EOF && len(line) > 0:
			return line, nil
		case err == io.EOF:
			return nil, errNobody
		case err != nil:
			return nil, err
		}
	}
}

// passphrases are where passphrases and PINs come from.
type passphrases struct {
	fd    int               // -1: typed
	lines passphrase.Source // of fd, from its first use on
}

// source returns the function that asks: for the next line of the file descriptor, or
// for what is typed.
func (p *passphrases) source(a *app) passphrase.Source {
	return func(ctx context.Context, prompt string) (secret []byte, err error) {
		switch {
		case p.fd < 0:
			return a.askSecret(ctx, prompt)
		case p.fd == 0:
			// Prompts read the same input.
			secret, err = a.nextLine(ctx)
			if err == nil && len(secret) == 0 {
				err = errors.New("it is empty")
			}
			return secret, err
		case p.lines == nil:
			if p.lines, err = passphrase.Descriptor(p.fd); err != nil {
				return nil, err
			}
		}
		return p.lines(ctx, prompt)
	}
}

// get returns the passphrase of something. With twice, it has to be typed twice.
func (p *passphrases) get(ctx context.Context, a *app, what string, twice bool) ([]byte, error) {
	ask := p.source(a)
	if twice && p.fd < 0 {
		ask = passphrase.Confirmed(ask)
	}
	return ask(ctx, "Passphrase of "+what)
}

// askSecret asks without showing what is typed, where there is a terminal.
func (a *app) askSecret(ctx context.Context, prompt string) ([]byte, error) {
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return passphrase.Terminal()(ctx, prompt)
	}
	fmt.Fprint(a.err, clean(prompt+": "))
	return a.nextLine(ctx)
}
