// Ceremony is the program with which people sign TUF metadata by offline keys: it
// prepares what shall be signed, shows it in words, signs it on a machine that has no
// network, and puts the signatures together. The runbook is README.md.
//
//	go build -C examples/ceremony -o "$PWD/ceremony" .
//	./ceremony COMMAND [flags] [files]
//
// The exit status is 0 if it is done, 1 if it was refused or didn't work, and 2 if
// nothing is wrong but signatures are still missing. A script answers every prompt
// with a flag; with -json the result is one JSON object on the standard output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bindery-tuf/bindery/keys"
)

// The exit statuses.
const (
	done       = 0
	refused    = 1
	incomplete = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, terminal: openTerminal(os.Stdin, os.Stdout), clock: time.Now, fileOpener: keys.FileOpener}
	status := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// errIncomplete says that signatures are missing.
var errIncomplete = errors.New("not complete yet: signatures are missing")

// command is one of the program's.
type command struct {
	name, args, about string
	run               func(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error)
}

// commands in the order in which people meet them.
var commands = []command{
	{"keygen", "-name NAME KEYFILE", "make a key and the card by which others know it", keygen},
	{"card", "-key KEY -name NAME CARDFILE", "make the card of a key that exists: on a token, in an agent, in a file", makeCard},
	{"init", "-dir DIR -holder CARD... -online CARD", "begin a repository, or take over one (-from)", start},
	{"request", "-dir DIR -reason TEXT [changes]", "prepare the next root", request},
	{"inspect", "FILE...", "show in words what is in a file", inspect},
	{"sign", "-key KEY REQUEST", "check a request, and sign it", sign},
	{"merge", "-dir DIR RESPONSE...", "take the holders' responses", merge},
	{"status", "-dir DIR", "say who is missing, and what expires", status},
	{"verify", "-dir DIR", "check the finished documents, or cards", verify},
	{"sheet", "-dir DIR", "print the record of the ceremony", sheet},
	{"backup", "-dir DIR -out ARCHIVE [FILE...]", "make an encrypted archive, of everything or for a publisher", backup},
	{"restore", "-dir DIR ARCHIVE", "bring an archive back, into a new folder", restore},
}

func (a *app) run(ctx context.Context, args []string) int {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	for _, c := range commands {
		if c.name == name {
			return a.runCommand(ctx, c, args[1:])
		}
	}
	fmt.Fprint(a.err, "usage: ceremony COMMAND [flags] [files]\n\n")
	for _, c := range commands {
		fmt.Fprint(a.err, a.hanging(fmt.Sprintf("  %-8s ", c.name), c.about))
	}
	fmt.Fprint(a.err, "\n\"ceremony COMMAND -h\" lists the flags of a command.\n")
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		return done
	}
	if asksJSON(args) {
		a.json = true
		_ = a.finish(ctx, refused, nil, fmt.Errorf("%q is no command: ceremony -h lists them", name))
	}
	return refused
}

// asksJSON reports whether -json is among arguments that may not have been parsed.
func asksJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "-json") || slices.Contains(args, "--json")
}

// usage says how a command is called.
func (a *app) usage(c command, flags *flag.FlagSet) {
	a.screen.WriteString(a.hanging("usage: ", "ceremony "+c.name+" "+c.args) + "\n" + a.hanging("", c.about+".") + "\n")
	var b strings.Builder
	flags.SetOutput(&b)
	flags.PrintDefaults()
	for line := range strings.Lines(b.String()) {
		text := strings.TrimLeft(line, " \t")
		indent := "  "
		if strings.Contains(line, "\t") {
			indent = "        "
		}
		a.screen.WriteString(a.hanging(indent, strings.TrimSuffix(text, "\n")))
	}
}

// interrupted says of an error that somebody ended the program, without Go's words for it.
func interrupted(err error) error {
	text, bare := strings.CutSuffix(err.Error(), context.Canceled.Error())
	if text = strings.TrimSuffix(text, ": "); text == "" {
		text = "nothing was written"
	}
	if !bare {
		return fmt.Errorf("interrupted: %w", err)
	}
	return errors.New("interrupted: " + text)
}

func (a *app) runCommand(ctx context.Context, c command, args []string) int {
	flags := flag.NewFlagSet("ceremony "+c.name, flag.ContinueOnError)
	misused := false
	flags.SetOutput(io.Discard)
	flags.Usage = func() { misused = true }
	flags.BoolVar(&a.json, "json", false, "print the result as one JSON object")
	flags.Func("now", "the `time`, such as 2030-01-31T12:00:00Z, where the clock is wrong", a.setClock)
	answer, err := c.run(ctx, a, flags, args)
	if errors.Is(err, flag.ErrHelp) {
		a.usage(c, flags)
		if err := a.show(ctx, 1); err != nil && ctx.Err() == nil {
			return refused
		}
		return done
	}
	if misused {
		err = fmt.Errorf("%w; ceremony %s -h lists the flags", err, c.name)
	}
	if ctx.Err() != nil && err != nil {
		err = interrupted(err)
	}
	// Arguments after one that can't be parsed weren't read.
	a.json = a.json || err != nil && asksJSON(args)
	code := refused
	switch {
	case err == nil:
		code = done
	case errors.Is(err, errIncomplete):
		code = incomplete
	}
	if perr := a.finish(ctx, code, answer, err); perr != nil {
		fmt.Fprintln(a.err, "ceremony:", perr)
		code = refused
	}
	a.leave(ctx, err)
	return code
}
