package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// What a site's directory holds beside store and journal.
const (
	seedFile      = "online.seed"
	documentsFile = "documents.json"

	bins     = 32
	lifetime = 2 * time.Minute // so that renewal is part of it
)

// must is the testing.T of a ceremony that is no test.
type must struct{}

func (must) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (must) FailNow()                          { panic("the ceremony failed") }

// makeSite makes a new repository in dir, and returns the ceremony that makes its
// next roots.
func makeSite(ctx context.Context, dir string, rng *rand.Rand) (*repotest.Ceremony, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(rng.Uint32())
	}
	if err := os.WriteFile(filepath.Join(dir, seedFile), seed, 0o600); err != nil {
		return nil, err
	}
	online, err := onlineKey(dir)
	if err != nil {
		return nil, err
	}
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	if err != nil {
		return nil, err
	}
	c := repotest.NewCeremony(must{}, layout, time.Now())
	c.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, online), repotest.Of(1, online) })
	c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, online) })
	if err := writeDocuments(dir, c.Documents()); err != nil {
		return nil, err
	}
	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	if err != nil {
		return nil, err
	}
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	repo, err := repository.Create(ctx, configured(store, journal, online), c.Documents())
	if err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	return c, repo.Close()
}

// openSite opens the repository in dir as its publisher.
func openSite(ctx context.Context, dir string) (*repository.Repository, error) {
	online, err := onlineKey(dir)
	if err != nil {
		return nil, err
	}
	store, err := dirstore.Open(filepath.Join(dir, "metadata"))
	if err != nil {
		return nil, err
	}
	journal, err := dirjournal.Open(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	return repository.Open(ctx, configured(store, journal, online))
}

// configuredured has generations follow each other closely, and a queue that is often full.
func configured(store repository.Store, journal repository.Journal, online keys.Signer) repository.Config {
	return repository.Config{
		Store: store, Journal: journal, Bins: online, Snapshot: online, Timestamp: online,
		MaxDelay: 40 * time.Millisecond, MaxBatch: 200, MaxPending: 150, CheckpointBytes: 1 << 20,
		BinLifetime: lifetime, SnapshotLifetime: lifetime, TimestampLifetime: lifetime,
	}
}

func onlineKey(dir string) (keys.Signer, error) {
	seed, err := os.ReadFile(filepath.Join(dir, seedFile))
	if err != nil {
		return nil, err
	}
	return keys.NewSigner(ed25519.NewKeyFromSeed(seed))
}

// writeDocuments leaves documents for the next publisher to install. None is alive.
func writeDocuments(dir string, d repository.Documents) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, documentsFile), data, 0o600)
}

func readDocuments(dir string) (d repository.Documents, err error) {
	data, err := os.ReadFile(filepath.Join(dir, documentsFile))
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(data, &d)
}
