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
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
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

// create makes a repository of 256 bins in dir and returns its online keys.
func create(ctx context.Context, dir string) (bins, online keys.Signer) {
	bins, err := keys.GenerateEd25519()
	check(err)
	online, err = keys.GenerateP256()
	check(err)
	documents := hold(ctx, bins, online)

	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	check(err)
	_, err = dirstore.CreateTargets(filepath.Join(dir, "targets"))
	check(err)
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	check(err)
	repo, err := repository.Create(ctx, repository.Config{
		Store: store, Journal: journal,
		Bins: bins, Snapshot: online, Timestamp: online,
	}, documents)
	check(err)
	check(repo.Close())
	return bins, online
}

// hold is a ceremony of one person with one offline key. In earnest, root, targets and bins have
// keys of their own, several people hold them, and examples/ceremony is what they use.
func hold(ctx context.Context, bins, online keys.Signer) repository.Documents {
	offline, err := keys.GenerateEd25519()
	check(err)
	of := func(key keys.Signer) roles.Authority {
		return roles.Authority{Keys: []*keys.PublicKey{key.Public()}, Threshold: 1}
	}
	expires := time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires,
		Root: of(offline), Targets: of(offline), Snapshot: of(online), Timestamp: of(online),
	})
	check(err)
	root, err = root.Sign(ctx, offline)
	check(err)

	// Every path is handed on to the role "bins", and by it to one of 256 bins.
	targets, err := delegation.NewTargets(1, expires, of(offline))
	check(err)
	targets, err = targets.Sign(ctx, offline)
	check(err)
	layout, err := delegation.New("bins", 256, delegation.Succinct)
	check(err)
	role, err := layout.NewRole(1, expires, of(bins))
	check(err)
	role, err = role.Sign(ctx, offline)
	check(err)
	return repository.Documents{
		Roots: [][]byte{root.Bytes()},
		Roles: map[string][]byte{"targets": targets.Bytes(), "bins": role.Bytes()},
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
