// Quickstart is a small package index that publishes TUF metadata with Bindery,
// and a client that verifies what it downloads.
//
//	go run ./examples/quickstart
//
// It takes real files (the archives of the modules that it is built from, in the Go module cache), holds a key
// ceremony in memory, publishes the files in several generations, serves them on
// the loopback address, lets go-tuf's client verify each of them from root version
// 1 on, and shows that client refusing what a lying proxy alters.
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
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/bindery-tuf/bindery/delegation"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	dir   string // "": a temporary folder
	files string // "": module archives
	serve string // "": don't go on serving
	bins  int
	form  delegation.Form
	given map[string]bool // flags that were on the command line
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.dir, "dir", "", "keep the index in this `folder`, or go on with the one in it")
	flags.StringVar(&o.files, "files", "", "publish the files in this `folder` instead of the archives of the modules that this is built from")
	flags.StringVar(&o.serve, "serve", "", "keep serving on this `address`, such as localhost:8080, until interrupted")
	flags.IntVar(&o.bins, "bins", 16384, "`number` of hashed bins: a power of two from 2 to 65536")
	form := flags.String("form", "succinct", "how the bins are delegated to: succinct or explicit")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch *form {
	case delegation.Succinct.String():
		o.form = delegation.Succinct
	case delegation.Explicit.String():
		o.form = delegation.Explicit
	default:
		return o, fmt.Errorf("-form %q: want succinct or explicit", *form)
	}
	o.given = map[string]bool{}
	flags.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	return o, nil
}

// findFiles lists the files that are to be published.
func findFiles(ctx context.Context, p *printer, o options) ([]file, error) {
	if o.files != "" {
		return listFiles(p, o.files, o.dir)
	}
	return moduleArchives(ctx, p)
}

// run is the whole demonstration. It returns nil once everything turned out as
// it must, also the client's refusals; with -serve, once ctx ended after that.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	opts, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "bindery-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	p := &printer{w: stdout}

	p.printf("A package index publishes TUF metadata as PEP 458 says, and a client verifies it.\n")
	p.title("The files")
	files, err := findFiles(ctx, p, opts)
	if err != nil {
		return err
	}
	x, err := openIndex(ctx, p, opts, filepath.Join(scratch, "index"), stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	if err := x.serve(opts.serve); err != nil {
		return err
	}

	if err := x.publish(p, files); err != nil {
		return err
	}
	visitor := filepath.Join(scratch, "client")
	first, err := x.firstVisit(p, visitor, files)
	if err != nil {
		return err
	}
	if err := x.attack(p, filepath.Join(scratch, "attacked"), files[0]); err != nil {
		return err
	}
	if err := x.laterVisits(p, visitor, first, files[len(files)-1]); err != nil {
		return err
	}
	p.advice(opts)
	if p.err != nil {
		return p.err
	}
	if opts.serve == "" {
		return nil
	}
	fmt.Fprintf(stdout, "listening on %s\n", x.url)
	return x.untilInterrupted(ctx)
}
