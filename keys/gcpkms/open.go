package gcpkms

import (
	"context"

	"github.com/bindery-tuf/bindery/keys"
)

// Open opens a key version for a keys.Resolver: the method is a keys.Opener. The
// place is the name of the key version, as in
//
//	gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1
//
// With its public key Open makes no call, as Signer does; where public is nil it
// asks the service for it, as Import does.
func (c *Client) Open(ctx context.Context, name string, public *keys.PublicKey) (keys.Signer, error) {
	if public == nil {
		var err error
		if public, err = c.Import(ctx, name); err != nil {
			return nil, err
		}
	}
	return c.Signer(name, public)
}
