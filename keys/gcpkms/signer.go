package gcpkms

import (
	"context"
	"fmt"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/remote"
)

// typeEd25519 is the keytype of the only keys that sign messages as they are,
// which the service takes up to maxRaw bytes.
const (
	typeEd25519 = "ed25519"
	maxRaw      = 64 << 10
)

// Signer returns a signer for the key version with a name and a public key, such
// as Import returned and the root lists. It makes no call, so that a key that is
// gone is noticed at the first signature only.
func (c *Client) Signer(name string, public *keys.PublicKey) (keys.Signer, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("GCP KMS key %q: %w", name, err)
	}
	if public == nil {
		return nil, fmt.Errorf("GCP KMS key %q: its public key is missing: Import returns it", name)
	}
	key := remote.Key{Name: name, Public: public}
	request := byDigest
	if public.Type() == typeEd25519 {
		key.MaxRaw, request = maxRaw, asItIs
	}
	key.Sign = func(ctx context.Context, input []byte) ([]byte, error) {
		in := request(name, input)
		out, err := c.kms.AsymmetricSign(ctx, in, once)
		if err != nil {
			return nil, explain(err)
		}
		if err := checkSigned(in, out); err != nil {
			return nil, err
		}
		return out.Signature, nil
	}
	return c.caller.Signer(key), nil
}

func byDigest(name string, digest []byte) *kmspb.AsymmetricSignRequest {
	return &kmspb.AsymmetricSignRequest{
		Name:         name,
		Digest:       &kmspb.Digest{Digest: &kmspb.Digest_Sha256{Sha256: digest}},
		DigestCrc32C: wrapperspb.Int64(checksum(digest)),
	}
}

func asItIs(name string, message []byte) *kmspb.AsymmetricSignRequest {
	return &kmspb.AsymmetricSignRequest{
		Name:       name,
		Data:       message,
		DataCrc32C: wrapperspb.Int64(checksum(message)),
	}
}
