package fakekms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// key is a key of any kind; only those that can sign have a private one.
type key struct {
	id, arn            string
	spec, usage, state string
	private            crypto.Signer
	substitute         crypto.Signer // signs in its place, as in a service gone wrong
}

// algorithms are what the keys of a KeySpec sign with.
var algorithms = map[string][]string{
	"ECC_NIST_P256": {"ECDSA_SHA_256"},
	"ECC_NIST_P384": {"ECDSA_SHA_384"},
	"RSA_2048":      rsaAlgorithms, "RSA_3072": rsaAlgorithms, "RSA_4096": rsaAlgorithms,
	"ECC_NIST_EDWARDS25519": {"ED25519_SHA_512", "ED25519_PH_SHA_512"},
}

var rsaAlgorithms = []string{
	"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
	"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512",
}

// generate makes the private key of a KeySpec, or none for one that can't sign.
func generate(spec string) (crypto.Signer, error) {
	switch spec {
	case "ECC_NIST_P256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECC_NIST_P384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "RSA_2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA_3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA_4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ECC_NIST_EDWARDS25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "SYMMETRIC_DEFAULT", "HMAC_256":
		return nil, nil
	default:
		return nil, fmt.Errorf("KeySpec %q", spec)
	}
}

// find returns a key by ID, ARN, or name or ARN of an alias, in the region that
// was asked.
func (k *KMS) find(region, name string) (*key, *Error) {
	prefix := "arn:aws:kms:" + region + ":" + Account + ":"
	if strings.HasPrefix(name, "arn:") && !strings.HasPrefix(name, prefix) {
		return nil, refuse("NotFoundException", "Invalid arn %s", region)
	}
	resource := strings.TrimPrefix(name, prefix)
	arn := prefix + "key/" + strings.TrimPrefix(resource, "key/")
	if strings.HasPrefix(resource, "alias/") {
		arn = k.aliases[prefix+resource]
	}
	found, ok := k.keys[arn]
	if !ok {
		return nil, refuse("NotFoundException", "Key '%s' does not exist", name)
	}
	return found, nil
}

// usable refuses a key that is in no state to be used.
func (f *key) usable() *Error {
	switch f.state {
	case "Enabled":
		return nil
	case "Disabled":
		return refuse("DisabledException", "%s is disabled.", f.arn)
	default:
		return refuse("KMSInvalidStateException", "%s is pending deletion.", f.arn)
	}
}

// sign has the rules of the operation Sign.
func (f *key) sign(message []byte, messageType, algorithm string) ([]byte, *Error) {
	if len(message) < 1 || len(message) > 4096 {
		return nil, refuse("ValidationException", "1 validation error detected: Value at 'message' failed to satisfy constraint: Member must have length between 1 and 4096")
	}
	if f.usage != "SIGN_VERIFY" {
		return nil, refuse("InvalidKeyUsageException", "%s key usage is %s which is not valid for Sign.", f.arn, f.usage)
	}
	if !slices.Contains(algorithms[f.spec], algorithm) {
		return nil, refuse("InvalidKeyUsageException", "Algorithm %s is incompatible with key spec %s.", algorithm, f.spec)
	}
	signer := f.private
	if f.substitute != nil {
		signer = f.substitute
	}
	if algorithm == "ED25519_SHA_512" {
		if messageType != "RAW" {
			return nil, refuse("ValidationException", "Algorithm %s requires MessageType RAW.", algorithm)
		}
		return signed(signer.Sign(rand.Reader, message, crypto.Hash(0)))
	}
	if !strings.HasSuffix(algorithm, "_SHA_256") {
		return nil, refuse("UnsupportedOperationException", "not a part of this fake: %s", algorithm)
	}
	if messageType == "DIGEST" {
		if len(message) != crypto.SHA256.Size() {
			return nil, refuse("ValidationException", "Digest is invalid length for algorithm %s.", algorithm)
		}
	} else {
		hash := crypto.SHA256.New()
		hash.Write(message)
		message = hash.Sum(nil)
	}
	var options crypto.SignerOpts = crypto.SHA256
	if strings.Contains(algorithm, "_PSS_") {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	return signed(signer.Sign(rand.Reader, message, options))
}

func signed(signature []byte, err error) ([]byte, *Error) {
	if err != nil {
		return nil, &Error{Status: 500, Code: "KMSInternalException", Message: err.Error()}
	}
	return signature, nil
}

func (f *key) public() ([]byte, *Error) {
	if f.private == nil {
		return nil, refuse("UnsupportedOperationException", "%s is not an asymmetric key.", f.arn)
	}
	return signed(x509.MarshalPKIXPublicKey(f.private.Public()))
}
