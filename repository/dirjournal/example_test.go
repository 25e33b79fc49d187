package dirjournal_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

// What was queued is still there after a restart. An index hands its journal to package
// repository, which does this.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bindery-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	journal, err := dirjournal.OpenOrCreate(filepath.Join(dir, "journal"))
	if err != nil {
		log.Fatal(err)
	}
	entry, err := repository.Item{ID: "request-1", Accepted: time.Now().UTC().Truncate(time.Millisecond), Remove: []string{"demo/demo-1.0.tar.gz"}}.Entry()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := journal.Enqueue(ctx, entry); err != nil {
		log.Fatal(err)
	}
	if err := journal.Close(); err != nil {
		log.Fatal(err)
	}

	if journal, err = dirjournal.OpenOrCreate(filepath.Join(dir, "journal")); err != nil {
		log.Fatal(err)
	}
	defer journal.Close()
	queue, err := journal.Backlog(ctx)
	if err != nil {
		log.Fatal(err)
	}
	outcomes, err := journal.Outcomes(ctx, "request-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(queue.Pending, outcomes[0].State)
	// Output: 1 accepted
}
