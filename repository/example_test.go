package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// publish opens the repository in dir, publishes a file, and returns the
// generation in which clients see it. An index opens its repository once, and
// calls Put, Add and Wait for each upload, from as many goroutines as it likes.
func publish(ctx context.Context, dir string, bins, online keys.Signer, path string, file io.Reader) (generation int64, err error) {
	metadata, err := dirstore.Open(filepath.Join(dir, "metadata"))
	if err != nil {
		return 0, err
	}
	targets, err := dirstore.OpenTargets(filepath.Join(dir, "targets"))
	if err != nil {
		return 0, err
	}
	journal, err := dirjournal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return 0, err
	}
	repo, err := repository.Open(ctx, repository.Config{
		Store: metadata, Journal: journal,
		Bins: bins, Snapshot: online, Timestamp: online,
	})
	if err != nil {
		return 0, errors.Join(err, journal.Close())
	}
	publisher, ctx := errgroup.WithContext(ctx)
	publisher.Go(func() error { return repo.Run(ctx) }) // signs, and renews before anything expires
	defer func() { err = errors.Join(err, repo.Close(), publisher.Wait()) }()

	target, err := targets.Put(ctx, path, file) // its length and hashes; it is served as HASH.name
	if err != nil {
		return 0, err
	}
	receipt, err := repo.Add(ctx, target) // durable: whatever happens now, it will be published
	if err != nil {
		return 0, err
	}
	outcome, err := receipt.Wait(ctx) // clients can see it
	return outcome.Generation, err
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bindery-example-")
	check(err)
	defer os.RemoveAll(dir)
	bins, online := create(ctx, dir)

	generation, err := publish(ctx, dir, bins, online, "demo/demo-1.0.tar.gz", strings.NewReader("hello"))
	check(err)
	fmt.Println("published in generation", generation)
	// Output: published in generation 2
}

// create makes a repository of 256 bins in dir and returns its online keys. How
// its documents come to be is shown by examples/quickstart.
func create(ctx context.Context, dir string) (bins, online keys.Signer) {
	layout, err := delegation.New("bins", 256, delegation.Succinct)
	check(err)
	ceremony := repotest.NewCeremony(panicking{}, layout, time.Now())
	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	check(err)
	_, err = dirstore.CreateTargets(filepath.Join(dir, "targets"))
	check(err)
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	check(err)
	repo, err := repository.Create(ctx, repository.Config{
		Store: store, Journal: journal,
		Bins: ceremony.Bins, Snapshot: ceremony.Online, Timestamp: ceremony.Online,
	}, ceremony.Documents())
	check(err)
	check(repo.Close())
	return ceremony.Bins, ceremony.Online
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// panicking is a test that can only fail by a panic.
type panicking struct{}

func (panicking) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panicking) FailNow()                          {}
