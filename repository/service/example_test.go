package service_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/roles"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bindery-example-")
	check(err)
	defer os.RemoveAll(dir)
	key, err := keys.GenerateEd25519() // an index loads its key from a file, or has it in a KMS
	check(err)
	finished := sign(ctx, key.Public())
	documents := func(context.Context) (repository.Documents, error) { return finished, nil }
	files, err := dirstore.OpenOrCreateTargets(filepath.Join(dir, "files"))
	check(err)

	open := func(ctx context.Context) (repository.Config, error) {
		store, err := dirstore.OpenOrCreate(filepath.Join(dir, "metadata"))
		if err != nil {
			return repository.Config{}, err
		}
		journal, err := dirjournal.OpenOrCreate(filepath.Join(dir, "journal"))
		return repository.Config{Store: store, Journal: journal, Bins: key, Snapshot: key, Timestamp: key}, err
	}
	repo, err := service.Start(ctx, service.Config{Open: open, Documents: documents, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	server := &http.Server{} // serves uploads, metadata and files

	target, err := files.Put(ctx, "demo/demo-1.0.tar.gz", strings.NewReader("hello"))
	check(err)
	receipt, err := repo.Add(ctx, target) // an upload: durable, it will be published
	check(err)
	outcome, err := receipt.Wait(ctx) // clients can see it
	check(err)
	fmt.Println(outcome.State, "in generation", outcome.Generation)

	err = server.Shutdown(ctx) // the HTTP server first: requests end, and their calls with them
	check(err)
	err = repo.Close()
	check(err)
	// Output: published in generation 2
}

// sign makes the documents that people sign in a ceremony. Here one key of theirs signs all.
func sign(ctx context.Context, online *keys.PublicKey) repository.Documents {
	person, err := keys.GenerateEd25519()
	check(err)
	of := func(k *keys.PublicKey) roles.Authority {
		return roles.Authority{Threshold: 1, Keys: []*keys.PublicKey{k}}
	}
	expires := time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Second)
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires,
		Root: of(person.Public()), Targets: of(person.Public()), Snapshot: of(online), Timestamp: of(online),
	})
	check(err)
	root, err = root.Sign(ctx, person)
	check(err)
	targets, err := delegation.NewTargets(1, expires, of(person.Public()))
	check(err)
	targets, err = targets.Sign(ctx, person)
	check(err)
	layout, err := delegation.New(delegation.BinsRole, 16, delegation.Succinct)
	check(err)
	bins, err := layout.NewRole(1, expires, of(online))
	check(err)
	bins, err = bins.Sign(ctx, person)
	check(err)
	return repository.Documents{
		Roots: [][]byte{root.Bytes()},
		Roles: map[string][]byte{"targets": targets.Bytes(), delegation.BinsRole: bins.Bytes()},
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
