// Bench measures what Bindery's publishing costs beside go-tuf and beside what the
// work can't do without.
//
//	bench [-job NAME,...] [-runs N] [-cpu 1,2] [-python] [-json] [-dir DIR]
//
// It prints a line for each job: what Bindery takes, what go-tuf takes for the same
// work, what the work takes at least, the two ratios, and the memory. A figure is
// the median of N measurements, which are interleaved: each side is measured once,
// then each side again. A garbage collection precedes each measurement; small jobs
// are repeated within one, so that each side pays for its own garbage.
//
// Ratios travel from one machine to another, times don't. What is durable is
// written below DIR, a temporary directory unless one is given, where all jobs together
// take up to 6 GB and leave nothing; on a file system in memory durable writing costs
// nothing, and the ratios say little.
//
// # What is timed
//
// The sides of a job do the same work from the same inputs; where both have a
// result, the two are compared once before anything is measured.
//
// Bindery is timed through the functions that the engine calls, or the engine itself:
//
//   - bin-610-ed25519, bin-610-p256, bin-3000-ed25519: one target of a bin is
//     replaced. From the bin's file in memory: its SHA-256 is compared with the
//     journal's, roles.OpenBin, Bin.Edit, Bin.Sign (which verifies the signature that
//     it made), and the SHA-256 of the new file, for the journal. The bin is never
//     taken from the cache, where the first comparison is left out.
//   - snapshot-16384: 1,000 of 16,384 bins got a new version. From the roles.Snapshot
//     of the last generation, which the engine keeps: the names of the bins,
//     Snapshot.Edit, Snapshot.Sign with a P-256 key, which is what Bindery recommends
//     for it, and the SHA-256 of the new file.
//   - create-16384: repository.Create, in a new dirstore and a new dirjournal.
//   - publish-1000: 1,000 calls of Repository.Add, from 64 goroutines, of new targets,
//     spread over 16,384 bins as their hashes have it; and then Repository.Run, which
//     publishes them in one generation, until the last Receipt.Wait returned. The bins are on disk,
//     usually in the page cache, and hold 140 or 610 targets each: two lines.
//   - renew-16384: Repository.Run from the moment when all bins are due until none is,
//     with the defaults: 16 generations of 1,024 bins.
//   - add-64: one Repository.Add out of many from 64 goroutines, with a dirjournal,
//     while nobody publishes.
//   - open: dirstore.Open, dirjournal.Open and repository.Open of a repository of
//     16,384 bins and 2,293,760 targets that was closed. Its journal remembers 100,000
//     uploads, as many as it ever does, and goes on behind its checkpoint for 12,000
//     uploads more.
//
// go-tuf v2.4.2 does its part the way it is used: FromBytes, the change of a map,
// Metadata.Sign, ToBytes. It has no durable writing and no hash checks, and so no
// side in the other jobs.
//
// python-tuf (-python) does the same: Metadata.from_bytes, the change,
// Metadata.sign, to_bytes with its compact serializer. It runs in a process of its
// own, at the versions and hashes that internal/interop pins, which it installs from
// PyPI below the user's cache directory.
//
// The limit is the standard library alone, on the same bytes: each byte that is
// read or written is copied once; what is read is hashed once and so is what is
// written; one signature of it, and one verification of that, from the bytes
// themselves or, where their digest is signed, from one digest for both; and durable
// writes: one open, write, fsync and close for each file, from
// 64 goroutines, one fsync for each directory with new names, and one write and
// fsync for each of the journal's frames that must follow one another (items,
// seal, and then the timestamp). There is no parsing, no temporary file, no
// rename but the timestamp's, no JSON. It uses as many processors as Bindery.
// For add-64 it is one write and fsync for 64 items. For open it is reading and
// hashing the journal and the offline documents, and the durable writes.
//
// The memory is how much larger Bindery made the process's heap at most, garbage
// included, in samples taken every few milliseconds of one more run, which comes first
// and isn't timed.
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
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(*names, ",") {
		name, before := strings.TrimSpace(name), len(wanted)
		for _, j := range jobs() {
			if strings.HasPrefix(j.name, name) && (name != "" || *names == "") {
				wanted[j.name] = true
			}
		}
		if len(wanted) == before {
			return o, fmt.Errorf("-job %s: no job, or none that isn't named before, is called %q", *names, name)
		}
	}
	o.jobs = slices.DeleteFunc(jobs(), func(j job) bool { return !wanted[j.name] })
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
