package main

import (
	"context"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// ceremony is what people do together before an index publishes anything (PEP
// 458). Here all of them sit in one process. In earnest each root key is with
// another person, away from any network.
type ceremony struct {
	root          []*keys.MemorySigner // offline, kept
	targets, bins []*keys.MemorySigner // offline, destroyed once they have signed
	online        onlineKeys
	documents     repository.Documents
}

// onlineKeys are the keys that the index itself signs with.
type onlineKeys struct {
	bins  *keys.MemorySigner // thousands of small signatures: in memory
	fresh *keys.MemorySigner // snapshot and timestamp, two signatures a generation: could be in a KMS
}

func holdCeremony(ctx context.Context, layout delegation.Bins, now time.Time) (*ceremony, error) {
	c := &ceremony{}
	var err error
	for _, role := range []struct {
		keys *[]*keys.MemorySigner
		n    int
	}{{&c.root, 3}, {&c.targets, 2}, {&c.bins, 2}} {
		for range role.n {
			key, err := keys.GenerateEd25519()
			if err != nil {
				return nil, err
			}
			*role.keys = append(*role.keys, key)
		}
	}
	if c.online.bins, err = keys.GenerateEd25519(); err != nil {
		return nil, err
	}
	if c.online.fresh, err = keys.GenerateP256(); err != nil {
		return nil, err
	}
	if c.documents, err = c.sign(ctx, layout, now); err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	return c, nil
}

// sign makes version 1 of the three offline documents.
func (c *ceremony) sign(ctx context.Context, layout delegation.Bins, now time.Time) (d repository.Documents, err error) {
	expires := now.UTC().Truncate(time.Second).AddDate(1, 0, 0)

	// Root says who may sign the other top-level roles. It is what clients
	// begin with, and two of its three keys can change any of this later.
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires,
		Root:      threshold(2, c.root...),
		Targets:   threshold(2, c.targets...),
		Snapshot:  threshold(1, c.online.fresh),
		Timestamp: threshold(1, c.online.fresh),
	})
	if err == nil {
		root, err = signAll(ctx, root, c.root)
	}
	if err != nil {
		return d, err
	}

	// Targets hands every path on to the role "bins", and that one to the bins.
	targets, err := delegation.NewTargets(1, expires, threshold(2, c.bins...))
	if err == nil {
		targets, err = signAll(ctx, targets, c.targets)
	}
	if err != nil {
		return d, err
	}
	bins, err := layout.NewRole(1, expires, threshold(1, c.online.bins))
	if err == nil {
		bins, err = signAll(ctx, bins, c.bins)
	}
	if err != nil {
		return d, err
	}
	return repository.Documents{Roots: [][]byte{root.Bytes()}, Roles: map[string][]byte{"targets": targets.Bytes(), "bins": bins.Bytes()}}, nil
}

// threshold is the authority of any n of the signers.
func threshold(n int, signers ...*keys.MemorySigner) roles.Authority {
	a := roles.Authority{Threshold: n}
	for _, s := range signers {
		a.Keys = append(a.Keys, s.Public())
	}
	return a
}

func signAll[T roles.Type](ctx context.Context, doc *roles.Document[T], signers []*keys.MemorySigner) (*roles.Document[T], error) {
	for _, s := range signers {
		var err error
		if doc, err = doc.Sign(ctx, s); err != nil {
			return nil, err
		}
	}
	return doc, nil
}
