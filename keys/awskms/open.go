package awskms

import (
	"context"
	"fmt"

	"github.com/bindery-tuf/bindery/keys"
)

// Open opens a key for a keys.Resolver: the method is a keys.Opener. The place is
// the ARN of the key, as in
//
//	awskms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
//
// With its public key Open makes no call, as Signer does; where public is nil it
// asks KMS for it, as Import does.
func (c *Client) Open(ctx context.Context, arn string, public *keys.PublicKey) (keys.Signer, error) {
	if public == nil {
		if err := checkARN(arn); err != nil { // what Import takes may come to mean another key
			return nil, fmt.Errorf("AWS KMS key %q: %w", arn, err)
		}
		var err error
		if _, public, err = c.Import(ctx, arn); err != nil {
			return nil, err
		}
	}
	return c.Signer(arn, public)
}
