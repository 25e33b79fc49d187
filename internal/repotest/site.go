package repotest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// What the directory of a site holds. Target files are the caller's to keep.
const (
	SiteStore   = "metadata"
	SiteJournal = "journal"
	siteKey     = "online.seed"
)

// NewSite makes a repository in an existing directory, with a directory store, a
// directory journal, and one online key for all roles, made from a seed, so that
// another process can publish with nothing but OpenSite. cfg needs no journal and no
// signers, and no store: one that it has must keep its files where the site's does. It returns the ceremony, in which what goes wrong fails t.
func NewSite(ctx context.Context, t require.TestingT, dir string, seed [ed25519.SeedSize]byte, layout delegation.Bins, cfg repository.Config) (*Ceremony, error) {
	if err := os.WriteFile(filepath.Join(dir, siteKey), seed[:], 0o600); err != nil {
		return nil, err
	}
	if _, err := dirstore.Create(filepath.Join(dir, SiteStore)); err != nil {
		return nil, err
	}
	journal, err := dirjournal.Create(filepath.Join(dir, SiteJournal))
	if err != nil {
		return nil, err
	}
	if cfg, err = SiteConfig(dir, cfg, journal); err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	c := NewCeremony(t, layout, time.Now())
	c.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = Of(1, cfg.Snapshot), Of(1, cfg.Timestamp) })
	c.NextBins(func(a *roles.Authority) { *a = Of(1, cfg.Bins) })
	repo, err := repository.Create(ctx, cfg, c.Documents())
	if err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	return c, repo.Close()
}

// OpenSite opens the repository that NewSite made in dir, as its publisher.
func OpenSite(ctx context.Context, dir string, cfg repository.Config) (*repository.Repository, error) {
	journal, err := dirjournal.Open(filepath.Join(dir, SiteJournal))
	if err != nil {
		return nil, err
	}
	if cfg, err = SiteConfig(dir, cfg, journal); err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	repo, err := repository.Open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	return repo, nil
}

// SiteConfig completes a configuration for a journal that is open.
func SiteConfig(dir string, cfg repository.Config, journal repository.Journal) (repository.Config, error) {
	seed, err := os.ReadFile(filepath.Join(dir, siteKey))
	if err != nil {
		return cfg, err
	}
	online, err := keys.NewSigner(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return cfg, err
	}
	if cfg.Store == nil {
		if cfg.Store, err = dirstore.Open(filepath.Join(dir, SiteStore)); err != nil {
			return cfg, err
		}
	}
	cfg.Journal = journal
	cfg.Bins, cfg.Snapshot, cfg.Timestamp = online, online, online
	return cfg, nil
}
