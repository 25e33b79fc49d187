// Bench measures what Bindery's publishing costs. It compares with go-tuf, and with a lower bound:
// the copying, hashing, signing and syncing that the job cannot avoid.
//
//	bench [-job NAME,...] [-runs N] [-cpu 1,2] [-python] [-json] [-dir DIR]
//
// It prints one line for each job: the time of Bindery, the time of go-tuf for the same work, the
// lower bound, the two ratios, and the memory. Each time is the median of N measurements. The sides
// take turns, so that a busy machine slows all of them. A garbage collection comes before each
// measurement. A small job is repeated within one measurement, so that each side pays for its own
// garbage.
//
// Ratios can be compared between machines, times can't. Durable files are written below DIR, a
// temporary directory by default. All jobs together take up to 6 GB, and remove everything. On a file
// system in memory, syncs cost nothing, and the ratios say little.
//
// # What is timed
//
// The sides of a job do the same work on the same inputs. If both have a result, the results are
// compared once, before anything is timed.
//
// Bindery is timed through the functions that the engine calls, or through the engine itself:
//
//   - bin-610-ed25519, bin-610-p256, bin-3000-ed25519: one target of a bin is replaced. The input is
//     the bin's file in memory. The work is its SHA-256, compared with the journal's; roles.OpenBin;
//     Bin.Edit; Bin.Sign, which verifies its own signature; and the SHA-256 of the new file. The bin
//     never comes from the cache, which would save the first comparison.
//   - snapshot-16384: 1,000 of 16,384 bins got a new version. The input is the roles.Snapshot of the
//     last generation, which the engine keeps. The work is the names of the bins; Snapshot.Edit;
//     Snapshot.Sign with a P-256 key, which Bindery recommends for it; and the SHA-256 of the new file.
//   - create-16384: repository.Create, in a new dirstore and a new dirjournal.
//   - publish-1000: 1,000 calls of Repository.Add from 64 goroutines, then Repository.Run until the
//     last Receipt.Wait returned. The targets are new and spread over 16,384 bins by their hashes. Run
//     publishes them in one generation. The bins are on disk, usually in the page cache, and hold 140
//     targets each in one line and 610 in the other.
//   - renew-16384: Repository.Run with the defaults, from the moment when all bins are due until none
//     is: 16 generations of 1,024 bins.
//   - add-64: one Repository.Add, of many from 64 goroutines, with a dirjournal, while nothing is
//     published.
//   - open: dirstore.Open, dirjournal.Open and repository.Open of a closed repository of 16,384 bins
//     and 2,293,760 targets. Its journal remembers 100,000 uploads, the most it ever does, and has
//     12,000 more uploads after its checkpoint.
//
// go-tuf v2.4.2 does its part in the usual way: FromBytes, the change of a map, Metadata.Sign,
// ToBytes. It has no durable writing and no hash checks, so it has no side in the other jobs.
//
// With -python, python-tuf does the same: Metadata.from_bytes, the change, Metadata.sign, to_bytes
// with its compact serializer. It runs in its own process. Its versions and hashes are those that
// internal/interop pins; it is installed from PyPI below the user's cache directory.
//
// The lower bound ("limit") uses only the standard library, on the same bytes and as many
// processors. It
//
//   - copies once each byte that is read or written, and hashes once what is read and what is written;
//   - makes one signature of what is written and verifies it once, from the bytes, or from one digest
//     for both if the digest is signed;
//   - opens, writes, syncs and closes each file, from 64 goroutines, and syncs each directory with new
//     names once;
//   - writes and syncs each of the journal's frames that must follow one another: items, seal,
//     timestamp.
//
// It parses nothing, encodes no JSON, and renames nothing but the timestamp. For add-64 it is one
// write and sync for 64 items. For open it is reading and hashing the journal and the offline
// documents, and the durable writes.
//
// The memory is the most by which Bindery made the heap of the process grow, garbage included. It is
// sampled every few milliseconds in a run of its own, which comes first and isn't timed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/bindery-tuf/bindery/internal/benchmark"
)

func main() {
	// Whatever ends it, it removes gigabytes of files.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], full, os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	jobs   []job
	runs   int // 0: as many as the job's size allows
	cpus   []int
	python bool
	json   bool
	dir    string // "": a temporary one
}

func run(ctx context.Context, args []string, s scale, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "bindery-bench-")
	if err != nil {
		return err
	}
	e := &env{scale: s, dir: dir, log: stderr}
	defer os.RemoveAll(dir)
	if o.python {
		if e.python, err = startPython(ctx); err != nil {
			return err
		}
		defer e.python.close()
	}
	print := newPrinter(stdout, o)
	for _, j := range o.jobs {
		for _, cpus := range o.cpus {
			r, err := measure(ctx, e, j, o.runs, cpus)
			if err != nil {
				return fmt.Errorf("%s: %w", j.name, err)
			}
			if err := print(j, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.String("job", "", "`names` of the jobs to run, or what they begin with (default all)")
	cpus := flags.String("cpu", "", "a list of `numbers` of processors to run with (default all)")
	flags.IntVar(&o.runs, "runs", 0, "measurements of each side (default 3 to 31, by the job's size)")
	flags.BoolVar(&o.python, "python", false, "measure python-tuf too")
	flags.BoolVar(&o.json, "json", false, "print one JSON object a line")
	flags.StringVar(&o.dir, "dir", "", "where to make the `directory` for what is written")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.runs < 0 {
		flags.Usage()
		return o, errors.New("unexpected arguments")
	}
	var err error
	if o.jobs, err = benchmark.Select(*names, jobs(), func(j job) string { return j.name }); err != nil {
		return o, err
	}
	if *cpus == "" {
		o.cpus = []int{runtime.GOMAXPROCS(0)}
		return o, nil
	}
	for text := range strings.SplitSeq(*cpus, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return o, fmt.Errorf("-cpu %s: not a list of numbers", *cpus)
		}
		o.cpus = append(o.cpus, n)
	}
	return o, nil
}
