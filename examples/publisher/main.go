// Publisher is a daemon that publishes for an index written in any language. The index submits its
// uploads over HTTP, or inserts them into its own database.
//
//	publisher -check /etc/bindery/publisher.json
//	publisher -migrate /etc/bindery/publisher.json
//	publisher /etc/bindery/publisher.json
//
// README.md has the configuration file, the HTTP API, and what to do when something fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/bindery-tuf/bindery/repository/pgjournal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "publisher:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("publisher", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "usage: publisher [-check | -migrate] CONFIG\n\nCONFIG is the configuration file. SIGHUP reads keys and documents again, SIGTERM ends.\n\n")
		flags.PrintDefaults()
	}
	check := flags.Bool("check", false, "say what the configuration means and what is wrong, and change nothing")
	migration := flags.Bool("migrate", false, "make the schema of journal.postgres, or bring it up to date, and end")
	owner := flags.String("owner", "", "with -migrate: a `file` with the URL of the schema's owner; without it the publisher's own URL is used")
	var m pgjournal.Migration
	flags.StringVar(&m.IndexRole, "index-role", "", "with -migrate: grant the database `role` of the index its privileges")
	flags.StringVar(&m.PublisherRole, "publisher-role", "", "with -migrate: grant the database `role` of the publisher its privileges")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return fmt.Errorf("want one configuration file, there are %d arguments", flags.NArg())
	}
	if *check {
		return checkConfig(ctx, flags.Arg(0), stdout)
	}
	if *migration {
		return migrate(ctx, flags.Arg(0), *owner, m, stdout)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	d, err := start(ctx, flags.Arg(0), log)
	if err != nil {
		return err
	}
	return d.run(ctx, hangup)
}
