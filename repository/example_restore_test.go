package repository_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// restore makes the store in dir again from the journal, after it was lost or
// restored from a backup. witness is a timestamp.json that clients have seen.
func restore(ctx context.Context, dir string, bins, online keys.Signer, witness []byte) (generation int64, err error) {
	metadata, err := dirstore.Open(filepath.Join(dir, "metadata"))
	if errors.Is(err, os.ErrNotExist) {
		metadata, err = dirstore.Create(filepath.Join(dir, "metadata"))
	}
	if err != nil {
		return 0, err
	}
	journal, err := dirjournal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return 0, err
	}
	repo, err := repository.RestoreStore(ctx, repository.Config{
		Store: metadata, Journal: journal, Witness: witness,
		Bins: bins, Snapshot: online, Timestamp: online,
	}, repository.Restoration{})
	if err != nil {
		return 0, errors.Join(err, journal.Close())
	}
	status, err := repo.Status(ctx)
	return status.Generation, errors.Join(err, repo.Close())
}

func ExampleRestoreStore() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bindery-example-")
	check(err)
	defer os.RemoveAll(dir)
	bins, online := create(ctx, dir)
	_, err = publish(ctx, dir, bins, online, "demo/demo-1.0.tar.gz", strings.NewReader("hello"))
	check(err)
	witness, err := os.ReadFile(filepath.Join(dir, "metadata", "timestamp.json"))
	check(err)

	check(os.RemoveAll(filepath.Join(dir, "metadata")))
	generation, err := restore(ctx, dir, bins, online, witness)
	check(err)
	fmt.Println("all is published again, in generation", generation)
	// Output: all is published again, in generation 3
}
