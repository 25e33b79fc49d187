// Command crashpoints cuts the power of a repository on a simulated disk, after each operation and in
// many ways, and checks what is left. See package internal/crashpoints.
//
//	crashpoints [-n POINTS] [-every N [-offset K]] [-seed S] [-syncs 1] [-first]
//
// It always tries the scripted histories, and then random ones. Syncs may fail while the repository is
// opened again: every one is tried in the first history, and a sample in the others. With -syncs 1
// every one is tried at every moment of every history, which takes some minutes.
//
// The last line is
//
//	points=N failures=0 seed=S
//
// The exit status is 1 if there were failures. Each failure is printed with the command that repeats
// it.
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
	flag.IntVar(&o.Points, "n", 60_000, "how many `points` to try at least; the scripted histories have 57,000")
	flag.IntVar(&o.Every, "every", 0, "try one of every `N` points of a history only (default: all)")
	flag.IntVar(&o.Offset, "offset", 0, "with -every: which of them, any `number`")
	flag.Uint64Var(&o.Seed, "seed", 1, "the `seed` of everything random")
	flag.IntVar(&o.Syncs, "syncs", 0, "try one of every `N` syncs that can fail in a recovery; 1: all (default 12; 1 in the first history)")
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

// broken ends the program if a history can't even be written.
type broken struct{}

func (broken) Errorf(format string, args ...any) {
	fmt.Fprintln(os.Stderr, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (broken) FailNow() { os.Exit(1) }
