package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/bindery-tuf/bindery/internal/interrupt"
	"github.com/bindery-tuf/bindery/keys/passphrase"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// errNobody is the end of the input at a prompt.
var errNobody = errors.New("nobody answered: the standard input has ended")

// errNoScreen is a question about a screen that -json left out.
var errNoScreen = errors.New("with -json there is no screen to answer from")

// ask shows what was said and then a question, and returns the line that is typed. An interrupt
// ends it. What was typed before the question was there is no answer to it.
func (a *app) ask(ctx context.Context, question string) (string, error) {
	if a.json {
		return "", errNoScreen
	}
	text := strings.TrimSuffix(a.wrapped(question), "\n")
	if err := a.show(ctx, strings.Count(text, "\n")+1); err != nil {
		return "", err
	}
	a.dropTyped()
	fmt.Fprint(a.err, text+" ")
	a.asked = true
	line, err := a.nextLine(ctx)
	a.endPrompt(err)
	return string(line), err
}

// endPrompt ends the line of a prompt at which nobody pressed Enter: an error is not to begin there.
func (a *app) endPrompt(err error) {
	if err != nil && a.terminal != nil {
		fmt.Fprintln(a.err)
	}
}

// tries is how often a person may mistype.
const tries = 3

// namedDigest is a digest that a person may take for another one.
type namedDigest struct {
	name string // such as "the digest of root version 1"
	ceremony.Digest
}

// askGroup asks for a group of the first of some digests. A slip is said to be one, and asked about
// again; so is a group of another digest that is on the same paper.
func (a *app) askGroup(ctx context.Context, question string, n int, all ...namedDigest) error {
	var why error
	for try := 1; ; try++ {
		typed, err := a.ask(ctx, question)
		switch {
		case errors.Is(err, errNobody) && try > 1:
			return why
		case err != nil:
			return err
		case all[0].Confirms(n, typed):
			return nil
		}
		why = notGroup(typed, n, all)
		if try == tries {
			return why
		}
		a.say("\n  No: %s.", why)
		question = fmt.Sprintf("Type group %d of %s (try %d of %d):", n, all[0].name, try+1, tries)
	}
}

// errSlip is wrapped where somebody typed what is no group, or read another one from the paper.
var errSlip = errors.New("a slip")

type slip string

func (s slip) Error() string        { return string(s) }
func (s slip) Is(target error) bool { return target == errSlip }

// notGroup says what was typed instead of a group of the first of some digests; n is 0 for any.
func notGroup(typed string, n int, all []namedDigest) error {
	typed = strings.ToLower(strings.Join(strings.Fields(typed), ""))
	wanted := "a group"
	if n > 0 {
		wanted = fmt.Sprintf("group %d", n)
	}
	wanted += " of " + all[0].name
	if len(typed) != 8 || strings.Trim(typed, "0123456789abcdef") != "" {
		has := ""
		if n := len(typed); n > 0 && n != 8 && strings.Trim(typed, "0123456789abcdef") == "" {
			has = fmt.Sprintf("; that is %d", n)
		}
		return slip(wanted + " is asked for: eight of the digits 0 to 9 and a to f" + has)
	}
	for _, d := range all {
		groups := d.Groups()
		if i := slices.Index(groups[:], typed); i >= 0 {
			return slip(fmt.Sprintf("that is group %d of %s, and %s is asked for", i+1, d.name, wanted))
		}
	}
	return fmt.Errorf("that is not %s", wanted)
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
				return nil, errors.New("a line of more than 4096 bytes: is a file pasted there?")
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
				err = errors.New("nothing was typed")
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
	if !twice || p.fd >= 0 {
		secret, err := ask(ctx, "Passphrase of "+what)
		if weak := passphrase.CheckNew(secret); twice && err == nil && weak != nil {
			a.say("")
			a.hang("  BEWARE: ", fmt.Sprintf("%s: %v", what, weak))
		}
		return secret, err
	}
	var last error
	for try := 1; ; try++ {
		var failed error
		secret, err := passphrase.Confirmed(func(ctx context.Context, prompt string) (line []byte, err error) {
			line, failed = ask(ctx, prompt)
			return line, failed
		})(ctx, "Passphrase of "+what)
		switch {
		case last != nil && errors.Is(failed, errNobody):
			return nil, last
		case err == nil || failed != nil || try == tries:
			return secret, err
		}
		last = err
		a.say("\n  No: %s. Type it again (try %d of %d).", err, try+1, tries)
	}
}

// retry has a secret asked for again if it was mistyped, and typed at all.
func (p *passphrases) retry(a *app, wrong error, use func() error) error {
	var last error
	for try := 1; ; try++ {
		err := use()
		if last != nil && errors.Is(err, errNobody) {
			return last
		}
		last = err
		if !errors.Is(err, wrong) || p.fd >= 0 || try == tries {
			return err
		}
		a.say("\n  Wrong passphrase: type it again (try %d of %d).", try+1, tries)
	}
}

// askSecret asks without showing what is typed, where there is a terminal.
func (a *app) askSecret(ctx context.Context, prompt string) ([]byte, error) {
	if err := a.show(ctx, 1); err != nil {
		return nil, err
	}
	a.asked = true
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		flushTyped(int(f.Fd()))
		return passphrase.Terminal()(ctx, prompt)
	}
	fmt.Fprint(a.err, clean(prompt+": "))
	return a.nextLine(ctx)
}
