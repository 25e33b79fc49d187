package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// online is what a publisher is configured with: where the key is that it signs
// with, and under which ID the root lists it. Neither is a secret.
type online struct {
	URI   string `json:"uri"`
	KeyID string `json:"keyid"`
}

// importKey is done once for each key, by an account that may read it.
func importKey(ctx context.Context, a *account, name string) (online, *keys.PublicKey, error) {
	client, err := awskms.New(awskms.Config{AWS: a.importer})
	if err != nil {
		return online{}, nil, err
	}
	arn, public, err := client.Import(ctx, name)
	if err != nil {
		return online{}, nil, err
	}
	return online{"awskms:" + arn, public.ID()}, public, nil
}

// signer opens a key for signing. The public key is the one that the root lists,
// so this makes no call.
func (o online) signer(ctx context.Context, signers keys.Resolver, root *roles.Document[metadata.RootType]) (keys.Signer, error) {
	listed, err := roles.RootAuthority(root, metadata.TIMESTAMP)
	if err != nil {
		return nil, err
	}
	for _, public := range listed.Keys {
		if public.ID() == o.KeyID {
			return signers.Open(ctx, o.URI, public)
		}
	}
	return nil, fmt.Errorf("the root does not list key %s for the timestamp", o.KeyID)
}

// publisher is an open repository that publishes until it is closed.
type publisher struct {
	*repository.Repository
	ended chan error
}

// openPublisher creates the repository in dir if documents are given, and opens
// it otherwise.
func openPublisher(ctx context.Context, dir string, bins, online keys.Signer, log *slog.Logger, create *repository.Documents) (*publisher, error) {
	openStore, openJournal := dirstore.Open, dirjournal.Open
	if create != nil {
		openStore, openJournal = dirstore.Create, dirjournal.Create
	}
	store, err := openStore(filepath.Join(dir, "metadata"))
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	cfg := repository.Config{
		Store: store, Journal: journal,
		Bins: bins, Snapshot: online, Timestamp: online,
		MaxDelay: -1, Logger: log,
		// No caches, and no client runs while a key is replaced. Otherwise the root that drops
		// the old one waits until no cache serves what it signed.
		CacheAge: -1, ClientRun: -1,
		CollectPerMinute: -1, // clients may run, though, while bins are replaced: nothing is deleted
	}
	p := &publisher{ended: make(chan error, 1)}
	if create != nil {
		p.Repository, err = repository.Create(ctx, cfg, *create)
	} else {
		p.Repository, err = repository.Open(ctx, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	go func() { p.ended <- p.Run(ctx) }()
	return p, nil
}

func (p *publisher) close() error { return errors.Join(p.Close(), <-p.ended) }

// add adds a file and does not wait for it to be published.
func (p *publisher) add(ctx context.Context, path string) (*repository.Receipt, error) {
	content := []byte("the content of " + path)
	sum := sha256.Sum256(content)
	return p.Add(ctx, roles.Target{
		Path: path, Length: int64(len(content)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])},
	})
}

// counter counts the signatures that a signer is asked for.
type counter struct {
	keys.Signer
	calls int // by the one goroutine that publishes
}

func (c *counter) Sign(ctx context.Context, message []byte) ([]byte, error) {
	c.calls++
	return c.Signer.Sign(ctx, message)
}
