package gcpkms

import (
	"fmt"
	"hash/crc32"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bindery-tuf/bindery/keys"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C, in the service's type for it.
func checksum(data []byte) int64 { return int64(crc32.Checksum(data, castagnoli)) }

// checkPublicKey checks that the answer is for the key asked for, and whole.
func checkPublicKey(name string, out *kmspb.PublicKey) error {
	if err := checkAnswered(name, out.Name); err != nil {
		return err
	}
	return checkReceived("public key", []byte(out.Pem), out.PemCrc32C)
}

// checkSigned checks that the request arrived whole, and the answer is for its
// key, and whole. Whether the signature is the key's is for the caller to verify.
func checkSigned(in *kmspb.AsymmetricSignRequest, out *kmspb.AsymmetricSignResponse) error {
	if err := checkAnswered(in.Name, out.Name); err != nil {
		return err
	}
	compared := out.VerifiedDigestCrc32C
	if in.Digest == nil {
		compared = out.VerifiedDataCrc32C
	}
	if !compared {
		return fmt.Errorf("%w: the service did not compare the checksum of what it was to sign", keys.ErrUnavailable)
	}
	return checkReceived("signature", out.Signature, out.SignatureCrc32C)
}

// checkAnswered refuses an answer for another key, for good: who mixes up keys is
// not to be asked again.
func checkAnswered(asked, answered string) error {
	if answered != asked {
		return fmt.Errorf("the service answered for another key, %q: is a proxy or another endpoint between?", answered)
	}
	return nil
}

// checkReceived compares a checksum. What was damaged may be asked for again, as
// the service's documentation says.
func checkReceived(what string, data []byte, sent *wrapperspb.Int64Value) error {
	switch {
	case sent == nil:
		return fmt.Errorf("%w: the service returned a %s without its checksum", keys.ErrUnavailable, what)
	case sent.Value != checksum(data):
		return fmt.Errorf("%w: the %s was damaged on the way: its checksum is another", keys.ErrUnavailable, what)
	}
	return nil
}
