package ceremony

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Destroyed lists keys that signed and were then destroyed.
type Destroyed struct {
	Role   string // "targets" or "bins"
	KeyIDs []string
	At     time.Time // UTC, whole seconds
}

// OneTime holds keys that sign in one ceremony and never again. It is for one goroutine.
type OneTime struct {
	role      string
	authority roles.Authority
	private   []ed25519.PrivateKey // nil once they are destroyed
}

// NewOneTime makes n Ed25519 keys for role ("targets" or "bins"); all of them must sign. The keys
// exist only in the memory of this process.
func NewOneTime(role string, n int) (*OneTime, error) {
	if role != metadata.TARGETS && role != delegation.BinsRole {
		return nil, fmt.Errorf("one-time keys for the role %q: only %s and %s have any", role, metadata.TARGETS, delegation.BinsRole)
	}
	if n < 1 {
		return nil, fmt.Errorf("%d one-time keys for the role %s: it takes at least 1", n, role)
	}
	o := &OneTime{role: role, authority: roles.Authority{Threshold: n}}
	for range n {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		public, err := keys.NewPublicKey(private.Public())
		if err != nil {
			return nil, err
		}
		o.private = append(o.private, private)
		o.authority.Keys = append(o.authority.Keys, public)
	}
	return o, nil
}

// Authority is the entry for the role in the document that delegates to it.
func (o *OneTime) Authority() roles.Authority { return o.authority }

// Sign returns d with the signatures of all keys.
func (o *OneTime) Sign(ctx context.Context, d *roles.Document[metadata.TargetsType]) (*roles.Document[metadata.TargetsType], error) {
	if o.private == nil {
		return nil, fmt.Errorf("the one-time keys of %s are destroyed", o.role)
	}
	for _, private := range o.private {
		signer, err := keys.NewSigner(private)
		if err == nil {
			d, err = d.Sign(ctx, signer)
		}
		if err != nil {
			return nil, fmt.Errorf("one-time keys of %s: %w", o.role, err)
		}
	}
	return d, nil
}

// Destroy overwrites the private keys and returns the record of it. Sign fails from then on. Copies made
// by the runtime or the kernel last until the process ends and the memory loses power: switch off swap
// before, and the machine afterwards.
func (o *OneTime) Destroy(now time.Time) Destroyed {
	for _, private := range o.private {
		clear(private)
	}
	o.private = nil
	d := Destroyed{Role: o.role, At: now.UTC().Truncate(time.Second)}
	for _, k := range o.authority.Keys {
		d.KeyIDs = append(d.KeyIDs, k.ID())
	}
	return d
}
