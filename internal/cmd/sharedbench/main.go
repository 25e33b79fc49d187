// Sharedbench measures what Bindery costs where an index has its rows in PostgreSQL and its files in a bucket. It
// compares with the least that such an index pays without Bindery, measured in the same run.
//
//	go run -C internal/cmd/sharedbench . [-job NAME,...] [-runs N] [-json]
//
// It needs an installed PostgreSQL, version 14 or later, and starts a server of its own, with fsync on. It builds
// versitygw, an S3 service, and runs that too. Both write below the system's temporary folder, which TMPDIR
// names: up to 6 GB, which it removes.
//
// It prints one line for each job: the time of Bindery, the limit's, their ratio, and what the ratio must not
// exceed. Each time is the median of N measurements. The two sides take turns, so that a busy machine slows both.
// Ratios can be compared between machines, times can't. The client, PostgreSQL and versitygw share the machine's
// processors, so a side pays for what it makes them do.
//
// # What is timed
//
//   - pg-add-64: one transaction of an index, of many from 64 connections. It inserts a row into a table of the
//     index's own, and queues the upload with pgjournal.EnqueueBatch, under the index's database role. Both INSERTs
//     are sent together. The limit is the same transaction without EnqueueBatch, with its INSERT in a batch too.
//   - pg-claim-10000: Lead.Pending and Lead.Append for 10,000 uploads, which the record decides. The limit is one
//     transaction that reads all columns of those rows and deletes them.
//   - pg-claim-10000-report: the same in a database in which a report holds a transaction open. A million rows of
//     the queue and a million decisions were deleted since it began, and the fence was updated 10,000 times.
//     No vacuum can remove these dead rows. The limit is measured without a report.
//   - s3-publish-1000: 1,000 uploads are queued. The time begins with Repository.Run and ends when the bucket has
//     the new timestamp.json. The repository has 16,384 bins of 140 targets each, and was just opened, so each bin
//     is read from the bucket. The limit is the same GETs and then PUTs, of as many bytes, with the SDK alone, as many
//     at a time as Config.Workers.
//   - s3-latency-10: ten files are queued in one transaction while Repository.Run waits. Each request to the
//     bucket, and each signature of snapshot and timestamp, as by a KMS, takes 50 ms longer. The time begins
//     before the INSERT and ends when the bucket has the new timestamp.json. The limit makes the same calls. Each
//     waits only for those whose result it needs: the bins are read, the snapshot is signed, the timestamp, which
//     has its hash, is signed, and timestamp.json is written; bins and snapshot are written meanwhile. The
//     pause between two uploads is longer than Config.MaxDelay, and short enough that the journal polls quickly.
//   - fail-over: the publisher's process is killed, and an upload is queued. The time ends when the standby has
//     published it. The limit is the lease, 10 seconds by default, and isn't measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"github.com/bindery-tuf/bindery/internal/benchmark"
)

func main() {
	if os.Getenv(asPublisher) != "" {
		if err := publisher(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "sharedbench: publisher:", err)
			os.Exit(1)
		}
		return
	}
	// Whatever ends it, it stops servers and removes gigabytes of files.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], full, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sharedbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, s scale, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("sharedbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.String("job", "", "`names` of the jobs to run, or what they begin with (default all)")
	runs := flags.Int("runs", 0, "measurements of each side (default 3 to 15, by the job's size)")
	asJSON := flags.Bool("json", false, "print one JSON object a line")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *runs < 0 {
		flags.Usage()
		return errors.New("unexpected arguments")
	}
	wanted, err := benchmark.Select(*names, jobs(), func(j job) string { return j.name })
	if err != nil {
		return err
	}
	e, err := newEnv(ctx, s, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	print := newPrinter(stdout, *asJSON)
	for _, j := range wanted {
		r, err := e.measure(ctx, j, *runs)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		if err := print(j, r); err != nil {
			return err
		}
	}
	return nil
}

// line is one line of -json.
type line struct {
	Job     string  `json:"job"`
	Bindery int64   `json:"bindery_ns"`
	Limit   int64   `json:"limit_ns"`
	AtMost  float64 `json:"at_most"` // times the limit
	CPUs    int     `json:"cpus"`
}

// newPrinter returns a function that prints a result as soon as it is there.
func newPrinter(w io.Writer, asJSON bool) func(job, result) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		return func(j job, r result) error {
			return encoder.Encode(line{j.name, r.bindery, r.limit, j.within, runtime.GOMAXPROCS(0)})
		}
	}
	begun := false
	return func(j job, r result) error {
		rows := [][]any{{j.name, benchmark.Duration(r.bindery), benchmark.Duration(r.limit), benchmark.Ratio(r.bindery, r.limit), benchmark.Bound(j.within)}}
		if !begun {
			begun = true
			rows = slices.Insert(rows, 0, []any{"job", "bindery", "limit", "/limit", "at most"})
		}
		for _, cells := range rows {
			if _, err := fmt.Fprintf(w, "%-22s%9s%9s%7s%8s\n", cells...); err != nil {
				return err
			}
		}
		return nil
	}
}
