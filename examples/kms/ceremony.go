package main

import (
	"context"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// ceremony is who signs what is signed offline. In earnest several people hold
// its keys, see examples/quickstart; here one in memory does for all of them.
type ceremony struct {
	offline keys.Signer
	spare   *keys.PublicKey // kept elsewhere: without it the loss of the one key would be the end
	bins    keys.Signer     // online: thousands of signatures, so in the publisher's memory
	roots   int64
	expires time.Time
}

func newCeremony(now time.Time) (*ceremony, error) {
	offline, err := keys.GenerateEd25519()
	if err != nil {
		return nil, err
	}
	spare, err := keys.GenerateEd25519()
	if err != nil {
		return nil, err
	}
	bins, err := keys.GenerateEd25519()
	if err != nil {
		return nil, err
	}
	return &ceremony{offline: offline, spare: spare.Public(), bins: bins, expires: now.UTC().Truncate(time.Second).AddDate(1, 0, 0)}, nil
}

// nextRoot is the next version of root, in which any one of the online keys may
// sign snapshot and timestamp.
func (c *ceremony) nextRoot(ctx context.Context, online ...*keys.PublicKey) (*roles.Document[metadata.RootType], error) {
	c.roots++
	offline := roles.Authority{Keys: []*keys.PublicKey{c.offline.Public(), c.spare}, Threshold: 1}
	root, err := roles.NewRoot(roles.RootSpec{
		Version: c.roots, Expires: c.expires,
		Root: offline, Targets: offline,
		Snapshot:  roles.Authority{Keys: online, Threshold: 1},
		Timestamp: roles.Authority{Keys: online, Threshold: 1},
	})
	if err != nil {
		return nil, err
	}
	return root.Sign(ctx, c.offline)
}

// documents are all that a new repository begins with.
func (c *ceremony) documents(ctx context.Context, root *roles.Document[metadata.RootType]) (d repository.Documents, err error) {
	layout, err := delegation.New("bins", 256, delegation.Succinct)
	if err != nil {
		return d, err
	}
	targets, err := delegation.NewTargets(1, c.expires, roles.Authority{Keys: []*keys.PublicKey{c.offline.Public()}, Threshold: 1})
	if err == nil {
		targets, err = targets.Sign(ctx, c.offline)
	}
	if err != nil {
		return d, err
	}
	bins, err := layout.NewRole(1, c.expires, roles.Authority{Keys: []*keys.PublicKey{c.bins.Public()}, Threshold: 1})
	if err == nil {
		bins, err = bins.Sign(ctx, c.offline)
	}
	if err != nil {
		return d, err
	}
	return repository.Documents{Roots: [][]byte{root.Bytes()}, Roles: map[string][]byte{"targets": targets.Bytes(), "bins": bins.Bytes()}}, nil
}
