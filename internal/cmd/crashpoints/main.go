// Command crashpoints takes the power away from a repository on a simulated disk,
// after each operation, in many ways, and checks what is left. See package
// internal/crashpoints.
//
//	crashpoints [-n POINTS] [-seed S] [-syncs 1] [-first]
//
// The histories that are scripted are tried in any case, and then random ones. With
// -syncs 1 every sync that can fail while the repository is opened again does, at
// every moment of every history, which takes some minutes; otherwise in the first
// history, and a sample in the others.
//
// The last line that it prints is
//
//	points=N failures=0 seed=S
//
// and its exit status is 1 if there were failures. Each is printed with the command
// that repeats it.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/bindery-tuf/bindery/internal/crashpoints"
)

func main() {
	var o crashpoints.Options
	flag.IntVar(&o.Points, "n", 45_000, "how many `points` to try at least; the scripted histories have 43,000")
	flag.Uint64Var(&o.Seed, "seed", 1, "decides about all chance")
	flag.IntVar(&o.Syncs, "syncs", 0, "of the syncs that can fail in a recovery, try one of `so many`; 1: all (default 12, and in the first history 1)")
	flag.BoolVar(&o.First, "first", false, "stop after the first failure")
	flag.StringVar(&o.History, "history", "", "try this history only")
	flag.IntVar(&o.Op, "op", -1, "with -history and -variant: try only the point after this operation")
	flag.IntVar(&o.Variant, "variant", 0, "the way of crashing")
	flag.Parse()
	os.Exit(run(o))
}

// shown is how many failures are printed.
const shown = 20

func run(o crashpoints.Options) int {
	debug.SetGCPercent(400) // much garbage, little memory
	failures := 0
	points, err := crashpoints.Run(broken{}, o, func(f crashpoints.Failure) {
		failures++
		if failures <= shown {
			fmt.Printf("%v\n\trepeat it with: go run ./internal/cmd/crashpoints -seed %d -history %s -op %d -variant %d\n",
				f, o.Seed, f.Moment.History.Name, f.Moment.Op, f.Variant)
		}
	})
	if err != nil {
		failures++
		fmt.Println(err)
	}
	fmt.Printf("points=%d failures=%d seed=%d\n", points, failures, o.Seed)
	if failures > 0 || points == 0 {
		return 1
	}
	return 0
}

// broken ends the program where a history can't even be written.
type broken struct{}

func (broken) Errorf(format string, args ...any) {
	fmt.Fprintln(os.Stderr, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (broken) FailNow() { os.Exit(1) }
