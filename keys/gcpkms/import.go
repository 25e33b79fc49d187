package gcpkms

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"cloud.google.com/go/kms/apiv1/kmspb"

	"github.com/bindery-tuf/bindery/keys"
)

// Import asks the service for the public key of a key version, which is what
// Client.Signer takes. It makes one call, GetPublicKey, which changes nothing. A
// version that is not enabled is refused, as is one of an algorithm that can't
// sign TUF metadata; the error says which it is.
func (c *Client) Import(ctx context.Context, name string) (*keys.PublicKey, error) {
	public, err := c.importKey(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("import GCP KMS key %q: %w", name, err)
	}
	return public, nil
}

func (c *Client) importKey(ctx context.Context, name string) (*keys.PublicKey, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	var found *kmspb.PublicKey
	err := c.caller.Do(ctx, name, func(ctx context.Context) error {
		out, err := c.kms.GetPublicKey(ctx, &kmspb.GetPublicKeyRequest{Name: name}, once)
		if err != nil {
			return explain(err)
		}
		found = out
		return checkPublicKey(name, out)
	})
	if err != nil {
		return nil, err
	}
	keytype, err := typeOf(found.Algorithm)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode([]byte(found.Pem))
	if block == nil || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("the public key the service returned is not one PEM block")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the public key the service returned: %w", err)
	}
	public, err := keys.NewPublicKey(parsed)
	if err != nil {
		return nil, err
	}
	if public.Type() != keytype {
		return nil, fmt.Errorf("the service says it is of %s, but returned the public key of an %s key", found.Algorithm, public.Type())
	}
	return public, nil
}

// refusals say why keys of an algorithm are refused, by how its name begins; the
// first that matches does.
var refusals = []struct{ prefix, reason string }{
	{"EC_SIGN_P384", "TUF clients differ on P-384"},
	{"RSA_SIGN_PSS", "TUF clients agree on RSA-PSS with SHA-256 only"},
	{"RSA_SIGN", "TUF clients verify RSA with PSS only"},
	{"RSA_DECRYPT", "it decrypts, and can't sign"},
}

// typeOf returns the keytype in metadata of keys of an algorithm.
func typeOf(algorithm kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm) (string, error) {
	switch algorithm {
	case kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256:
		return "ecdsa", nil
	case kmspb.CryptoKeyVersion_RSA_SIGN_PSS_2048_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PSS_3072_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA256:
		return "rsa", nil
	case kmspb.CryptoKeyVersion_EC_SIGN_ED25519:
		return typeEd25519, nil
	}
	reason := "TUF clients agree on ECDSA with P-256, RSA-PSS and Ed25519 only"
	for _, r := range refusals {
		if strings.HasPrefix(algorithm.String(), r.prefix) {
			reason = r.reason
			break
		}
	}
	return "", fmt.Errorf("%w: its algorithm is %s: %s: make a key of EC_SIGN_P256_SHA256", keys.ErrUnsupported, algorithm, reason)
}
