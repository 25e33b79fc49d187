// Operator is the program of those who run a repository: it shows what is published, what
// happened and what is due, checks everything that clients can come to, plans sizes, and restores
// what was lost. The runbook is README.md.
//
//	go build -C examples/operator -o "$PWD/operator" .
//	./operator COMMAND [flags] DIR
//
// DIR is a folder with the folders metadata, journal and perhaps targets, or one with metadata
// alone. Commands that write nothing take no lock: they work while a publisher runs, and on a
// copy.
//
// The exit status is 0 if it is done and all is well, 1 if it was refused or didn't work, and 2 if
// it is done and something needs somebody's attention. With -json the result is one JSON object on
// the standard output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/bindery-tuf/bindery/keys"
)

// The exit statuses.
const (
	done      = 0
	refused   = 1
	attention = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, clock: time.Now, fileOpener: keys.FileOpener, terminal: isTerminal(os.Stderr), patience: 2 * time.Second}
	status := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// errAttention says that the command is done and what it found needs attention. The screen says what.
var errAttention = errors.New("something needs attention")

// command is one of the program's.
type command struct {
	name, args, about string
	run               func(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error)
}

var commands = []command{
	{"status", "DIR", "show what is published, what waits, what expires, and what to do", status},
	{"log", "DIR", "list the generations, the newest last", showLog},
	{"diff", "DIR FROM TO", "show what differs between two generations", diff},
	{"lookup", "DIR PATH", "show the target that clients find at a path", lookup},
	{"audit", "DIR", "check every signature, hash, version and expiry that clients come to", runAudit},
	{"plan", "-targets N -bins N", "compute sizes, downloads, signatures and storage", plan},
	{"collect", "[-delete -bins KEY -online KEY] DIR", "say of every file whether and why it is needed, and delete the others", collect},
	{"archive", "-to FOLDER -bins KEY -online KEY DIR", "put older history of the journal away", archive},
	{"rotate", "-to NEWKEY -bins KEY -online KEY DIR ROLE", "replace an online key: timestamp, snapshot, bins-* or another role", rotate},
	{"restore", "-lost store|journal -bins KEY -online KEY DIR", "go on after a loss, or after a backup was put back", restore},
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
	fmt.Fprint(a.err, "usage: operator COMMAND [flags] DIR\n\n")
	for _, c := range commands {
		fmt.Fprintf(a.err, "  %-8s %s\n", c.name, c.about)
	}
	fmt.Fprint(a.err, "\n\"operator COMMAND -h\" lists the flags of a command.\n")
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		return done
	}
	if asksJSON(args) {
		a.json = true
		_ = a.finish(refused, nil, fmt.Errorf("%q is no command: operator -h lists them", name))
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

func (a *app) runCommand(ctx context.Context, c command, args []string) int {
	flags := flag.NewFlagSet("operator "+c.name, flag.ContinueOnError)
	flags.SetOutput(a.err)
	flags.Usage = func() {
		fmt.Fprintf(a.err, "usage: operator %s [flags] %s\n\n%s.\n\n", c.name, c.args, c.about)
		flags.PrintDefaults()
	}
	flags.BoolVar(&a.json, "json", false, "print the result as one JSON object")
	answer, err := c.run(ctx, a, flags, args)
	if errors.Is(err, flag.ErrHelp) {
		return done
	}
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	// Arguments after one that can't be parsed weren't read.
	a.json = a.json || err != nil && asksJSON(args)
	code := refused
	switch {
	case err == nil:
		code = done
	case err == errAttention:
		code, err = attention, nil
	}
	if perr := a.finish(code, answer, err); perr != nil {
		fmt.Fprintln(a.err, "operator:", perr)
		return refused
	}
	return code
}
