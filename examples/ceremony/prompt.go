package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
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
	return await(ctx, func() (string, error) {
		line, err := readLine(a.in)
		return string(line), err
	})
}

// await returns what read does, or earlier with the context's error.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := read()
		answers <- answer{value, err}
	}()
	select {
	case got := <-answers:
		return got.value, got.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
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

// passphrases are where a passphrase comes from.
type passphrases struct{ fd int }

// get reads a passphrase: the first line of the file descriptor, or what is typed.
// With twice, it is typed twice.
func (p passphrases) get(ctx context.Context, a *app, what string, twice bool) ([]byte, error) {
	if p.fd == 0 {
		// Prompts read the same input: take no more than a line of it.
		line, err := await(ctx, func() ([]byte, error) { return readLine(a.in) })
		if err == nil && len(line) == 0 {
			err = errors.New("it is empty")
		}
		return line, err
	}
	if p.fd > 0 {
		return p.fromFD(ctx, what)
	}
	first, err := a.askSecret(ctx, "Passphrase of "+what+":")
	if err != nil || !twice {
		return first, err
	}
	second, err := a.askSecret(ctx, "The same again:")
	if err == nil && !bytes.Equal(first, second) {
		err = errors.New("the two passphrases differ")
	}
	return first, err
}

func (p passphrases) fromFD(ctx context.Context, what string) ([]byte, error) {
	f := os.NewFile(uintptr(p.fd), "passphrase")
	if f == nil {
		return nil, fmt.Errorf("-passphrase-fd %d is no file descriptor", p.fd)
	}
	defer f.Close()
	line, err := await(ctx, func() ([]byte, error) {
		line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadBytes('\n')
		if err == io.EOF {
			err = nil
		}
		return bytes.TrimRight(line, "\r\n"), err
	})
	if err == nil && len(line) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("passphrase of %s from file descriptor %d: %w", what, p.fd, err)
	}
	return line, nil
}

// askSecret asks without showing what is typed, where there is a terminal.
func (a *app) askSecret(ctx context.Context, question string) ([]byte, error) {
	fmt.Fprint(a.err, clean(question+" "))
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return await(ctx, func() ([]byte, error) { return readLine(a.in) })
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	secret, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
	fmt.Fprintln(a.err)
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), term.Restore(int(f.Fd()), before))
	}
	return secret, err
}
