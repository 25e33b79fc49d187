// Sharedhammer runs a repository that several machines share under load, and checks that everything it says is
// true. PostgreSQL and an S3 service (versitygw) run in temporary folders.
//
//	sharedhammer [-duration 1m] [-dir DIR] [-seed S]
//
// Two processes publish: a leader and a standby, over packages pgjournal and s3store. Three index processes queue
// items in transactions of their own, with plain SQL, at all three isolation levels. A third of the transactions is
// rolled back. Clients (go-tuf's) read from the bucket through a cache. The publishers' clocks differ.
//
// Meanwhile publishers are killed, stopped and continued, and the lead is taken from one that is alive, also in the
// middle of an append. Connections are cut, delayed, stalled and throttled, and answers lost. PostgreSQL is restarted as
// after a crash. The S3 service is killed or frozen. A replica that lags is promoted, and Adopt goes on from what is
// published: what it lacks is lost, and must have been committed after the last record that it got. Superseded files are
// collected after seconds, and the online key is rotated again and again.
//
// The first untruth ends the run with status 1:
//
//   - an item of a committed transaction is not published, or only in part, or out of order;
//   - one of a transaction that was rolled back is published;
//   - an outcome names a generation that clients can't see at that moment;
//   - a client fails in any way, or a version or content goes back; but a client that took longer than
//     the grace may find a file missing, and begins again;
//   - a name has two contents;
//   - the lead is taken from a leader before its lease is over, by the database's clock;
//   - a file is deleted whose generation a publisher that was paused might still publish;
//   - store and journal disagree, or the history is broken, or a publisher gets an error that no fault explains;
//   - at the end, a superseded file is left that the journal lists, or a kind of event never came.
//
// A line is printed every few seconds, and a summary last:
//
//	accepted=N rolled_back=N lost_with_replica=N published=N collected=N kills=N failovers=N promotions=N store_outages=N db_restarts=N refreshes=N failures=0
//
// The seed decides what is inserted and which fault comes when, but the schedule of the processes differs each
// time. DIR must not exist, and is kept. Without -dir a temporary directory is used, and kept only after a
// failure: it has the logs of all processes.
package main

import (
	"context"
	"encoding/json"
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
	if told := os.Getenv(processVariable); told != "" {
		os.Exit(runProcess(told))
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

// runProcess is a process that the hammer starts; it returns its exit status.
func runProcess(told string) int {
	var p process
	err := json.Unmarshal([]byte(told), &p)
	if err == nil {
		if p.Kind == "publisher" {
			err = runPublisher(context.Background(), p, os.Stdin, os.Stdout)
		} else {
			err = runIndex(context.Background(), p, os.Stdin, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run hammers and prints; the error is the first untruth, or the end of ctx.
func run(ctx context.Context, duration time.Duration, dir string, seed uint64, out io.Writer) (err error) {
	temp := ""
	if dir == "" {
		if temp, err = os.MkdirTemp("", "sharedhammer-"); err != nil {
			return err
		}
		dir = filepath.Join(temp, "site")
	}
	h := newHammer(dir, seed, out)
	fmt.Fprintf(out, "sharedhammer -duration %v -seed %d, in %s\n", duration, seed, dir)
	failures := 0
	if err = h.run(ctx, duration); ctx.Err() != nil {
		fmt.Fprintln(out, "interrupted; what it left is in", dir)
	} else if err != nil {
		failures = 1
		fmt.Fprintln(out, "UNTRUTH:", err)
		fmt.Fprintln(out, "the last faults:")
		for _, f := range h.faults.newest() {
			fmt.Fprintln(out, "\t"+f)
		}
		fmt.Fprintln(out, "what it left is in", dir)
	} else if temp != "" {
		os.RemoveAll(temp)
	}
	fmt.Fprintln(out, h.line(), fmt.Sprintf("failures=%d", failures))
	return err
}
