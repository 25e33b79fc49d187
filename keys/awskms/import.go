package awskms

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bindery-tuf/bindery/keys"
)

// Import asks KMS for a key, by its ID, its ARN, or the name or ARN of an alias,
// and returns the ARN of the key itself and its public key, which is what
// Client.Signer takes. It makes two calls, DescribeKey and GetPublicKey, and none
// that changes anything. A key that is disabled or about to be deleted is refused,
// as is one of a kind or with a usage that can't sign TUF metadata; the error says
// which it is.
func (c *Client) Import(ctx context.Context, name string) (arn string, public *keys.PublicKey, err error) {
	arn, public, err = c.importKey(ctx, name)
	if err != nil {
		return "", nil, fmt.Errorf("import AWS KMS key %q: %w", name, err)
	}
	return arn, public, nil
}

func (c *Client) importKey(ctx context.Context, name string) (string, *keys.PublicKey, error) {
	if name == "" {
		return "", nil, errors.New("it has no name: give the ARN, ID or alias of a key")
	}
	var found *types.KeyMetadata
	err := c.caller.Do(ctx, name, func(ctx context.Context) error {
		out, err := c.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &name}, inRegionOf(name))
		if err != nil {
			return explain(err)
		}
		found = out.KeyMetadata
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	kind, err := checkKey(found)
	if err != nil {
		return "", nil, err
	}
	// Not by the name: an alias may have moved meanwhile.
	arn := aws.ToString(found.Arn)
	if err := checkARN(arn); err != nil {
		return "", nil, fmt.Errorf("KMS says it is %q: %w", arn, err)
	}
	if checkARN(name) == nil && name != arn {
		return "", nil, fmt.Errorf("KMS described another key, %q: is a proxy or another endpoint between?", arn)
	}
	var der []byte
	err = c.caller.Do(ctx, arn, func(ctx context.Context) error {
		out, err := c.kms.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &arn}, inRegionOf(arn))
		if err != nil {
			return explain(err)
		}
		// KMS answers with the ARN; emulators with the ID at its end.
		if answered := aws.ToString(out.KeyId); answered != arn && !strings.HasSuffix(arn, ":key/"+answered) {
			return fmt.Errorf("KMS returned the public key of another key, %q: is a proxy or another endpoint between?", answered)
		}
		der = out.PublicKey
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return "", nil, fmt.Errorf("the public key KMS returned: %w", err)
	}
	public, err := keys.NewPublicKey(parsed)
	if err != nil {
		return "", nil, err
	}
	if kinds[public.Type()] != kind {
		return "", nil, fmt.Errorf("KMS says it is of KeySpec %s, but returned the public key of an %s key", found.KeySpec, public.Type())
	}
	return arn, public, nil
}

// checkKey returns what a key is to sign with, or why it is refused.
func checkKey(k *types.KeyMetadata) (kind, error) {
	if k == nil {
		return kind{}, errors.New("KMS returned no description of the key: is a proxy or another endpoint between?")
	}
	switch {
	case k.KeyState == types.KeyStateDisabled:
		return kind{}, fmt.Errorf("%w: it is disabled: %s", keys.ErrUnusable, enableIt)
	case k.KeyState == types.KeyStatePendingDeletion, k.KeyState == types.KeyStatePendingReplicaDeletion:
		return kind{}, fmt.Errorf("%w: it is about to be deleted: %s", keys.ErrUnusable, cancelDeletion)
	case k.KeyState != types.KeyStateEnabled:
		return kind{}, fmt.Errorf("%w: its state is %q: wait until it is %q, or use another key", keys.ErrUnusable, k.KeyState, types.KeyStateEnabled)
	case k.KeyUsage != types.KeyUsageTypeSignVerify:
		return kind{}, fmt.Errorf("%w: its KeyUsage is %q, want %q: make another key, usage can't be changed",
			keys.ErrUnsupported, k.KeyUsage, types.KeyUsageTypeSignVerify)
	}
	kind, ok := kindOfSpec(k.KeySpec)
	if !ok {
		return kind, fmt.Errorf("%w: its KeySpec is %q, and TUF clients agree on %s, RSA and %s only",
			keys.ErrUnsupported, k.KeySpec, types.KeySpecEccNistP256, types.KeySpecEccNistEdwards25519)
	}
	if !slices.Contains(k.SigningAlgorithms, kind.algorithm) {
		return kind, fmt.Errorf("%w: it does not sign with %s, which TUF clients verify, but with %q only",
			keys.ErrUnsupported, kind.algorithm, k.SigningAlgorithms)
	}
	return kind, nil
}
