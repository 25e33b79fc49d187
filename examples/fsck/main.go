// Fsck checks a folder of TUF metadata, also one that other software published: every signature,
// hash, version and expiry that clients can come to, and what is missing or left
// over. It changes nothing.
//
//	go run ./examples/fsck [-json] [-targets DIR] [-journal DIR] DIR
//
// The exit status is 0 if all is well (there may be notes), 1 if there are errors
// or warnings, 2 if it could not run. What to do about each finding is in README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/bindery-tuf/bindery/repository/audit"
)

// The exit statuses.
const (
	clean    = 0
	findings = 1
	failed   = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return clean
	}
	var status int
	if err == nil {
		status, err = fsck(ctx, opts, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "fsck:", err)
		return failed
	}
	return status
}

func fsck(ctx context.Context, opts options, stdout io.Writer) (int, error) {
	place, err := locate(opts)
	if err != nil {
		return failed, err
	}
	// The journal is read first: what is published meanwhile isn't a fault.
	cfg, err := place.config(opts)
	if err != nil {
		return failed, err
	}
	out := &report{w: stdout, json: opts.json, counts: map[audit.Severity]int{}}
	for f, err := range audit.Run(ctx, audit.FS(os.DirFS(place.metadata)), cfg) {
		if err == nil {
			err = out.finding(f)
		}
		if err != nil {
			return failed, err
		}
	}
	if err := out.summary(place); err != nil {
		return failed, err
	}
	if out.counts[audit.Error]+out.counts[audit.Warning] > 0 {
		return findings, nil
	}
	return clean, nil
}
