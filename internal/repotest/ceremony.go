package repotest

import (
	"context"
	"crypto/ed25519"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Ceremony plays the people who hold the keys of a repository. It has every key
// in memory and makes the offline documents: root is signed by 2 of 3 keys,
// targets and bins by 2 of 2, as PEP 458 has it. It is for one goroutine.
type Ceremony struct {
	// The online keys that the first documents name: an Ed25519 key for the bins,
	// and a P-256 key for snapshot and timestamp.
	Bins, Online keys.Signer

	// Now is the time at which documents are made; they expire a year later.
	Now time.Time

	t       require.TestingT
	signers []keys.Signer // all keys there ever were
	layout  delegation.Bins
	seed    *rand.ChaCha8 // makes all keys Ed25519, or nil

	root          roles.RootSpec
	binsRole      roles.Authority // who signs the role "bins"
	online        roles.Authority // who signs each bin
	targets, bins int64           // versions
	docs          repository.Documents
}

// NewCeremony makes all keys and version 1 of each offline document. What goes
// wrong in a Ceremony, here or later, fails t.
func NewCeremony(t require.TestingT, layout delegation.Bins, now time.Time) *Ceremony {
	return begin(&Ceremony{t: t, layout: layout, Now: now})
}

// NewSeededCeremony is NewCeremony with Ed25519 keys only, all made from a seed:
// the same calls make the same documents, byte for byte.
func NewSeededCeremony(t require.TestingT, layout delegation.Bins, now time.Time, seed [32]byte) *Ceremony {
	return begin(&Ceremony{t: t, layout: layout, Now: now, seed: rand.NewChaCha8(seed)})
}

func begin(c *Ceremony) *Ceremony {
	c.Bins, c.Online = c.NewEd25519(), c.NewP256()
	c.root = roles.RootSpec{
		Root:      Of(2, c.NewEd25519(), c.NewEd25519(), c.NewP256()),
		Targets:   Of(2, c.NewEd25519(), c.NewEd25519()),
		Snapshot:  Of(1, c.Online),
		Timestamp: Of(1, c.Online),
	}
	c.binsRole = Of(2, c.NewEd25519(), c.NewEd25519())
	c.online = Of(1, c.Bins)
	c.NextRoot(nil)
	c.NextTargets(nil)
	c.NextBins(nil)
	return c
}

// Of is the authority of any threshold of the signers' keys.
func Of(threshold int, signers ...keys.Signer) roles.Authority {
	a := roles.Authority{Threshold: threshold}
	for _, s := range signers {
		a.Keys = append(a.Keys, s.Public())
	}
	return a
}

// Documents returns all roots so far, and the newest targets and bins.
func (c *Ceremony) Documents() repository.Documents {
	return repository.Documents{Roots: slices.Clone(c.docs.Roots), Roles: maps.Clone(c.docs.Roles)}
}

// NextRoot makes the next version of root, with what change (nil: nothing) does
// to the specification of the last one. It is signed by all the keys of the last
// root and of the new one.
func (c *Ceremony) NextRoot(change func(*roles.RootSpec)) []byte {
	last := slices.Clone(c.root.Root.Keys)
	c.root.Version++
	c.root.Expires = c.expires()
	if change != nil {
		change(&c.root)
	}
	doc, err := roles.NewRoot(c.root)
	require.NoError(c.t, err)
	file := sign(c, doc, last, c.root.Root.Keys)
	c.docs.Roots = append(c.docs.Roots, file)
	return file
}

// SignRoot has the holders of the newest root sign another document.
func (c *Ceremony) SignRoot(file []byte) []byte {
	doc, err := roles.Parse[metadata.RootType](file)
	require.NoError(c.t, err)
	return sign(c, doc, c.root.Root.Keys)
}

// NextTargets makes the next version of targets, in which change (nil: nothing)
// may alter who signs the role "bins".
func (c *Ceremony) NextTargets(change func(*roles.Authority)) []byte {
	c.targets++
	if change != nil {
		change(&c.binsRole)
	}
	doc, err := delegation.NewTargets(c.targets, c.expires(), c.binsRole)
	require.NoError(c.t, err)
	return c.SignTargets(doc)
}

// NextBins makes the next version of the role "bins", in which change (nil:
// nothing) may alter who signs each bin.
func (c *Ceremony) NextBins(change func(*roles.Authority)) []byte {
	c.bins++
	if change != nil {
		change(&c.online)
	}
	doc, err := c.layout.NewRole(c.bins, c.expires(), c.online)
	require.NoError(c.t, err)
	return c.SignRole(delegation.BinsRole, doc, c.binsRole)
}

// SignTargets has the holders of targets sign any document of that role.
func (c *Ceremony) SignTargets(doc *roles.Document[metadata.TargetsType]) []byte {
	return c.SignRole(metadata.TARGETS, doc, c.root.Targets)
}

// SignBins has the holders of "bins" sign any document of that role.
func (c *Ceremony) SignBins(doc *roles.Document[metadata.TargetsType]) []byte {
	return c.SignRole(delegation.BinsRole, doc, c.binsRole)
}

// SignRole has those who may sign a delegated role sign a document of it, which is one of
// Documents from then on.
func (c *Ceremony) SignRole(role string, doc *roles.Document[metadata.TargetsType], who roles.Authority) []byte {
	if c.docs.Roles == nil {
		c.docs.Roles = map[string][]byte{}
	}
	c.docs.Roles[role] = sign(c, doc, who.Keys)
	return c.docs.Roles[role]
}

// NewEd25519 makes a key that the ceremony can sign with from now on.
func (c *Ceremony) NewEd25519() keys.Signer {
	if c.seed != nil {
		seed := make([]byte, ed25519.SeedSize)
		c.seed.Read(seed)
		return c.adopt(keys.NewSigner(ed25519.NewKeyFromSeed(seed)))
	}
	return c.adopt(keys.GenerateEd25519())
}

// NewP256 is NewEd25519 for an ECDSA P-256 key.
func (c *Ceremony) NewP256() keys.Signer {
	if c.seed != nil {
		return c.NewEd25519()
	}
	return c.adopt(keys.GenerateP256())
}

func (c *Ceremony) adopt(s *keys.MemorySigner, err error) keys.Signer {
	require.NoError(c.t, err)
	c.signers = append(c.signers, s)
	return s
}

func (c *Ceremony) expires() time.Time {
	return c.Now.UTC().Truncate(time.Second).AddDate(1, 0, 0)
}

// sign has every listed key sign doc once.
func sign[T metadata.RootType | metadata.TargetsType](c *Ceremony, doc *roles.Document[T], listed ...[]*keys.PublicKey) []byte {
	all := slices.Concat(listed...)
	for _, s := range c.signers {
		if !slices.ContainsFunc(all, s.Public().Same) {
			continue
		}
		var err error
		doc, err = doc.Sign(context.Background(), s)
		require.NoError(c.t, err)
	}
	return doc.Bytes()
}
