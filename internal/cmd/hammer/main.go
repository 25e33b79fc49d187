// Hammer runs a real repository under load and checks that everything it says is true.
//
//	hammer [-duration 1m] [-dir DIR] [-seed S]
//
// One process is the publisher, with a directory store and a directory journal. Many of its
// goroutines submit as fast as they can. It is killed with SIGKILL at random moments and started
// again. It deletes what was superseded a short grace ago. The other process, this one, serves the
// store over HTTP on the loopback, installs a new root now and then, and now and then has the
// publisher rotate its keys. It records what the publisher said, and runs go-tuf clients without a
// pause. See lane for what is submitted, and what a client can check.
//
// The first error ends the run with status 1:
//
//   - an accepted item is not published, or only in part, or out of order;
//   - clients see a wrong target, a target that was not added yet, or one that can't be downloaded;
//   - a receipt or an outcome names a generation that clients can't see at that moment, or names
//     another one when asked again;
//   - a client fails in any way, or a version or content goes back; but a client that took longer than
//     the grace may find a file missing, and begins again;
//   - a name has two contents;
//   - at the end, after an idle grace, the store or the targets have a file that nobody needs;
//   - a rotation that began is forgotten;
//   - the publisher ends by itself, or a second one may publish at the same time.
//
// A kill loses nothing of the page cache. For power cuts, see crashpoints.
//
// A line is printed every few seconds, and a summary last:
//
//	accepted=N published=N kills=N refreshes=N collected=N rotations=N failures=0
//
// collected is how many files were deleted, and rotations how many rotations of the online keys ended.
//
// The seed decides what is submitted and when the publisher is killed, but the schedule of the
// processes differs each time. DIR must not exist, and is kept. Without -dir a temporary directory
// is used, and kept only after a failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	if dir := os.Getenv(publisherDir); dir != "" {
		os.Exit(publisher(dir))
	}
	duration := flag.Duration("duration", time.Minute, "how long to go on")
	dir := flag.String("dir", "", "a `directory` to make and to keep")
	seed := flag.Uint64("seed", rand.Uint64(), "of all that is random")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *duration, *dir, *seed, os.Stdout); err != nil {
		os.Exit(1)
	}
}

// publisher is the process that gets killed; it returns its exit status.
func publisher(dir string) int {
	if err := publish(context.Background(), dir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run hammers and prints; the error is the first untruth, or the end of ctx.
func run(ctx context.Context, duration time.Duration, dir string, seed uint64, out io.Writer) (err error) {
	if dir == "" {
		temp, tempErr := os.MkdirTemp("", "hammer-")
		if tempErr != nil {
			return tempErr
		}
		dir = filepath.Join(temp, "site")
		defer func() {
			if err == nil {
				os.RemoveAll(temp)
			}
		}()
	}
	h := &hammer{dir: dir, rng: rand.New(rand.NewPCG(seed, 0)), seed: seed, out: out, book: newBook()}
	fmt.Fprintf(out, "hammer -duration %v -seed %d, in %s\n", duration, seed, dir)
	failures := 0
	if err = h.run(ctx, duration); ctx.Err() != nil {
		fmt.Fprintln(out, "interrupted; what it left is in", dir)
	} else if err != nil {
		failures = 1
		fmt.Fprintln(out, "UNTRUTH:", err)
		fmt.Fprintln(out, "what it left is in", dir)
	}
	fmt.Fprintln(out, h.line(), fmt.Sprintf("failures=%d", failures))
	return err
}
