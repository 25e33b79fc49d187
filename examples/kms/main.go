// Kms is an index whose snapshot and timestamp are signed by a key in AWS KMS.
//
//	go run -C examples/kms .
//
// plays a key's whole life against an emulator in this process: it is created,
// imported, named by the root, signs generations, is throttled, and is replaced by
// another one, while go-tuf's client verifies from root version 1 on. With -aws the
// same is done with the account that the environment names: see README.md.
//
// Read it from here in the order in which tour does its work.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kms:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("kms", flag.ContinueOnError)
	flags.SetOutput(stderr)
	inAWS := flags.Bool("aws", false, "use the AWS account that the environment names; two keys are made there, and scheduled for deletion")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	account, err := openAccount(ctx, *inAWS)
	if err != nil {
		return err
	}
	defer account.close()
	dir, err := os.MkdirTemp("", "bindery-kms-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t := &tour{
		account: account,
		dir:     dir,
		out:     stdout,
		log:     slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	return t.run(ctx)
}
