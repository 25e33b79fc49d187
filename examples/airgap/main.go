// Airgap shows how a root that nears its expiry is signed again on machines that
// have no network: exported from the index's machine, signed by two of three holders,
// imported and published, while clients go on verifying.
//
//	go run ./examples/airgap
//
// The machines are folders, and a stick is a folder that all of them see. But for
// the index's machine, every process runs in a network namespace of its own without
// any interface, and says so before it does anything else. That takes Linux, and a
// user who may make namespaces. The runbook for real machines is README.md.
//
// Read it from here in the order in which run does its work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "airgap:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, args []string) error {
	if len(args) > 2 && args[0] == insideArgument {
		return inside(ctx, args[1], args[2:])
	}
	flags := flag.NewFlagSet("airgap", flag.ContinueOnError)
	program := flags.String("ceremony", "", "the program `file` that holders run; built from ./examples/ceremony if not given")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return run(ctx, os.Stdout, *program)
}

// run is the whole demonstration. It returns nil once everything turned out as it
// must, also what must fail.
func run(ctx context.Context, out io.Writer, program string) (err error) {
	dir, err := os.MkdirTemp("", "bindery-airgap-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if program == "" {
		program = filepath.Join(dir, "ceremony")
		if err := buildCeremony(ctx, program); err != nil {
			return fmt.Errorf("build examples/ceremony: %w", err)
		}
	}
	w := &world{ctx: ctx, out: out, dir: dir, program: program}
	defer func() {
		if w.index != nil {
			err = errors.Join(err, w.index.close())
		}
	}()
	for i, part := range []struct {
		title string
		steps func()
	}{
		{"How it began: a root that is good for 20 days", w.begin},
		{"Exported from the index's machine to that of the preparer", w.export},
		{"Ada's laptop: signed without a network", func() { w.sign("ada") }},
		{"Bob's laptop: signed without a network", func() { w.sign("bob") }},
		{"Imported on the index's machine, and published", w.publish},
		{"Three weeks later", w.later},
	} {
		w.say("\n%s\n%d. %s", ruler, i+1, part.title)
		if part.steps(); w.err != nil {
			return fmt.Errorf("%s: %w", part.title, w.err)
		}
	}
	return nil
}

// buildCeremony builds the program as what it is: part of another module, in a folder of
// this one.
func buildCeremony(ctx context.Context, program string) error {
	dir, err := command(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bindery-tuf/bindery")
	if err != nil {
		return err
	}
	_, err = command(ctx, "env", "GOWORK=off", "go", "build", "-C", filepath.Join(dir, "examples", "ceremony"), "-o", program, ".")
	return err
}

// command returns what a program prints, without the last newline.
func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, exit.Stderr)
	}
	return strings.TrimSuffix(string(out), "\n"), err
}
