package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// Names in a site's directory, next to the store and the journal.
const (
	targetsDir    = "targets"
	documentsFile = "documents.json"
)

const (
	bins     = 32
	lifetime = 2 * time.Minute // so that renewal is part of it
	grace    = 3 * time.Second // what a client needs is kept for so long
)

// siteConfig makes generations follow each other closely, and lets the queue fill up often.
func siteConfig() repository.Config {
	return repository.Config{
		MaxDelay: 40 * time.Millisecond, MaxBatch: 200, MaxPending: 150, CheckpointBytes: 1 << 20,
		MaxRenew:    4, // so that a rotation takes several generations
		BinLifetime: lifetime, SnapshotLifetime: lifetime, TimestampLifetime: lifetime,
		CacheAge: -1, ClientRun: grace, CollectPerMinute: 1_000_000,
	}
}

// idleConfig lets a publisher sign nothing again, so that it supersedes nothing while it collects.
func idleConfig() repository.Config {
	const year = 365 * 24 * time.Hour
	c := siteConfig()
	c.BinLifetime, c.SnapshotLifetime, c.TimestampLifetime = year, year, year
	c.BinRenewal, c.SnapshotRenewal, c.TimestampRenewal = year-time.Second, year-time.Second, year-time.Second
	c.Workers = 500 // so many target files at a time
	return c
}

// seed makes an online key.
type seed [ed25519.SeedSize]byte

func newSeed(rng *rand.Rand) (s seed) {
	for i := range s {
		s[i] = byte(rng.Uint32())
	}
	return s
}

// online are the signers that these seeds make.
func online(seeds []seed) (all []keys.Signer, err error) {
	for _, s := range seeds {
		signer, err := keys.NewSigner(ed25519.NewKeyFromSeed(s[:]))
		if err != nil {
			return nil, err
		}
		all = append(all, signer)
	}
	return all, nil
}

// rotated are the roles that are signed online, as Rotate names them.
var rotated = []string{metadata.TIMESTAMP, metadata.SNAPSHOT, "bins-*"}

// makeSite makes a new repository in dir, whose online key is made from a seed. The ceremony that it
// returns makes the next documents.
func makeSite(ctx context.Context, dir string, first seed) (*repotest.Ceremony, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	if err != nil {
		return nil, err
	}
	c, err := repotest.NewSite(ctx, repotest.Must{}, dir, first, layout, siteConfig())
	if err != nil {
		return nil, err
	}
	if _, err := dirstore.CreateTargets(filepath.Join(dir, targetsDir)); err != nil {
		return nil, err
	}
	return c, writeDocuments(dir, c.Documents())
}

// writeDocuments leaves documents for the next publisher to install. No publisher may be alive.
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
