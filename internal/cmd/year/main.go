// Year runs a repository for a simulated year and checks what its clients get.
//
//	go run ./internal/cmd/year [-seed S] [-days 365] [-bins 4096] [-targets 200000]
//
// Uploads and removals come every day. People renew their documents by ceremony. Online keys are
// rotated, and later stolen. The publisher is restarted, loses its power and sleeps. Its journal is
// archived. Meanwhile go-tuf clients update: hourly to monthly, and one after eleven months. Some are
// slow, some are behind a cache, and some are both.
//
// These end the year with status 1:
//
//   - a client fails, or finds another target than the one published in its generation;
//   - a client that began with a timestamp which a cache may still serve doesn't find a file that it
//     names, or a target file;
//   - an accepted item isn't published, or a name gets a second content;
//   - final_bytes is more than 1.2 times what the newest generation and the grace period need.
//
// The last line is
//
//	days=365 generations=N refreshes=N failures=0 peak_bytes=N final_bytes=N live_bytes=N grace_bytes=N signatures=N seed=N
//
// Bytes are those of the metadata in the store: at most, at the end, of the newest generation, and of
// those that clients may still use. Signatures are those of online keys.
//
// Time is that of package testing/synctest, which works in tests only. So this program runs a test of
// its package, and must be started in the module. A year takes some minutes.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
)

func main() {
	seed := flag.Uint64("seed", rand.Uint64(), "of all that is random")
	days := flag.Int("days", 365, "how many days to go on")
	bins := flag.Int("bins", 4096, "how many hashed bins")
	targets := flag.Int("targets", 200_000, "how many targets there are on the first day")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, "-print", "-seed="+strconv.FormatUint(*seed, 10), "-days="+strconv.Itoa(*days),
		"-bins="+strconv.Itoa(*bins), "-targets="+strconv.Itoa(*targets)); err != nil {
		fmt.Fprintln(os.Stderr, "year:", err)
		os.Exit(1)
	}
}

// run compiles the test and runs it. Not by "go test" alone: that would print more lines at the end.
func run(ctx context.Context, args ...string) error {
	dir, err := os.MkdirTemp("", "year-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	test := filepath.Join(dir, "year.test")
	for _, cmd := range []*exec.Cmd{
		exec.CommandContext(ctx, "go", "test", "-c", "-o", test, "github.com/bindery-tuf/bindery/internal/cmd/year"),
		exec.CommandContext(ctx, test, append([]string{"-test.run=^TestYear$", "-test.timeout=0"}, args...)...),
	} {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
	}
	return nil
}
