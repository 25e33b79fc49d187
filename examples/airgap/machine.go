package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const ruler = "────────────────────────────────────────────────────────────────────────────────"

// world is all the machines, and the index. After an error its methods do nothing, so
// that what people do can be read as a list.
type world struct {
	ctx     context.Context
	out     io.Writer
	dir     string // a machine is a folder in it
	program string // that holders run
	index   *index // nil before it is published
	quiet   bool   // print what is run, and not what it prints
	err     error
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(w.out, format+"\n", args...) }

func (w *world) path(elements ...string) string {
	return filepath.Join(append([]string{w.dir}, elements...)...)
}

// do is a step of another kind.
func (w *world) do(step func() error) {
	if w.err == nil {
		w.err = step()
	}
}

// ceremony runs the program on a machine, in its folder; the owner's passphrase is the
// machine's name. All machines but the index's are without a network. Exit status 2,
// signatures are missing, is no error.
func (w *world) ceremony(machine string, args ...string) {
	w.do(func() error {
		w.say("\n%s$ ceremony %s", machine, quoted(args))
		if slices.Contains([]string{"keygen", "sign"}, args[0]) {
			args = slices.Insert(args, 1, "-passphrase-fd", "0")
		}
		command := append([]string{w.program}, args...)
		cmd := exec.CommandContext(w.ctx, command[0], command[1:]...)
		if machine != "index" {
			var err error
			if cmd, err = withoutNetwork(w.ctx, w.index.address(), command); err != nil {
				return err
			}
		}
		var printed bytes.Buffer
		cmd.Dir, cmd.Stdin = w.path(machine), strings.NewReader(machine+"\n")
		cmd.Stdout, cmd.Stderr = &printed, &printed
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == 2:
			err = nil
		case err != nil && exit == nil && machine != "index":
			return fmt.Errorf("%w: %w", errNoNamespace, err)
		}
		text := printed.String()
		if w.quiet && err == nil {
			text = "" // but for what inside says
			if machine != "index" {
				text, _, _ = strings.Cut(printed.String(), "\n")
			}
		}
		if text != "" {
			w.say("%s", indented(text))
		}
		if err != nil {
			return fmt.Errorf("%s: ceremony %s: %w", machine, args[0], err)
		}
		return nil
	})
}

// carry copies a file from one machine to another, by a stick.
func (w *world) carry(from, to string) {
	w.do(func() error {
		w.say("stick: %s → %s", from, to)
		data, err := os.ReadFile(w.path(from))
		if err == nil {
			err = os.WriteFile(w.path(to), data, 0o600)
		}
		return err
	})
}

func indented(s string) string {
	return regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(strings.TrimSpace(s), "    $1")
}

// quoted is a command as somebody would type it.
func quoted(args []string) string {
	var words []string
	for _, a := range args {
		if strings.ContainsAny(a, " '") {
			a = `"` + a + `"`
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}
