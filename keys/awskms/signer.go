package awskms

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/remote"
)

// kind is how KMS is asked for signatures with one kind of key.
type kind struct {
	algorithm types.SigningAlgorithmSpec
	message   types.MessageType
	maxRaw    int // as in remote.Key
}

// kinds are by keytype. MessageType RAW is signed as it is with Ed25519, up to
// what KMS takes.
var kinds = map[string]kind{
	"ecdsa":   {types.SigningAlgorithmSpecEcdsaSha256, types.MessageTypeDigest, 0},
	"rsa":     {types.SigningAlgorithmSpecRsassaPssSha256, types.MessageTypeDigest, 0},
	"ed25519": {types.SigningAlgorithmSpecEd25519Sha512, types.MessageTypeRaw, 4096},
}

func kindOfSpec(spec types.KeySpec) (kind, bool) {
	switch spec {
	case types.KeySpecEccNistP256:
		return kinds["ecdsa"], true
	case types.KeySpecRsa2048, types.KeySpecRsa3072, types.KeySpecRsa4096:
		return kinds["rsa"], true
	case types.KeySpecEccNistEdwards25519:
		return kinds["ed25519"], true
	default:
		return kind{}, false
	}
}

// Signer returns a signer for the key with an ARN and a public key, such as
// Import returned and the root lists. It makes no call, so that a key that is
// gone is noticed at the first signature only. The name of an alias is refused:
// it can come to mean another key, whose signatures no client would accept.
func (c *Client) Signer(arn string, public *keys.PublicKey) (keys.Signer, error) {
	if err := checkARN(arn); err != nil {
		return nil, fmt.Errorf("AWS KMS key %q: %w", arn, err)
	}
	if public == nil {
		return nil, fmt.Errorf("AWS KMS key %q: its public key is missing: Import returns it", arn)
	}
	kind, ok := kinds[public.Type()]
	if !ok {
		// The old name of ecdsa, in metadata made by others.
		kind = kinds["ecdsa"]
	}
	return c.caller.Signer(remote.Key{
		Name:   arn,
		Public: public,
		MaxRaw: kind.maxRaw,
		Sign: func(ctx context.Context, input []byte) ([]byte, error) {
			out, err := c.kms.Sign(ctx, &kms.SignInput{
				KeyId:            &arn,
				Message:          input,
				MessageType:      kind.message,
				SigningAlgorithm: kind.algorithm,
			}, inRegionOf(arn))
			if err != nil {
				return nil, explain(err)
			}
			return out.Signature, nil
		},
	}), nil
}

// keyARN is arn:PARTITION:kms:REGION:ACCOUNT:key/ID.
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$`)

func checkARN(name string) error {
	switch {
	case keyARN.MatchString(name):
		return nil
	case strings.HasPrefix(name, "alias/"), strings.Contains(name, ":alias/"):
		return errors.New("an alias may come to mean another key: use the ARN of the key itself, which Import returns")
	default:
		return errors.New("not the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID, which Import returns")
	}
}
